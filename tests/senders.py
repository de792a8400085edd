"""A publisher over a real spool, in a thread of its own as in the daemon."""

import json
import threading
from contextlib import contextmanager
from dataclasses import replace

from waiting import until

from agent.delivery.dispatch import Spooled
from agent.delivery.publisher import Documents, Publisher
from agent.record import measured
from agent.say import Say
from agent.settings import BrokerSettings
from drivers.clock import now
from drivers.sample import Sample

SETTINGS = BrokerSettings(
    host="127.0.0.1",
    port=0,
    uses_tls=False,
    protocol="5",
    client_id="DL-001",
    prefix="stations",
    username=None,
    password_file=None,
    ca_file=None,
    certificate_file=None,
    key_file=None,
    keepalive_s=30.0,
    reconnect_max_s=0.3,
    connect_timeout_s=2.0,
    ack_timeout_s=20.0,
    in_flight=20,
    message_bytes=2000,
    backfill_values_s=1e9,
    backfill_bytes_s=1e9,
)

CATALOG = b'{"v":1,"station":"DL-001","name":"","instruments":{}}'
STORAGE = {"used": 0, "size": 1_000_000, "written_per_day": None, "days_left": None}


class Sender:
    """A publisher over a spool, in a thread of its own as in the daemon; what it settles is stored at once."""

    def __init__(self, spool, **settings):
        self.spool = spool
        self.settled = []
        documents = Documents(self._state, lambda: CATALOG)
        broker = replace(SETTINGS, **settings)
        spooled = Spooled(self._settle, self._damaged, self._note)
        self.publisher = Publisher("DL-001", broker, spool.path, spooled, documents, Say())
        self._errors = []
        self._lock = threading.Lock()
        self.mood = "good"
        self._thread = threading.Thread(target=self._root)

    def measure(self, count=1):
        """Store so many records in one commit and tell the publisher."""
        with self._lock:
            first = self.spool.newest + 1
            records = [measured("so2", [Sample("so2", n)], now()) for n in range(first, first + count)]
            newest = self.spool.commit(records)
        self.publisher.committed(newest)
        return newest

    def deliver(self, count=1):
        """Store so many records and wait until everything is acknowledged."""
        newest = self.measure(count)
        until(lambda: delivered(self.spool, newest), 20)
        return newest

    @contextmanager
    def running(self):
        self._thread.start()
        try:
            yield self
        finally:
            self.publisher.stop()
            self._thread.join(15)
            assert not self._thread.is_alive()
            assert not self._errors

    def _root(self):
        try:
            self.publisher.run()
        except BaseException as error:
            self._errors.append(error)
            raise

    def _settle(self, first, last):
        self.settled.append((first, last))
        with self._lock:
            self.spool.commit([], [(first, last)])

    def _damaged(self, first, last):
        with self._lock:
            self.spool.drop_damaged(first, last)

    def _note(self, key, text, then):
        with self._lock:
            self.spool.note(key, text)
        then()

    def _state(self, is_online, delivery):
        """Give the state of a station that has nothing to say but its mood."""
        state = {
            "v": 1,
            "station": "DL-001",
            "status": "online" if is_online else "offline",
            "version": "0.1.0",
            "config": "0" * 12,
            "spool": self.spool.id,
            "started": "2026-11-23T10:05:04.480Z",
            "clock": "trusted",
            "problems": [self.mood],
            "outages": [],
            "maintenance": [],
            "delivery": delivery,
            "storage": STORAGE,
        }
        return json.dumps(state, separators=(",", ":")).encode()


def delivered(spool, newest):
    return list(spool.acknowledged) == [(1, newest)]


def at_broker(broker, count):
    """Say whether so many connections were refused or lost, as the broker tells it."""
    return broker.log().count("New connection from") >= count
