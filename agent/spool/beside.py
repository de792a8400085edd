"""The files beside a spool: its id, the shapes of its records, the word that it is damaged; and putting all aside."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from agent.spool.mark import seal
from agent.spool.room import size_of

if TYPE_CHECKING:
    from collections.abc import Mapping

_MOST_BYTES = 4 * 1024 * 1024
_BESIDE = ("-wal", "-shm", ".id", ".shapes", ".mark")


def keep_id(spool: Path, spool_id: str) -> None:
    """Write the id into a file of its own: records salvaged from a file that lost it would be nobody's."""
    _keep(Path(f"{spool}.id"), spool_id.encode())


def keep_shapes(spool: Path, texts: Mapping[int, str]) -> None:
    """Write the shapes of records into a file of their own: without its shape no record can be read."""
    _keep(Path(f"{spool}.shapes"), json.dumps(texts).encode())


def shapes(spool: Path) -> dict[int, list[str]]:
    """Give what that file says; what is right in it, the checksum of a record tells."""
    try:
        with Path(f"{spool}.shapes").open("rb") as file:
            found = json.loads(file.read(_MOST_BYTES))
        return {int(number): [text] for number, text in found.items() if text.encode()}
    except (OSError, ValueError, AttributeError, RecursionError):
        return {}


def _keep(beside: Path, content: bytes) -> None:
    new = Path(f"{beside}.new")
    try:
        if size_of(beside) != len(content) or beside.read_bytes() != content:
            with new.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            new.replace(beside)
    except OSError:
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)


def put_aside(spool: Path) -> Path | None:
    """Keep a damaged file for salvage under another name, which is given; the station must go on.

    Killed in the middle, it is ended by the next call: the file itself goes last, and is condemned until then. None:
    it was gone already.
    """
    is_begun, is_there = condemned(spool).exists(), spool.exists()
    condemn(spool)
    seal(spool)
    aside = _next_name(spool)
    for end in _BESIDE if is_there else ():
        if (beside := Path(f"{spool}{end}")).exists():
            beside.rename(f"{aside}{end}")
        elif not is_begun:  # of a file of that number that somebody removed
            Path(f"{aside}{end}").unlink(missing_ok=True)
    if is_there:
        spool.rename(aside)
    condemned(spool).unlink(missing_ok=True)
    return aside if is_there else None


def put_aside_replaced(spool: Path, size_bytes: int) -> None:
    """Keep what tells of a spool whose file was replaced by another one: empty, with its id and its mark."""
    aside = _next_name(spool)
    with aside.open("wb") as file:
        file.truncate(size_bytes)
    for end in (".id", ".mark"):
        if (beside := Path(f"{spool}{end}")).exists():
            beside.rename(f"{aside}{end}")


def marked(spool: Path) -> list[Path]:
    """Give the files that were put aside and left a mark, themselves there or not."""
    return [Path(str(file).removesuffix(".mark")) for file in spool.parent.glob(f"{spool.name}.damaged-*.mark")]


def condemn(spool: Path) -> None:
    """Have a spool put aside when it is opened next: damage deep in a file shows only when it is read."""
    with contextlib.suppress(OSError):
        condemned(spool).touch()


def condemned(spool: Path) -> Path:
    """Give the file that says so."""
    return Path(f"{spool}.condemned")


def _next_name(spool: Path) -> Path:
    number = 1
    while any(Path(f"{spool}.damaged-{number}{end}").exists() for end in ("", ".salvaged")):
        number += 1
    return Path(f"{spool}.damaged-{number}")
