r"""The records of Thermo analyzers over C-Link: `flags HEX name value name value`, or numbers alone.

    14:38 07-28-21  flags D800500 o3 0.367 cellai 124629.000 …     49i, `lrec`
    10:15 10-28 o3 0561E+0 ppb flags 00000000 cella 99342 …        49C: without a year, with the unit of the gas
    14:38 07-28-21 flags D800500 o3 0.000  1 lo o3 -0.200  1 lampi 0000 bencht 28.752 … int a 1E6D4      `erec`
    00:08 07-28-21  D800500 0.162 124060.000 94871.000 …           `lr00`: the columns of `list lrec`

A name may have blanks; a number without a name (the state of a range) is skipped.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, NamedTuple

from drivers.errors import BadAnswer
from drivers.thermo_models import GAS_UNITS, HEXADECIMAL
from drivers.units import spelled

if TYPE_CHECKING:
    from collections.abc import Sequence

NUMBER = r"[+-]?\d+(?:\.\d*)?(?:E[+-]?\d+)?"
HEAD = re.compile(r"\s*\d\d:\d\d \d\d-\d\d(?:-\d\d)?\s+(\S.*)", re.DOTALL)
WORD = re.compile(r"[0-9A-F]{1,8}", re.IGNORECASE)
_VALUE = re.compile(rf"{NUMBER}|[0-9A-F]*\d[0-9A-F]*", re.IGNORECASE)
_NUMBER = re.compile(NUMBER, re.IGNORECASE)
_COLUMN = re.compile(r"\s*(\d+)\s+\d+\s+(\S+)\s*")
_LIST_HEAD = ["field", "index", "variable"]


class Record(NamedTuple):
    """A record taken apart: the status word, and by name the text of each value and the unit beside it."""

    flags: str
    values: dict[str, str]
    units: dict[str, str]


def is_nameless(text: str) -> bool:
    """Say whether a record (without its head) holds numbers alone."""
    return all(_VALUE.fullmatch(word) for word in text.split())


def columns_of(text: str) -> tuple[str, ...]:
    """Read the answer to `list lrec`: a head, then field, index and variable in each line. Raises BadAnswer."""
    lines = text.strip("\n* ").split("\n")
    found = [_COLUMN.fullmatch(line) for line in lines[1:]]
    fields = [each[1] if each else "" for each in found]
    if lines[0].split() != _LIST_HEAD or fields != [str(number + 1) for number in range(len(fields))] or not fields:
        raise BadAnswer(f"not a list of fields: {text[:40]!r}")
    return tuple(each[2].lower() for each in found if each)


def by_columns(text: str, columns: Sequence[str]) -> Record:
    """Take a nameless record apart. Raises BadAnswer."""
    flags, *numbers = text.split()
    if len(numbers) != len(columns):
        raise BadAnswer(f"{len(numbers)} numbers, the list of fields has {len(columns)}")
    return Record(_hexadecimal(flags), dict(zip(columns, numbers, strict=True)), {})


def by_names(text: str) -> Record:
    """Take a record apart that names its values. Raises BadAnswer."""
    record = Record("", {}, {})
    name: list[str] = []
    last = ""
    words = iter(text.split())
    for word in words:
        if word.lower() == "flags":
            record = record._replace(flags=_hexadecimal(next(words, "")))
        elif not _VALUE.fullmatch(word):
            if spelled(word) in GAS_UNITS and last and not name:
                record.units[last] = spelled(word)
            else:
                name.append(word.lower())
        elif name:
            last, name = " ".join(name), []
            if record.values.setdefault(last, word) != word:
                record.values[last] = ""  # twice, and different: neither counts
    if not record.flags:
        raise BadAnswer("the record has no status word")
    return record


def number(record: Record, words: Sequence[str]) -> float | None:
    """Give the value under the first of these words that the record has; None if it has none. Raises BadAnswer."""
    name = next((word for word in words if word in record.values), None)
    if name is None:
        return None
    text = record.values[name]
    if name in HEXADECIMAL and WORD.fullmatch(text):
        return int(text, 16)
    if not _NUMBER.fullmatch(text):
        raise BadAnswer(f"no number after {name!r}: {text[:20]!r}")
    return finite(text)


def finite(text: str) -> float:
    """Read a number. Raises BadAnswer if it is too large for one."""
    value = float(text)
    if not math.isfinite(value):
        raise BadAnswer(f"{text[:20]} is no number to measure")
    return value


def _hexadecimal(text: str) -> str:
    if not WORD.fullmatch(text):
        raise BadAnswer("the record has no status word")
    return text
