"""What the platform may ask of a station: messages that anybody may have sent, so nothing in them is believed.

The definitions below check a command and give the JSON Schema of its message.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

from agent.times import milliseconds
from drivers.fields import NAME, Choice, Integer, Key, ListOf, OneOf, Report, Table, Text

RANGES_MOST = 1000
INSTRUMENTS_MOST = 100
LAST_SEQ = 1 << 53
"""The largest whole number that every JSON reader keeps exactly."""
_ID = Text(NAME, "letters, digits, '.', '_' and '-', at most 64")
_SPOOL = Text(re.compile(r"[0-9a-f]{32}"), "the 32 hex digits of a spool id")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,3})?Z")


class NotValid(Exception):
    """A message that is no command; `id` is its request's, if that could be read."""

    def __init__(self, text: str, request_id: str | None = None) -> None:
        super().__init__(text)
        self.id = request_id


class Command(NamedTuple):
    """One command, checked. `word` is backfill, ledger or cancel; times are UTC milliseconds, `to_ms` is not in."""

    id: str
    word: str
    spool: str | None = None
    seqs: tuple[tuple[int, int], ...] = ()
    from_ms: int | None = None
    to_ms: int | None = None
    instruments: tuple[str, ...] = ()


class _Ranges(ListOf):
    """A list of [first, last], both ends included."""

    def __init__(self) -> None:
        super().__init__(ListOf(Integer(1, LAST_SEQ), least=2), least=1)

    def read(self, value: Any, path: tuple[str, ...], report: Report) -> list[Any] | None:
        """Check a list of ranges as well for what the single numbers do not show."""
        if isinstance(value, list) and len(value) > RANGES_MOST:
            report.add(path, value, f"allowed: {RANGES_MOST} ranges at most")
            return None
        ranges = super().read(value, path, report)
        if ranges is None or report.problems:
            return None
        for index, one in enumerate(ranges):
            if len(one) != 2 or one[0] > one[1]:
                report.add((*path, str(index)), one, "expected [first, last], the first not above the last")
        return ranges

    def schema(self) -> dict[str, Any]:
        """Describe the ranges; that first is not above last cannot be said in JSON Schema."""
        pair = {"type": "array", "items": Integer(1, LAST_SEQ).schema(), "minItems": 2, "maxItems": 2}
        return {"type": "array", "items": pair, "minItems": 1, "maxItems": RANGES_MOST}


class _Time(Text):
    """A time in UTC, read as milliseconds since 1970."""

    def __init__(self) -> None:
        super().__init__(_TIME, 'a time in UTC, like "2026-11-24T10:00:00.000Z"')

    def read(self, value: Any, path: tuple[str, ...], report: Report) -> Any:
        """Check and convert a time."""
        text = super().read(value, path, report)
        try:
            return None if text is None else milliseconds(text)
        except ValueError:
            report.add(path, value, f"expected {self.what}")
            return None


class _Instruments(ListOf):
    """Names of instruments."""

    def __init__(self) -> None:
        super().__init__(_ID, least=1, is_set=True)

    def read(self, value: Any, path: tuple[str, ...], report: Report) -> list[Any] | None:
        """Check a list of names that may not be long."""
        if isinstance(value, list) and len(value) > INSTRUMENTS_MOST:
            report.add(path, value, f"allowed: {INSTRUMENTS_MOST} names at most")
            return None
        return super().read(value, path, report)

    def schema(self) -> dict[str, Any]:
        """Describe the names."""
        return super().schema() | {"maxItems": INSTRUMENTS_MOST}


def _table(word: str, *keys: Key) -> Table:
    return Table(
        Key("v", OneOf(1), doc="version of the contract"),
        Key("id", _ID, doc="the platform's name for this request"),
        Key("command", Choice(word), doc="what is wanted"),
        *keys,
    )


_SPAN = (
    Key("from", _Time(), doc="begin of the span, included"),
    Key("to", _Time(), doc="end of the span, not included"),
)
_OF_SPOOL = Key("spool", _SPOOL, None, doc="spool that is meant; default: the present one")
SHAPES = {
    "backfill by seq": _table("backfill", _OF_SPOOL, Key("seqs", _Ranges(), doc="ranges of seqs, both ends included")),
    "backfill by time": _table(
        "backfill", *_SPAN, Key("instruments", _Instruments(), None, doc="only these; default: all records")
    ),
    "ledger": _table("ledger", *_SPAN),
    "cancel": _table("cancel"),
}
RECEIPT = Table(
    Key("v", OneOf(1), doc="version of the contract"),
    Key("spool", _SPOOL, doc="spool that is meant"),
    Key("stored", _Ranges(), doc="ranges of seqs that the platform has stored, both ends included"),
)


def parse(payload: bytes) -> Command:
    """Read a command. Raises NotValid with every mistake in it, and nothing else."""
    document = as_object(payload)
    request_id = document.get("id")
    request_id = request_id if isinstance(request_id, str) and NAME.fullmatch(request_id) else None
    word = document.get("command")
    if word not in ("backfill", "ledger", "cancel"):
        raise NotValid("command: allowed: backfill, ledger, cancel", request_id)
    shape = (f"backfill by {'seq' if 'seqs' in document else 'time'}") if word == "backfill" else word
    read = checked(SHAPES[shape], document, request_id)
    from_ms, to_ms = read.get("from"), read.get("to")
    if from_ms is not None and to_ms is not None and from_ms >= to_ms:
        raise NotValid("to: must be later than from", request_id)
    ranges = tuple((first, last) for first, last in read.get("seqs") or ())
    return Command(read["id"], word, read.get("spool"), ranges, from_ms, to_ms, tuple(read.get("instruments") or ()))


def parse_receipt(payload: bytes) -> tuple[str, list[tuple[int, int]]]:
    """Read a receipt: the spool, and what of it is stored. Raises NotValid."""
    read = checked(RECEIPT, as_object(payload), None)
    return read["spool"], [(first, last) for first, last in read["stored"]]


def as_object(payload: bytes) -> dict[str, Any]:
    """Read a message as a JSON object. Raises NotValid."""
    try:
        document = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise NotValid("is not JSON") from error
    if not isinstance(document, dict):
        raise NotValid("expected an object")
    return document


def checked(table: Table, document: dict[str, Any], request_id: str | None) -> dict[str, Any]:
    """Check a message against its definition. Raises NotValid with everything that is wrong with it."""
    report = Report(Message())
    read = table.read(document, (), report)
    if report.problems or read is None:
        found = [f"{one.key}: {f'found {one.found}; ' if one.found else ''}{one.allowed}" for one in report.problems]
        raise NotValid("; ".join(found)[:500], request_id)
    return read


class Message:
    """Stands where a file would: a message has neither path nor lines."""

    path = Path("message")

    @staticmethod
    def line(_path: tuple[str, ...]) -> int:
        """Give no line."""
        return 0


__all__ = ["RECEIPT", "SHAPES", "Command", "Message", "NotValid", "as_object", "checked", "parse", "parse_receipt"]
