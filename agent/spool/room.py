"""Room on the disk. On a full disk even deleting needs some, so files are kept that can be given up.

First go messages that were packed ahead, with which nothing is lost. The ballast goes at a start that finds the disk
nearly full, and before records that were not sent. The spare goes only for a spool that could not go on else, such as
one that is begun in the place of a damaged one. Both go for the index of the log of a damaged file, without which that
could not be copied.
"""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

BALLAST_BYTES = 4 * 1024 * 1024
"""As much as the write-ahead log gets, for a checkpoint first moves it into the file and only then frees it."""
SMALL_BYTES = 512 * 1024
"""A spool that small is not what fills the disk, and gives up nothing unsent for it."""
OWN_BYTES = SMALL_BYTES + 96 * 1024
"""What a spool takes at once where room is short, for others may fill the rest: it can go on within that for ever."""
NEEDED_BYTES = OWN_BYTES + 320 * 1024
"""That, its log and the index of it."""
LOG_BYTES = 128 * 1024
"""What the log and its index take where room is short: with less the first commits fail (measured: 112 KB)."""
LEAST_BYTES = 160 * 1024
"""With less it is not even begun (measured: 96 KB), or could not store; so nothing is given up for that."""
SPARE_BYTES = 1024 * 1024
"""More than that, for the files beside it need some too."""
COPYING_BYTES = 64 * 1024
"""What the index of the log of a damaged file takes, with which SQLite reads it."""
_ROOMY = 2 * BALLAST_BYTES
_OWN_RESERVE, _OWN_RESERVE_BYTES = 40, 16 * 1024 * 1024
"""More than this part is kept by ext4 for itself, 4096 blocks at most (Linux, fs/ext4/super.c)."""
_RESERVE_MOST = 4 * 1024 * 1024


class Room:
    """The disk on which a spool lies. `is_short`: there was so little at the start that the ballast had to go."""

    def __init__(self, spool: Path) -> None:
        self._spool = spool
        self._ballast, self._spare = Path(f"{spool}.ballast"), Path(f"{spool}.spare")
        self._packed = packed(spool)
        self._has_given = False
        if self.free_bytes() < BALLAST_BYTES:
            self.give_up_packed()
        self.is_short = self.free_bytes() < BALLAST_BYTES
        if self.is_short:
            self._give_up(self._ballast)
        self.restore()

    def restore(self) -> None:
        """Keep what can be given up later, where there is room for it: the spare comes first."""
        spare, ballast = (_ROOMY, 2 * _ROOMY) if self._has_given else (2 * SPARE_BYTES, _ROOMY)
        for file, size, wanted in ((self._spare, SPARE_BYTES, spare), (self._ballast, BALLAST_BYTES, ballast)):
            if size_of(file) < size and self.free_bytes() >= wanted:
                try:
                    file.write_bytes(os.urandom(size))  # zeros take no room where the file system compresses
                except OSError:
                    file.unlink(missing_ok=True)

    def free_bytes(self) -> int:
        """Give what may still be written; on a disk that does not tell its size, any number."""
        return free_bytes(self._spool.parent)

    def can_gain(self) -> bool:
        """Say whether what is deleted can be written again, as far as this process has seen.

        Where root has filled into its reserve on ext4, it goes to that.
        """
        return self.free_bytes() > 0 or os.geteuid() == 0 or not self._has_given

    def reserve_bytes(self) -> int:
        """Give how much should stay free, so that no commit fails before the next trim."""
        disk = os.statvfs(self._spool.parent)
        return min(_RESERVE_MOST, disk.f_blocks * disk.f_frsize // 16)

    def missing_bytes(self) -> int:
        """Give what the spool needs to go on, beyond what it has taken already and what is free."""
        return max(0, NEEDED_BYTES - self._taken("", "-wal", "-shm") - self.free_bytes())

    def is_enough(self, more_bytes: int) -> bool:
        """Say whether a spool could begin if there were so much more."""
        free = self.free_bytes() + more_bytes
        return free + self._taken("", "-wal", "-shm") >= LEAST_BYTES and free + self._taken("-wal", "-shm") >= LOG_BYTES

    def check_log(self) -> None:
        """Raise OSError unless the log and its index have room, or can have it."""
        if self._taken("-wal", "-shm") + self.free_bytes() < LOG_BYTES:
            raise OSError(errno.ENOSPC, "the disk is full, no room for its log")

    def _taken(self, *ends: str) -> int:
        """Give what files of the spool take on the disk, which may be less than their size."""
        return sum(_blocks(Path(f"{self._spool}{end}")) for end in ends)

    def gave_in_vain(self) -> None:
        """Learn that something else was given up, and made no room."""
        self._has_given = True

    def packed_bytes(self) -> int:
        """Give the size of the messages that were made ahead."""
        return size_of(self._packed)

    def give_up_packed(self) -> bool:
        """Delete the messages that were made ahead; says whether there were any that could be."""
        was_there = self.packed_bytes() > 0
        with contextlib.suppress(OSError):
            self._packed.unlink(missing_ok=True)
            return was_there
        return False

    def give_up_spare(self) -> bool:
        """Delete the spare; says whether there was one."""
        return self._give_up(self._spare)

    def give_up_ballast(self) -> bool:
        """Delete the ballast; says whether there was one."""
        return self._give_up(self._ballast)

    def _give_up(self, file: Path) -> bool:
        was_there = size_of(file) > 0
        self._has_given |= was_there
        file.unlink(missing_ok=True)
        return was_there


def packed(spool: Path) -> Path:
    """Name the file of the messages that were made ahead, of which nothing is lost with it."""
    return Path(f"{spool}.packed")


def free_bytes(folder: Path) -> int:
    """Give what this process may still write on the disk of a folder. Raises OSError."""
    disk = os.statvfs(folder)
    free = disk.f_bavail
    if os.geteuid() == 0:  # may write into the reserve too, but not into what ext4 keeps for itself
        free = max(free, disk.f_bfree - min(disk.f_blocks // _OWN_RESERVE, _OWN_RESERVE_BYTES // disk.f_frsize))
    return free * disk.f_frsize if disk.f_blocks else 1 << 62


def size_of(file: Path) -> int:
    """Give the size of a file, 0 for none."""
    try:
        return file.stat().st_size
    except OSError:
        return 0


def _blocks(file: Path) -> int:
    """Give the bytes that a file takes on its disk, which may be less than its size."""
    try:
        return file.stat().st_blocks * 512
    except OSError:
        return 0
