r"""Text profiles: the file that describes an instrument which answers or sends lines of text, and is only data.

    # ACME 200 SO2 analyzer; manual 12-3457 rev. A, page 31; checked against the display of a unit
    protocol = "text"
    [answer]                          #  > MEAS 001 CR
    request   = 'MEAS {address:03}\r'
    start     = '#{address:03} '      #  < #001 23.4 ppb,OK*43 CR LF
    end       = '\r\n'
    longest   = 32
    separator = ","
    count     = 2
    checksum  = { method = "xor8", mark = "*", includes = "start" }
    [status]
    field  = 2
    values = { OK = "ok", CAL = "calibration", ERR = "fault" }
    [channels]
    so2 = { parameter = "SO2", unit = "ppb", field = 1, suffix = "ppb" }

Texts with a backslash stand in single quotes, which TOML leaves alone.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from drivers import fields
from drivers.fields import Key, MapOf, Table
from drivers.profile import FLAGS
from drivers.text_profile_driver import Answer, Measured, Status, TextDriver
from drivers.text_profile_entries import Entries
from drivers.text_profile_frame import INCLUDES
from drivers.text_profile_words import FORMATS, PLAIN, REQUEST, SUMS, WITH_ADDRESS
from drivers.units import Unit

if TYPE_CHECKING:
    from pathlib import Path

    from drivers.toml_file import Document

__all__ = ["TEXT_PROFILE", "TextDriver", "TextProfileFile", "load"]

_MOST_FIELDS = 512
_FIELD = fields.Either(
    "the number of the field, from 1, or its key or column in quotes",
    int=fields.Integer(1, _MOST_FIELDS),
    str=fields.Text(re.compile(r".{1,64}"), "a key or the name of a column"),
)
_SHORT = fields.Text(re.compile(r"[\x20-\x7e\xa0-\xff]{0,32}"), "a text of at most 32 characters")
_BIT = re.compile(r"[0-5]?\d|6[0-3]")
_BITS = MapOf(_BIT, "the number of a bit from 0 to 63, 0 the lowest", fields.Choice(*FLAGS), int)
_NAMED = fields.Text(fields.NAME, "the name of an answer")
_CHECKSUM = Table(
    Key("method", fields.Choice(*SUMS), doc="how it is computed"),
    Key("format", fields.Choice(*FORMATS), "hex", doc="how it is written: hex with leading zeros, or decimal"),
    Key("mark", PLAIN, "", doc="what stands between the text and the sum"),
    Key("includes", fields.Choice(*INCLUDES), "neither", doc="which ends of the text the sum covers as well"),
)
_ANSWER = Table(
    Key("request", REQUEST, "", doc="what is sent for it; without one the instrument talks unasked"),
    Key("header", REQUEST, "", doc="request for the names of the columns; sent once and after trouble"),
    Key("start", WITH_ADDRESS, "", doc="what the answer begins with"),
    Key("end", PLAIN, "", doc="what the answer ends with, behind the checksum"),
    Key("longest", fields.Integer(1, 4096), doc="most bytes of an answer, start and end included"),
    Key("checksum", _CHECKSUM, None, doc="the checksum of the answer"),
    Key("separator", PLAIN, "", doc="what stands between two fields; a blank: any number of blanks"),
    Key("equals", PLAIN, "", doc="what stands between the key of a field and its value"),
    Key("count", fields.Integer(1, _MOST_FIELDS), None, doc="how many fields the answer has"),
    Key(
        "fixed", MapOf(re.compile(r"[1-9]\d{0,2}"), "the number of a field", _SHORT, int), {}, doc="what never changes"
    ),
)
_STATUS = Table(
    Key("answer", _NAMED, "", doc="the answer that it stands in, where there are several"),
    Key("field", _FIELD, doc="number of the field, or its key or column"),
    Key("format", fields.Choice("text", "hex", "decimal"), "text", doc="how it is written"),
    Key("bits", _BITS, {}, doc="flags that hold while their bit is 1"),
    Key("clear_bits", _BITS, {}, doc="flags that hold while their bit is 0"),
    Key(
        "required_bits",
        MapOf(_BIT, "the number of a bit from 0 to 63, 0 the lowest", fields.Integer(0, 1), int),
        {},
        doc="bits that must be so, else the answer is refused: the bit of the unit, say",
    ),
    Key(
        "values",
        MapOf(re.compile(r"[\x20-\x7e\xa0-\xff]{0,32}"), "what the field reads", fields.Choice("ok", *FLAGS)),
        {},
        doc="flags by what the field reads, and ok; what is not in here is a fault",
    ),
    Key(
        "channels",
        fields.ListOf(fields.Text(), least=1, is_set=True),
        None,
        doc="the channels it is about; default: all",
    ),
)
_CHANNEL = Table(
    Key("parameter", fields.Text(re.compile(r".{1,64}"), "a name"), doc='quantity measured, like "SO2"'),
    Key("unit", Unit(), doc='unit of the value, like "ppb"; "" if it has none'),
    Key("answer", _NAMED, "", doc="the answer that it stands in, where there are several"),
    Key("field", _FIELD, doc="number of the field, or its key or column"),
    Key("format", fields.Choice("decimal", "hex", "text"), "decimal", doc="how it is written"),
    Key("suffix", _SHORT, "", doc="what stands behind the number: the instrument's letter or word of the unit"),
    Key("scale", fields.Number(-1e12, 1e12), 1, doc="factor from the number to the unit"),
    Key("offset", fields.Number(-1e12, 1e12), 0, doc="added after the scale"),
    Key("range", fields.ListOf(fields.Number()), None, doc="measuring range; outside is over_range"),
)
TEXT_PROFILE = Table(
    Key("protocol", fields.Choice("text"), doc='"text"; a profile without this key is one of registers'),
    Key("timeout", fields.duration(0.01, 60), None, doc="how long an answer may take, or a message be awaited"),
    Key("silence", fields.duration(0.001, 10), None, doc="silence that the instrument needs before a request"),
    Key(
        "missing", fields.ListOf(_SHORT), (), doc="what a field reads, or what stands behind its number, without value"
    ),
    Key("answer", fields.OneOrMore(_ANSWER), doc="what is asked and how the answer looks"),
    Key("status", fields.OneOrMore(_STATUS), None, doc="fields that say how the instrument is"),
    Key("channels", MapOf(fields.NAME, "a channel name like so2", _CHANNEL), doc="what it measures"),
)


class TextProfileFile(NamedTuple):
    """A text profile that was read and found right; `addresses` are those that its requests can carry."""

    path: Path
    answers: tuple[Answer, ...]
    measured: tuple[Measured, ...]
    statuses: tuple[Status, ...]
    addresses: range
    timeout_s: float | None
    silence_s: float | None

    def driver(self) -> TextDriver:
        """Make the driver of one instrument."""
        return TextDriver(self.answers, self.measured, self.statuses)


def load(document: Document) -> TextProfileFile:
    """Read a profile. Raises ConfigError with all its problems."""
    report = fields.Report(document)
    raw = TEXT_PROFILE.read(document.data, (), report) or {}
    entries = Entries(raw, report)
    answers, measured, statuses = entries.answers(), entries.measured(), entries.statuses()
    entries.check_use()
    report.done()
    return TextProfileFile(
        document.path, answers, measured, statuses, entries.addresses(), raw["timeout"], raw["silence"]
    )
