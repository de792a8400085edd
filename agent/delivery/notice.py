"""The thread that sends while there is no spool: nothing but the state, so that the platform knows why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent.delivery.mqtt import Acknowledged, Lost, Session
from agent.delivery.session_lost import SessionLost
from agent.delivery.sessions import TURN_S, Sessions
from drivers.clock import monotonic_s

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.say import Say
    from agent.settings import BrokerSettings

STATE_EVERY_S = 60.0


class Notice(Sessions):
    """Says the state: `state(is_online)`, as JSON, whenever it changed and now and then anyway."""

    def __init__(self, station: str, broker: BrokerSettings, state: Callable[[bool], bytes], say: Say) -> None:
        super().__init__(station, broker, say, "it will be told that nothing can be stored")
        self._state = state
        self._in_flight: dict[int, float] = {}

    def _serve(self, session: Session) -> None:
        said, said_s = b"", 0.0
        while not self._is_stopping:
            state = self._state(True)
            if (state != said or monotonic_s() - said_s >= STATE_EVERY_S) and len(self._in_flight) < session.window:
                said, said_s = state, monotonic_s()
                self._in_flight[session.publish(self._topic("state"), state, retain=True)] = said_s
            self._take(self._next_event(TURN_S))
            self._judge()
        session.abandon()  # the will is our goodbye

    def _judge(self) -> None:
        """End a session in which nothing is acknowledged."""
        oldest_s = next(iter(self._in_flight.values()), monotonic_s())
        if monotonic_s() - oldest_s > self._broker.ack_timeout_s:
            raise SessionLost(f"{self._name}: acknowledged nothing for {self._broker.ack_timeout_s:g} s")
        self._troubles.goes_on()

    def _take(self, event: Any) -> None:
        if event is None or event.session is not self._current:
            return
        if isinstance(event, Lost):
            raise event.error
        if isinstance(event, Acknowledged):
            self._in_flight.pop(event.mid, None)
            topic = self._topic("state")
            if event.reason < 0x80:
                self._troubles.accepted(topic)
            else:
                self._troubles.refused(topic, event.text)

    def _ended(self, *, is_lost: bool) -> None:  # noqa: ARG002  either way nothing is to be sent again
        self._in_flight.clear()

    def _will(self) -> bytes:
        return self._state(False)
