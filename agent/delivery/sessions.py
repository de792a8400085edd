"""One session after the other: how they begin, how they end, and how long to wait between them.

A record is delivered when its PUBACK says so, and a session is judged by its acknowledgements: one that says
"connected" and acknowledges nothing is torn down and made again. tenacity spaces the attempts, with full jitter.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from queue import Empty, SimpleQueue
from random import random
from typing import TYPE_CHECKING, Any

from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_random_exponential

from agent.delivery.mqtt import Session
from agent.delivery.session_lost import SessionLost
from agent.delivery.troubles import Troubles
from drivers.clock import monotonic_s

if TYPE_CHECKING:
    from agent.say import Say
    from agent.settings import BrokerSettings

TURN_S = 1.0
TAKEN_OVER_PAUSE_S = 20.0
STEADY_PAUSE_S = 1.0
"""After a long session the first attempt comes within this, by chance: a whole city must not come at once."""


class Sessions(ABC):
    """Holds sessions of one station, on the thread that calls `run`; what is done in them, a subclass says.

    `meanwhile`: what is said of the time without a session.
    """

    def __init__(self, station: str, broker: BrokerSettings, say: Say, meanwhile: str) -> None:
        self.turned_s = monotonic_s()
        self._station, self._broker = station, broker
        self._name = f"broker {broker.host}:{broker.port}"
        self._troubles = Troubles(self._name, say, meanwhile)
        self._events: SimpleQueue[Any] = SimpleQueue()
        self._current: Session | None = None
        self._is_stopping = self._is_cancelled = False

    def stop(self) -> None:
        """End `run` after the last word has been sent."""
        self._is_stopping = True
        self._events.put(None)

    def cancel(self) -> None:
        """End `run` at once and without a last word: the will says that the station is away."""
        self._is_cancelled = True
        self.stop()
        if session := self._current:
            session.cancel()

    def run(self) -> None:
        """Hold one session after the other until stopped."""
        while not self._is_stopping:
            try:
                self._retrying()(self._session)
            except SessionLost:
                break

    @abstractmethod
    def _serve(self, session: Session) -> None:
        """Do what there is to do in a session that was just made, until stopped; then close it. May raise SessionLost.

        What came in during the session before is in the queue still.
        """

    @abstractmethod
    def _take(self, event: Any) -> None:
        """Deal with one event, also between sessions; raises the error of a Lost of the current session."""

    @abstractmethod
    def _ended(self, *, is_lost: bool) -> None:
        """Learn that a session has ended."""

    @abstractmethod
    def _will(self) -> bytes:
        """Give the state for the broker to publish when the session ends without a word."""

    def _meanwhile(self) -> float:
        """Do a little of what can be done without a session; gives how long to wait at most before more of it."""
        return TURN_S

    def _listens_to(self) -> list[str]:
        """Give the topics to subscribe to."""
        return []

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
        will = self._topic("state"), self._will()
        session = self._current = Session(self._broker, self._events, will, self._listens_to())
        try:
            if self._is_cancelled:  # perhaps by a thread that did not see this session yet
                session.cancel()
            session.connect()
            self._serve(session)
        except SessionLost as error:
            is_lost, self._current = True, None
            session.abandon()
            if not self._is_cancelled:
                self._troubles.lost(error)
            if not self._troubles.is_steady:
                raise
        finally:
            self._current = None
            self._ended(is_lost=is_lost)
        if is_lost:
            self._wait(random() * min(STEADY_PAUSE_S, self._broker.reconnect_max_s))  # noqa: S311  guards no secret

    def _next_event(self, timeout_s: float) -> Any:
        self.turned_s = monotonic_s()
        try:
            return self._events.get(timeout=timeout_s) if timeout_s > 0 else self._events.get_nowait()
        except Empty:
            return None

    def _wait(self, seconds: float) -> None:
        """Wait between attempts, taking what comes, ended by stop."""
        deadline = monotonic_s() + seconds
        while not self._is_stopping and (left := deadline - monotonic_s()) > 0:
            self._take(self._next_event(min(left, self._meanwhile())))

    def _topic(self, name: str) -> str:
        return f"{self._broker.prefix}/{self._station}/{name}"
