"""The thread that sends: live first, the backlog behind it, never more on its way than the window allows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from agent import __version__
from agent.commands import NotValid
from agent.delivery.ahead import Ahead
from agent.delivery.dispatch import Dispatch, Spooled
from agent.delivery.message import Encoder
from agent.delivery.mqtt import Acknowledged, Heard, Lost, Session
from agent.delivery.session_lost import SessionLost
from agent.delivery.sessions import TURN_S, Sessions
from agent.spool.packed import Packed
from agent.spool.reader import Reader
from drivers.clock import monotonic_s

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agent.say import Say
    from agent.settings import BrokerSettings
    from agent.spool.packed import Message

STATE_EVERY_S = 60.0
STATE_AT_MOST_EVERY_S = 5.0
GOODBYE_S = 0.7


class Documents(NamedTuple):
    """What the station says of itself, as JSON: `state(is_online, delivery)` and `catalog()`."""

    state: Callable[[bool, dict[str, Any]], bytes]
    catalog: Callable[[], bytes]


class Publisher(Sessions):
    """Sends what the spool holds; `spooled` takes what is to be stored of that.

    `packs_up_to`: how large the spool may be, in bytes, with messages that are packed ahead; 0 for none of them.
    """

    def __init__(
        self,
        station: str,
        broker: BrokerSettings,
        spool: Path,
        spooled: Spooled,
        documents: Documents,
        say: Say,
        packs_up_to: int = 0,
    ) -> None:
        super().__init__(station, broker, say, "records are kept and sent later")
        self._path, self._spooled, self._documents, self._packs_up_to = spool, spooled, documents, packs_up_to
        self._state_s = 0.0
        self._state_said = b""
        self._was_there = False

    def committed(self, newest: int) -> None:
        """Learn that records up to `newest` are on disk."""
        self._events.put(newest)

    def run(self) -> None:
        """Hold one session after the other until stopped."""
        reader = Reader(self._path)
        spooled = self._spooled._replace(note=self._note, pressed=lambda: self._events.put(None))
        packed = Packed(self._path, f"{__version__} {self._station} {reader.id}", self._is_right(reader))
        self._dispatch = Dispatch(self._station, self._broker, reader, spooled, self._troubles, packed)
        encoder = Encoder(self._station, reader.id)
        limit = self._packs_up_to if self._broker.protocol == "5" else 0
        self._ahead = Ahead(reader, packed, self._dispatch.lanes, encoder, self._broker, limit)
        super().run()
        reader.close()

    def _note(self, key: str, text: str, then: Callable[[], None]) -> None:
        """Have a note stored; what follows is done here, not on the thread that stores."""
        self._spooled.note(key, text, lambda: self._events.put(then))

    @staticmethod
    def _is_right(reader: Reader) -> Callable[[Message], bool]:
        """Give what tells messages packed ahead that are of these records, and all still to be sent."""
        newest, settled = reader.newest(), reader.acknowledged()

        def is_right(one: Message) -> bool:
            is_unsent = one.last <= newest and settled.gap(one.first, one.last) == (one.first, one.last)
            return is_unsent and reader.checksum(one.last) == one.last_crc

        return is_right

    def _ended(self, *, is_lost: bool) -> None:
        self._dispatch.end(is_lost=is_lost)
        if self._was_there and self._dispatch.has_worked:
            self._ahead.begin()
        self._was_there = False

    def _meanwhile(self) -> float:
        return min(TURN_S, self._ahead.turn())

    def _listens_to(self) -> list[str]:
        topics = ["command", "receipt"] if self._broker.waits_for_receipt else ["command"]
        return [self._topic(name) for name in topics]

    def _begin(self, session: Session) -> None:
        while (event := self._next_event(0)) is not None:
            self._take(event)
        self._was_there = True
        self._dispatch.begin(session)
        self._state_said = b""
        self._dispatch.send_document(session, "catalog", self._documents.catalog())

    def _serve(self, session: Session) -> None:
        self._begin(session)
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

    def _will(self) -> bytes:
        return self._documents.state(False, {})


def _steady_part(payload: bytes) -> bytes:
    """Leave out the numbers that change each cycle; they alone are no news."""
    return payload.partition(b'"delivery"')[0]
