"""A drain as the counter saw it, read from its file message by message, and the daemon's memory meanwhile."""

from __future__ import annotations

import contextlib
import gzip
import json
import threading
import time
from typing import TYPE_CHECKING, Any, Self

from agent.times import milliseconds
from bench.process import use
from bench.subscriber import ENTRY
from bench.truth import instrument_number, is_right
from bench.week import checksum

if TYPE_CHECKING:
    from array import array
    from collections.abc import Iterator
    from pathlib import Path

_PROPERTIES_BYTES = 1 + (1 + 2 + len("application/json")) + (1 + 2 + len("content-encoding") + 2 + len("gzip"))
_TOPIC_BYTES = len("stations/BENCH/backfill")
_WINDOW_S = 10
_WATCHED_LEAST_NS = 3 * 10**9


def packet_bytes(payload: int) -> int:
    """Give the bytes of a PUBLISH beside its payload (MQTT 5, 3.3): head, length, topic, number, properties."""
    rest = 2 + _TOPIC_BYTES + 2 + _PROPERTIES_BYTES
    length, left = 1, rest + payload
    while left := left >> 7:
        length += 1
    return 1 + length + rest


def entries(file: Path, begin: int = 0) -> Iterator[tuple[int, int, str, bytes]]:
    """Give what the counter wrote: where it ends in the file, its arrival in ns, the topic, the payload."""
    with file.open("rb") as stored:
        stored.seek(begin)
        while len(head := stored.read(ENTRY.size)) == ENTRY.size:
            arrived_ns, topic_size, size = ENTRY.unpack(head)
            data = stored.read(topic_size + size)
            if len(data) < topic_size + size:
                return
            begin += ENTRY.size + len(data)
            yield begin, arrived_ns, data[:topic_size].decode(), data[topic_size:]


class Drain:
    """What became of records 1 to n of a spool, whose checksums are known, and of the present meanwhile."""

    def __init__(self, file: Path, station: str, sums: array[int], channels: int) -> None:
        self._file, self._station, self._sums, self._channels = file, station, sums, channels
        self._arrived = bytearray(len(sums))
        self._read_to = self._size = 0
        self._grew_s = time.monotonic()
        self._messages: list[tuple[int, int]] = []
        self._live: list[tuple[int, float]] = []
        self.missing = len(sums)
        self.wrong = self.repeated = 0
        self.answers: set[tuple[int, int]] = set()
        self.sizes: list[int] = []

    def is_quiet(self, seconds: float) -> bool:
        """Say whether for so long nothing larger than the present has come: two messages of it in a second."""
        size, now_s = self._file.stat().st_size, time.monotonic()
        if size - self._size > 100_000 * (now_s - self._grew_s + 0.5):
            self._grew_s, self._size = now_s, size
        return size > 0 and now_s - self._grew_s > seconds

    def update(self) -> None:
        """Read what came since the last time."""
        for end, arrived_ns, topic, payload in entries(self._file, self._read_to):
            self._read_to = end
            station, lane = topic.split("/")[-2:]
            if station == self._station and lane in ("data", "backfill"):
                self._message(arrived_ns, lane, payload)

    @property
    def begin_ns(self) -> int:
        """When the first message of backfill arrived."""
        return self._messages[0][0]

    @property
    def end_ns(self) -> int:
        """When the last message arrived that holds records of the backlog."""
        return self._messages[-1][0]

    @property
    def took_s(self) -> float:
        """How long the drain took."""
        return (self.end_ns - self.begin_ns) / 1e9

    @property
    def values(self) -> int:
        """How many values came as backfill."""
        return sum(values for _, values in self._messages)

    @property
    def payload_bytes(self) -> int:
        """How many bytes came as backfill."""
        return sum(self.sizes)

    def rate_after(self, seconds: float) -> float:
        """Give the values a second from so long after the begin."""
        from_ns = self.begin_ns + round(seconds * 1e9)
        later = sum(values for at_ns, values in self._messages if at_ns > from_ns)
        return later / ((self.end_ns - from_ns) / 1e9)

    def lateness_s(self) -> list[float]:
        """Give, sorted, how late records measured during the drain (3 s at least) arrived, on whatever lane."""
        return sorted(late for at_ns, late in self._live if self.begin_ns <= at_ns <= self._watched_to_ns)

    @property
    def _watched_to_ns(self) -> int:
        return max(self.end_ns, self.begin_ns + _WATCHED_LEAST_NS)

    def lateness_each_10_s(self) -> list[list[float]]:
        """Give the same by the time of measuring; the last span may be longer."""
        whole = max(1, int(self.took_s) // _WINDOW_S)
        spans: list[list[float]] = [[] for _ in range(whole)]
        for at_ns, late in self._live:
            if self.begin_ns <= at_ns <= self._watched_to_ns:
                spans[min(whole - 1, (at_ns - self.begin_ns) // (_WINDOW_S * 10**9))].append(late)
        return [sorted(span) for span in spans if span]

    def _message(self, arrived_ns: int, lane: str, payload: bytes) -> None:
        records = json.loads(gzip.decompress(payload) if lane == "backfill" else payload)["records"]
        waited = sum(self._record(record, arrived_ns) for record in records)
        if waited:
            self.sizes.append(len(payload))
            self._messages.append((arrived_ns, waited))

    def _record(self, record: dict[str, Any], arrived_ns: int) -> int:
        """Take a record; gives its number of values if it was one of the backlog."""
        place = record["seq"] - 1
        if place >= len(self._sums):
            self._present(record, arrived_ns)
            return 0
        values = list(record["values"].values())
        self.wrong += checksum(record["at"], record["instrument"], values) != self._sums[place]
        if self._arrived[place]:
            self.repeated += 1
        else:
            self._arrived[place] = 1
            self.missing -= 1
        return len(values)

    def _present(self, record: dict[str, Any], arrived_ns: int) -> None:
        if record["kind"] != "raw" or not record["instrument"].startswith("sim"):
            return
        instrument, values = instrument_number(record["instrument"]), record["values"]
        if None in values.values() or not is_right(instrument, values):
            self.wrong += 1
            return
        self.answers.add((instrument, int(values["c00"])))
        at_ns = milliseconds(record["at"]) * 1_000_000
        self._live.append((at_ns, (arrived_ns - at_ns) / 1e9))


class RssLog:
    """The memory of a process, once a second, in MB; a context."""

    def __init__(self, pid: int) -> None:
        self.mb: list[float] = []
        self._pid = pid
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._is_over.set()
        self._thread.join()

    def ends_mb(self) -> tuple[float, float]:
        """Give the mean of the first minute and of the last, or of thirds of a shorter span; the start is left out."""
        settled = self.mb[3:] or self.mb
        many = max(1, min(60, len(settled) // 3))
        return sum(settled[:many]) / many, sum(settled[-many:]) / many

    def _watch(self) -> None:
        with contextlib.suppress(OSError, StopIteration):  # it ended; who waits for it says so
            while not self._is_over.wait(1):
                self.mb.append(use(self._pid).rss_mb)
