"""What the platform asked for and has not got yet: counted, answered, sent beside the backlog, kept over restarts.

A request is a list of stretches of seqs and a selection. It is counted first, in slices, so that `accepted` can say
how much will come; then it is sent, from `place` on. What stands in `written` is enough to go on after a crash; at
worst a part is sent twice, which is harmless, for a platform stores by seq.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from agent.commands import Command, NotValid, parse
from agent.delivery.lanes import Parcel
from agent.spool.stored import DamagedRecord, Selection
from drivers.clock import monotonic_s

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.spool.spool import Reader

NOTE = "requests"
"""The spool keeps them under this name."""
OPEN_MOST = 8
ABSENT_MOST = 100
PROGRESS_EVERY_S = 10.0
SLICE = 20_000
"""Seqs that are looked at in one turn."""
Reply = dict[str, Any]


class Request:
    """One request. `total` is None until it has been counted; `low` is the first seq that is not delivered."""

    def __init__(self, command: Command, spans: list[tuple[int, int]]) -> None:
        self.command, self.spans = command, spans
        instruments = frozenset(command.instruments) if command.instruments else None
        only_hours = command.word == "ledger"
        self.selection = Selection(command.from_ms, command.to_ms, instruments, only_hours)
        self.total: int | None = None
        self.counted = self.sent = 0
        self.absent: list[tuple[int, int]] = []
        self.place = spans[0][0] if spans else 0
        self.on_the_way: dict[int, int] = {}
        self.told_s = monotonic_s()
        self.is_noted = False
        self.max_bytes = 1 << 30

    @property
    def is_read(self) -> bool:
        """Whether everything has been taken."""
        return not self.spans or self.place > self.spans[-1][1]

    def span(self) -> tuple[int, int] | None:
        """Give what is left of the stretch that is being read, moving on to the next if it is at its end."""
        for first, last in self.spans:
            if self.place <= last:
                self.place = max(self.place, first)
                return self.place, last
        return None

    def document(self) -> dict[str, Any]:
        """Give what is kept over a restart."""
        low = min(self.on_the_way, default=self.place)
        numbers = {"total": self.total, "place": low, "sent": self.sent, "absent": self.absent}
        return {"command": self.command._asdict(), "spans": self.spans} | numbers

    def miss(self, first: int, last: int) -> None:
        """Note seqs that were asked for and are not there; 100 ranges at most."""
        if len(self.absent) < ABSENT_MOST and first <= last:
            self.absent.append((first, last))


class Requests:
    """All open requests. `note(text, then)` stores `text` and calls `then` afterwards; `damaged` is as for Lanes.

    `replies` is to be emptied by the publisher.
    """

    def __init__(
        self,
        reader: Reader,
        note: Callable[[str, Callable[[], None]], None],
        damaged: Callable[[int, int], None],
    ) -> None:
        self.replies: list[Reply] = []
        self.open: dict[str, Request] = {}
        self._reader, self._note, self._damaged = reader, note, damaged
        stored = reader.noted(NOTE)
        for document in json.loads(stored) if stored else []:
            self._restore(document)

    def hear(self, payload: bytes, newest: int) -> None:
        """Take a command. Raises NotValid for what is none, after it has been answered."""
        try:
            command = parse(payload)
        except NotValid as error:
            self._refuse(error.id, "not_valid", str(error))
            raise
        if command.word == "cancel":
            self._cancel(command.id)
        elif not self._is_known(command):
            self._open(command, newest)

    def turn(self) -> bool:
        """Count a slice of a request that is not counted yet; says whether there is more to do at once."""
        for request in self.open.values():
            if request.total is None:
                self._count(request)
                return True
        return False

    def take(self, max_bytes: int) -> Parcel | None:
        """Take the next records that were asked for, of the oldest request."""
        for request in list(self.open.values()):
            if request.is_noted and (parcel := self._next_of(request, max_bytes)):
                return parcel
        return None

    def delivered(self, parcel: Parcel) -> None:
        """Note that a parcel of a request has arrived, or will never be taken by the broker."""
        request: Request = parcel.request
        request.on_the_way.pop(parcel.first, None)
        request.sent = min(request.sent + len(parcel.records), request.total or 0)
        self._end_if_done(request)
        if self.open.get(request.command.id) is request and monotonic_s() - request.told_s >= PROGRESS_EVERY_S:
            self._tell_progress(request)

    def take_back(self, parcel: Parcel) -> None:
        """Have a parcel sent again later."""
        request: Request = parcel.request
        request.on_the_way.pop(parcel.first, None)
        request.place = min(request.place, parcel.first)

    def refused(self, parcel: Parcel) -> None:
        """Send what the broker will not have in smaller messages; leave out the one record that is to blame."""
        request: Request = parcel.request
        if len(parcel.records) > 1:
            self.take_back(parcel)
            request.max_bytes = sum(len(one.body) for one in parcel.records) // 2
            return
        request.on_the_way.pop(parcel.first, None)
        self._end_if_done(request)

    def pass_over(self, parcel: Parcel) -> None:
        """Go on behind a record that ends every session in which it is sent; it is not counted as sent."""
        request: Request = parcel.request
        request.place = max(request.place, parcel.last + 1)
        self._end_if_done(request)
        self._keep(lambda: None)

    def session_lost(self) -> None:
        """Take back what was on its way."""
        for request in self.open.values():
            if request.on_the_way:
                request.place = min(request.on_the_way)
                request.on_the_way.clear()

    def portrait(self) -> list[dict[str, Any]]:
        """Give what the state says of them."""
        return [{"id": one.command.id, "sent": one.sent, "records": one.total} for one in self.open.values()]

    def _is_known(self, command: Command) -> bool:
        known = self.open.get(command.id)
        if known is None:
            return False
        if known.command != command:
            self._refuse(command.id, "id_in_use", "another request of this id is open")
        elif known.is_noted:
            self._accept(known)
        return True

    def _open(self, command: Command, newest: int) -> None:
        if command.spool not in (None, self._reader.id):
            self._refuse(command.id, "other_spool", f"this station's spool is {self._reader.id}")
        elif len(self.open) >= OPEN_MOST:
            self._refuse(command.id, "busy", f"{OPEN_MOST} requests are open")
        else:
            request = self.open[command.id] = Request(command, self._spans(command, newest))
            for first, last in command.seqs:
                request.miss(max(first, newest + 1), last)

    def _spans(self, command: Command, newest: int) -> list[tuple[int, int]]:
        if command.from_ms is None or command.to_ms is None:
            asked = sorted((first, min(last, newest)) for first, last in command.seqs)
            return _joined([span for span in asked if span[0] <= span[1]])
        if command.word == "ledger":
            return [(1, newest)] if newest else []
        return [(first, min(last, newest)) for first, last in self._reader.spans(command.from_ms, command.to_ms)]

    def _count(self, request: Request) -> None:
        if span := request.span():
            found, request.place = self._counted(request, span)
            request.counted += found
            return
        request.total, request.place = request.counted, request.spans[0][0] if request.spans else 0
        if not request.total:
            del self.open[request.command.id]
            self._refuse(request.command.id, "nothing_there", "no record of these is stored")
            return
        self._keep(lambda: self._begin(request))

    def _counted(self, request: Request, span: tuple[int, int]) -> tuple[int, int]:
        """Count a slice; gives how many, and where to go on."""
        if not request.command.seqs:
            found, place = self._reader.count(*span, request.selection, SLICE)
            return found, place if place > span[0] else span[1] + 1
        first, last = span[0], min(span[1], span[0] + SLICE - 1)
        present = self._reader.present(first, last)
        place = first
        while gap := present.gap(place, last):
            request.miss(*gap)
            place = gap[1] + 1
        return last - first + 1 - present.missing(first, last), last + 1

    def _begin(self, request: Request) -> None:
        if self.open.get(request.command.id) is request:
            request.is_noted = True
            request.told_s = monotonic_s()
            self._accept(request)

    def _accept(self, request: Request) -> None:
        absent = {"absent": request.absent} if request.absent else {}
        self._reply(request, "accepted", records=request.total, **absent)

    def _next_of(self, request: Request, max_bytes: int) -> Parcel | None:
        span = request.span()
        if span is None:
            self._end_if_done(request)
            return None
        try:
            records, place = self._reader.selected(*span, request.selection, min(max_bytes, request.max_bytes), SLICE)
        except DamagedRecord as error:
            self._damaged(error.first, error.last)
            records, place = [], error.last + 1
        request.place = place if place > span[0] else span[1] + 1
        if not records:
            return None
        request.on_the_way[records[0].seq] = len(records)
        return Parcel("backfill", records[0].seq, records[-1].seq, records, request)

    def _end_if_done(self, request: Request) -> None:
        if request.is_read and not request.on_the_way and self.open.get(request.command.id) is request:
            del self.open[request.command.id]
            self._keep(lambda: self._reply(request, "done", sent=request.sent, records=request.total))

    def _tell_progress(self, request: Request) -> None:
        request.told_s = monotonic_s()
        self._reply(request, "progress", sent=request.sent, records=request.total)
        self._keep(lambda: None)

    def _cancel(self, request_id: str) -> None:
        request = self.open.pop(request_id, None)
        if request is None:
            self._refuse(request_id, "unknown_request", "no request of this id is open")
        else:
            self._keep(lambda: self._reply(request, "cancelled", sent=request.sent, records=request.total or 0))

    def _keep(self, then: Callable[[], None]) -> None:
        counted = [one.document() for one in self.open.values() if one.total is not None]
        self._note(json.dumps(counted) if counted else "", then)

    def _restore(self, document: dict[str, Any]) -> None:
        words = document["command"]
        seqs = tuple((first, last) for first, last in words["seqs"])
        command = Command(**(words | {"seqs": seqs, "instruments": tuple(words["instruments"])}))
        request = Request(command, [(first, last) for first, last in document["spans"]])
        request.total, request.place, request.sent = document["total"], document["place"], document["sent"]
        request.absent = [(first, last) for first, last in document["absent"]]
        request.is_noted = True
        self.open[command.id] = request

    def _refuse(self, request_id: str | None, reason: str, text: str) -> None:
        self.replies.append({"id": request_id, "reply": "refused", "reason": reason, "text": text})

    def _reply(self, request: Request, word: str, **numbers: Any) -> None:
        self.replies.append({"id": request.command.id, "reply": word, **numbers})


def _joined(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Join stretches, sorted by their begin, that overlap or touch."""
    joined: list[tuple[int, int]] = []
    for first, last in spans:
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = joined[-1][0], max(last, joined[-1][1])
        else:
            joined.append((first, last))
    return joined
