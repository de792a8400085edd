"""The file beside a spool that keeps a second daemon off and tells which process holds it."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

from agent.spool.stored import SpoolError
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
            self._file = _path(spool).open("a+", encoding="utf-8")
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

    def tell(self, address: str) -> None:
        """Write down once, behind the number of the process, the socket at which it can be asked."""
        with contextlib.suppress(OSError):
            self._file.write(f"{address}\n")
            self._file.flush()

    def close(self) -> None:
        """Let go."""
        with contextlib.suppress(OSError):
            self._file.close()


def holder(spool: Path) -> int | None:
    """Give the process number of the daemon that holds this spool, or None if none does."""
    text = _told(spool)
    if text is None:
        return None
    pid = text.partition("\n")[0]
    return int(pid) if pid.isdigit() else 0


def address(spool: Path) -> str:
    """Give the socket of the daemon that holds this spool; "" if none does, or it has none."""
    return (_told(spool) or "").partition("\n")[2].strip()


def _told(spool: Path) -> str | None:
    """Give what the holder has written down, or None if there is no holder."""
    try:
        with _path(spool).open("r", encoding="utf-8", errors="replace") as file:
            return None if _locked(file.fileno(), fcntl.LOCK_SH, tries=1) else file.read()
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
