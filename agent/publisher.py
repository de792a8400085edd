"""The thread that sends: live first, the backlog behind it, never more on its way than the window allows.

A record is delivered when its PUBACK says so, and a session is judged by its acknowledgements: one that says
"connected" and acknowledges nothing is torn down and made again. tenacity spaces the attempts, with full jitter.
"""

from __future__ import annotations

from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple

from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_random_exponential

from agent.lanes import LIVE_RESERVE, Lanes, Parcel
from agent.message import Encoder, compressed
from agent.mqtt import Acknowledged, Lost, Session, SessionLost
from agent.spool import Reader
from agent.times import iso
from agent.troubles import Troubles
from drivers.clock import monotonic_s

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agent.say import Say
    from agent.settings import BrokerSettings

TURN_S = 1.0
STATE_EVERY_S = 60.0
STATE_AT_MOST_EVERY_S = 5.0
TAKEN_OVER_PAUSE_S = 20.0
MESSAGE_MARGIN = 1024
"""Bytes of a packet that are not its message: topic and properties."""
REFUSED_AGAIN_S = 60.0
GOODBYE_S = 0.7


class Documents(NamedTuple):
    """What the station says of itself, as JSON: `state(is_online, delivery)` and `catalog()`."""

    state: Callable[[bool, dict[str, Any]], bytes]
    catalog: Callable[[], bytes]


class _Sent(NamedTuple):
    topic: str
    parcel: Parcel | None
    at_s: float


