"""Commands that look and change nothing: drivers, the spool, the state of delivery, who works on what."""

from __future__ import annotations

import json
import os
from typing import IO, TYPE_CHECKING, Any

from agent import works
from agent.config import load
from agent.delivery.message import Encoder
from agent.spool import spool_lock
from agent.spool.spool import Reader, SpoolError, holder
from agent.storage import Filling, days_left, written_per_day
from agent.times import iso
from drivers import catalogue
from drivers.clock import now
from drivers.fields import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from agent.settings import Config
    from agent.spool.spool import Stored

RECENT = 2000
"""Records that `status` looks back over for the newest of each instrument."""


def drivers(directory: Path, name: str | None, out: IO[str]) -> int:
    """List the drivers that a station has, its own profiles included, or print what the head of one says."""
    site = directory / "profiles"
    listed = catalogue.entries(site)
    if name is None:
        width = max(len(one.name) for one in listed)
        for one in listed:
            print(f"{one.name:{width}}  {one.kind:7}  {one.evidence or '-':8}  {one.instruments}", file=out)
        return 0
    if name not in (known := [one.name for one in listed]):
        print(f"no driver {name!r}{did_you_mean(name, known)}\n`stationd drivers` lists those that there are", file=out)
        return 1
    print(catalogue.head(name, site), file=out)
    return 0


def status(directory: Path, out: IO[str]) -> int:
    """Print who runs, what is stored, what is not sent yet, and the newest record of each instrument."""
    config = load(directory)
    pid = holder(config.spool.path)
    print("stationd: not running" if pid is None else f"stationd: running, process {pid or 'unknown'}", file=out)
    why = spool_lock.waits(config.spool.path)
    if why or pid == 0:
        print(f"it measures nothing: {why}" if why else "it cannot write beside its spool; its log says why", file=out)
    reader = _reader(config, out)
    if reader is None:
        return 1
    _print_delivery(reader, out)
    _print_storage(reader, config, pid, out)
    newest: dict[str, dict[str, Any]] = {}
    for record in _records(reader, max(1, reader.newest() - RECENT)):
        if record.get("kind") == "raw":
            newest[record["instrument"]] = record
    for name in config.instruments:
        _print_newest(name, newest.get(name), out)
    for work in works.read(reader.noted(works.NOTE)):
        print(works.described(work.portrait()), file=out)
    for problem in config.problems:
        print(problem, file=out)
    return 0 if pid and not why else 1


def spool_info(directory: Path, out: IO[str]) -> int:
    """Print the numbers of the spool."""
    config = load(directory)
    reader = _reader(config, out)
    if reader is None:
        return 1
    print(f"file          {config.spool.path} ({config.spool.path.stat().st_size / 1e6:.1f} MB)", file=out)
    print(f"spool id      {reader.id}", file=out)
    _print_delivery(reader, out)
    _print_storage(reader, config, holder(config.spool.path), out)
    for first, last in reader.acknowledged():
        print(f"acknowledged  {first} to {last}", file=out)
    return 0


def spool_show(directory: Path, first: int, last: int, out: IO[str]) -> int:
    """Print records as they are sent."""
    config = load(directory)
    reader = _reader(config, out)
    if reader is None:
        return 1
    encoder = Encoder(config.station.id, reader.id)
    for stored in _stored(reader, first, min(last, reader.newest())):
        print(encoder.record(stored).decode(), file=out)
    return 0


def _reader(config: Config, out: IO[str]) -> Reader | None:
    try:
        return Reader(config.spool.path)
    except SpoolError as error:
        print(error, file=out)
        return None


def _stored(reader: Reader, first: int, last: int) -> Iterator[Stored]:
    while records := reader.records(first, last, 100_000):
        yield from records
        first = records[-1].seq + 1


def _records(reader: Reader, first: int) -> Iterator[dict[str, Any]]:
    for stored in _stored(reader, first, reader.newest()):
        yield json.loads(b"{" + stored.body + b"}") | {"at_ms": stored.at_ms}


def _print_delivery(reader: Reader, out: IO[str]) -> None:
    newest, acknowledged = reader.newest(), reader.acknowledged()
    missing = acknowledged.missing(1, newest)
    oldest = acknowledged.gap(1, newest)
    found = reader.records(oldest[0], newest, 0) if oldest else []
    since = f", oldest of {iso(found[0].at_ms)}" if found else ""
    print(f"newest seq    {newest}", file=out)
    print(f"not sent yet  {missing} records{since}", file=out)


def _print_storage(reader: Reader, config: Config, pid: int | None, out: IO[str]) -> None:
    """Print what storing costs a day, and how long it can go on without a broker, from the newest records' pace."""
    spool, newest = config.spool.path, reader.newest()
    recent = [one.at_ms for one in _stored(reader, max(1, newest - RECENT), newest)]
    span_s = (recent[-1] - recent[0]) / 1000 if recent else 0
    unsent = reader.acknowledged().missing(1, newest)
    disk = os.statvfs(spool.parent)
    size = spool.stat().st_size
    limit = min(config.spool.size_bytes, size + disk.f_bavail * disk.f_frsize)
    if span_s > 0 and (stored := _count(reader.present(1, newest))):
        left = days_left(Filling(size, limit, stored, unsent, newest), len(recent) / span_s)
        print(f"room          {left:.1f} days without a broker", file=out)
    if pid and (a_day := written_per_day(pid)) is not None:
        print(f"written       {a_day / 1e6:.0f} MB a day, on average since the start", file=out)


def _count(ranges: Iterable[tuple[int, int]]) -> int:
    return sum(last - first + 1 for first, last in ranges)


def _print_newest(name: str, record: dict[str, Any] | None, out: IO[str]) -> None:
    if record is None:
        print(f"{name:12}  nothing stored lately", file=out)
        return
    age_s = (now().wall_ms - record["at_ms"]) / 1000
    flags = record.get("flags", {})
    values = ", ".join(
        f"{key}={'-' if value is None else value}{f' ({flags[key]})' if key in flags else ''}"
        for key, value in record["values"].items()
    )
    print(f"{name:12}  {age_s:.0f} s ago: {values}", file=out)
