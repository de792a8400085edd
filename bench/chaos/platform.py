"""The platform: keeps every record with its bytes, sends receipts, and asks for what is missing."""

from __future__ import annotations

import gzip
import hashlib
import itertools
import json
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from paho.mqtt.client import CallbackAPIVersion, Client, MQTTMessage, MQTTv5
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from agent.spool.ranges import Ranges

if TYPE_CHECKING:
    from collections.abc import Callable

STATION = "CHAOS"
Key = tuple[str, int]
_DECODER = json.JSONDecoder()


class Arrived(NamedTuple):
    """A record as it first arrived."""

    digest: bytes
    body: dict[str, Any]
    at_s: float


def digest(record: bytes) -> bytes:
    """Give what stands for the bytes of a record."""
    return hashlib.blake2b(record, digest_size=12).digest()


def records_of(payload: str) -> list[tuple[dict[str, Any], bytes]]:
    """Take a message apart into its records, each with its very bytes."""
    found, place = [], payload.index('"records":[') + len('"records":[')
    while payload[place] != "]":
        body, end = _DECODER.raw_decode(payload, place)
        found.append((body, payload[place:end].encode()))
        place = end + (payload[end] == ",")
    return found


class Platform:
    """Receives on a session that outlives its connections. `seen` is called with each new record."""

    def __init__(self, port: int, seen: Callable[[dict[str, Any]], None], *, receipts: bool) -> None:
        self.records: dict[Key, Arrived] = {}
        self.repeated = 0
        self.contradictions: list[str] = []
        self.replies: list[dict[str, Any]] = []
        self.state: dict[str, Any] = {}
        self._stored: dict[str, Ranges] = {}
        self._present = ""
        self.also_stored: Callable[[str], Ranges] | None = None
        """A receipt covers only what this has of a spool as well, if it is there."""
        self._asked = itertools.count(1)
        self._lock = threading.Lock()
        self._seen, self._receipts = seen, receipts
        self._client = Client(CallbackAPIVersion.VERSION2, client_id="platform", protocol=MQTTv5)
        self._client.on_connect = lambda client, *_: client.subscribe([(f"stations/{STATION}/+", 1)])
        self._client.on_message = self._message
        self._client.reconnect_delay_set(1, 1)
        session = Properties(PacketTypes.CONNECT)
        session.SessionExpiryInterval = 24 * 3600
        self._client.connect("127.0.0.1", port, 20, clean_start=False, properties=session)
        self._client.loop_start()
        threading.Thread(target=self._tend, name="platform", daemon=True).start()

    def missing(self, spool: str, newest: int) -> list[tuple[int, int]]:
        """Give the ranges of a spool that have not arrived under their own number."""
        with self._lock:
            stored = self._stored.get(spool, Ranges()).copy()
        found, after = [], 1
        while gap := stored.gap(after, newest):
            found.append(gap)
            after = gap[1] + 1
        return found

    def command(self, **words: Any) -> str:
        """Send a command and give its id."""
        name = words.pop("id", None) or f"chaos-{next(self._asked)}"
        self._send("command", {"v": 1, "id": name, **words})
        return name

    def ask_missing(self) -> str:
        """Ask for what should have arrived by now; gives the id, or nothing if all is there."""
        spool, newest = self.state.get("spool", ""), self.state.get("delivery", {}).get("newest", 0)
        gaps = self.missing(spool, newest)[:1000]
        return self.command(command="backfill", spool=spool, seqs=gaps) if gaps else ""

    def send_raw(self, topic: str, payload: bytes) -> None:
        """Send anything to the station."""
        self._client.publish(f"stations/{STATION}/{topic}", payload, qos=1)

    def close(self) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()

    def _send(self, topic: str, document: dict[str, Any]) -> None:
        self.send_raw(topic, json.dumps(document).encode())

    def _tend(self) -> None:
        while True:
            time.sleep(1)
            if self._receipts and self._client.is_connected():
                spool = self._present
                with self._lock:
                    ranges = list(self._stored.get(spool, ()))
                if self.also_stored is not None:
                    others = self.also_stored(spool)
                    ranges = [both for one in ranges for both in others.within(*one)]
                if stored := ranges[-1000:]:
                    self._send("receipt", {"v": 1, "spool": spool, "stored": stored})

    def _message(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        lane = message.topic.rpartition("/")[2]
        if lane in {"data", "backfill"}:
            payload = gzip.decompress(message.payload) if message.payload[:2] == b"\x1f\x8b" else message.payload
            spool = json.loads(payload)["spool"]
            self._present = spool
            for body, encoded in records_of(payload.decode()):
                self._store(spool, body, encoded)
        elif lane == "reply":
            self.replies.append(json.loads(message.payload))
        elif lane == "state":
            state = json.loads(message.payload)
            self.state = state if state.get("delivery") else self.state | {"status": state["status"]}

    def _store(self, spool: str, body: dict[str, Any], encoded: bytes) -> None:
        key, found = (spool, body["seq"]), digest(encoded)
        known = self.records.get(key)
        if known is not None:
            self.repeated += 1
            if known.digest != found:
                self.contradictions.append(f"{key}: {json.dumps(known.body)} and then {encoded.decode()}")
            return
        with self._lock:
            self.records[key] = Arrived(found, body, time.monotonic())
            self._stored.setdefault(spool, Ranges()).add(body["seq"], body["seq"])
        self._seen(body)
