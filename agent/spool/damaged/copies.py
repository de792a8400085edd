"""Damaged files that were copied in full: one is finished once all its copies are delivered.

Until then the copies may be lost with the spool that holds them, and are taken from the file once more. Only when the
disk is short of room a file goes earlier than records that stand nowhere else.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from agent.spool.room import size_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from agent.spool.ranges import Ranges

NOTE = "copied"
"""The note that holds their names, and the seqs of the first and the last copy of each, as JSON."""
_HEAD_BYTES, _PIECE_BYTES, _PROBE_BYTES = 64 * 1024, 256 * 1024, 32 * 1024


class Copies:
    """The files beside a spool whose copies it holds; `text` is what was noted."""

    def __init__(self, spool: Path, text: str) -> None:
        self._spool = spool
        self._spans = {
            name: span
            for name, *span in copied(text)
            if not is_finished(spool.with_name(name)) or not spool.with_name(name).exists()
        }

    def __contains__(self, name: str) -> bool:
        return name in self._spans

    def add(self, files: Iterable[tuple[str, int]], until: int) -> None:
        """Note that files were copied in full, each from a seq on, the last record under the seq `until`."""
        self._spans |= {name: [since, until] for name, since in files}

    def text(self) -> str:
        """Give it as it is noted."""
        return json.dumps([(name, *span) for name, span in self._spans.items()])

    def take_again(self, damaged: Sequence[tuple[int, int]]) -> list[str]:
        """Forget the files of which a copy may be among what is damaged, and name them: they are to be copied anew."""
        names = [name for name, (since, until) in self._spans.items() if _meet(damaged, since, until)]
        for name in names:
            del self._spans[name]
        return names

    def told_by(self, drop: Sequence[tuple[int, int]], last: int) -> bool:
        """Keep the files of which copies are dropped until what tells of it, up to `last`, is delivered."""
        met = [name for name, span in self._spans.items() if _meet(drop, *span)]
        self._spans |= {name: [self._spans[name][0], last] for name in met}
        return bool(met)

    def delivered(self, acknowledged: Ranges) -> None:
        """Finish the files whose copies need not be sent again."""
        for name, (since, until) in list(self._spans.items()):
            if not acknowledged.gap(since, until):
                finish(self._spool.with_name(name))
                if is_finished(self._spool.with_name(name)):
                    del self._spans[name]

    def remove_finished(self) -> bool:
        """Delete the oldest file that is finished, for room; its mark stays, so its numbers stay known."""
        return _remove(next((file for file in kept(self._spool) if is_finished(file)), None))

    def remove_copied(self) -> bool:
        """Delete the oldest file that was copied, delivered or not: what was copied stands in the spool too."""
        return _remove(next((file for file in kept(self._spool) if file.name in self._spans), None))


def copied(text: str) -> list[tuple[str, int, int]]:
    """Give the names of the files and the first and last seq of each from what was noted. Raises ValueError."""
    return [(str(name), int(since), int(until)) for name, since, until in json.loads(text or "[]")]


def kept(spool: Path) -> list[Path]:
    """Give the damaged files beside a spool, oldest first."""
    found = [file for file in spool.parent.glob(f"{spool.name}.damaged-*") if file.name.rpartition("-")[2].isdecimal()]
    return sorted(found, key=lambda file: int(file.name.rpartition("-")[2]))


def make_room(spool: Path, names: Iterable[str], free_bytes: Callable[[], int]) -> bool:
    """Give up a damaged file or the end of one for a spool that has no room to go on; says whether that made any.

    `names`: those that the spool has copied. One of them or a finished one is deleted, else the oldest loses its end,
    the newest comes last. The head of each stays, which holds its notes; salvage tells what is lost with the rest.
    """
    files = kept(spool)
    if _remove(next((file for file in files if is_finished(file) or file.name in names), None)):
        return True
    return any(_cut(part, least, free_bytes) for file in files for part, least in _parts(file))


def most_bytes(spool: Path) -> int:
    """Give how much of damaged files can be cut off."""
    return sum(max(0, size_of(part) - least) for file in kept(spool) for part, least in _parts(file))


def finish(file: Path) -> None:
    """Mark a damaged file as one that nothing is left to be done about."""
    with contextlib.suppress(OSError):
        _marker(file).touch()


def is_finished(file: Path) -> bool:
    """Say whether it was marked so."""
    return _marker(file).exists()


def _meet(ranges: Sequence[tuple[int, int]], first: int, last: int) -> bool:
    return any(one <= last and first <= other for one, other in ranges)


def _remove(file: Path | None) -> bool:
    if file is None:
        return False
    try:
        _marker(file).touch()  # an empty file; its number must not be given again
        for end in ("-wal", "-shm", ".id", ".shapes", ""):
            Path(f"{file}{end}").unlink(missing_ok=True)
    except OSError:
        return False
    return True


def _parts(file: Path) -> list[tuple[Path, int]]:
    """Give what can be cut, and how much of it has to stay."""
    return [(file, _HEAD_BYTES), (Path(f"{file}-wal"), 0)]


def _cut(file: Path, least: int, free_bytes: Callable[[], int]) -> bool:
    """Take a piece off the end of a file; says whether that made room.

    A little goes first, and comes back if that made none, for what is freed may belong to the reserve of another user.
    """
    size = size_of(file)
    if size <= least:
        return False
    with contextlib.suppress(OSError), file.open("r+b") as whole:
        whole.seek(max(least, size - _PROBE_BYTES))
        end = whole.read()
        before = free_bytes()
        whole.truncate(size - len(end))
        os.fsync(whole.fileno())
        if free_bytes() > before:
            whole.truncate(max(least, size - _PIECE_BYTES))
            return True
        whole.seek(size - len(end))
        whole.write(end)
    return False


def _marker(file: Path) -> Path:
    return Path(f"{file}.salvaged")
