"""A real mosquitto with a configuration of its own, and a platform that notes all it receives."""

from __future__ import annotations

import contextlib
import getpass
import gzip
import json
import shutil
import socket
import subprocess
import threading
from typing import NamedTuple

import pytest
from paho.mqtt.client import Client, MQTTv5, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion
from waiting import until

MOSQUITTO = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")

SEEN: list[tuple[str, bytes]] = []
"""Topic and payload of every message that stations have sent in the present test; it ends with a look at each."""


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def accepts(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


class Mosquitto:
    """A broker on a free port of 127.0.0.1; `words` are further lines of its configuration."""

    def __init__(self, folder, *words):
        self.port = free_port()
        self._words, self._process, self._folder = words, None, folder
        folder.mkdir(exist_ok=True)
        self.configure(*words)

    def configure(self, *words):
        lines = ["per_listener_settings false", f"user {getpass.getuser()}", "max_queued_messages 0", "log_type all"]
        access = [] if any(word.startswith("allow_anonymous") for word in words) else ["allow_anonymous true"]
        lines += [*access, f"listener {self.port} 127.0.0.1", *words]
        (self._folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")

    def start(self):
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [MOSQUITTO, "-c", self._folder / "mosquitto.conf"], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        until(lambda: accepts(self.port) or self._process.poll() is not None)
        assert self._process.poll() is None, (self._folder / "log").read_text()[-500:]
        return self

    def stop(self):
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def log(self):
        return (self._folder / "log").read_text()


class Message(NamedTuple):
    topic: str
    payload: bytes
    is_retained: bool
    content_type: str | None
    encoding: str | None

    @property
    def document(self):
        text = gzip.decompress(self.payload) if self.payload[:2] == b"\x1f\x8b" else self.payload
        return json.loads(text, parse_constant=pytest.fail)

    @property
    def lane(self):
        return self.topic.rpartition("/")[2]


class Platform:
    """Subscribes to everything and notes each message in the order of arrival."""

    def __init__(self, port, protocol="5", topic="stations/#", **login):
        self.messages: list[Message] = []
        self._lock = threading.Lock()
        version = MQTTv5 if protocol == "5" else MQTTv311
        self._client = Client(CallbackAPIVersion.VERSION2, protocol=version)
        if login:
            self._client.username_pw_set(login["username"], login["password"])
        self._subscribed = threading.Event()
        self._topic = topic
        self._client.on_connect = lambda client, *_: client.subscribe(self._topic, qos=1)
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = self._note
        self._client.reconnect_delay_set(1, 1)
        self._client.connect("127.0.0.1", port, 30)
        self._client.loop_start()
        assert self._subscribed.wait(10)

    def close(self):
        self._client.disconnect()
        self._client.loop_stop()

    def of(self, *lanes):
        with self._lock:
            return [message for message in self.messages if message.lane in lanes]

    def records(self, *lanes):
        """Give every record in the order of arrival, duplicates too."""
        return [
            record for message in self.of(*(lanes or ("data", "backfill"))) for record in message.document["records"]
        ]

    def seqs(self, *lanes):
        return [record["seq"] for record in self.records(*lanes)]

    def _note(self, _client, _data, message):
        properties = message.properties
        words = dict(getattr(properties, "UserProperty", []))
        kind = getattr(properties, "ContentType", None)
        SEEN.append((message.topic, bytes(message.payload)))
        with self._lock:
            self.messages.append(
                Message(message.topic, bytes(message.payload), message.retain, kind, words.get("content-encoding"))
            )


class ScriptedBroker:
    """An MQTT 5 broker that does what real ones do only sometimes; it stores nothing.

    `answer(topic)` gives the reason code of a publication's acknowledgement, or None to keep silent; `judge(message)`
    gives one that goes before it, for what is in the message, or None to end the session. Newer mosquitto
    than 2.0.11 refuses with 0x87 and goes on, and tells a client that its session was taken over.
    """

    def __init__(self, answer=lambda topic: 0, judge=lambda message: 0):
        self.answer, self.judge = answer, judge
        self.sessions = 0
        self.published: list[str] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def take_over(self):
        """End every session as if another client had come with the same id (DISCONNECT, reason 0x8E)."""
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.sendall(b"\xe0\x02\x8e\x00")

    def close(self):
        self._server.close()
        for connection in self._open:
            connection.close()

    def _accept(self):
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            self._open.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with connection.makefile("rb") as stream:
            try:
                while head := stream.read(1):
                    self._take(connection, head[0], stream.read(_length(stream)))
            except (OSError, ValueError):
                pass

    def _take(self, connection, head, body):
        if head >> 4 == 1:
            self.sessions += 1
            connection.sendall(b"\x20\x03\x00\x00\x00")
        elif head >> 4 == 3:
            end = 2 + int.from_bytes(body[:2], "big")
            topic = body[2:end].decode()
            self.published.append(topic)
            message = body[end + 3 + body[end + 2] :]
            SEEN.append((topic, message))
            reason = self.judge(gzip.decompress(message) if message[:2] == b"\x1f\x8b" else message)
            if reason is None:
                connection.shutdown(socket.SHUT_RDWR)
                return
            reason = reason or self.answer(topic)
            if reason is not None:
                connection.sendall(b"\x40\x04" + body[end : end + 2] + bytes([reason, 0]))


def _length(stream):
    """Read MQTT's variable byte integer."""
    total = shift = 0
    while True:
        byte = stream.read(1)[0]
        total |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return total
