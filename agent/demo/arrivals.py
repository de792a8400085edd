"""What the platform sees: a subscriber that keeps the newest values and counts what arrived."""

from __future__ import annotations

import gzip
import json
import threading
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from agent.delivery.mqtt import Subscriber
from agent.spool.ranges import Ranges
from agent.times import milliseconds
from drivers.clock import monotonic_s

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    T = TypeVar("T")

_GZIP = b"\x1f\x8b"
_RATE_OVER_S = 5.0
_NOTES = 6


@dataclass
class Seen:
    """The newest record of an instrument: its time in ms since 1970, values and flags."""

    at_ms: int
    values: Mapping[str, Any]
    flags: Mapping[str, str]


@dataclass
class Arrivals:
    """What came so far; `live_at_s` are the times of the latest live messages."""

    newest: dict[str, Seen] = field(default_factory=dict)
    received: dict[str, Ranges] = field(default_factory=dict)
    live: int = 0
    backfill: int = 0
    again: int = 0
    live_at_s: deque[float] = field(default_factory=lambda: deque(maxlen=1000))
    outages: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=_NOTES))
    status: str = "unknown"


class Platform:
    """Receives everything that the station publishes. `read` gives a consistent look at the arrivals."""

    def __init__(self, port: int, station: str, protocol: str) -> None:
        self._station = station
        self._arrivals = Arrivals()
        self._lock = threading.Lock()
        self._subscriber = Subscriber(f"mqtt://127.0.0.1:{port}", [f"stations/{station}/#"], self._arrived, protocol)

    @property
    def is_listening(self) -> bool:
        """Whether nothing that is published now can pass it by."""
        return self._subscriber.is_subscribed

    def read(self, look: Callable[[Arrivals], T]) -> T:
        """Look at the arrivals while none comes in."""
        with self._lock:
            return look(self._arrivals)

    def ask(self, spool: str, seqs: list[tuple[int, int]]) -> None:
        """Ask the station to send records once more, as a platform does that finds them missing."""
        command = {"v": 1, "id": "demo", "command": "backfill", "spool": spool, "seqs": seqs}
        self._subscriber.publish(f"stations/{self._station}/command", json.dumps(command).encode())

    def close(self) -> None:
        """Disconnect."""
        self._subscriber.close()

    def _arrived(self, topic: str, payload: bytes) -> None:
        text = gzip.decompress(payload) if payload.startswith(_GZIP) else payload
        message, lane = json.loads(text), topic.rpartition("/")[2]
        with self._lock:
            if lane == "state":
                self._arrivals.status = message["status"]
            elif lane in {"data", "backfill"}:
                self._records(message, is_live=lane == "data")

    def _records(self, message: dict[str, Any], *, is_live: bool) -> None:
        arrivals, records = self._arrivals, message["records"]
        if is_live:
            arrivals.live += len(records)
            arrivals.live_at_s.append(monotonic_s())
        else:
            arrivals.backfill += len(records)
        received = arrivals.received.setdefault(message["spool"], Ranges())
        for record in records:
            if record["seq"] in received:
                arrivals.again += 1
            else:
                received.add(record["seq"], record["seq"])
                self._keep(record)

    def _keep(self, record: dict[str, Any]) -> None:
        if record["kind"] == "outage":
            self._arrivals.outages.append(record)
        elif record["kind"] == "raw":
            seen = Seen(milliseconds(record["at"]), record["values"], record.get("flags", {}))
            known = self._arrivals.newest.get(record["instrument"])
            if known is None or known.at_ms <= seen.at_ms:
                self._arrivals.newest[record["instrument"]] = seen


def live_per_s(arrivals: Arrivals) -> float:
    """Give the live messages a second over the last few seconds."""
    since_s = monotonic_s() - _RATE_OVER_S
    return sum(at_s >= since_s for at_s in arrivals.live_at_s) / _RATE_OVER_S
