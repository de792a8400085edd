"""Records: what one poll of one instrument gave, encoded once, when it is stored."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from agent.times import iso
from drivers.sample import Flag, worst

if TYPE_CHECKING:
    from collections.abc import Sequence

    from drivers.clock import Moment
    from drivers.sample import Channel, Sample, Value

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_NO_COMM = Flag.NO_COMM.value


SEPARATOR = "\x1f"
"""Stands between the values of a stored record; JSON never contains it unescaped."""


class Record(NamedTuple):
    """A record before it has its sequence number: the JSON after `seq` and `at`, without braces, in two parts.

    `shape` is what all records of an instrument have in common and is stored once; `body` are the values, stored each
    time. Both are split by SEPARATOR and laid into each other again by `joined`. An empty shape: the body is all.
    """

    moment: Moment
    shape: str
    body: bytes


def joined(shape: Sequence[bytes], body: bytes) -> bytes:
    """Give the JSON of a record from its parts. Raises ValueError if they do not fit."""
    laid = [b""] * (2 * len(shape))
    laid[::2], laid[1::2] = shape, body.split(b"\x1f")
    return b"".join(laid)


def encode(fields: dict[str, Any]) -> bytes:
    """Encode the fields of a record body. Raises ValueError for a number that is not finite."""
    return _encode(fields)[1:-1].encode()


def measured(instrument: str, samples: Sequence[Sample], moment: Moment) -> Record:
    """Build the record of a poll that was answered."""
    flags = {sample.channel: worst(sample.flags).value for sample in samples if sample.flags}
    names = tuple([sample.channel for sample in samples])
    rest = {"flags": flags} if flags else {}
    return Record(moment, _shape(instrument, names), _body([sample.value for sample in samples], rest))


def unanswered(
    instrument: str, channels: Sequence[Channel], samples: Sequence[Sample], reason: str, moment: Moment
) -> Record:
    """Build the record of a poll that failed: what was answered before it failed, and null for the rest."""
    known = {sample.channel: sample for sample in samples}
    names = tuple(channel.name for channel in channels)
    flags = {name: worst(known[name].flags).value if name in known else _NO_COMM for name in names}
    rest = {"flags": {name: flag for name, flag in flags.items() if flag != Flag.OK}, "error": reason}
    values = [known[name].value if name in known else None for name in names]
    return Record(moment, _shape(instrument, names), _body(values, rest))


@lru_cache(maxsize=1024)
def _shape(instrument: str, names: tuple[str, ...]) -> str:
    head = f'"kind":"raw","instrument":{_encode(instrument)},"values":{{'
    keys = [f"{',' if place else head}{_encode(name)}:" for place, name in enumerate(names)]
    return SEPARATOR.join([*keys, "}" if keys else head + "}"])


def _body(values: list[Value], rest: dict[str, Any]) -> bytes:
    """Write values and what follows them; lists of numbers are written in one go."""
    text = _encode(values)[1:-1]
    text = SEPARATOR.join(map(_encode, values)) if '"' in text else text.replace(",", SEPARATOR)
    tail = "," + _encode(rest)[1:-1] if rest else ""
    return f"{text}{SEPARATOR}{tail}".encode() if values else tail.encode()


def outage(
    reason: str,
    begin: Moment | None,
    end: Moment | None,
    *,
    at: Moment,
    dated: bool,
    instrument: str = "",
    slots: int = 0,
) -> Record:
    """Build the record of a span in which due slots were not asked; without an end it has just begun.

    Without an instrument it is the whole station that was away, and without a begin nobody knows since when: then the
    record before this one is the last word. The span stands in it in seconds, and as times only if the clock is
    trusted (`dated`), since a body never changes.
    """
    fields: dict[str, Any] = {"kind": "outage"}
    if instrument:
        fields["instrument"] = instrument
    fields["reason"] = reason
    if dated and begin:
        fields |= {"from": iso(begin.wall_ms), "to": iso(end.wall_ms) if end else None}
    if begin and end:
        fields["span_s"] = (end.elapsed_ms - begin.elapsed_ms) / 1000
    if instrument:
        fields["slots"] = slots
    return Record(at, "", encode(fields))


def event(name: str, moment: Moment, **details: Any) -> Record:
    """Build the record of something that happened to the station itself."""
    return Record(moment, "", encode({"kind": "event", "event": name, **details}))


def ledger(name: str, moment: Moment, **figures: Any) -> Record:
    """Build a record of what the station has stored, given up or lost."""
    return Record(moment, "", encode({"kind": "ledger", "ledger": name, **figures}))
