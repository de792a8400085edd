"""The reference receiver (`docs/receiver.py`) as a second judge: it must end up with all that our platform has."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from agent.spool.ranges import Ranges
from bench.process import stop, wait_until

if TYPE_CHECKING:
    from bench.chaos.platform import Key

RECEIVER = Path(__file__).parents[2] / "docs" / "receiver.py"
WITHIN_S = 60.0


class Reference:
    """The receiver as a process of its own, which finds gaps and asks for them by itself."""

    def __init__(self, folder: Path, port: int) -> None:
        self._store = folder / "received.sqlite"
        command = [sys.executable, str(RECEIVER), "--store", str(self._store), "--broker", f"127.0.0.1:{port}", "--ask"]
        with (folder / "receiver.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, text=True)

    def missing(self, due: set[Key]) -> list[str]:
        """Give what it has not got of these after a while, and whether it ended."""
        wait_until(lambda: due <= self._stored(), WITHIN_S, every_s=1)
        lacking = [f"{spool} {seq}" for spool, seq in sorted(due - self._stored())]
        code = self._process.poll()
        return [*([] if code is None else [f"it ended by itself with {code}"]), *lacking]

    def ranges(self, spool: str) -> Ranges:
        """Give what it has of a spool."""
        return Ranges((seq, seq) for seq in sorted(seq for name, seq in self._stored() if name == spool))

    def close(self) -> None:
        """End it."""
        stop(self._process)

    def _stored(self) -> set[Key]:
        with contextlib.suppress(sqlite3.Error):
            db = sqlite3.connect(f"file:{self._store}?mode=ro", uri=True)
            with contextlib.closing(db):
                return set(db.execute("SELECT spool, seq FROM record"))
        return set()
