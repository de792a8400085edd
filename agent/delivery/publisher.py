"""The thread that sends: live first, the backlog behind it, never more on its way than the window allows.

A record is delivered when its PUBACK says so, and a session is judged by its acknowledgements: one that says
"connected" and acknowledges nothing is torn down and made again. tenacity spaces the attempts, with full jitter.
"""

from __future__ import annotations

from queue import Empty, SimpleQueue
from random import random
from typing import TYPE_CHECKING, Any, NamedTuple

from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_random_exponential

from agent.commands import NotValid
from agent.delivery.dispatch import Dispatch, Spooled
from agent.delivery.mqtt import Acknowledged, Heard, Lost, Session, SessionLost
from agent.delivery.troubles import Troubles
from agent.spool.reader import Reader
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
STEADY_PAUSE_S = 1.0
"""After a long session the first attempt comes within this, by chance: a whole city must not come at once."""
GOODBYE_S = 0.7


class Documents(NamedTuple):
    """What the station says of itself, as JSON: `state(is_online, delivery)` and `catalog()`."""

    state: Callable[[bool, dict[str, Any]], bytes]
    catalog: Callable[[], bytes]


class Publisher:
    """Sends what the spool holds; `spooled` takes what is to be stored of that."""

    def __init__(
        self,
        station: str,
        broker: BrokerSettings,
        spool: Path,
        spooled: Spooled,
        documents: Documents,
        say: Say,
    ) -> None:
        self.turned_s = monotonic_s()
        self._station, self._broker, self._path, self._spooled = station, broker, spool, spooled
        self._name = f"broker {broker.host}:{broker.port}"
        self._documents, self._troubles = documents, Troubles(self._name, say)
        self._events: SimpleQueue[Any] = SimpleQueue()
        self._current: Session | None = None
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
        spooled = self._spooled._replace(note=self._note, pressed=lambda: self._events.put(None))
        self._dispatch = Dispatch(self._station, self._broker, reader, spooled, self._troubles)
        while not self._is_stopping:
            try:
                self._retrying()(self._session)
            except SessionLost:
                break
        reader.close()

    def _note(self, key: str, text: str, then: Callable[[], None]) -> None:
        """Have a note stored; what follows is done here, not on the thread that stores."""
        self._spooled.note(key, text, lambda: self._events.put(then))

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
        is_lost = False
        session = self._current = Session(self._broker, self._events, self._will(), self._listens_to())
        try:
            session.connect()
            self._begin(session)
            self._serve(session)
        except SessionLost as error:
            is_lost, self._current = True, None
            session.abandon()
            self._troubles.lost(error)
            if not self._troubles.is_steady:
                raise
            self._wait(random() * min(STEADY_PAUSE_S, self._broker.reconnect_max_s))  # noqa: S311  guards no secret
        finally:
            self._current = None
            self._dispatch.end(is_lost=is_lost)

    def _listens_to(self) -> list[str]:
        topics = ["command", "receipt"] if self._broker.waits_for_receipt else ["command"]
        return [self._topic(name) for name in topics]

    def _begin(self, session: Session) -> None:
        while (event := self._next_event(0)) is not None:
            self._take(event)
        self._dispatch.begin(session)
        self._state_said = b""
        self._dispatch.send_document(session, "catalog", self._documents.catalog())

    def _serve(self, session: Session) -> None:
        while not self._is_stopping:
            self._tell_state(session)
            is_busy = self._dispatch.fill(session)
            self._take(self._next_event(0 if is_busy else self._dispatch.wait_s(TURN_S)))
            while (event := self._next_event(0)) is not None:
                self._take(event)
            self._judge()
        self._take_leave(session)

    def _tell_state(self, session: Session) -> None:
        """Publish the state when it changed, not too often, and now and then anyway."""
        age_s = monotonic_s() - self._state_s
        if (age_s < STATE_AT_MOST_EVERY_S and self._state_said) or self._is_full(session):
            return
        payload = self._documents.state(True, self._dispatch.portrait())
        if age_s >= STATE_EVERY_S or _steady_part(payload) != _steady_part(self._state_said):
            self._state_s, self._state_said = monotonic_s(), payload
            self._dispatch.send_document(session, "state", payload)

    def _is_full(self, session: Session) -> bool:
        return len(self._dispatch.in_flight) >= session.window

    def _take_leave(self, session: Session) -> None:
        """Give acknowledgements a moment, say goodbye, and close; unheard, leave the goodbye to the will."""
        deadline, in_flight = monotonic_s() + GOODBYE_S, self._dispatch.in_flight
        self._dispatch.fill(session)
        self._await(lambda: not self._is_full(session), deadline)
        if self._is_full(session):
            session.abandon()
            return
        state = self._documents.state(False, self._dispatch.portrait())
        goodbye = self._dispatch.send_document(session, "state", state)
        self._await(lambda: not in_flight, deadline)
        if goodbye in in_flight:
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
            self._dispatch.lanes.newest = max(self._dispatch.lanes.newest, event)
        elif callable(event):
            event()
        elif event is not None and event.session is self._current:
            self._hear(event)

    def _hear(self, event: Acknowledged | Heard | Lost) -> None:
        if isinstance(event, Acknowledged):
            self._dispatch.acknowledged(event)
        elif isinstance(event, Lost):
            raise event.error
        elif event.payload is None:
            self._troubles.not_understood("retained, too large or one of too many")
        else:
            self._obey(event.topic, event.payload)

    def _obey(self, topic: str, payload: bytes) -> None:
        try:
            if topic == self._topic("receipt"):
                self._dispatch.receipt(payload)
            else:
                self._dispatch.requests.hear(payload, self._dispatch.lanes.newest)
        except NotValid as error:
            self._troubles.not_understood(f"{topic}: {error}")

    def _judge(self) -> None:
        """End a session in which nothing is acknowledged."""
        if self._dispatch.silent_s() > self._broker.ack_timeout_s:
            raise SessionLost(f"{self._name}: acknowledged nothing for {self._broker.ack_timeout_s:g} s")
        self._troubles.goes_on()

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
