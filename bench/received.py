"""What has arrived at the platform's end, read from the counter's file while it grows."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.subscriber import ENTRY
from bench.truth import instrument_number, is_right

if TYPE_CHECKING:
    from pathlib import Path

OWN = "station"
"""The station's own channels: no instrument of ours."""
_GZIP = b"\x1f\x8b"


class Arrival(NamedTuple):
    """One record of a poll as it first arrived. `number` is the request behind it, 0 if the poll failed."""

    seq: int
    at: str
    instrument: int
    number: int
    values: int
    lane: str
    arrived_ns: int


class Received:
    """Everything that arrived so far, and what was wrong with it."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._read_to = 0
        self._first: dict[tuple[str, int], str] = {}
        self.polls: list[Arrival] = []
        self.outages: list[dict[str, Any]] = []
        self.messages: list[tuple[int, str, int]] = []
        self.repeated = 0
        self.contradicting = 0
        self.wrong: list[dict[str, Any]] = []

    def update(self) -> Received:
        """Read what came since the last time."""
        with self._file.open("rb") as file:
            file.seek(self._read_to)
            data = file.read()
        place = 0
        while len(data) - place >= ENTRY.size:
            arrived_ns, topic_size, size = ENTRY.unpack_from(data, place)
            begin = place + ENTRY.size + topic_size
            if len(data) < begin + size:
                break
            lane = data[begin - topic_size : begin].decode().rpartition("/")[2]
            self._message(arrived_ns, lane, data[begin : begin + size])
            place = begin + size
        self._read_to += place
        return self

    @property
    def seqs(self) -> dict[str, set[int]]:
        """Sequence numbers that arrived, by spool."""
        spools: dict[str, set[int]] = {}
        for spool, seq in self._first:
            spools.setdefault(spool, set()).add(seq)
        return spools

    @property
    def requests(self) -> set[tuple[int, int]]:
        """The requests whose answers arrived, as (instrument, number)."""
        return {(poll.instrument, poll.number) for poll in self.polls if poll.number}

    @property
    def missing_seqs(self) -> int:
        """How many numbers between 1 and the newest of each spool did not arrive."""
        return sum(max(seqs) - len(seqs) for seqs in self.seqs.values())

    @property
    def failed(self) -> int:
        """How many polls arrived without values."""
        return sum(1 for poll in self.polls if not poll.number)

    def _message(self, arrived_ns: int, lane: str, payload: bytes) -> None:
        text = gzip.decompress(payload) if payload.startswith(_GZIP) else payload
        message = json.loads(text)
        self.messages.append((arrived_ns, lane, len(payload)))
        for record in message["records"]:
            self._record(message["spool"], record, lane, arrived_ns)

    def _record(self, spool: str, record: dict[str, Any], lane: str, arrived_ns: int) -> None:
        key, text = (spool, record["seq"]), json.dumps(record)
        if (known := self._first.setdefault(key, text)) is not text:
            self.repeated += 1
            self.contradicting += known != text
        elif record["kind"] == "outage":
            self.outages.append(record)
        elif record["kind"] == "raw" and record["instrument"] != OWN:
            self._poll(record, lane, arrived_ns)

    def _poll(self, record: dict[str, Any], lane: str, arrived_ns: int) -> None:
        instrument, values = instrument_number(record["instrument"]), record["values"]
        failed = None in values.values()
        if not failed and not is_right(instrument, values):
            self.wrong.append(record)
            return
        number = 0 if failed else int(values["c00"])
        self.polls.append(Arrival(record["seq"], record["at"], instrument, number, len(values), lane, arrived_ns))
