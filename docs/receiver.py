"""A receiver of what stations send (mqtt.md): it stores, finds gaps, asks for them, and proves what is complete.

    python receiver.py --store air.sqlite --broker localhost:1883 --ask     receive, ask for what is missing
    python receiver.py --store air.sqlite --report                          exit code 0 if everything is there

A message is acknowledged (PUBACK) after its records are committed: whatever ends this process, nothing is lost. Several
of one --group, each with a --name of its own, share one store. receiver.sql, beside this file, says what is missing.
"""

import argparse
import json
import math
import re
import sqlite3
import time
import zlib
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from urllib.parse import urlsplit

import paho.mqtt.client as mqtt

STORE = """INSERT OR IGNORE INTO record SELECT :station, :spool, value ->> 'seq', value ->> 'at', value ->> 'kind',
    value ->> 'instrument', value -> 'was', value, 0, NULL FROM json_each(:text, '$.records') WHERE type = 'object'
    AND json_type(value, '$.seq') = 'integer' ON CONFLICT DO UPDATE SET repeated = repeated + (body = excluded.body),
    contradicted = ifnull(nullif(excluded.body, body), contradicted) RETURNING seq"""
ASKABLE = "SELECT first, last, next_at FROM askable WHERE station = ? AND spool = ?"
KNOW = "INSERT INTO spool VALUES(?, ?, ?, ?) ON CONFLICT DO UPDATE SET newest = max(newest, ?3), state = ?4"
COUNT = "INSERT INTO malformed VALUES(?, 1, ?) ON CONFLICT DO UPDATE SET count = count + 1, latest = ?2"
NONSENSE = ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError, zlib.error


class Store:
    """The database. Any number of processes may share it."""

    def __init__(self, path):
        self.db = sqlite3.connect(path, timeout=60, isolation_level=None, check_same_thread=False)
        self.db.executescript(Path(__file__).with_suffix(".sql").read_text())

    def take(self, messages):
        """Commit messages (topic, payload) together; gives (station, spool, seq) of what is stored now, and replies."""
        stored, replies = [], []
        with self.db:
            self.db.execute("BEGIN IMMEDIATE")
            for topic, payload in messages:
                station, lane = topic.split("/")[-2:]
                try:  # what makes no sense is counted and skipped; but a store that cannot store ends this process
                    self._hear(station, lane, payload, stored, replies)
                except NONSENSE as error:
                    self.db.execute(COUNT, (lane, ascii(f"{topic}: {error!r}"[:300])))
        return stored, replies

    def _hear(self, station, lane, payload, stored, replies):
        if payload[:2] == b"\x1f\x8b":  # MQTT 5 says gzip in the user property content-encoding too, 3.1.1 only here
            payload = zlib.decompressobj(31).decompress(payload, 64_000_000)
        head = json.loads(text := payload.decode())
        is_ours = (head["v"], head["station"], *self.db.execute("SELECT json_valid(?)", [text])) == (1, station, (1,))
        if is_ours and lane == "state" and head["spool"] is None:
            print(f"{station}: {head['status']}: {head.get('why')!a}", flush=True)
            return
        if not (is_ours and (lane == "catalog" or re.fullmatch("[0-9a-f]{32}", head["spool"]))):
            raise ValueError("another version or station, no spool, or no JSON")
        if lane == "catalog":
            self.db.execute("REPLACE INTO catalog VALUES(?, ?)", (station, text))
        elif lane == "reply":
            replies.append(head)
        elif lane == "state":
            self.db.execute(KNOW, (station, head["spool"], min(0 + head["delivery"].get("newest", 0), 1 << 53), text))
        else:
            seqs = self.db.execute(STORE, {"station": station, "spool": head["spool"], "text": text}).fetchall()
            stored += [(station, head["spool"], seq) for (seq,) in seqs]
            if len(seqs) != len(head["records"]):
                raise ValueError("records that are none")

    def report(self):
        """Print how complete each spool is, and the rates of each hour; says whether nothing is missing."""
        for table in ("account", "summary", "missing", "unsure", "absent", "short_hour", "rate", "malformed"):
            for row in (rows := self.db.execute(f"SELECT * FROM {table}")):
                print(table, *(f"{name[0]}={value}" for name, value in zip(rows.description, row, strict=True)))
        return self.db.execute("SELECT count(*) > 0 AND max(missing + contradictory) = 0 FROM account").fetchone()[0]


