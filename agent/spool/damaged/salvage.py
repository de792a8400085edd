"""Salvage: copies what still reads of a spool file that was put aside into the new spool, a batch at a time.

Only what is not known to be acknowledged is copied. How far it has come is noted in the transaction that stores a
batch, so a crash neither loses nor doubles anything. Damage never stops it: what does not read, or does not pass its
checksum, is counted as lost. A file whose copies are all delivered gets an empty file `….salvaged` beside it.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from agent.record import SEPARATOR, Record, event
from agent.spool.damaged import copies, jobs
from agent.spool.damaged.tables import DAMAGE
from agent.spool.damaged.wreck import WAS, Wreck
from agent.spool.ranges import Ranges
from agent.spool.room import size_of
from drivers.clock import monotonic_s, now

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

SALVAGE = "salvage"
"""The note that holds what is left to do, as JSON."""
AT_ONCE, AT_ONCE_WHEN_SHORT = 500, 50
"""So many records are copied in one transaction at most."""
BATCH_S, _BATCH_BYTES, _STRETCH = 0.1, 200_000, 50
_NOTHING: Mapping[str, str] = MappingProxyType({})
_STRIDE_EVERY = 4096
_INDEX_BYTES = 32 * 1024
_TELLERS = (b'"kind":"ledger"', b'"kind":"event","event":"spool_salvaged"')


class Batch(NamedTuple):
    """Records to store with these notes in one transaction, never held back; `is_done`: nothing is left to do.

    The last record of a file is the event `spool_salvaged`. No notes: nothing is to be stored.
    """

    records: list[Record]
    notes: dict[str, str]
    is_done: bool


class Origin(NamedTuple):
    """What is known of a damaged file: the id of its spool, and its newest seq."""

    spool: str | None
    newest: int | None


class Salvage:
    """What is left to copy from damaged files beside a spool."""

    def __init__(self, spool: Path, todo: str) -> None:
        self._folder = spool.parent
        self._jobs = jobs.read(todo)
        self._noted: str | None = None
        self._wreck: Wreck | None = None
        self.finished: list[tuple[str, int]] = []
        """Files that the last batch ended, and the seq from which on their copies stand."""

    def origin(self, kept_as: str) -> Origin:
        """Give what is known of a damaged file; never raises for damage."""
        with contextlib.closing(Wreck(self._folder / kept_as)) as wreck:
            return Origin(wreck.id, wreck.newest)

    def untold(self) -> list[str]:
        """Give the files that no event has told of yet; note `todo` together with those that do."""
        found = [job["kept_as"] for job in self._jobs if not job["told"]]
        for job in self._jobs:
            job["told"] = True
        return found

    def todo(self) -> str:
        """Give what is left to do, as it is noted; empty if nothing is."""
        return json.dumps(self._jobs) if self._jobs else ""

    def take_again(self, names: Iterable[str], damaged: Sequence[tuple[int, int]]) -> bool:
        """Begin files anew, and the one in work if a copy of it is damaged; says whether there is anything to do."""
        job = self._jobs[0] if self._jobs else None
        is_hurt = job and job["since"] and any(last >= job["since"] for _, last in damaged)
        if job and is_hurt:
            self.close()
            self._jobs[0] = jobs.again(job)
        self._jobs += [jobs.new(name) for name in names]
        return bool(is_hurt or names)

    def batch(self, most: int = AT_ONCE, since: int = 1) -> Batch:
        """Give the next records, fewer than asked for when reading is slow; commit them before asking again.

        `since` is the seq that the first of them will get.
        """
        records: list[Record] = []
        until_s = monotonic_s() + BATCH_S
        while self._jobs and len(records) < most and monotonic_s() < until_s and _bytes(records) < _BATCH_BYTES:
            self._jobs[0]["since"] = self._jobs[0]["since"] or since
            try:
                records += self._step(self._jobs[0], min(_STRETCH, most - len(records)), until_s)
            except (
                LookupError,
                *DAMAGE,
            ):  # what was noted makes no sense: from the beginning, for its file may be sound
                self.close()
                if self._jobs[0] == (anew := jobs.again(self._jobs[0]) | {"since": since}):
                    raise
                self._jobs[0] = anew
        before, self._noted = self._noted, self.todo()
        return Batch(records, {SALVAGE: self._noted} if records or self._noted != before else {}, not self._jobs)

    def needs_index(self) -> bool:
        """Say whether the next file has a log that SQLite has to make an index for, which takes some room."""
        if self._wreck or not self._jobs:
            return False
        file = self._folder / self._jobs[0]["kept_as"]
        return size_of(Path(f"{file}-wal")) > 0 and size_of(Path(f"{file}-shm")) < _INDEX_BYTES

    def close(self) -> None:
        """Close the damaged file."""
        if self._wreck:
            self._wreck.close()
        self._wreck = None

    def _step(self, job: dict[str, Any], most: int, until_s: float) -> list[Record]:
        """Copy the next stretch of a file, or end it, or look closer at what does not give all."""
        if job["done"]:  # its copies stood in a later file, and none of that was lost
            self.finished.append((self._jobs.pop(0)["kept_as"], 1))
            return []
        if self._wreck is None:
            self._wreck = Wreck(self._folder / job["kept_as"])
        if self._wreck.lacks:
            self._wreck.look_closer(until_s)
            return []
        stretch = self._wreck.wanted(job["next"], most)
        if stretch is None:
            return [self._ended(self._jobs.pop(0))]
        first, last = stretch
        job["next"] = first
        found = self._wreck.records(first, last, 1 + job["failed"] // _STRIDE_EVERY)
        if self._wreck.lacks:
            return []
        records: list[Record] = []
        for seq, row in found.items():
            with contextlib.suppress(*DAMAGE):
                records.append(self._wreck.record(row, job["latest_ms"]))
                if self._wreck.is_copy(row):
                    job["moved_records"] += 1
                    jobs.extend(job["moved"], seq, seq)
                job["latest_ms"] = self._wreck.sure_ms(row) or job["latest_ms"]
                jobs.lose(job, job["next"], seq - 1, pending=False)
                job["next"] = seq + 1
        jobs.lose(job, job["next"], last, pending=last > (self._wreck.newest or 0))
        job["failed"] = 0 if records else job["failed"] + last - first + 1
        job["next"] = last + 1
        job["copied"] += len(records)
        return records

    def _ended(self, job: dict[str, Any]) -> Record:
        """Give the event that says what became of a file."""
        wreck = self._wreck or Wreck(self._folder / job["kept_as"])
        for first, last in job["pending"]:
            if first <= (wreck.newest or 0):
                jobs.note_lost(job, first, min(last, wreck.newest or 0))
        for first, last in wreck.unread(job["next"]):
            jobs.note_lost(job, first, last)
        is_all_told = _tell_given_up(job, wreck)
        self.close()
        self.finished.append((job["kept_as"], job["since"]))
        if job["lost_records"] or not wreck.knows_end:  # copies of what stands in an older file may be among them
            self._jobs[:] = [jobs.again(one) if job["kept_as"] in one["by_way_of"] else one for one in self._jobs]
        return event(
            "spool_salvaged",
            now(),
            kept_as=job["kept_as"],
            spool=wreck.id,
            records=job["copied"],
            lost=job["lost"],
            lost_records=job["lost_records"],
            moved=job["moved"],
            complete=wreck.knows_end and is_all_told and jobs.is_listed(job, "lost") and jobs.is_listed(job, "moved"),
        )


def origin_of(shape: str) -> str | None:
    """Give the spool that salvaged records of a shape were in first; None if nobody knows, or they are no such."""
    if not shape.startswith(WAS):
        return None
    head = shape.partition(SEPARATOR)[0]
    spool: str | None = json.loads("{" + head + "0}}")["was"]["spool"]
    return spool


def first_names(body: bytes, origin: str | None) -> list[tuple[str, int, int]]:
    """Give spool and seqs that only this record accounts for: its own first name, and what it says is gone.

    What is gone from the spool that it stands in is not among them; see `given_up`.
    """
    was, _, said = body.rpartition(b"\x1f")
    seq = int(was.partition(b"\x1f")[0]) if origin else 0
    names = [(origin, seq, seq)]
    if said.startswith(_TELLERS):
        told = json.loads(b"{" + said + b"}")
        names += [(one["spool"], *seqs) for one in told.get("copies", ()) for seqs in one["seqs"]]
        if told["kind"] == "event":
            names += [(told["spool"], *seqs) for seqs in (*told["lost"], *told.get("moved", ()))]
        elif told["ledger"] in ("dropped", "damaged"):
            names.append((origin, told["first"], told["last"]))
    return [(spool, first, last) for spool, first, last in names if spool]


def todo(spool: Path, before: Mapping[str, str] = _NOTHING) -> dict[str, str]:
    """Give the note for a new spool: every damaged file that is not finished, from where its last spool had come.

    `before`: such a note from before the files lost a part. What is not there any more stands only in that.
    """
    files = [file.name for file in copies.kept(spool) if not copies.is_finished(file)]
    known: dict[str, dict[str, Any]] = {}
    if files:
        with contextlib.closing(Wreck(spool.with_name(files[-1]))) as wreck, contextlib.suppress(*DAMAGE):
            noted = copies.copied(wreck.noted(copies.NOTE))
            copied = [jobs.new(name) | {"done": True} for name, *span in noted if not wreck.is_settled(*span)]
            noted_jobs = [*jobs.read(wreck.noted(SALVAGE) or "[]"), *copied]
            known = {
                job["kept_as"]: job | {"by_way_of": [*job["by_way_of"], files[-1]], "since": 0} for job in noted_jobs
            }
    left = [known.pop(name, jobs.new(name) | {"told": False}) for name in reversed(files)]
    left += known.values()  # they had to go for room
    named = {job["kept_as"] for job in left}
    left += [job for job in jobs.read(before.get(SALVAGE, "[]")) if job["kept_as"] not in named]
    return {SALVAGE: json.dumps(left)} if left else {}


def begun(spool: Path, text: str, copied: copies.Copies) -> Salvage | None:
    """Give the salvage that a spool has noted, and of files that came beside it since, if there is something left."""
    left = jobs.read(text or "[]")
    known = {job["kept_as"] for job in left}
    for file in copies.kept(spool):
        if file.name not in known and file.name not in copied and not copies.is_finished(file):
            left.append(jobs.new(file.name) | {"told": False})
    return Salvage(spool, json.dumps(left)) if left else None


def _tell_given_up(job: dict[str, Any], wreck: Wreck) -> bool:
    """Count as lost what was given up, if what told of it may be lost; says whether all of that is known."""
    if not job["lost_records"] and wreck.knows_end:
        return True
    lost = Ranges((first, last) for first, last in job["lost"])
    given_up = wreck.given_up(lost if jobs.is_listed(job, "lost") else Ranges([(1, 1 << 62)]))
    for first, last in given_up or ():
        job["lost_records"] += lost.missing(first, last)
        lost.add(first, last)
    job["lost"] = [list(one) for one in lost][: jobs.LOST_RANGES]
    return given_up is not None


def _bytes(records: Sequence[Record]) -> int:
    return sum(len(record.body) for record in records)
