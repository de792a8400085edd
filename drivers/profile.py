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
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from drivers import fields
from drivers.blocks import MOST_REGISTERS, Limits
from drivers.fields import Key, MapOf, Table
from drivers.modbus import TABLES
from drivers.number import FORMATS, ORDERS
from drivers.profile_entries import ADDRESSES, Entries
from drivers.registers import Measured, ProfileDriver, Status
from drivers.sample import Flag

if TYPE_CHECKING:
    from pathlib import Path

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
_FLAG = fields.Choice(*FLAGS)
_BITS = MapOf(re.compile(r"\d{1,4}"), "the number of a bit, 0 the lowest", _FLAG, int)
_OWN_STATUS = (
    *_PLACE,
    Key("format", fields.Choice("u16", "u32", "u64", "float32"), "u16", doc="format of the status"),
    Key("bits", _BITS, {}, doc="flags that hold while their bit is 1"),
    Key("clear_bits", _BITS, {}, doc="flags that hold while their bit is 0"),
    Key("values", MapOf(re.compile(r"\d{1,19}"), "a whole number", _FLAG, int), {}, doc="flags by value"),
)
_CHANNELS = fields.ListOf(fields.Text(), least=1, is_set=True)
_STATUS = Table(*_OWN_STATUS, Key("channels", _CHANNELS, None, doc="the channels it is about; default: all"))
_CHANNEL = Table(
    Key("parameter", fields.Text(re.compile(r".{1,64}"), "a name"), doc='quantity measured, like "SO2"'),
    Key("unit", fields.Text(), doc='unit of the value, like "ppb"; "" if it has none'),
    *_PLACE,
    Key("format", fields.Choice(*FORMATS), "", doc="how the value is written; coils and inputs need none"),
    Key("registers", fields.Integer(1, _TEXT_LIMIT), None, doc="how many registers a string fills"),
    Key("bit", fields.Integer(0, 15), None, doc="bit of the register, 0 the lowest; the value is 0 or 1"),
    Key("scale", fields.Number(-1e12, 1e12), 1, doc="factor from the register to the unit"),
    Key("offset", fields.Number(-1e12, 1e12), 0, doc="added after the scale"),
    Key("sentinels", fields.ListOf(fields.Number()), (), doc="register values that mean: no value"),
    Key("range", fields.ListOf(fields.Number()), None, doc="measuring range; outside is over_range"),
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
    Key("status", fields.OneOrMore(_STATUS), None, doc="registers or inputs that say how the instrument is"),
    Key("channels", MapOf(fields.NAME, "a channel name like so2", _CHANNEL), doc="what it measures"),
    advice={"answer": 'unknown key in a profile of registers; if this is one of text, it needs protocol = "text"'},
)


class ProfileFile(NamedTuple):
    """A profile that was read and found right."""

    path: Path
    measured: tuple[Measured, ...]
    statuses: tuple[Status, ...]
    limits: Limits
    timeout_s: float | None
    silence_s: float | None

    def driver(self) -> ProfileDriver:
        """Make the driver of one instrument."""
        return ProfileDriver(self.measured, self.statuses, self.limits, self.timeout_s)


def load(document: Document) -> ProfileFile:
    """Read a profile. Raises ConfigError with all its problems."""
    report = fields.Report(document)
    raw = PROFILE.read(document.data, (), report) or {}
    entries = Entries(raw, report)
    measured, statuses = entries.measured(), entries.statuses()
    report.done()
    limits = Limits(raw["max_block"], raw["max_hole"])
    return ProfileFile(document.path, measured, statuses, limits, raw["timeout"], raw["silence"])
