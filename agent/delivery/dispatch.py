"""What goes out in a session and what becomes of it: fills the window, paces the backlog, hears acknowledgements."""

from __future__ import annotations

import json
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from agent.commands import NotValid, parse_receipt
from agent.delivery.lanes import LIVE_RESERVE, Lanes, Parcel
from agent.delivery.message import COMPRESSES_TO, Encoder, alike_together
from agent.delivery.pace import Pace
from agent.delivery.press import AHEAD, Press
from agent.delivery.refusals import ABOUT_THE_LANE, Refusals
from agent.delivery.requests import NOTE, Requests
from agent.times import iso
from drivers.clock import monotonic_s

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.delivery.mqtt import Acknowledged, Session
    from agent.delivery.troubles import Troubles
    from agent.settings import BrokerSettings
    from agent.spool.packed import Packed
    from agent.spool.spool import Reader

MESSAGE_MARGIN = 1024
"""Bytes of a packet that are not its message: topic and properties."""
BACKFILL_A_TURN = 50
BACKFILL_AT_LEAST_EVERY_S = 10.0
"""So long live messages may fill the window: then one place is kept for the backlog."""
REPLIES_MOST = 100
GOOD = 0x80


class Spooled(NamedTuple):
    """What the dispatch tells the spool's thread.

    `settle(first, last)`: need not be sent again; `damaged(first, last)`: is not what was once written;
    `note(key, text, then)`: to be kept over a restart, and what to do afterwards. `pressed()`: a message is compressed,
    said on a thread of its own.
    """

    settle: Callable[[int, int], None]
    damaged: Callable[[int, int], None]
    note: Callable[[str, str, Callable[[], None]], None]
    pressed: Callable[[], None] = lambda: None


class Sent(NamedTuple):
    """A message on its way."""

    topic: str
    parcel: Parcel | None
    reply: dict[str, Any] | None
    at_s: float


