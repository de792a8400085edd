"""Salvage: copies what still reads of a spool file that was put aside into the new spool, a batch at a time.

Only what is not known to be acknowledged is copied. How far it has come is noted in the transaction that stores a
batch, so a crash neither loses nor doubles anything. Damage never stops it: what does not read, or does not pass its
checksum, is counted as lost. A file that is finished gets an empty file `….salvaged` beside it.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from agent.record import Record, event
from agent.wreck import DAMAGE, Wreck
from drivers.clock import monotonic_s, now

if TYPE_CHECKING:
    from collections.abc import Iterable

SALVAGE = "salvage"
"""The note that holds what is left to do, as JSON."""
BATCH_S = 0.1
_LOST_RANGES = 100
_STRIDE_EVERY = 4096


class Batch(NamedTuple):
    """Records to store with these notes in one transaction, never held back; `is_done`: nothing is left to do.

    The last record of a file is the event `spool_salvaged`.
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
        self._jobs: list[dict[str, Any]] = [_new_job("") | job for job in json.loads(todo)]
        self._wreck: Wreck | None = None
        self._finished: list[str] = []

    def origin(self, kept_as: str) -> Origin:
        """Give what is known of a damaged file; never raises for damage."""
        with contextlib.closing(Wreck(self._folder / kept_as)) as wreck:
            return Origin(wreck.id, wreck.newest)

    def batch(self, most: int = 500) -> Batch:
        """Give the next records, fewer than asked for when reading is slow; commit them before asking again."""
        records: list[Record] = []
        until_s = monotonic_s() + BATCH_S
        while self._jobs and len(records) < most and monotonic_s() < until_s:
            records += self._step(self._jobs[0], most - len(records))
        todo = json.dumps(self._jobs) if self._jobs else ""
        return Batch(records, {SALVAGE: todo}, not self._jobs)

    def committed(self) -> None:
        """Mark the files that are finished, now that it is stored."""
        for name in self._finished:
            mark(self._folder / name)
        self._finished.clear()

    def close(self) -> None:
        """Close the damaged file."""
        if self._wreck:
            self._wreck.close()
        self._wreck = None

    def _step(self, job: dict[str, Any], most: int) -> list[Record]:
        """Copy the next stretch of a file, or end it."""
        if self._wreck is None:
            self._wreck = Wreck(self._folder / job["kept_as"])
        stretch = self._wreck.wanted(job["next"], most)
        if stretch is None:
            return [self._ended(self._jobs.pop(0))]
        first, last = stretch
        job["next"] = first
        found = self._wreck.records(first, last, 1 + job["failed"] // _STRIDE_EVERY)
        records: list[Record] = []
        for seq, row in found.items():
            with contextlib.suppress(*DAMAGE):
                records.append(self._wreck.record(row, job["latest_ms"]))
                if self._wreck.is_copy(row):
                    job["moved_records"] += 1
                    _extend(job["moved"], seq, seq)
                job["latest_ms"] = self._wreck.sure_ms(row) or job["latest_ms"]
                _lose(job, job["next"], seq - 1, pending=False)
                job["next"] = seq + 1
        _lose(job, job["next"], last, pending=last > (self._wreck.newest or 0))
        job["failed"] = 0 if records else job["failed"] + last - first + 1
        job["next"] = last + 1
        job["copied"] += len(records)
        return records

    def _ended(self, job: dict[str, Any]) -> Record:
        """Give the event that says what became of a file."""
        wreck = self._wreck or Wreck(self._folder / job["kept_as"])
        for first, last in job["pending"]:
            if first <= (wreck.newest or 0):
                _note_lost(job, first, min(last, wreck.newest or 0))
        for first, last in wreck.unread(job["next"]):
            _note_lost(job, first, last)
        self.close()
        self._finished.append(job["kept_as"])
        if job["lost_records"]:  # copies of what still stands in an older file may be among them
            again = [_new_job(one["kept_as"]) if one["by_way_of"] == job["kept_as"] else one for one in self._jobs]
            self._jobs[:] = again
        return event(
            "spool_salvaged",
            now(),
            kept_as=job["kept_as"],
            spool=wreck.id,
            records=job["copied"],
            lost=job["lost"],
            lost_records=job["lost_records"],
            moved=job["moved"],
            complete=wreck.knows_end and all(_count(job[what]) == job[f"{what}_records"] for what in ("lost", "moved")),
        )


def mark(kept: Path) -> None:
    """Mark a damaged file as finished."""
    with contextlib.suppress(OSError):
        _marked(kept).touch()


def unfinished(spool: Path, jobs: Iterable[str] = ()) -> list[Path]:
    """Give the damaged files beside a spool that are not finished, oldest first, apart from those named."""
    kept = [file for file in spool.parent.glob(f"{spool.name}.damaged-*") if file.name.rpartition("-")[2].isdigit()]
    kept.sort(key=lambda file: int(file.name.rpartition("-")[2]))
    return [file for file in kept if file.name not in jobs and not _marked(file).exists()]


def todo(spool: Path) -> dict[str, str]:
    """Give the note for a new spool: every damaged file that is not finished, from where its last spool had come."""
    files = unfinished(spool)
    known: dict[str, Any] = {}
    for file in files[-1:]:
        with contextlib.closing(Wreck(file)) as wreck, contextlib.suppress(*DAMAGE):
            noted = [_new_job("") | job for job in json.loads(wreck.noted(SALVAGE) or "[]")]
            known = {job["kept_as"]: job | {"by_way_of": file.name} for job in noted}
    jobs = [known.get(file.name, _new_job(file.name)) for file in reversed(files)]
    return {SALVAGE: json.dumps(jobs)} if jobs else {}


def begun(spool: Path, text: str) -> Salvage | None:
    """Give the salvage that a spool has noted, if there is something left; marks what it has finished."""
    jobs = [job["kept_as"] for job in json.loads(text or "[]")]
    for file in unfinished(spool, jobs):
        mark(file)
    return Salvage(spool, text) if jobs else None


def _new_job(name: str) -> dict[str, Any]:
    return {
        "kept_as": name,
        "next": 1,
        "copied": 0,
        "lost": [],
        "lost_records": 0,
        "moved": [],
        "moved_records": 0,
        "pending": [],
        "failed": 0,
        "latest_ms": None,
        "by_way_of": None,
    }


def _lose(job: dict[str, Any], first: int, last: int, *, pending: bool) -> None:
    """Count seqs as lost; those behind the last record that reads only once another one is found behind them."""
    if not pending:
        for earlier in job["pending"]:
            _note_lost(job, *earlier)
        job["pending"] = []
        _note_lost(job, first, last)
    elif first <= last:
        _extend(job["pending"], first, last)


def _note_lost(job: dict[str, Any], first: int, last: int) -> None:
    if first <= last:
        job["lost_records"] += last - first + 1
        _extend(job["lost"], first, last)


def _extend(ranges: list[list[int]], first: int, last: int) -> None:
    """Put a range behind others, joining what touches; at most so many are kept."""
    if ranges and ranges[-1][1] == first - 1:
        ranges[-1][1] = last
    elif len(ranges) < _LOST_RANGES:
        ranges.append([first, last])


def _count(ranges: list[list[int]]) -> int:
    return sum(last - first + 1 for first, last in ranges)


def _marked(kept: Path) -> Path:
    return Path(f"{kept}.salvaged")