class Publisher:
    """Sends what the spool holds. `settle(first, last)` is told what was acknowledged."""

    def __init__(
        self,
        station: str,
        broker: BrokerSettings,
        spool: Path,
        settle: Callable[[int, int], None],
        documents: Documents,
        say: Say,
    ) -> None:
        self.turned_s = monotonic_s()
        self._station, self._broker, self._path, self._settle = station, broker, spool, settle
        self._name = f"broker {broker.host}:{broker.port}"
        self._documents, self._troubles = documents, Troubles(self._name, say)
        self._events: SimpleQueue[Any] = SimpleQueue()
        self._in_flight: dict[int, _Sent] = {}
        self._current: Session | None = None
        self._heard_s = self._tried_s = monotonic_s()
        self._is_stopping = False
        self._state_s = 0.0
        self._state_said = b""

    def committed(self, newest: int) -> None:
        """Learn that records up to `newest` are on disk."""
        self._events.put(newest)

    def stop(self) -> None:
        """End `run` after the state has been sent."""
        self._is_stopping = True
        self._events.put(None)

    def run(self) -> None:
        """Hold one session after the other until stopped."""
        reader = Reader(self._path)
        self._lanes = Lanes(reader, self._settle)
        self._encoder = Encoder(self._station, reader.id)
        while not self._is_stopping:
            try:
                self._retrying()(self._session)
            except SessionLost:
                break
        reader.close()

    def _retrying(self) -> Retrying:
        return Retrying(
            wait=self._pause,
            retry=retry_if_exception_type(SessionLost),
            stop=lambda _state: self._is_stopping,
            sleep=self._wait,
            reraise=True,
        )

    def _pause(self, state: RetryCallState) -> float:
        """Wait longer after each short session, by chance; much longer if another client took the session over."""
        most_s = self._broker.reconnect_max_s
        pause_s = wait_random_exponential(multiplier=min(0.5, most_s), max=most_s)(state)
        error = state.outcome.exception() if state.outcome else None
        is_taken_over = isinstance(error, SessionLost) and error.is_taken_over
        return max(pause_s, min(TAKEN_OVER_PAUSE_S, most_s)) if is_taken_over else pause_s

    def _session(self) -> None:
        """Hold one session. Returns after a steady one, raises SessionLost after a short one."""
        if self._is_stopping:
            return
        self._troubles.began()
        session = self._current = Session(self._broker, self._events, self._will())
        try:
            session.connect()
            self._begin(session)
            self._serve(session)
        except SessionLost as error:
            session.abandon()
            self._troubles.lost(error)
            if not self._troubles.is_steady:
                raise
        finally:
            self._current = None
            self._in_flight.clear()

    def _begin(self, session: Session) -> None:
        while (event := self._next_event(0)) is not None:
            self._take(event)
        self._heard_s = monotonic_s()
        self._begin_lanes(session)
        self._state_said = b""
        self._send_document(session, "catalog", self._documents.catalog())

    def _begin_lanes(self, session: Session) -> None:
        self._tried_s = monotonic_s()
        self._lanes.begin_session(min(self._broker.message_bytes, session.packet_limit - MESSAGE_MARGIN))

    def _serve(self, session: Session) -> None:
        while not self._is_stopping:
            self._tell_state(session)
            self._fill(session)
            self._take(self._next_event(TURN_S))
            while (event := self._next_event(0)) is not None:
                self._take(event)
            self._judge()
            self._try_refused_again(session)
        self._take_leave(session)

    def _fill(self, session: Session) -> None:
        """Send while there is room in the window: live records, then the backlog up to its share."""
        while len(self._in_flight) < session.window and (parcel := self._lanes.live()):
            self._send(session, "data", parcel)
        share = max(1, session.window - LIVE_RESERVE)
        while len(self._in_flight) < share and (parcel := self._lanes.backfill()):
            self._send(session, "backfill", parcel)

    def _send(self, session: Session, lane: str, parcel: Parcel) -> None:
        payload, encoding, topic = self._encoder.message(parcel.records), "", self._topic(lane)
        if lane == "backfill" and session.compresses:
            payload, encoding = compressed(payload), "gzip"
        if len(payload) > session.packet_limit - MESSAGE_MARGIN:
            self._lanes.was_refused(parcel)
            self._troubles.too_large(topic, session.packet_limit, parcel.first)
            return
        mid = session.publish(topic, payload, encoding=encoding)
        self._in_flight[mid] = _Sent(topic, parcel, monotonic_s())

    def _send_document(self, session: Session, name: str, payload: bytes) -> int:
        topic = self._topic(name)
        mid = session.publish(topic, payload, retain=True)
        self._in_flight[mid] = _Sent(topic, None, monotonic_s())
        return mid

    def _tell_state(self, session: Session) -> None:
        """Publish the state when it changed, not too often, and now and then anyway."""
        age_s = monotonic_s() - self._state_s
        if (age_s < STATE_AT_MOST_EVERY_S and self._state_said) or len(self._in_flight) >= session.window:
            return
        payload = self._documents.state(True, self._delivery())
        if age_s >= STATE_EVERY_S or _steady_part(payload) != _steady_part(self._state_said):
            self._state_s, self._state_said = monotonic_s(), payload
            self._send_document(session, "state", payload)

    def _delivery(self) -> dict[str, Any]:
        lanes = self._lanes
        oldest_ms = lanes.oldest_unsent_ms()
        return {
            "newest": lanes.newest,
            "backlog": lanes.backlog,
            "oldest_unsent": None if oldest_ms is None else iso(oldest_ms),
        }

    def _take_leave(self, session: Session) -> None:
        """Give acknowledgements a moment, say goodbye, and close; unheard, leave the goodbye to the will."""
        deadline = monotonic_s() + GOODBYE_S
        self._fill(session)
        self._await(lambda: len(self._in_flight) < session.window, deadline)
        if len(self._in_flight) >= session.window:
            session.abandon()
            return
        goodbye = self._send_document(session, "state", self._documents.state(False, self._delivery()))
        self._await(lambda: not self._in_flight, deadline)
        if goodbye in self._in_flight:
            session.abandon()
        else:
            session.close()

    def _await(self, condition: Callable[[], bool], deadline: float) -> None:
        while not condition() and (left := deadline - monotonic_s()) > 0:
            self._take(self._next_event(left))

    def _next_event(self, timeout_s: float) -> Any:
        self.turned_s = monotonic_s()
        try:
            return self._events.get(timeout=timeout_s) if timeout_s > 0 else self._events.get_nowait()
        except Empty:
            return None

    def _take(self, event: Any) -> None:
        if isinstance(event, int):
            self._lanes.newest = max(self._lanes.newest, event)
        elif isinstance(event, Acknowledged) and event.session is self._current:
            self._acknowledge(event)
        elif isinstance(event, Lost) and event.session is self._current:
            raise event.error

    def _acknowledge(self, event: Acknowledged) -> None:
        sent = self._in_flight.pop(event.mid, None)
        if sent is None:
            return
        self._heard_s = monotonic_s()
        if event.reason >= 0x80:
            self._troubles.refused(sent.topic, event.text)
            if sent.parcel:
                self._lanes.was_refused(sent.parcel)
            return
        self._troubles.accepted(sent.topic)
        if sent.parcel:
            self._lanes.acknowledged(sent.parcel)

    def _judge(self) -> None:
        """End a session in which nothing is acknowledged; a message behind many others on a slow link may take long."""
        oldest = next(iter(self._in_flight.values()), None)
        limit_s = monotonic_s() - self._broker.ack_timeout_s
        if oldest and max(oldest.at_s, self._heard_s) < limit_s:
            raise SessionLost(f"{self._name}: acknowledged nothing for {self._broker.ack_timeout_s:g} s")
        self._troubles.goes_on()

    def _try_refused_again(self, session: Session) -> None:
        if self._lanes.refused and not self._in_flight and monotonic_s() - self._tried_s > REFUSED_AGAIN_S:
            self._begin_lanes(session)

    def _wait(self, seconds: float) -> None:
        """Wait between attempts, learning of commits, ended by stop."""
        deadline = monotonic_s() + seconds
        while not self._is_stopping and (left := deadline - monotonic_s()) > 0:
            self._take(self._next_event(min(left, TURN_S)))

    def _will(self) -> tuple[str, bytes]:
        return self._topic("state"), self._documents.state(False, {})

    def _topic(self, name: str) -> str:
        return f"{self._broker.prefix}/{self._station}/{name}"


def _steady_part(payload: bytes) -> bytes:
    """Leave out the numbers that change each cycle; they alone are no news."""
    return payload.partition(b'"delivery"')[0]
