"""Room on the disk. On a full disk even deleting needs some, so a file is kept that can be given up."""

from __future__ import annotations

import os
from pathlib import Path

BALLAST_BYTES = 4 * 1024 * 1024
"""As much as the write-ahead log gets, for a checkpoint first moves it into the file and only then frees it."""
_ROOMY = 2 * BALLAST_BYTES
_RESERVE_MOST = 4 * 1024 * 1024


class Room:
    """The disk on which a spool lies. `is_short`: there was so little at the start that the ballast had to go."""

    def __init__(self, spool: Path) -> None:
        self._folder = spool.parent
        self._ballast = Path(f"{spool}.ballast")
        self.is_short = self.free_bytes() < BALLAST_BYTES
        if self.is_short:
            self._ballast.unlink(missing_ok=True)
        elif not self._ballast.exists() and self.free_bytes() >= _ROOMY:
            self._ballast.write_bytes(bytes(BALLAST_BYTES))

    def free_bytes(self) -> int:
        """Give what may still be written."""
        disk = os.statvfs(self._folder)
        return disk.f_bavail * disk.f_frsize

    def reserve_bytes(self) -> int:
        """Give how much should stay free, so that no commit fails before the next trim."""
        disk = os.statvfs(self._folder)
        return min(_RESERVE_MOST, disk.f_blocks * disk.f_frsize // 16)
