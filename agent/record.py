"""Records: what one poll of one instrument gave, encoded once, when it is stored."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from agent.times import iso
from drivers.sample import Flag, worst

if TYPE_CHECKING:
    from collections.abc import Sequence

    from drivers.clock import Moment
    from drivers.sample import Channel, Sample

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_NO_COMM = Flag.NO_COMM.value


class Record(NamedTuple):
    """A record before it has its sequence number. `body` is the JSON after `seq` and `at`, without braces."""

    moment: Moment
    body: bytes


def encode(fields: dict[str, Any]) -> bytes:
    """Encode the fields of a record body. Raises ValueError for a number that is not finite."""
    return _encode(fields)[1:-1].encode()


def measured(instrument: str, samples: Sequence[Sample], moment: Moment) -> Record:
    """Build the record of a poll that was answered."""
    fields: dict[str, Any] = {
        "kind": "raw",
        "instrument": instrument,
        "values": {sample.channel: sample.value for sample in samples},
    }
    if flags := {sample.channel: worst(sample.flags).value for sample in samples if sample.flags}:
        fields["flags"] = flags
    return Record(moment, encode(fields))


def unanswered(
    instrument: str, channels: Sequence[Channel], samples: Sequence[Sample], reason: str, moment: Moment
) -> Record:
    """Build the record of a poll that failed: what was answered before it failed, and null for the rest."""
    known = {sample.channel: sample for sample in samples}
    values = {channel.name: known[channel.name].value if channel.name in known else None for channel in channels}
    flags = {name: worst(known[name].flags).value if name in known else _NO_COMM for name in values}
    fields = {
        "kind": "raw",
        "instrument": instrument,
        "values": values,
        "flags": {name: flag for name, flag in flags.items() if flag != Flag.OK},
        "error": reason,
    }
    return Record(moment, encode(fields))


def outage(
    reason: str, begin: Moment, end: Moment | None, *, at: Moment, dated: bool, instrument: str = "", slots: int = 0
) -> Record:
    """Build the record of a span in which due slots were not asked; without an end it has just begun.

    Without an instrument it is the whole station that was away. The span stands in it in seconds, and as times only if the
    clock is trusted (`dated`), since a body never changes.
    """
    fields: dict[str, Any] = {"kind": "outage"}
    if instrument:
        fields["instrument"] = instrument
    fields["reason"] = reason
    if dated:
        fields |= {"from": iso(begin.wall_ms), "to": iso(end.wall_ms) if end else None}
    if end:
        fields["span_s"] = (end.elapsed_ms - begin.elapsed_ms) / 1000
    if instrument:
        fields["slots"] = slots
    return Record(at, encode(fields))


def event(name: str, moment: Moment, **details: Any) -> Record:
    """Build the record of something that happened to the station itself."""
    return Record(moment, encode({"kind": "event", "event": name, **details}))
