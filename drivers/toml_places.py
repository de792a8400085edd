"""On which line every key of a TOML text stands.

tomllib does not tell, so the text, which it has accepted, is walked once more.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_left

Path_ = tuple[str, ...]

_QUOTED = r"\"(?:[^\"\\\n]|\\.)*\"|'[^'\n]*'"
_PART = rf"(?:[A-Za-z0-9_-]+|{_QUOTED})"
_KEY = re.compile(rf"{_PART}(?:[ \t]*\.[ \t]*{_PART})*")
_SPACE = re.compile(r"(?:[\s,]|#[^\n]*)*")
_BLOCK = r"\"\"\"(?:[^\\]|\\.)*?\"{3,5}|'''.*?'{3,5}"
_SCALAR = re.compile(rf"{_BLOCK}|{_QUOTED}|[^,\]}}#\n]*", re.DOTALL)


def places(text: str) -> dict[Path_, int]:
    """Give the line, counted from 1, on which each key and table of a valid TOML text first stands.

    Items of lists count as keys "0", "1", …
    """
    walk = _Walk(text)
    walk.document()
    return walk.lines


class _Walk:
    """A position in the text that moves forward, and what was found before it."""

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0
        self.lines: dict[Path_, int] = {}
        self._ends = [found.start() for found in re.finditer("\n", text)]
        self._lists: dict[Path_, int] = {}

    def document(self) -> None:
        table: Path_ = ()
        while self._more():
            if self.text[self.at] == "[":
                table = self._header()
            else:
                self._pair(table)

    def _more(self) -> bool:
        """Pass over space, commas and comments; say whether anything follows."""
        self.at = self._end(_SPACE)
        return self.at < len(self.text)

    def _header(self) -> Path_:
        """Read `[a.b]` or `[[a.b]]`; a list of tables is entered at its newest item."""
        is_list = self.text.startswith("[[", self.at)
        self.at += 2 if is_list else 1
        self._more()
        *around, last = self._key()
        path = self._newest((*self._entered(around), last), is_new=is_list)
        self._note(path)
        self._more()
        self.at += 2 if is_list else 1
        return path

    def _entered(self, parts: list[str]) -> Path_:
        path: Path_ = ()
        for part in parts:
            path = self._newest((*path, part))
        return path

    def _newest(self, path: Path_, *, is_new: bool = False) -> Path_:
        if is_new:
            self._lists[path] = self._lists.get(path, -1) + 1
        return (*path, str(self._lists[path])) if path in self._lists else path

    def _pair(self, table: Path_) -> None:
        path = (*table, *self._key())
        self._note(path)
        self.at = self.text.index("=", self.at) + 1
        self._value(path)

    def _value(self, path: Path_) -> None:
        self._more()
        mark = self.text[self.at]
        if mark == "[":
            self._items(path)
        elif mark == "{":
            self._pairs(path)
        else:
            self.at = self._end(_SCALAR)

    def _items(self, path: Path_) -> None:
        self.at += 1
        index = 0
        while self._more() and self.text[self.at] != "]":
            self._note((*path, str(index)))
            self._value((*path, str(index)))
            index += 1
        self.at += 1

    def _pairs(self, path: Path_) -> None:
        self.at += 1
        while self._more() and self.text[self.at] != "}":
            self._pair(path)
        self.at += 1

    def _key(self) -> Path_:
        """Read a dotted key; tomllib itself undoes the escapes of a quoted one."""
        begin, self.at = self.at, self._end(_KEY)
        written = self.text[begin : self.at]
        if "'" not in written and '"' not in written:
            return tuple(part.strip() for part in written.split("."))
        parts: list[str] = []
        inner = tomllib.loads(f"{written} = 0")
        while isinstance(inner, dict):
            (part, inner), *_ = inner.items()
            parts.append(part)
        return tuple(parts)

    def _end(self, pattern: re.Pattern[str]) -> int:
        found = pattern.match(self.text, self.at)
        return found.end() if found else self.at

    def _note(self, path: Path_) -> None:
        line = bisect_left(self._ends, self.at) + 1
        for length in range(1, len(path) + 1):
            self.lines.setdefault(path[:length], line)
