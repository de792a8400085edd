"""Opening a spool: whatever lies there, one that can be used comes of it. What is not what was written is put aside."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from agent.spool import beside, database, layout, log_end, mark, soundness
from agent.spool.damaged import copies, given_up, salvage
from agent.spool.damaged.tables import DAMAGE
from agent.spool.damaged.wreck import Wreck
from agent.spool.room import NEEDED_BYTES, OWN_BYTES, size_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agent.spool.room import Room

_PAGE_BYTES = 4096
_SMALL_LOG_BYTES, _GROWTH_BYTES = 256 * 1024, 64 * 1024


class Opened(NamedTuple):
    """The connection that writes; where the file was put that lay there before, if it was damaged, and how it was."""

    db: database.Connection
    set_aside: Path | None
    damage: str


def opened(path: Path, load: Callable[[database.Connection], None], room: Room) -> Opened:
    """Open a spool or begin a new one; `load` reads what it needs and may raise for damage as SQLite does.

    Raises database.Error or OSError where it is the disk that fails, or nothing is left that could make room on it.
    """
    set_aside, damage = None, "found out as it was used"
    if beside.condemned(path).exists():
        set_aside = beside.put_aside(path)
    elif log_end.has_lost_head(path) and log_end.is_cut(path, 0, _PAGE_BYTES):
        damage = "its log has lost its head"  # SQLite would delete it
        set_aside = beside.put_aside(path)
    elif (marked := mark.read(path)) and marked.given and not size_of(path):
        damage = f"it is gone; records up to {marked.given} were given"
        set_aside = _put_aside_as_gone(path)
    try:
        return Opened(_loaded(path, load, room), set_aside, damage)
    except (database.Error, *database.NONSENSE) as error:
        if not (database.is_damage(error) or database.has_wrong_header(path)):
            raise
        set_aside = beside.put_aside(path)
        return Opened(_loaded(path, load, room), set_aside, database.why(error))


def _loaded(path: Path, load: Callable[[database.Connection], None], room: Room) -> database.Connection:
    """Open it, with room to go on: what can be given up for that is, for a station that cannot start loses more."""
    noted: dict[str, str] = {}
    if room.missing_bytes():
        room.give_up_packed()
    if room.missing_bytes():
        room.give_up_spare()
    while 0 < room.missing_bytes() <= copies.most_bytes(path) and _gave_up(path, room, noted):
        pass
    while True:
        try:
            return _tried(path, load, noted, room)
        except (database.Error, OSError) as error:
            if not database.is_full(error):
                raise
            if not (room.give_up_packed() or room.give_up_spare() or _gave_up(path, room, noted)):
                raise


def _gave_up(path: Path, room: Room, noted: dict[str, str]) -> bool:
    """Give a damaged file or a piece of one up for room; `noted` gets what was left to salvage before that."""
    if room.free_bytes() >= NEEDED_BYTES or not room.can_gain() or not room.is_enough(copies.most_bytes(path)):
        return False
    noted |= salvage.todo(path, noted)
    made = copies.make_room(path, _copied(path), room.free_bytes)
    if not made:
        room.gave_in_vain()
    return made


def _copied(path: Path) -> list[str]:
    """Give the damaged files that a spool has copied, without opening it for writing."""
    with contextlib.closing(Wreck(path)) as wreck, contextlib.suppress(*DAMAGE):
        if wreck.lacks_log:  # one of them may have been taken again since
            return []
        return [name for name, *_ in copies.copied(wreck.noted(copies.NOTE))]
    return []


def _tried(
    path: Path, load: Callable[[database.Connection], None], noted: Mapping[str, str], room: Room
) -> database.Connection:
    has_log = size_of(Path(f"{path}-wal")) > 0  # the last process ended in no good order
    db = layout.opened(
        path, lambda: {given_up.NOTE: given_up.GivenUp("").text(), **salvage.todo(path, noted)}, is_short=room.is_short
    )
    try:
        soundness.check_start(db)
        _check_end(path, db, has_log=has_log)
        load(db)
        if room.is_short:
            _make_do(path, db, room)
            room.check_log()
        else:
            database.take_back(db)
    except BaseException:
        db.close()
        raise
    return db


def _make_do(path: Path, db: database.Connection, room: Room) -> None:
    """Give back the room of a large log, and take what a small spool needs, before others do."""
    with contextlib.suppress(database.Error):
        if size_of(Path(f"{path}-wal")) > _SMALL_LOG_BYTES:
            database.fold(db)
        if not room.missing_bytes():
            missing = OWN_BYTES - size_of(path)
            for step in range(missing // _GROWTH_BYTES):
                if room.free_bytes() > 3 * _GROWTH_BYTES:  # else it could not be taken back
                    database.grow(db, step, _GROWTH_BYTES)
    with contextlib.suppress(database.Error):
        database.take_back(db)


def _check_end(path: Path, db: database.Connection, *, has_log: bool) -> None:
    """Hold a spool against its log and every mark of its name. Raises ValueError for one that lost its end.

    The mark of another spool where its own should be: that spool was here, and this file was put in its place.
    """
    spool_id, newest = database.meta(db, "id"), database.newest(db)
    marks = {file: mark.read(file) for file in (path, *beside.marked(path))}
    stored = max((one.stored for one in marks.values() if one and one.spool == spool_id), default=0)
    if stored > newest:
        raise ValueError(f"records up to {stored} were stored, and it ends with {newest}")
    if has_log and database.has_cut_log(db, path):
        raise ValueError("commits stand in its log behind the place up to which it reads")
    replaced = marks.pop(path)
    if replaced and replaced.given and replaced.spool not in {spool_id, *(one.spool for one in marks.values() if one)}:
        beside.put_aside_replaced(path, _PAGE_BYTES)


def _put_aside_as_gone(path: Path) -> Path | None:
    path.touch()
    os.truncate(path, _PAGE_BYTES)  # beside an empty file SQLite would delete the log
    return beside.put_aside(path)
