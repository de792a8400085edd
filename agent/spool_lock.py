"""The file beside a spool that keeps a second daemon off and tells which process holds it."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

from agent.stored import SpoolError
from drivers.clock import sleep_s

_TRIES = 20
_PAUSE_S = 0.02


class Lock:
    """Held from its making until `close`, or until the process ends however it ends.

    Raises SpoolError if another process holds it, or if there can be no file at that place.
    """

    def __init__(self, spool: Path) -> None:
        try:
            spool.parent.mkdir(parents=True, exist_ok=True)
            self._file = _path(spool).open("a+", encoding="ascii")
        except OSError as error:
            raise SpoolError(f"{spool}: cannot be used: {error.strerror}") from error
        if not _locked(self._file.fileno(), fcntl.LOCK_EX):
            self._file.close()
            owner = holder(spool)
            raise SpoolError(f"{spool}: is in use by another stationd (process {owner}); stop that one first")
        with contextlib.suppress(OSError):  # a full disk must not keep the daemon from making room
            self._file.truncate(0)
            self._file.write(f"{os.getpid()}\n")
            self._file.flush()

    def close(self) -> None:
        """Let go."""
        with contextlib.suppress(OSError):
            self._file.close()


def holder(spool: Path) -> int | None:
    """Give the process number of the daemon that holds this spool, or None if none does."""
    try:
        with _path(spool).open("r", encoding="ascii") as file:
            if _locked(file.fileno(), fcntl.LOCK_SH, tries=1):
                return None
            text = file.read().strip()
            return int(text) if text.isdigit() else 0
    except OSError:
        return None


def _locked(number: int, kind: int, tries: int = _TRIES) -> bool:
    """Try to lock; not once only, since whoever asks for the holder locks for an instant too."""
    for left in reversed(range(tries)):
        try:
            fcntl.flock(number, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            sleep_s(_PAUSE_S if left else 0)
        else:
            return True
    return False


def _path(spool: Path) -> Path:
    return Path(f"{spool}.lock")