class Dispatch:
    """Everything between the spool and one session after the other."""

    def __init__(
        self,
        station: str,
        broker: BrokerSettings,
        reader: Reader,
        spooled: Spooled,
        troubles: Troubles,
        packed: Packed | None = None,
    ) -> None:
        self._station, self._broker, self._troubles = station, broker, troubles
        self._prefix = f"{broker.prefix}/{station}"
        self._spool_id = reader.id
        self._encoder = Encoder(station, reader.id)
        self.lanes = Lanes(reader, spooled.settle, spooled.damaged, packed)
        self.requests = Requests(reader, lambda text, then: spooled.note(NOTE, text, then), spooled.damaged)
        self.in_flight: dict[int, Sent] = {}
        self._press = Press(spooled.pressed)
        self._refusals = Refusals(broker.message_bytes)
        self._values, self._bytes = Pace(broker.backfill_values_s), Pace(broker.backfill_bytes_s)
        self._replies: deque[dict[str, Any]] = deque(maxlen=REPLIES_MOST)
        self._awaited: deque[tuple[float, int, int]] = deque()
        self._turn_of_requests = False
        self._backfill_s = monotonic_s()
        self._heard_s = monotonic_s()
        self.has_worked = self._has_answered = False

    def topic(self, name: str) -> str:
        """Give one of the station's topics."""
        return f"{self._prefix}/{name}"

    def begin(self, session: Session) -> None:
        """Begin a session: nothing is on its way."""
        self._heard_s = self._backfill_s = monotonic_s()
        self.has_worked = self._has_answered = False
        self.lanes.begin_session(min(self._broker.message_bytes, session.packet_limit - MESSAGE_MARGIN))

    def end(self, *, is_lost: bool) -> None:
        """End a session: what was on its way is unsent again."""
        backlog = [sent.parcel for sent in self.in_flight.values() if sent.parcel and sent.parcel.lane == "backfill"]
        for sent in self.in_flight.values():
            if sent.reply:
                self._replies.append(sent.reply)
        self.in_flight.clear()
        self._press.forget()
        self.requests.session_lost()
        if is_lost and backlog and self.has_worked and not self._refusals.is_barred("backfill"):
            self._suspect(backlog)

    def wait_s(self, most_s: float) -> float:
        """Give how long nothing needs to be done if nothing happens."""
        if self.requests.replies:
            return 0.0
        paced_s = max(self._values.wait_s(), self._bytes.wait_s())
        return min(most_s, paced_s) if paced_s else most_s

    def fill(self, session: Session) -> bool:
        """Send while there is room in the window: live, then the backlog up to its share; says if more could follow."""
        self._time_out()
        is_busy = self.requests.turn()
        self._answer(session)
        if self._refusals.is_barred("data"):
            self.lanes.pass_by_live()
        room = session.window - self._is_backfill_starving()
        while len(self.in_flight) < room and (parcel := self.lanes.live()):
            self._send(session, parcel, self._encoder.message(parcel.records))
        return self._fill_backfill(session) or is_busy

    def send_document(self, session: Session, name: str, payload: bytes) -> int:
        """Send a retained document; gives its number."""
        mid = session.publish(self.topic(name), payload, retain=True)
        self.in_flight[mid] = Sent(self.topic(name), None, None, monotonic_s())
        return mid

    def acknowledged(self, event: Acknowledged) -> None:
        """Hear what the broker says of a message."""
        sent = self.in_flight.pop(event.mid, None)
        if sent is None:
            return
        self._heard_s = monotonic_s()
        self._has_answered = True
        if event.reason >= GOOD:
            self._refused(sent, event)
            return
        self.has_worked = True
        self._troubles.accepted(sent.topic)
        if sent.parcel:
            self._delivered(sent.parcel)

    def receipt(self, payload: bytes) -> None:
        """Hear what the platform has stored. Raises NotValid."""
        spool, ranges = parse_receipt(payload)
        if spool != self._spool_id:
            raise NotValid("is about another spool")
        for first, last in ranges:
            self.lanes.deliver(first, last)

    def silent_s(self) -> float:
        """Give how long messages are on their way and nothing at all is acknowledged; one behind many may take long."""
        oldest = next(iter(self.in_flight.values()), None)
        return monotonic_s() - max(oldest.at_s, self._heard_s) if oldest else 0.0

    def portrait(self) -> dict[str, Any]:
        """Give the numbers of delivery for the state."""
        lanes = self.lanes
        oldest_ms = lanes.oldest_unsent_ms()
        return {
            "newest": lanes.newest,
            "backlog": lanes.backlog,
            "oldest_unsent": None if oldest_ms is None else iso(oldest_ms),
            "set_aside": lanes.set_aside.count(),
            "awaiting_receipt": lanes.awaiting.count(),
            "requests": self.requests.portrait(),
        }

    def _fill_backfill(self, session: Session) -> bool:
        """Send the backlog once the broker has answered: if it hangs up at that, it is not just away."""
        if not self._has_answered:
            return False
        share = 1 if self._refusals.is_careful else max(1, session.window - LIVE_RESERVE)
        for _ in range(BACKFILL_A_TURN):
            on_its_way = self._backfill_in_flight()
            room = min(share - on_its_way, session.window - len(self.in_flight))
            if on_its_way or room > 0:
                self._backfill_s = monotonic_s()
            if self._refusals.is_barred("backfill") or self._is_paced() or room <= 0:
                return False
            if not (done := self._next_ready(session, room)):
                return False
            self._send(session, *done, encoding="gzip" if session.compresses else "")
            if not session.compresses:
                return True
        return True

    def _next_ready(self, session: Session, room: int) -> tuple[Parcel, bytes] | None:
        """Give the next message of the backlog that needs nothing more; one that does is begun meanwhile."""
        if ready := self._press.take():  # before those packed ahead, which are always ready
            return ready
        while len(self._press) < min(AHEAD, room) and (parcel := self._next_backfill(session)):
            if parcel.packed is None:
                if not session.compresses:
                    return parcel, self._encoder.message(parcel.records)
                self._press.put(parcel, self._encoder.message(alike_together(parcel.records)))
            elif payload := self.lanes.read(parcel):
                return parcel, payload
        return self._press.take()

    def _backfill_in_flight(self) -> int:
        """Count what is on its way of the backlog; live messages, which never cease, must not take its share."""
        return sum(sent.parcel is not None and sent.parcel.lane == "backfill" for sent in self.in_flight.values())

    def _is_backfill_starving(self) -> bool:
        """Say whether live messages alone have filled a small window for so long that a place must be kept free."""
        return monotonic_s() - self._backfill_s > BACKFILL_AT_LEAST_EVERY_S

    def _is_paced(self) -> bool:
        return bool(self._values.wait_s() or self._bytes.wait_s())

    def _next_backfill(self, session: Session) -> Parcel | None:
        """Take in turns from what was asked for and from the backlog."""
        size = min(self._refusals.message_bytes, self.lanes.message_bytes)
        sizes = (size * COMPRESSES_TO, size) if session.compresses else (size, 0)
        self._turn_of_requests = not self._turn_of_requests
        if self._turn_of_requests:
            return self.requests.take(sizes[0]) or self.lanes.backfill(*sizes)
        return self.lanes.backfill(*sizes) or self.requests.take(sizes[0])

    def _send(self, session: Session, parcel: Parcel, payload: bytes, encoding: str = "") -> None:
        topic, limit = self.topic(parcel.lane), session.packet_limit - MESSAGE_MARGIN
        if len(payload) > (limit if len(parcel.records) == 1 else min(limit, self._broker.message_bytes + 1000)):
            self._split(topic, parcel, session.packet_limit)
            return
        if parcel.lane == "backfill":
            self._values.spend(parcel.values)
            self._bytes.spend(len(payload))
        mid = session.publish(topic, payload, encoding=encoding)
        self.in_flight[mid] = Sent(topic, parcel, None, monotonic_s())

    def _answer(self, session: Session) -> None:
        self._replies.extend(self.requests.replies)
        self.requests.replies.clear()
        while self._replies and len(self.in_flight) < session.window:
            reply = self._replies.popleft()
            document = {"v": 1, "station": self._station, "spool": self._spool_id, **reply}
            mid = session.publish(self.topic("reply"), json.dumps(document, separators=(",", ":")).encode())
            self.in_flight[mid] = Sent(self.topic("reply"), None, reply, monotonic_s())

    def _delivered(self, parcel: Parcel) -> None:
        if parcel.lane == "backfill":
            self._refusals.acknowledged()
        if self._broker.waits_for_receipt:
            self.lanes.await_receipt(parcel)
            self._awaited.append((monotonic_s(), parcel.first, parcel.last))
        else:
            self.lanes.acknowledged(parcel)
        if parcel.request:
            self.requests.delivered(parcel)

    def _refused(self, sent: Sent, event: Acknowledged) -> None:
        self._troubles.refused(sent.topic, event.text)
        if sent.parcel is None:
            return
        if event.reason in ABOUT_THE_LANE:
            self._refusals.bar(sent.parcel.lane)
            self._take_back(sent.parcel)
        else:
            self._split(sent.topic, sent.parcel, 0)

    def _take_back(self, parcel: Parcel) -> None:
        if parcel.request:
            self.requests.take_back(parcel)
        else:
            self.lanes.unsent(parcel.first, parcel.last)

    def _split(self, topic: str, parcel: Parcel, limit_bytes: int) -> None:
        """Send the halves of a message that is refused for what it is; set a single record aside."""
        if parcel.request:
            self.requests.refused(parcel)
        elif not self.lanes.split(parcel):
            self._troubles.set_aside(topic, parcel.first, limit_bytes)

    def _suspect(self, backlog: list[Parcel]) -> None:
        """Send more carefully after sessions that end with the backlog on its way, one after the other."""
        if not self._refusals.session_lost(sum(parcel.size for parcel in backlog)):
            return
        if backlog[0].request:
            self.requests.pass_over(backlog[0])
            self._troubles.set_aside(self.topic("backfill"), backlog[0].first, 0)
        else:
            self.lanes.set_aside.add(backlog[0].first, backlog[0].last)
            self._troubles.set_aside(self.topic("backfill"), backlog[0].first, 0)

    def _time_out(self) -> None:
        """Have sent again what waited too long for its receipt, and now and then what was set aside."""
        limit_s = monotonic_s() - self._broker.receipt_timeout_s
        while self._awaited and self._awaited[0][0] < limit_s:
            self.lanes.unsent(*self._awaited.popleft()[1:])
        if self._refusals.is_time_to_try_again():
            self.lanes.try_again()
