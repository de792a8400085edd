"""A memory card that forgets what was not synced: a file system in memory, by way of FUSE.

    python -m bench.faultfs DIRECTORY            # prints `ready`, serves until SIGTERM; needs root, libfuse and mfusepy

A program writes to DIRECTORY as to any other; a line written to DIRECTORY/.ctl makes a fault:

    cut               power is cut: nothing is left but what was synced
    cut-random SEED   the same, but a random part of the sectors that were not synced had reached the card, in any order
    eio OP RATE       that share of all `read`, `write` or `sync` calls fails with EIO
    enospc BYTES      so much fits on the card, all files together
    slow SECONDS      so long takes every sync
    ok                no fault any more

End the programs on the card before a cut; whoever still has a file open sees another file afterwards. Read, .ctl gives
the longest time in seconds from the first unsynced write to a file until its sync was over.

What is promised to a program is what a journalling file system promises: a sync of any file or directory keeps the
changes of names before it (create, rename, unlink); without one they are undone from the last back to any point. A
sector of 512 bytes is written whole or not at all. Directories, modes and owners are not at risk.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import random
import signal
import stat
import sys
import time

import mfusepy as fuse

SECTOR = 512
_CONTROL = "/.ctl"
_FOLDER = {"st_mode": stat.S_IFDIR | 0o755, "st_nlink": 2}
_BLOCK, _USUAL_BYTES = 4096, 1 << 30
_PR_SET_PDEATHSIG = 1


class File:
    """One file: what programs see of it, what the card holds of it, and which sectors differ."""

    def __init__(self) -> None:
        self.seen, self.kept = bytearray(), bytearray()
        self.changed_ns = time.time_ns()
        self.unsynced_since_s: float | None = None
        self._unsynced: set[int] = set()

    def write(self, offset: int, data: bytes) -> None:
        """Change what is seen."""
        if offset > len(self.seen):
            self.resize(offset)
        self.seen[offset : offset + len(data)] = data
        self._mark(offset, offset + len(data))

    def resize(self, length: int) -> None:
        """Cut off the end, or append zeros."""
        self._mark(min(length, len(self.seen)), max(length, len(self.seen)))
        _resize(self.seen, length)

    def sync(self) -> None:
        """Bring what is seen onto the card."""
        self._keep(len(self.seen), [*self._unsynced])

    def cut(self) -> None:
        """Forget what was not synced."""
        self._keep(len(self.kept), [])
        self.seen[:] = self.kept

    def cut_random(self, chance: random.Random) -> None:
        """Forget a part of what was not synced."""
        length = chance.choice((len(self.seen), len(self.kept)))
        self._keep(length, [sector for sector in sorted(self._unsynced) if chance.random() < 0.5])
        self.seen[:] = self.kept

    def _keep(self, length: int, sectors: list[int]) -> None:
        _resize(self.kept, length)
        for begin in (sector * SECTOR for sector in sectors if sector * SECTOR < length):
            span = slice(begin, min(length, begin + SECTOR))
            self.kept[span] = self.seen[span]
        self._unsynced.clear()
        self.unsynced_since_s = None

    def _mark(self, begin: int, end: int) -> None:
        self._unsynced.update(range(begin // SECTOR, -(-end // SECTOR)))
        self.changed_ns = time.time_ns()
        if self.unsynced_since_s is None:
            self.unsynced_since_s = time.monotonic()


class Card(fuse.Operations):
    """All files by their paths, the name tables since the last sync, and the faults."""

    use_ns = True

    def __init__(self) -> None:
        self._names: dict[str, File] = {}
        self._past: list[dict[str, File]] = []
        self._folders = {"/"}
        self._chance = random.Random(1)
        self._slowest_s = 0.0
        self._recover()

    def init(self, path: str) -> None:  # noqa: ARG002  FUSE's signature
        print("ready", flush=True)

    def getattr(self, path: str, fh: object = None) -> dict[str, int]:  # noqa: ARG002  FUSE's signature
        if path in self._folders:
            return _FOLDER
        if path == _CONTROL:
            return _attributes(len(self._report()), 0)
        file = self._file(path)
        return _attributes(len(file.seen), file.changed_ns)

    def readdir(self, path: str, fh: object) -> list[str]:  # noqa: ARG002  FUSE's signature
        head = path.rstrip("/") + "/"
        within = [name[len(head) :] for name in (*self._names, *self._folders) if name.startswith(head)]
        return [".", "..", *(name for name in within if name and "/" not in name)]

    def mkdir(self, path: str, mode: int) -> None:  # noqa: ARG002  FUSE's signature
        self._folders.add(path)

    def rmdir(self, path: str) -> None:
        self._folders.discard(path)

    def create(self, path: str, mode: int, fi: object = None) -> int:  # noqa: ARG002  FUSE's signature
        self._make_room(1)
        self._rename()[path] = File()
        return 0

    def open(self, path: str, flags: int) -> int:  # noqa: ARG002  FUSE's signature
        if path != _CONTROL:
            self._file(path)
        return 0

    def unlink(self, path: str) -> None:
        self._file(path)
        self._rename().pop(path)

    def rename(self, old: str, new: str) -> None:
        self._file(old)
        names = self._rename()
        names[new] = names.pop(old)

    def read(self, path: str, size: int, offset: int, fh: object) -> bytes:  # noqa: ARG002  FUSE's signature
        if path == _CONTROL:
            return self._report()[offset : offset + size]
        self._fail_by_chance("read")
        return bytes(self._file(path).seen[offset : offset + size])

    def write(self, path: str, data: bytes, offset: int, fh: object) -> int:  # noqa: ARG002  FUSE's signature
        if path == _CONTROL:
            self._order(data.decode(errors="replace").split())
            return len(data)
        self._fail_by_chance("write")
        file = self._file(path)
        self._make_room(offset + len(data) - len(file.seen))
        file.write(offset, data)
        return len(data)

    def truncate(self, path: str, length: int, fh: object = None) -> None:  # noqa: ARG002  FUSE's signature
        if path != _CONTROL:
            file = self._file(path)
            self._make_room(length - len(file.seen))
            file.resize(length)

    def fsync(self, path: str, datasync: int, fh: object) -> None:  # noqa: ARG002  FUSE's signature
        time.sleep(self._slow_s)
        self._fail_by_chance("sync")
        file = self._file(path)
        if file.unsynced_since_s is not None:
            self._slowest_s = max(self._slowest_s, time.monotonic() - file.unsynced_since_s)
        file.sync()
        self._past.clear()

    def fsyncdir(self, path: str, datasync: int, fh: object) -> None:  # noqa: ARG002  FUSE's signature
        time.sleep(self._slow_s)
        self._fail_by_chance("sync")
        self._past.clear()

    def chmod(self, path: str, mode: int) -> None:
        """Accept and ignore."""

    def chown(self, path: str, uid: int, gid: int) -> None:
        """Accept and ignore."""

    def utimens(self, path: str, times: object = None) -> None:
        """Accept and ignore."""

    def statfs(self, path: str) -> dict[str, int]:  # noqa: ARG002  FUSE's signature
        size = self._size_bytes or _USUAL_BYTES
        free = max(0, size - self._used_bytes()) // _BLOCK
        blocks = {"f_blocks": size // _BLOCK, "f_bfree": free, "f_bavail": free}
        return {"f_bsize": _BLOCK, "f_frsize": _BLOCK, "f_namemax": 255, **blocks}

    def _rename(self) -> dict[str, File]:
        """Give the names for a change that is not synced yet."""
        self._past.append(dict(self._names))
        return self._names

    def _file(self, path: str) -> File:
        if path not in self._names:
            raise fuse.FuseOSError(errno.ENOENT)
        return self._names[path]

    def _used_bytes(self) -> int:
        return sum(len(file.seen) for file in self._names.values())

    def _make_room(self, more: int) -> None:
        if self._size_bytes is not None and more > 0 and self._used_bytes() + more > self._size_bytes:
            raise fuse.FuseOSError(errno.ENOSPC)

    def _fail_by_chance(self, operation: str) -> None:
        if self._chance.random() < self._rates.get(operation, 0):
            raise fuse.FuseOSError(errno.EIO)

    def _report(self) -> bytes:
        return f"{self._slowest_s:012.6f}\n".encode()

    def _order(self, words: list[str]) -> None:
        try:
            self._obey(words)
        except ValueError:
            raise fuse.FuseOSError(errno.EINVAL) from None

    def _obey(self, words: list[str]) -> None:
        match words:
            case ["cut"]:
                self._cut(None)
            case ["cut-random", seed]:
                self._cut(random.Random(int(seed)))
            case ["eio", ("read" | "write" | "sync") as operation, rate]:
                self._rates[operation] = float(rate)
            case ["enospc", size]:
                self._size_bytes = int(size)
            case ["slow", seconds]:
                self._slow_s = float(seconds)
            case ["ok"]:
                self._recover()
            case _:
                raise ValueError(words)

    def _recover(self) -> None:
        self._rates: dict[str, float] = {}
        self._size_bytes: int | None = None
        self._slow_s = 0.0

    def _cut(self, chance: random.Random | None) -> None:
        tables = [*self._past, self._names]
        self._names = dict(chance.choice(tables) if chance else tables[0])
        self._past.clear()
        for file in self._names.values():
            if chance:
                file.cut_random(chance)
            else:
                file.cut()


def _attributes(length: int, changed_ns: int) -> dict[str, int]:
    times = dict.fromkeys(("st_mtime", "st_ctime", "st_atime"), changed_ns)
    return {"st_mode": stat.S_IFREG | 0o644, "st_nlink": 1, "st_size": length, **times}


def _resize(data: bytearray, length: int) -> None:
    if length < len(data):
        del data[length:]
    else:
        data.extend(bytes(length - len(data)))


def main() -> None:
    """Mount and serve; ends with the process that started it."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    options = {"attr_timeout": 0, "entry_timeout": 0, "fsname": "faultfs"}
    with contextlib.suppress(RuntimeError):  # being told to end is one
        fuse.FUSE(Card(), sys.argv[1], foreground=True, nothreads=True, allow_other=True, **options)


if __name__ == "__main__":
    main()
