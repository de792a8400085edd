"""What may be asked of the daemon over its socket: one JSON object a line, checked before anything is done."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from agent.commands import NotValid, as_object, checked
from agent.works import KINDS, MOST_S
from drivers.blocks import MOST_REGISTERS
from drivers.fields import NAME, Choice, Integer, Key, Table, TableOfAny, Text, did_you_mean, duration
from drivers.modbus import TABLES
from drivers.registry import CODE_DRIVERS

if TYPE_CHECKING:
    from collections.abc import Mapping

REQUEST_BYTES = 8192
_NAME = Text(NAME, "a name of letters, digits, '.', '_' and '-'")
_ONE_LINE = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]{1,200}")
_INSTRUMENT = Key("instrument", _NAME, doc="name of the instrument")
_LINE = Key("line", _NAME, doc="a line that the daemon holds")
_ADDRESS = Key("address", Integer(0, 65_535), 1, doc="the instrument's number on the line")
_TIMEOUT = Key("timeout", duration(0.01, 10), None, doc="how long to wait for an answer; default: as the line says")
_FLAG = Key("flag", Choice(*(kind.value for kind in KINDS)), doc="what the samples are flagged with")
_USER = Key("user", Text(_ONE_LINE, "the name of a user"), None, doc="who asks; counts where the kernel cannot tell")
LONGEST = duration(1, MOST_S)


def _table(word: str, *keys: Key) -> Table:
    return Table(Key("do", Choice(word), doc="what is wanted"), *keys)


REQUESTS: Mapping[str, Table] = {
    "poll": _table(
        "poll",
        _INSTRUMENT,
        Key("start", Choice("leave", "send"), "leave", doc="send: what its driver tells it to do, and not only reads"),
    ),
    "try": _table(
        "try",
        _LINE,
        _ADDRESS,
        Key("driver", _NAME, doc="a shipped driver"),
        Key("options", TableOfAny(), {}, doc="options of the driver"),
        _TIMEOUT,
    ),
    "identify": _table(
        "identify",
        _LINE,
        Key("driver", Choice(*CODE_DRIVERS), doc="a code driver"),
        Key("question", Integer(0, 99), 0, doc="which of the questions that it puts to those it does not know"),
        _ADDRESS,
        _TIMEOUT,
    ),
    "read": _table(
        "read",
        _LINE,
        Key("address", Integer(1, 255), doc="the instrument's number on the line"),
        Key("table", Choice(*TABLES), doc="which Modbus table"),
        Key("register", Integer(0, 65_535), doc="first register, as on the wire: counted from 0"),
        Key("count", Integer(1, MOST_REGISTERS), 1, doc="how many registers"),
        _TIMEOUT,
    ),
    "begin_work": _table(
        "begin_work",
        _INSTRUMENT,
        _FLAG,
        Key("for", LONGEST, doc="how long it lasts"),
        Key("why", Text(_ONE_LINE, "text in one line, at most 200 characters"), doc="what is done"),
        _USER,
    ),
    "end_work": _table("end_work", _INSTRUMENT, _FLAG, _USER),
    "works": _table("works"),
}


def parse(line: bytes) -> dict[str, Any]:
    """Read a request. Raises NotValid with every mistake in it, and nothing else."""
    request = as_object(line)
    word = request.get("do")
    if not isinstance(word, str) or word not in REQUESTS:
        raise NotValid(f"do: allowed: {', '.join(REQUESTS)}{did_you_mean(word, REQUESTS)}")
    return checked(REQUESTS[word], request, None)
