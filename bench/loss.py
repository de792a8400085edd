"""Judges what a dead daemon's spool holds: all that it must, nothing else, and how much is gone.

It looks at a copy, as one looks at a card that was pulled out: the spool itself is left for the daemon to recover.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from agent.spool.spool import Reader, SpoolError
from bench.truth import instrument_number, is_right
from bench.witness import all_records, digest

if TYPE_CHECKING:
    from agent.spool.spool import Stored
    from bench.figures import Figures
    from bench.trial import Life

_AT_WITHIN_MS = 1000
_BARS, _WIDTH = 12, 40
NOT_READ, ASIDE = "spools that fail to open or the integrity check", "spools put aside or begun anew"
MISSING, CHANGED = "seqs missing", "records gone or changed that had been visible"
TWICE, MADE_UP = "answers stored twice", "records that are no answer of that instrument then"
ENDED = "daemons that ended by themselves"


class Loss(NamedTuple):
    """What one end cost: how old the oldest answer is that is gone, how many are, and how old the newest kept one is.

    Seconds before the end; `oldest_s` is 0 if nothing is gone. `since_newest_s` begins with the life's first answer.
    """

    oldest_s: float
    answers: int
    since_newest_s: float


class Judge:
    """Looks at the spool after each end and adds up what is wrong and what was lost."""

    def __init__(self, spool: Path, copy: Path) -> None:
        self._spool, self._copy = spool, copy
        self._visible: dict[int, bytes] = {}
        self._polls: dict[tuple[int, int], int] = {}
        self._id = ""
        self.newest = 0
        self.losses: list[Loss] = []
        self.wrong: Counter[str] = Counter()

    def look(self, life: Life) -> None:
        """Judge the end of a life."""
        self.wrong[ENDED] += life.ended_by_itself
        self.wrong[ASIDE] += any(self._spool.parent.glob("*.damaged-*"))
        self._visible |= life.seen
        self._take_copy()
        if not self._visible and not self._has_tables():
            return  # the first commit of all was never done
        try:
            found, answers = self._read()
        except (SpoolError, sqlite3.Error, OSError) as error:
            print(f"the spool does not read: {error}", flush=True)
            self.wrong[NOT_READ] += 1
            return
        self.wrong[CHANGED] += sum(found.get(seq) != one for seq, one in self._visible.items())
        self.wrong[MISSING] += max(found, default=0) - len(found)
        self._visible, self.newest = found, max(found, default=0)
        self._compare(answers, life)

    def show(self, figures: Figures, bound_s: float) -> None:
        """Print the distribution of what was lost, and judge all."""
        for name in (NOT_READ, ASIDE, MISSING, CHANGED, TWICE, MADE_UP, ENDED):
            figures.exactly(name, self.wrong[name], 0)
        if not self.losses:
            return
        figures.show("ends of a life in which something was answered", len(self.losses))
        _show_percentiles(figures, "age of the oldest answer lost", [one.oldest_s for one in self.losses], "s")
        _show_percentiles(figures, "since the newest answer kept", [one.since_newest_s for one in self.losses], "s")
        _show_percentiles(figures, "answers lost", [one.answers for one in self.losses], "records")
        _show_bars([one.oldest_s for one in self.losses], bound_s)
        beyond = sum(one.oldest_s > bound_s for one in self.losses)
        figures.exactly("ends that lost an answer older than the bound", beyond, 0)
        figures.at_most("age of the oldest answer lost", max(one.oldest_s for one in self.losses), bound_s, "s")

    def _take_copy(self) -> None:
        """Copy the file and its log, not its index: that lives in memory."""
        for end in ("", "-wal", "-shm"):
            Path(f"{self._copy}{end}").unlink(missing_ok=True)
        for end in ("", "-wal"):
            with contextlib.suppress(FileNotFoundError):
                shutil.copyfile(f"{self._spool}{end}", f"{self._copy}{end}")

    def _has_tables(self) -> bool:
        """Say whether the copy holds anything; a file that does not open is not nothing."""
        with contextlib.closing(sqlite3.connect(self._copy)) as db, contextlib.suppress(sqlite3.Error):
            return bool(db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])
        return True

    def _read(self) -> tuple[dict[int, bytes], dict[tuple[int, int], int]]:
        """Give digests by seq of all records, and the times of the answers that are new since the last look."""
        with contextlib.closing(sqlite3.connect(self._copy)) as db:
            self.wrong[NOT_READ] += db.execute("PRAGMA integrity_check").fetchone()[0] != "ok"
        with contextlib.closing(Reader(self._copy)) as reader:
            self.wrong[ASIDE] += self._id not in {"", reader.id}
            self._id = reader.id
            found: dict[int, bytes] = {}
            answers: dict[tuple[int, int], int] = {}
            for record in all_records(reader, 0):
                found[record.seq] = digest(record)
                if record.seq > self.newest:
                    self._take(record, answers)
        return found, answers

    def _take(self, record: Stored, answers: dict[tuple[int, int], int]) -> None:
        body = json.loads(b"{" + record.body + b"}")
        if body["kind"] != "raw" or body["values"].get("c00") is None:
            return
        instrument = instrument_number(body["instrument"])
        answer = instrument, int(body["values"]["c00"])
        self.wrong[TWICE] += answer in self._polls or answer in answers
        self.wrong[MADE_UP] += not is_right(instrument, body["values"])
        answers[answer] = record.at_ms

    def _compare(self, stored: dict[tuple[int, int], int], life: Life) -> None:
        """Hold what was stored in a life against what the instruments answered in it."""
        given = {(one.instrument, one.number): one.arrived_ns for one in life.answers}
        for answer, at_ms in stored.items():
            self.wrong[MADE_UP] += abs(given.get(answer, 0) / 1e6 - at_ms) > _AT_WITHIN_MS
        self._polls |= stored
        ages_s = {one: (life.end_ns - at_ns) / 1e9 for one, at_ns in given.items() if at_ns < life.end_ns}
        if ages_s:
            gone = [age_s for answer, age_s in ages_s.items() if answer not in stored]
            kept = [age_s for answer, age_s in ages_s.items() if answer in stored]
            self.losses.append(Loss(max(gone, default=0.0), len(gone), min(kept, default=max(ages_s.values()))))


def _show_percentiles(figures: Figures, name: str, found: list[float], unit: str) -> None:
    """Print least, median, 90 and 99 of 100, and most."""
    found = sorted(found)
    shares = [found[round(share * (len(found) - 1))] for share in (0, 0.5, 0.9, 0.99, 1)]
    text = " ".join(f"{one:,}" if isinstance(one, int) else f"{one:.3f}" for one in shares)
    figures.show(f"{name}: least 50% 90% 99% most", text, unit)


def _show_bars(ages_s: list[float], bound_s: float) -> None:
    """Print how often the oldest answer lost was how old."""
    step_s = bound_s / _BARS
    counts = Counter(min(int(age_s / step_s), _BARS) for age_s in ages_s)
    most = max(counts.values())
    for place in range(_BARS + 1):
        label = f"{place * step_s:.2f} to {(place + 1) * step_s:.2f} s" if place < _BARS else "beyond"
        print(f"{'':<8}{label:>14} {counts[place]:>4} {'#' * -(-counts[place] * _WIDTH // most)}", flush=True)
