"""The fields of an answer's text: how they are split, and what stands in one."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, NamedTuple

from drivers.errors import BadAnswer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from drivers.sample import Value

FieldName = int | str
TEXT_MOST = 64
_NUMBER = re.compile(r"([+-]?(?:[0-9]{1,24}(?:\.[0-9]{0,24})?|\.[0-9]{1,24})(?:[Ee][+-]?[0-9]{1,3})?)(.*)", re.DOTALL)
_HEX = re.compile(r"[0-9A-Fa-f]{1,16}")


class Layout(NamedTuple):
    """How the text of an answer is split.

    A blank as separator stands for any number of blanks. `equals` stands between a key and its value. `expected`
    is the number of fields (None: any), `fixed` are fields that always read so, by number from 1.
    """

    separator: str
    equals: str
    expected: int | None
    fixed: Mapping[int, str]

    def fields(self, text: str) -> list[str]:
        """Split; raises BadAnswer if a field is missing, too many, or not what it always is."""
        if any(not char.isprintable() and char not in self.separator for char in text):
            raise BadAnswer(f"not text: {text[:40]!r}")
        parts = [text]
        if self.separator:
            parts = text.split() if self.separator.isspace() and " " in self.separator else text.split(self.separator)
        found = [part.strip(" ") for part in parts]
        if self.expected is not None and len(found) != self.expected:
            raise BadAnswer(f"{len(found)} fields, expected {self.expected}: {text[:40]!r}")
        for number, expected in self.fixed.items():
            if found[number - 1] != expected:
                raise BadAnswer(f"field {number} is {found[number - 1]!r}, expected {expected!r}")
        return found

    def named(self, text: str, header: Sequence[str]) -> dict[FieldName, str]:
        """Give the fields by key, by the name of the column, or by number."""
        found = self.fields(text)
        if header:
            return _under(header, _without_empty_end(found))
        if self.equals:
            return dict(_pairs(_without_empty_end(found), self.equals))
        return dict(enumerate(found, 1))

    def header(self, text: str) -> list[str]:
        """Give the names of the columns; raises BadAnswer if one stands there twice."""
        found = _without_empty_end(self.fields(text))
        if not found or len(set(found)) != len(found):
            raise BadAnswer(f"not a header: {text[:40]!r}")
        return found


class Meaning(NamedTuple):
    """How a field is read: `form` is decimal, hex, text or word (which may be empty); `suffix` follows the number."""

    form: str
    suffix: str
    missing: frozenset[str]
    missing_numbers: frozenset[float]

    def value(self, text: str) -> Value:
        """Give the value, None if it is missing. Raises BadAnswer for anything that is not of this form."""
        if text in self.missing:
            return None
        if self.form in {"text", "word"}:
            return _text(text, 1 if self.form == "text" else 0)
        if self.form == "hex":
            return _hex(text)
        return self._decimal(text)

    def _decimal(self, text: str) -> float | None:
        found = _NUMBER.fullmatch(text)
        if not found:
            raise BadAnswer(f"not a number: {text[:40]!r}")
        number, rest = float(found[1]), found[2].strip(" ")
        if (rest and rest in self.missing) or number in self.missing_numbers or not math.isfinite(number):
            return None
        if rest != self.suffix:
            raise BadAnswer(f"{text[:40]!r} ends in {rest!r}, expected {self.suffix!r}: is another unit set?")
        return number


def numbers_of(missing: Sequence[str]) -> frozenset[float]:
    """Give those marks of a missing value that are numbers."""
    return frozenset(float(mark) for mark in missing if (found := _NUMBER.fullmatch(mark)) and not found[2])


def _text(text: str, least: int) -> str:
    if not least <= len(text) <= TEXT_MOST:
        raise BadAnswer(f"a text of {len(text)} characters, expected {least} to {TEXT_MOST}")
    return text


def _hex(text: str) -> int:
    if not _HEX.fullmatch(text):
        raise BadAnswer(f"not a hex number: {text[:40]!r}")
    return int(text, 16)


def _without_empty_end(fields: list[str]) -> list[str]:
    """Leave out what stands behind a separator at the end of a line."""
    return fields[:-1] if fields and not fields[-1] else fields


def _under(header: Sequence[str], fields: list[str]) -> dict[FieldName, str]:
    if len(header) != len(fields):
        raise BadAnswer(f"{len(fields)} fields, the header has {len(header)}")
    return dict(zip(header, fields, strict=True))


def _pairs(fields: list[str], equals: str) -> list[tuple[FieldName, str]]:
    pairs: list[tuple[FieldName, str]] = []
    for field in fields:
        key, sign, value = field.partition(equals)
        if not sign or equals in value:
            raise BadAnswer(f"not a key and a value: {field[:40]!r}")
        pairs.append((key.strip(" "), value.strip(" ")))
    if len(dict(pairs)) != len(pairs):
        raise BadAnswer("one key stands there twice")
    return pairs
