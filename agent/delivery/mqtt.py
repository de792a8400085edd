"""One MQTT session after the other, each with a client of its own. The only owner of paho.

paho keeps and sends again what it was given, so it is given little: publications go out only while connected, never
more than the window, and a session that ended takes everything unacknowledged with it; the spool still has it.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from functools import cache
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from paho.mqtt.client import Client, ConnectFlags, MQTTMessage, MQTTv5, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from agent.delivery.pace import Pace
from agent.delivery.session_lost import SessionLost, why

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from paho.mqtt.client import DisconnectFlags
    from paho.mqtt.reasoncodes import ReasonCode

    from agent.settings import BrokerSettings

COMMAND_LIMIT = 64 * 1024
"""Largest message that a broker may send us (MQTT 5 Maximum Packet Size)."""
HEARD_A_SECOND, HEARD_AT_ONCE = 5.0, 100.0
"""So many messages from outside are looked at; a flood costs us nothing more."""
_UNSENT_TIMEOUT_MS = 20_000
_TAKEN_OVER = 0x8E


class Acknowledged(NamedTuple):
    """The broker's word on publication `mid` of a session: good below 0x80."""

    session: Session
    mid: int
    reason: int
    text: str


class Lost(NamedTuple):
    """A session ended."""

    session: Session
    error: SessionLost


class Heard(NamedTuple):
    """A message for us; its payload is None if it is ignored: retained, too large, or one of too many."""

    session: Session
    topic: str
    payload: bytes | None


