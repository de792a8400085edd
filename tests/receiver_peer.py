"""A scripted station that answers commands by the contract, and messages as stations send them."""

from __future__ import annotations

import gzip
import importlib.util
import json
import threading
from contextlib import contextmanager
from pathlib import Path

from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from waiting import until

FILE = Path(__file__).parent.parent / "docs" / "receiver.py"
SPOOL, OLD_SPOOL = "5d05e550e2c24d74a80201a3880d3d99", "0f3c7be24ad94f0b9d3f53ad0c1f6a11"


def load():
    """Give the receiver as a module, from where it stands."""
    spec = importlib.util.spec_from_file_location("receiver", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def record(seq, **words):
    second = f"{seq // 60 % 60:02}:{seq % 60:02}"
    return {"seq": seq, "at": f"2026-11-24T10:{second}.000Z", "kind": "raw", "instrument": "so2", **words}


def ledger(seq, sort, **words):
    return {"seq": seq, "at": "2026-11-24T11:00:30.000Z", "kind": "ledger", "ledger": sort, **words}


def message(*records, spool=SPOOL, station="DL-001", v=1):
    head = {"v": v, "station": station, "spool": spool, "records": records}
    return json.dumps(head, separators=(",", ":")).encode()


def state(newest, **delivery):
    known = {"newest": newest, "backlog": 0, "oldest_unsent": None, "requests": []}
    head = {"v": 1, "station": "DL-001", "spool": SPOOL, "status": "online", "delivery": known | delivery}
    return json.dumps(head).encode()


class ScriptedStation:
    """Has the records of `stored`; answers a backfill as the contract says."""

    def __init__(self, port, stored):
        self.stored, self.commands, self.receipts = set(stored), [], []
        self._subscribed = threading.Event()
        self._client = Client(CallbackAPIVersion.VERSION2, client_id="DL-001", protocol=MQTTv5)
        self._client.on_connect = lambda client, *_: client.subscribe(
            [(f"stations/DL-001/{one}", 1) for one in LISTENS]
        )
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = self._hear
        self._client.reconnect_delay_set(1, 1)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert self._subscribed.wait(10)

    def send(self, lane, payload, *, retain=False):
        self._client.publish(f"stations/DL-001/{lane}", payload, qos=1, retain=retain)

    def say(self, newest, **delivery):
        self.send("state", state(newest, **delivery), retain=True)

    def close(self):
        self._client.disconnect()
        self._client.loop_stop()

    def _hear(self, _client, _data, heard):
        document = json.loads(heard.payload)
        if heard.topic.endswith("receipt"):
            self.receipts.append(document)
            return
        self.commands.append(document)
        asked = {seq for first, last in document["seqs"] for seq in range(first, last + 1)}
        there = sorted(asked & self.stored)
        if not there:
            self._reply(document, reply="refused", reason="nothing_there", text="no record of these is stored")
            return
        absent = [[seq, seq] for seq in sorted(asked - self.stored)]
        self._reply(document, reply="accepted", records=len(there), **({"absent": absent} if absent else {}))
        self.send("backfill", gzip.compress(message(*map(record, there))))
        self._reply(document, reply="done", sent=len(there), records=len(there))

    def _reply(self, command, **words):
        self.send("reply", json.dumps({"v": 1, "station": "DL-001", "spool": SPOOL, "id": command["id"], **words}))


LISTENS = ("command", "receipt")


@contextmanager
def running(receiver):
    """Run a receiver in a thread; what ends it early fails the test."""
    failed = []

    def run():
        try:
            receiver.run()
        except Exception as error:  # noqa: BLE001  shown below
            failed.append(error)

    subscribed = threading.Event()
    receiver._client.on_subscribe = lambda *_: subscribed.set()
    thread = threading.Thread(target=run)
    thread.start()
    until(lambda: subscribed.is_set() or failed)
    try:
        yield
    finally:
        receiver.is_stopping = True
        thread.join(10)
        assert failed == []
