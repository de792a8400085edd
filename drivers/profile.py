"""Register profiles: the file that describes a Modbus instrument which is only data.

    # ACME 100 SO2 analyzer; manual 12-3456 rev. B, appendix C; checked against the display of a unit
    table = "input"                       # where a register below does not say otherwise
    order = "ABCD"
    [status]
    register = 20
    bits     = { 0 = "fault", 3 = "calibration" }
    [channels]
    so2 = { parameter = "SO2", unit = "ppb", register = 18, format = "float32" }

`order` is that of values of two and more registers; a single register has its high byte first, as Modbus
says, and a text its first letter, unless their own entry gives an order.

A profile only reads, but for what its `[start]` says; `config/profiles/acme_100.toml` shows every key.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from drivers import fields
from drivers.blocks import MOST_REGISTERS, Limits
from drivers.fields import Key, MapOf, Table
from drivers.modbus import READ_NONE, TABLES, WRITE_ONE, WRITE_SEVERAL
from drivers.number import FORMATS, ORDERS
from drivers.places import Profile
from drivers.profile_entries import ADDRESSES, Entries
from drivers.profile_start import start
from drivers.registers import ProfileDriver
from drivers.sample import Flag
from drivers.units import Unit

if TYPE_CHECKING:
    from pathlib import Path

    from drivers.places import Place
    from drivers.toml_file import Document

__all__ = ["PROFILE", "ProfileDriver", "ProfileFile", "load"]

FLAGS = tuple(flag.value for flag in Flag if flag not in {Flag.NO_COMM, Flag.SUSPECT, Flag.OK})
_FIRST_MOST = 400_001
_TEXT_LIMIT = 64
_PLACE = (
    Key("table", fields.Choice(*TABLES), "", doc="table: coil, discrete, input or holding"),
    Key("order", fields.Choice(*ORDERS), "", doc="order of the bytes, A the highest"),
    Key("register", fields.Integer(0, _FIRST_MOST + ADDRESSES), doc="number of its first register"),
)
_MASK = Key("mask", fields.Integer(1, 2**64 - 1), None, doc="bits that count, like 0x00F0; they are moved down")
_LENGTH = Key("registers", fields.Integer(1, _TEXT_LIMIT), None, doc="how many registers a string fills")
_FLAG = fields.Choice(*FLAGS)
_FLAG_OF_VALUE = fields.Choice(
    *FLAGS, advice={"ok": "no flag; write good = [...], and what is listed nowhere is a fault"}
)
_BITS = MapOf(re.compile(r"\d{1,4}"), "the number of a bit, 0 the lowest", _FLAG, int)
_WHOLES = fields.ListOf(fields.Integer(0, 10**19), is_set=True)
_OWN_STATUS = (
    *_PLACE,
    Key("format", fields.Choice("u16", "u32", "u64", "float32"), "u16", doc="format of the status"),
    _MASK,
    Key("bits", _BITS, {}, doc="flags that hold while their bit is 1"),
    Key("clear_bits", _BITS, {}, doc="flags that hold while their bit is 0"),
    Key("values", MapOf(re.compile(r"\d{1,19}"), "a whole number", _FLAG_OF_VALUE, int), {}, doc="flags by value"),
    Key("good", _WHOLES, (), doc="values without a flag; any other, unless values has it, is a fault"),
    Key("absent", _WHOLES, (), doc="values with which a channel has no value, whatever its register holds"),
)
_CHANNELS = fields.ListOf(fields.Text(), least=1, is_set=True)
_STATUS = Table(*_OWN_STATUS, Key("channels", _CHANNELS, None, doc="the channels it is about; default: all"))
_IDENTITY = Table(
    *_PLACE,
    Key("format", fields.Choice("u16", "u32", "string"), "u16", doc="how it is written"),
    _LENGTH,
    _MASK,
    Key(
        "value",
        fields.Either("a number or a text", int=fields.Integer(0, 2**32 - 1), str=fields.Text()),
        doc="what must stand there; anything else is a bad answer",
    ),
)
_PLUS = Table(
    *_PLACE,
    Key(
        "format", fields.Choice(*(form for form in FORMATS if form not in {"bit", "string", "datetime"})), doc="format"
    ),
    Key("scale", fields.Number(-1e12, 1e12), 1, doc="factor before it is added"),
)
_DECIMALS = Table(
    *_PLACE,
    Key("format", fields.Choice("u16", "i16"), "u16", doc="i16: the number may be negative, and then means tens"),
)
_STEP = Table(
    Key(
        "function",
        fields.OneOf(READ_NONE, WRITE_ONE, WRITE_SEVERAL),
        doc="6 writes one register, 16 several, 3 asks for none (some probes begin to measure then)",
    ),
    Key("register", fields.Integer(0, _FIRST_MOST + ADDRESSES), doc="number of the first holding register"),
    Key("values", fields.ListOf(fields.Integer(0, 0xFFFF)), (), doc="what is written, a number for each register"),
)
_START = Table(
    Key("steps", fields.ListOf(_STEP, least=1), doc="requests that are sent before the first read, in their order"),
    Key("wait_reads", fields.Integer(0, 100), 0, doc="reads after them that bring nothing, the first included"),
)
_CHANNEL = Table(
    Key("parameter", fields.Text(re.compile(r".{1,64}"), "a name"), doc='quantity measured, like "SO2"'),
    Key("unit", Unit(), doc='unit of the value, like "ppb"; "" if it has none'),
    *_PLACE,
    Key("format", fields.Choice(*FORMATS), "", doc="how the value is written; coils and inputs need none"),
    _LENGTH,
    Key("bit", fields.Integer(0, 15), None, doc="bit of the register, 0 the lowest; the value is 0 or 1"),
    _MASK,
    Key("scale", fields.Number(-1e12, 1e12), 1, doc="factor from the register to the unit"),
    Key("offset", fields.Number(-1e12, 1e12), 0, doc="added after the scale"),
    Key("sentinels", fields.ListOf(fields.Number()), (), doc="register values that mean: no value"),
    Key("range", fields.ListOf(fields.Number()), None, doc="measuring range; outside is over_range"),
    Key("plus", _PLUS, None, doc="a second number that is added: a fraction, or higher digits"),
    Key("decimals", _DECIMALS, None, doc="register with the number of digits behind the decimal point"),
    Key("identity", fields.OneOrMore(_IDENTITY), None, doc="what must stand beside the value, that it is this one"),
    Key("status", Table(*_OWN_STATUS), None, doc="status of this channel alone"),
)
PROFILE = Table(
    Key("table", fields.Choice(*TABLES), "", doc="table of registers that name none of their own"),
    Key("order", fields.Choice(*ORDERS), "ABCD", doc="order of bytes in values of two and more registers"),
    Key(
        "first_register",
        fields.Integer(0, _FIRST_MOST),
        0,
        doc="the manual's number of address 0: 0, 1, 40001 …",
    ),
    Key("max_block", fields.Integer(1, MOST_REGISTERS), MOST_REGISTERS, doc="most registers in one request"),
    Key(
        "max_hole",
        fields.Integer(0, MOST_REGISTERS),
        10,
        doc="most unneeded registers read to save a request",
    ),
    Key("timeout", fields.duration(0.01, 60), None, doc="how long this instrument may take to answer"),
    Key("silence", fields.duration(0.001, 10), None, doc="silence that it needs before a request"),
    Key("result_time", fields.Text(), None, doc="channel that changes with each result; else a read is empty"),
    Key("start", _START, None, doc="the only writes: what is sent before the first read"),
    Key("status", fields.OneOrMore(_STATUS), None, doc="registers or inputs that say how the instrument is"),
    Key("channels", MapOf(fields.NAME, "a channel name like so2", _CHANNEL), doc="what it measures"),
    advice={"answer": 'unknown key in a profile of registers; if this is one of text, it needs protocol = "text"'},
)


class ProfileFile(NamedTuple):
    """A profile that was read and found right."""

    path: Path
    profile: Profile
    limits: Limits
    timeout_s: float | None
    silence_s: float | None

    @property
    def places(self) -> list[Place]:
        """Where anything is read."""
        return self.profile.places

    def driver(self, max_block: int = MOST_REGISTERS) -> ProfileDriver:
        """Make the driver of one instrument, on a line that allows so many registers in a request."""
        return ProfileDriver(self.profile, Limits(min(self.limits.block, max_block), self.limits.hole))


def load(document: Document) -> ProfileFile:
    """Read a profile. Raises ConfigError with all its problems."""
    report = fields.Report(document)
    raw = PROFILE.read(document.data, (), report) or {}
    entries = Entries(raw, report)
    measured, statuses = entries.measured(), entries.statuses()
    profile = Profile(measured, statuses, start(raw, report), entries.result_time())
    report.done()
    limits = Limits(raw["max_block"], raw["max_hole"])
    return ProfileFile(document.path, profile, limits, raw["timeout"], raw["silence"])
