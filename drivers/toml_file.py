"""Read one TOML file and remember on which line every key stands."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Any

from drivers.errors import ConfigError, Problem

if TYPE_CHECKING:
    from pathlib import Path

SIZE_LIMIT = 256 * 1024
Path_ = tuple[str, ...]

_PART = r"(?:[A-Za-z0-9_-]+|\"(?:[^\"\\]|\\.)*\"|'[^']*')"
_KEY = re.compile(rf"\s*({_PART}(?:\s*\.\s*{_PART})*)\s*=(?!=)")
_TABLE = re.compile(rf"\s*\[\[?\s*({_PART}(?:\s*\.\s*{_PART})*)\s*\]\]?\s*(?:#.*)?$")
_STRINGS = re.compile(r"\"\"\".*?\"\"\"|'''.*?'''|\"(?:[^\"\\\n]|\\.)*\"|'[^'\n]*'|#[^\n]*", re.DOTALL)


class Document:
    """A parsed TOML file: `data` as tomllib gives it, and the place of its keys."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self.data: dict[str, Any] = tomllib.loads(text)
        self._lines = _key_lines(text)

    def line(self, path: Path_) -> int:
        """Give the line of a key, or of the nearest table around it; 0 if the file has neither."""
        while path:
            if path in self._lines:
                return self._lines[path]
            path = path[:-1]
        return 0


def load(path: Path) -> Document:
    """Read and parse a file. Raises ConfigError with the line where the text is not TOML."""
    try:
        if path.stat().st_size > SIZE_LIMIT:
            raise _error(path, 0, f"more than {SIZE_LIMIT // 1024} KiB", "a smaller file is expected")
        return Document(path, path.read_text(encoding="utf-8"))
    except OSError as error:
        raise _error(path, 0, "", f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise _error(path, 0, f"byte {error.object[error.start]:#04x}", "the file must be UTF-8 text") from error
    except tomllib.TOMLDecodeError as error:
        where = re.search(r"\(at line (\d+)", str(error))
        text = str(error).partition(" (at ")[0]
        raise _error(path, int(where[1]) if where else 0, "", f"is not valid TOML: {text}") from error
    except (RecursionError, ValueError) as error:
        raise _error(path, 0, "", f"is not valid TOML: {type(error).__name__}") from error


def _error(path: Path, line: int, found: str, allowed: str) -> ConfigError:
    return ConfigError([Problem(path, line, "", found, allowed)])


def _key_lines(text: str) -> dict[Path_, int]:
    """Find keys by their look: tables, `key =` at the start of a line, and keys of tables written in one line."""
    lines: dict[Path_, int] = {}
    table: Path_ = ()
    depth = 0
    for number, line in enumerate(_without_text_blocks(text).split("\n"), 1):
        if depth == 0 and (found := _TABLE.match(line)):
            table = _parts(found[1])
            _note(lines, table, number)
            continue
        if depth == 0 and (found := _KEY.match(line)):
            key = table + _parts(found[1])
            _note(lines, key, number)
        depth += _opened(line)
    return lines


def _note(lines: dict[Path_, int], path: Path_, number: int) -> None:
    for length in range(1, len(path) + 1):
        lines.setdefault(path[:length], number)


def _parts(dotted: str) -> Path_:
    return tuple(part.strip("\"'") for part in re.findall(_PART, dotted))


def _opened(line: str) -> int:
    """Count brackets that this line leaves open, strings and comments aside."""
    bare = _STRINGS.sub("", line)
    return sum(map(bare.count, "[{")) - sum(map(bare.count, "]}"))


def _without_text_blocks(text: str) -> str:
    """Blank out strings of several lines, keeping the line count."""

    def blank(found: re.Match[str]) -> str:
        return '""' + "\n" * found[0].count("\n") if found[0][:3] in {'"""', "'''"} else found[0]

    return _STRINGS.sub(blank, text)
