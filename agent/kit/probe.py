"""The command `stationd probe`: a register in every form that it could have, to be held against the display.

Manuals disagree on where they begin to count, which of the two tables they mean, and in which order the bytes of a
number come. All of it is read and shown at once; only one row is what the instrument shows.
"""

from __future__ import annotations

import re
from typing import IO, TYPE_CHECKING, NamedTuple

from agent.kit import place, reads
from agent.kit.by_hand import Cannot
from agent.kit.probe_readings import Form, Reading, forms, marked, readings
from agent.toml_value import toml_value
from drivers.errors import DriverError, LineDown
from drivers.modbus import Block

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agent.kit.place import Place
    from agent.kit.reads import Reads

LITERAL_BASES = {"holding": (40_001, 400_001), "input": (30_001, 300_001)}
"""How manuals number registers that name the table in their first digit."""
MOST_REGISTERS = 64
_MARK = "<--"
_DISPLAY = re.compile(r"[+-]?\d{1,12}(?:\.\d{0,9})?")
_TABLES = ("holding", "input")
_LAST = 0xFFFF


class Wanted(NamedTuple):
    """What the command was told."""

    line: str
    address: int
    register: int
    table: str | None = None
    display: str | None = None
    max: int = 4
    timeout: float | None = None
    row: int | None = None


class Found(NamedTuple):
    """What stands at one place: the table, the number that the manual gives to address 0, and the bytes."""

    table: str
    base: int
    data: bytes


def probe(directory: Path, wanted: Wanted, out: IO[str]) -> int:
    """Print the table; gives the exit status, 0 if anything was answered."""
    try:
        _check(wanted)
        where = place.find(directory, wanted.line)
        way = _modbus(where, reads.open_reads(_with_modbus(where)))
    except Cannot as error:
        print(error, file=out)
        return 1
    try:
        return _shown(list(_rows(way, wanted, out)), wanted, out)
    except (Cannot, LineDown) as error:
        print(error, file=out)
        return 1
    finally:
        way.close()


def _check(wanted: Wanted) -> None:
    if not 0 <= wanted.address <= 255:
        raise Cannot(f"address {wanted.address}: allowed are 0 to 255")
    if not 1 <= wanted.max <= MOST_REGISTERS:
        raise Cannot(f"--max {wanted.max}: allowed are 1 to {MOST_REGISTERS}")
    if wanted.display is not None and not _DISPLAY.fullmatch(wanted.display):
        raise Cannot(f"--display {wanted.display}: expected a number like 41.7")
    if not 0 <= wanted.register <= _LAST + LITERAL_BASES["holding"][1]:
        raise Cannot(f"register {wanted.register}: allowed are 0 to 465536")


def _with_modbus(where: Place) -> Place:
    """Ask in RTU where the line speaks no Modbus yet."""
    line = where.settings
    if line.speaks_modbus or line.kind == "udp":
        return where
    return where._replace(settings=place.with_wire(line, line.baud, line.parity, "rtu"))


def _modbus(where: Place, way: Reads) -> Reads:
    if way.is_through_daemon and not where.settings.speaks_modbus:
        way.close()
        raise Cannot(f"{where.described} is held by the running stationd and speaks no Modbus")
    return way


def _rows(way: Reads, wanted: Wanted, out: IO[str]) -> Iterator[Reading]:
    number = 0
    for table in _TABLES if wanted.table is None else (wanted.table,):
        for base in _bases(table, wanted.register):
            found = _read(way, wanted, table, base, out)
            for form in forms(wanted.max):
                number += 1
                if found is not None:
                    yield from readings(number, table, base, form, found)


def _bases(table: str, register: int) -> list[int]:
    """List what the number may be counted from: 0 or 1, and 40001 or 30001 where it is that high."""
    literal = [base for base in LITERAL_BASES[table] if base <= register <= base + _LAST]
    return [base for base in (0, 1, *literal) if 0 <= register - base <= _LAST]


def _read(way: Reads, wanted: Wanted, table: str, base: int, out: IO[str]) -> bytes | None:
    """Read as many registers as there are and are wanted; what is refused as a whole may be there in part."""
    start = wanted.register - base
    timeout_s = wanted.timeout or way.settings.timeout_s
    most = min(wanted.max, _LAST + 1 - start, way.settings.max_block)
    for count in dict.fromkeys((most, *(fewer for fewer in (4, 2, 1) if fewer < most))):
        try:
            return way.block(wanted.address, Block(table, start, count), timeout_s)
        except DriverError as error:
            failed = error
            if error.reason != "refused":
                break
    print(f"# {table} register {start}, if counting begins at {base}: {failed}", file=out)
    return None


def _shown(rows: list[Reading], wanted: Wanted, out: IO[str]) -> int:
    if not rows:
        print("nothing was answered that could be a value", file=out)
        return 1
    near = {row.number: scale for row in rows if (scale := marked(row, wanted.display)) is not None}
    if wanted.row is not None:
        chosen = [row for row in rows if row.number == wanted.row]
        if not chosen:
            print(f"no row {wanted.row} is among those that could be a value", file=out)
            return 1
        print("\n".join(_entry(chosen[0], near.get(wanted.row, 1), wanted)), file=out)
        return 0
    print(f"{'row':>4}  {'table':8}{'counts from':>12}  {'format':9}{'order':7}value", file=out)
    for row in rows:
        mark = f"  {_MARK}{_times(near[row.number])}" if row.number in near else ""
        one = row.form
        print(f"{row.number:>4}  {row.table:8}{row.base:>12}  {one.format:9}{one.order:7}{row.shown}{mark}", file=out)
    _tell_next(rows, near, wanted, out)
    return 0


def _tell_next(rows: list[Reading], near: dict[int, float], wanted: Wanted, out: IO[str]) -> None:
    if wanted.display is None:
        print(
            "\n# --display VALUE marks what is near the instrument's display, --row N writes a profile's line", file=out
        )
    elif not near:
        print(f"\n# nothing is near {wanted.display}: try the registers beside it, or another table", file=out)
    for row in (row for row in rows if row.number in near):
        print("\n".join(["", f"# row {row.number}", *_entry(row, near[row.number], wanted)]), file=out)


def _entry(row: Reading, scale: float, wanted: Wanted) -> list[str]:
    """Write what stands in a profile for a row."""
    one = row.form
    entry = {"parameter": "NAME", "unit": "UNIT", "register": wanted.register, "format": one.format}
    entry |= {"registers": one.registers} if one.format == "string" else {}
    entry |= {"order": one.order} if one.order != Form("").order else {}
    entry |= {"scale": scale} if scale != 1 else {}
    head = [f'table = "{row.table}"', *([f"first_register = {row.base}"] if row.base else [])]
    return [*head, "[channels]", f"NAME = {toml_value(entry)}"]


def _times(scale: float) -> str:
    return "" if scale == 1 else f" x {scale:g}"