class Receiver:
    """A session that lasts. It commits in groups, then acknowledges; `ask`: seconds from look to look for gaps."""

    def __init__(self, store, broker, *, name="receiver", group="", station="+", ask=math.inf, receipts=False):
        address = urlsplit(broker if "//" in broker else f"mqtt://{broker}")
        self.store, self.is_stopping, self._ask_s, self._receipts = store, False, ask, receipts
        self._batch, self._fresh, self._seen, self._asked = [], {}, {}, {}
        self._prefix = address.path.strip("/") or "stations"
        own = f"{self._prefix}/{station}"
        shared = f"$share/{group}/{own}" if group else own  # retained messages do not come by a shared subscription
        self._topics = [f"{shared}/data", f"{shared}/backfill", f"{own}/state", f"{own}/catalog", f"{own}/reply"]
        self._client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, name, protocol=mqtt.MQTTv5, manual_ack=True)
        self._client.on_connect = self._connected
        self._client.on_message = lambda _client, _data, message: self._batch.append(message)
        if address.scheme == "mqtts":
            self._client.tls_set()
        self._client.username_pw_set(address.username, address.password)
        session = mqtt.Properties(mqtt.PacketTypes.CONNECT)
        session.SessionExpiryInterval, session.ReceiveMaximum = 7 * 86400, 500
        self._client.connect_async(address.hostname, address.port or 1883, 30, clean_start=False, properties=session)

    def run(self, seconds=math.inf):
        """Receive until `is_stopping`, or for so long; a lost session is taken up where it was."""
        begin_s = receipt_s = time.monotonic()
        ask_s = begin_s + self._ask_s
        while not self.is_stopping and (now_s := time.monotonic()) < begin_s + seconds:
            known, is_lost = -1, self._client.loop(0.1)
            while not is_lost and known < len(self._batch) < 500:
                known, is_lost = len(self._batch), self._client.loop(0.005)
            self._commit()
            if is_lost:
                try:
                    self._client.reconnect()
                except OSError as error:
                    print(f"broker: {error}", flush=True)
                time.sleep(0.5)
            if now_s >= ask_s and self._client.is_connected():
                ask_s = now_s + self._ask_s
                self._ask(now_s)
            if now_s >= receipt_s:
                receipt_s = now_s + 2
                self._confirm()
        self._client.disconnect()

    def _connected(self, client, _data, _flags, reason, _properties):
        print(f"broker: {reason}", flush=True)
        client.subscribe([(topic, 1) for topic in self._topics])

    def _commit(self):
        batch, self._batch = self._batch, []
        if batch:
            stored, replies = self.store.take([(message.topic, message.payload) for message in batch])
            for message in batch:
                self._client.ack(message.mid, message.qos)
            for station, spool, seq in stored if self._receipts else ():
                self._fresh.setdefault((station, spool), set()).add(seq)
            for reply in replies:
                with suppress(*NONSENSE):
                    self._learn(reply)

    def _send(self, station, lane, **words):
        self._client.publish(f"{self._prefix}/{station}/{lane}", json.dumps({"v": 1, **words}), qos=1)

    def _confirm(self):
        """Send receipts for what was stored since the last ones."""
        for (station, spool), seqs in self._fresh.items():
            runs = [list(run) for _, run in groupby(enumerate(sorted(seqs)), lambda one: one[1] - one[0])]
            ranges = [(run[0][1], run[-1][1]) for run in runs]
            for begin in range(0, len(ranges), 1000):
                self._send(station, "receipt", spool=spool, stored=ranges[begin : begin + 1000])
        self._fresh.clear()

    def _ask(self, now_s):
        """Ask for what was missing at the last look too, is not on its way, and was not asked for just now."""
        for station, spool, text in self.store.db.execute("SELECT station, spool, state FROM spool").fetchall():
            state, gaps = json.loads(text), self.store.db.execute(ASKABLE, (station, spool)).fetchall()
            seen, self._seen[station, spool] = self._seen.get((station, spool), ()), gaps
            unsent = str(state["delivery"].get("oldest_unsent") or "~")
            due = [gap[:2] for gap in gaps if gap in seen and gap[2] < unsent][:1000]
            if due and state.get("status") == "online" and now_s > self._asked.get((station, spool), (0, 0, 0))[2]:
                request = f"gaps-{zlib.crc32(repr((spool, due)).encode()):08x}"  # two that ask for the same ask once
                self._asked[station, spool] = request, due, now_s + 10
                self._send(station, "command", id=request, command="backfill", spool=spool, seqs=due)

    def _learn(self, reply):
        """Note what a station has no longer, and leave it the time to send the rest."""
        for (station, spool), (request, ranges, _) in self._asked.items():
            if (station, request) == (reply["station"], reply.get("id")):
                gone = ranges if reply.get("reason") in ("nothing_there", "other_spool") else reply.get("absent", ())
                rows = [(station, spool, int(first), int(last)) for first, last in gone]
                self.store.db.executemany("INSERT OR IGNORE INTO absent VALUES(?, ?, ?, ?)", rows)
                pause_s = 60 if reply["reply"] in ("accepted", "progress") else 10
                self._asked[station, spool] = request, ranges, time.monotonic() + pause_s


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", required=True, help="SQLite file")
    parser.add_argument("--broker", help="HOST:PORT, or mqtts://user:password@host:8883/prefix")
    parser.add_argument("--name", default="receiver", help="client id: the broker keeps messages for it for a week")
    parser.add_argument("--group", default="", help="share the load with others of this group")
    parser.add_argument("--station", default="+", help="only this one")
    parser.add_argument("--receipts", action="store_true", help="tell stations what is stored")
    parser.add_argument("--ask", nargs="?", type=float, const=10.0, default=math.inf, help="for gaps, each 10 s")
    parser.add_argument("--seconds", type=float, default=math.inf, help="end after so long")
    parser.add_argument("--report", action="store_true", help="print what is complete; exit code 1 if something is not")
    chosen = vars(parser.parse_args())
    store, seconds, is_report_asked = Store(chosen.pop("store")), chosen.pop("seconds"), chosen.pop("report")
    if chosen["broker"]:
        with suppress(KeyboardInterrupt):
            Receiver(store, **chosen).run(seconds)
    return 0 if not is_report_asked or store.report() else 1


if __name__ == "__main__":
    raise SystemExit(main())