class Session:
    """A connection to the broker from CONNECT to its end.

    `events` receives Acknowledged, Heard and Lost, from paho's thread; `topics` are those it subscribes to.
    """

    def __init__(
        self,
        broker: BrokerSettings,
        events: SimpleQueue[Any],
        will: tuple[str, bytes] | None = None,
        topics: Sequence[str] = (),
    ) -> None:
        self.broker = broker
        self.window = broker.in_flight
        self.packet_limit = 256 * 1024 * 1024
        self._events, self._topics = events, topics
        self._hearing = Pace(HEARD_A_SECOND, HEARD_AT_ONCE / HEARD_A_SECOND)
        self._greeting: SimpleQueue[tuple[int, str, Properties | None]] = SimpleQueue()
        self._is_closing = self._is_cancelled = False
        self._lost: SessionLost | None = None
        self._client = _client(broker.client_id, broker.protocol)
        if will:
            self._client.will_set(will[0], will[1], qos=1, retain=True)

    @property
    def compresses(self) -> bool:
        """Whether messages can say that they are compressed."""
        return self.broker.protocol == "5"

    def connect(self) -> None:
        """Connect and wait for the broker's welcome. Raises SessionLost with one clear reason."""
        try:
            self._prepare(self._client)
            broker = self.broker
            self._client.connect(broker.host, broker.port, round(broker.keepalive_s), **self._greeting_words())
        except (OSError, ValueError) as error:
            raise self._error(why(error)) from error
        self._client.loop_start()
        try:
            reason, text, properties = self._greeting.get(timeout=self.broker.connect_timeout_s)
        except Empty:
            raise self._error("accepts the connection but does not answer") from None
        if reason >= 0x80:
            raise self._error(text)
        self._obey(properties)
        if self._topics:
            self._client.subscribe([(topic, 1) for topic in self._topics])

    def cancel(self) -> None:
        """Have `connect` raise SessionLost instead of greeting the broker or waiting for it; for any thread."""
        self._is_cancelled = True
        self._greeting.put((0x80, "is not waited for any more", None))

    def publish(self, topic: str, payload: bytes, *, retain: bool = False, encoding: str = "") -> int:
        """Send with QoS 1; gives the number that its acknowledgement will carry. Raises SessionLost."""
        properties = _Json.of(encoding) if self.broker.protocol == "5" else None
        sent = self._client.publish(topic, payload, qos=1, retain=retain, properties=properties)
        if sent.rc != 0:
            raise self._lost or self._error("connection lost")
        return sent.mid

    def close(self) -> None:
        """End the session; with DISCONNECT if it is still there."""
        self._is_closing = True
        with contextlib.suppress(OSError, ValueError):
            self._client.disconnect()
        _end_loop(self._client)

    def abandon(self) -> None:
        """Drop the connection without a word, as a dead link does, so that the broker publishes our will."""
        self._is_closing = True
        sock: Any = self._client.socket()
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        _end_loop(self._client)

    def _prepare(self, client: Client) -> None:
        """Read passwords and certificates anew for each session, so that a replaced file is used."""
        broker = self.broker
        client.connect_timeout = broker.connect_timeout_s
        client.max_inflight_messages_set(broker.in_flight)
        client.max_queued_messages_set(broker.in_flight)
        client.on_connect, client.on_disconnect = self._on_connect, self._on_disconnect
        client.on_publish, client.on_message = self._on_publish, self._on_message
        client.on_socket_open = self._on_socket_open
        if broker.username:
            password = broker.password_file.read_text(encoding="utf-8").rstrip("\n") if broker.password_file else None
            client.username_pw_set(broker.username, password)
        if broker.uses_tls:
            self._trust(client, broker.ca_file, broker.certificate_file, broker.key_file)

    def _trust(self, client: Client, ca_file: Path | None, certificate: Path | None, key: Path | None) -> None:
        named = [file for file in (ca_file, certificate, key) if file]
        for file in named:
            file.open("rb").close()  # its error names the file, that of the library does not
        try:
            ca, own, private = (str(file) if file else None for file in (ca_file, certificate, key))
            client.tls_set(ca, own, private, tls_version=ssl.PROTOCOL_TLS_CLIENT)
        except ssl.SSLError as error:
            text = f"{', '.join(map(str, named))}: not certificates and a key that fit ({error.reason})"
            raise self._error(text) from error

    def _greeting_words(self) -> dict[str, Any]:
        if self.broker.protocol != "5":
            return {}
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho leaves it untyped
        properties.MaximumPacketSize = COMMAND_LIMIT
        return {"clean_start": True, "properties": properties}

    def _obey(self, properties: Properties | None) -> None:
        self.window = min(self.window, getattr(properties, "ReceiveMaximum", 65535))
        self.packet_limit = min(self.packet_limit, getattr(properties, "MaximumPacketSize", self.packet_limit))

    def _error(self, text: str, *, is_taken_over: bool = False) -> SessionLost:
        return SessionLost(f"broker {self.broker.host}:{self.broker.port}: {text}", is_taken_over=is_taken_over)

    def _on_connect(
        self, _client: Client, _data: object, _flags: ConnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        text = f"refuses the session: {reason}" if reason.value >= 0x80 else ""
        self._greeting.put((int(reason.value), text, properties))

    def _on_socket_open(self, _client: Client, _data: object, sock: Any) -> None:
        """Let the kernel give up on a link that acknowledges nothing; CONNECT is sent after this."""
        with contextlib.suppress(OSError, AttributeError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNSENT_TIMEOUT_MS)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._is_cancelled:
                sock.shutdown(socket.SHUT_RDWR)

    def _on_disconnect(
        self, _client: Client, _data: object, flags: DisconnectFlags, reason: ReasonCode, _props: Properties | None
    ) -> None:
        what = f"ended the session: {reason}" if flags.is_disconnect_packet_from_server else "connection lost"
        self._lost = self._error(what, is_taken_over=reason.value == _TAKEN_OVER)
        self._greeting.put((0x80, what, None))
        if not self._is_closing:
            self._events.put(Lost(self, self._lost))

    def _on_publish(
        self, _client: Client, _data: object, mid: int, reason: ReasonCode, _properties: Properties
    ) -> None:
        self._events.put(Acknowledged(self, mid, int(reason.value), str(reason)))

    def _on_message(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        if self._hearing.wait_s():
            return  # the first that was too much was told
        self._hearing.spend(1)
        is_taken = not message.retain and len(message.payload) <= COMMAND_LIMIT and not self._hearing.wait_s()
        self._events.put(Heard(self, message.topic, bytes(message.payload) if is_taken else None))


class Subscriber:
    """Receives messages of some topics, and sends; for views and tools, not for the daemon."""

    def __init__(
        self, url: str, topics: Sequence[str], on_message: Callable[[str, bytes], None], protocol: str = "5"
    ) -> None:
        address = urlsplit(url)
        self.is_subscribed = False
        self._topics = topics
        self._client = _client("", protocol, reconnect=True)
        self._client.on_connect = self._subscribe
        self._client.on_subscribe = lambda *_: self._note(is_subscribed=True)
        self._client.on_disconnect = lambda *_: self._note(is_subscribed=False)
        self._client.on_message = lambda _client, _data, message: on_message(message.topic, bytes(message.payload))
        self._client.reconnect_delay_set(1, 2)
        self._client.connect_async(str(address.hostname), address.port or 1883, 30)
        self._client.loop_start()

    def publish(self, topic: str, payload: bytes) -> None:
        """Send once, with QoS 1; nothing tells whether it arrives."""
        self._client.publish(topic, payload, qos=1)

    def close(self) -> None:
        """Disconnect."""
        self._client.disconnect()
        _end_loop(self._client)

    def _subscribe(self, client: Client, *_: object) -> None:
        client.subscribe([(topic, 1) for topic in self._topics])

    def _note(self, *, is_subscribed: bool) -> None:
        self.is_subscribed = is_subscribed


class _Json(Properties):
    """What each of our messages says of itself, written once: to write it anew takes paho as long as all the rest."""

    _written: bytes

    def __init__(self, encoding: str) -> None:
        super().__init__(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho leaves it untyped
        self.ContentType = "application/json"
        if encoding:
            self.UserProperty = ("content-encoding", encoding)
        self.__dict__["_written"] = super().pack()  # type: ignore[no-untyped-call]

    def pack(self) -> bytes:
        """Give them as they stand in a packet."""
        return self._written

    @classmethod
    @cache
    def of(cls, encoding: str) -> _Json:
        """Give those of a message that is compressed so, or "" for one that is not."""
        return cls(encoding)


def _client(client_id: str, protocol: str, *, reconnect: bool = False) -> Client:
    version = MQTTv5 if protocol == "5" else MQTTv311
    client = Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=version, reconnect_on_failure=reconnect)
    client.suppress_exceptions = True  # an exception would end paho's thread while it still looks connected
    return client


def _end_loop(client: Client) -> None:
    """End paho's thread and let go of its sockets, which would otherwise stay open until the collector comes by.

    The thread may end by itself while paho looks at it, and then paho finds None where it was.
    """
    with contextlib.suppress(AttributeError):
        client.loop_stop()
    client.reinitialise()
