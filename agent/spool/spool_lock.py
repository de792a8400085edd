"""The file beside a spool that keeps a second daemon off and tells which process holds it, and how it is."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import socket
from hashlib import sha256
from pathlib import Path

from agent.spool.stored import SpoolError
from drivers.clock import sleep_s

_WAITS = "waits: "
_TRIES = 20
_PAUSE_S = 0.02


class Lock:
    """Held from its making until `close`, or until the process ends however it ends.

    Where there can be no file at that place, or it cannot be written, a name that only processes of this machine see is
    taken too. That is not enough to begin a spool under: `trouble` says then what is wrong with the file.
    Raises SpoolError if another process holds it, or if who runs this may not open the file that is there.
    """

    def __init__(self, spool: Path) -> None:
        self.trouble: OSError | None = None
        self._spool, self._path = spool, _path(spool)
        self._file, self._address = -1, ""
        self._name: socket.socket | None = None
        self.renew()

    @property
    def has_moved(self) -> bool:
        """Whether others find another file there, as after another disk was mounted."""
        try:
            found = self._path.stat()
            return self._file < 0 or not os.path.samestat(os.fstat(self._file), found)
        except OSError:
            return False

    def renew(self) -> None:
        """Lock the file that others find there now, if it is another one or can be written again. Raises SpoolError."""
        if self._file >= 0 and not self.trouble and not self.has_moved and self._path.exists():
            return
        try:
            self._spool.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            self._hold_what_there_is(error)
            return
        self._take(file)
        if self._file >= 0:
            self._let_go_of_name()
            self.trouble = None
            self.tell(self._address)

    def _hold_what_there_is(self, error: OSError) -> None:
        if isinstance(error, PermissionError) and _is_there(self._path):
            raise SpoolError(f"{self._spool}: cannot be used: {error.strerror}: {self._path}") from error
        self.trouble = error
        self._take_name()
        if error.errno == errno.EROFS and (self._file < 0 or self.has_moved):
            with contextlib.suppress(OSError):
                self._take(os.open(self._path, os.O_RDONLY | os.O_CLOEXEC))

    def _take(self, file: int) -> None:
        if self._file >= 0:
            os.close(self._file)  # two of one file would be in each other's way
        self._file = file
        try:
            is_ours = _locked(file, fcntl.LOCK_EX)
        except OSError as error:  # a file system without locks
            os.close(file)
            self._file, self.trouble = -1, error
            self._take_name()
            return
        if not is_ours:
            self.close()
            raise self._in_use()

    def _take_name(self) -> None:
        self._name = self._name or _named(self._spool)
        if self._name is None:
            self.close()
            raise self._in_use()

    def _let_go_of_name(self) -> None:
        if self._name:
            self._name.close()
            self._name = None

    def _in_use(self) -> SpoolError:
        owner = holder(self._spool) or "unknown"
        return SpoolError(f"{self._spool}: is in use by another stationd (process {owner}); stop that one first")

    def tell(self, address: str) -> None:
        """Write down, behind the number of the process, the socket at which it can be asked.

        It is written over what stands there, for which a full disk has room; a disk that fails does not matter here.
        """
        self._address = address
        content = f"{os.getpid()}\n{address}\n".encode()
        with contextlib.suppress(OSError):
            os.pwrite(self._file, content, 0)
            os.ftruncate(self._file, len(content))

    def tell_waits(self, why: str) -> None:
        """Write down instead that the process waits until the spool can store, and what is wrong."""
        self.tell(_WAITS + " ".join(why.split()))

    def close(self) -> None:
        """Let go."""
        self._let_go_of_name()
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def holder(spool: Path) -> int | None:
    """Give the process number of the daemon that holds this spool, 0 if it could not write it, None if none does."""
    text = _told(spool)
    if text is None:
        return None
    pid = text.partition("\n")[0]
    return int(pid) if re.fullmatch("[0-9]{1,10}", pid) else 0


def address(spool: Path) -> str:
    """Give the socket of the daemon that holds this spool; "" if none does, or it has none."""
    text = (_told(spool) or "").partition("\n")[2].strip()
    return "" if text.startswith(_WAITS) else text


def waits(spool: Path) -> str:
    """Give what keeps the daemon that holds this spool from storing; "" if none does, or nothing is wrong."""
    text = (_told(spool) or "").partition("\n")[2].strip()
    return text.removeprefix(_WAITS) if text.startswith(_WAITS) else ""


def _told(spool: Path) -> str | None:
    """Give what the holder has written down, its number first, "" if it could not; None if there is no holder."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as asking:
        asking.connect(_name(spool))
        return ""  # what stands in the file is of another one
    try:
        with _path(spool).open("r", encoding="utf-8", errors="replace") as file:
            return None if _locked(file.fileno(), fcntl.LOCK_SH, tries=1) else file.read()
    except OSError:
        return None


def _is_there(file: Path) -> bool:
    """Say whether there is a file, or who asks may not know."""
    try:
        file.stat()
    except PermissionError:
        return True
    except OSError:
        return False
    return True


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


def _named(spool: Path) -> socket.socket | None:
    """Take the name that stands for this spool; None if another process has it."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        sock.bind(_name(spool))
    except OSError:
        sock.close()
        return None
    return sock


def _name(spool: Path) -> str:
    """Give an address in no folder (unix(7), abstract)."""
    return f"\0stationd-{sha256(str(spool.absolute()).encode()).hexdigest()[:32]}"


def _path(spool: Path) -> Path:
    return Path(f"{spool}.lock")
