"""The file beside a spool that keeps a second daemon off and tells which process holds it, and how it is."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from pathlib import Path

from agent.spool.stored import SpoolError
from drivers.clock import sleep_s

_WAITS = "waits: "
_TRIES = 20
_PAUSE_S = 0.02


class Lock:
    """Held from its making until `close`, or until the process ends however it ends.

    Raises SpoolError if another process holds it, or if there can be no file at that place.
    """

    def __init__(self, spool: Path) -> None:
        try:
            spool.parent.mkdir(parents=True, exist_ok=True)
            self._file = _opened(_path(spool))
        except OSError as error:
            raise SpoolError(f"{spool}: cannot be used: {error.strerror}", is_disk=True) from error
        if not _locked(self._file, fcntl.LOCK_EX):
            os.close(self._file)
            owner = holder(spool) or "unknown"
            raise SpoolError(f"{spool}: is in use by another stationd (process {owner}); stop that one first")
        self.tell("")

    def tell(self, address: str) -> None:
        """Write down, behind the number of the process, the socket at which it can be asked.

        It is written over what stands there, for which a full disk has room; a disk that fails does not matter here.
        """
        content = f"{os.getpid()}\n{address}\n".encode()
        with contextlib.suppress(OSError):
            os.pwrite(self._file, content, 0)
            os.ftruncate(self._file, len(content))

    def tell_waits(self, why: str) -> None:
        """Write down instead that the process waits until the spool can store, and what is wrong."""
        self.tell(_WAITS + " ".join(why.split()))

    def close(self) -> None:
        """Let go."""
        with contextlib.suppress(OSError):
            os.close(self._file)


def holder(spool: Path) -> int | None:
    """Give the process number of the daemon that holds this spool, 0 if it could not write it, None if none does."""
    text = _told(spool)
    if text is None:
        return None
    pid = text.partition("\n")[0]
    return int(pid) if pid.isdigit() and Path("/proc", pid).exists() else 0


def address(spool: Path) -> str:
    """Give the socket of the daemon that holds this spool; "" if none does, or it has none."""
    text = (_told(spool) or "").partition("\n")[2].strip()
    return "" if text.startswith(_WAITS) else text


def waits(spool: Path) -> str:
    """Give what keeps the daemon that holds this spool from storing; "" if none does, or nothing is wrong."""
    text = (_told(spool) or "").partition("\n")[2].strip()
    return text.removeprefix(_WAITS) if text.startswith(_WAITS) else ""


def _told(spool: Path) -> str | None:
    """Give what the holder has written down, or None if there is no holder."""
    try:
        with _path(spool).open("r", encoding="utf-8", errors="replace") as file:
            return None if _locked(file.fileno(), fcntl.LOCK_SH, tries=1) else file.read()
    except OSError:
        return None


def _opened(file: Path) -> int:
    """Open or make the file; on a disk that became read-only one that is there can still be locked."""
    try:
        return os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        if error.errno != errno.EROFS or not file.exists():
            raise
        return os.open(file, os.O_RDONLY | os.O_CLOEXEC)


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
