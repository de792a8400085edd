"""Read one TOML file and remember on which line every key stands."""

from __future__ import annotations

import re
import stat
import tomllib
from typing import TYPE_CHECKING, Any

from drivers.errors import ConfigError, Problem
from drivers.toml_places import places

if TYPE_CHECKING:
    from pathlib import Path

SIZE_LIMIT = 256 * 1024
LINE_LIMIT = 4000
"""Bytes a line may have: tomllib takes time in the square of the parts of one dotted key."""
Path_ = tuple[str, ...]


class Document:
    """A parsed TOML file: `data` as tomllib gives it, and the place of its keys."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self.data: dict[str, Any] = tomllib.loads(text)
        self._lines = places(text)

    def line(self, path: Path_) -> int:
        """Give the line of a key or list item, or of the nearest table around it; 0 if there is neither."""
        while path:
            if path in self._lines:
                return self._lines[path]
            path = path[:-1]
        return 0


def load(path: Path) -> Document:
    """Read and parse a file. Raises ConfigError with the line where the text is not TOML."""
    return parse(path, content(path))


def content(path: Path) -> bytes:
    """Read a regular file of bounded size. Raises ConfigError."""
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise _error(path, 0, "", "cannot be read: not a regular file")
        if found.st_size > SIZE_LIMIT:
            raise _error(path, 0, f"{found.st_size} bytes", f"allowed: at most {SIZE_LIMIT // 1024} KiB")
        return path.read_bytes()
    except OSError as error:
        raise _error(path, 0, "", f"cannot be read: {error.strerror}") from error


def parse(path: Path, data: bytes) -> Document:
    """Parse the bytes of a file; the byte order mark of Windows editors may stay. Raises ConfigError."""
    try:
        _check_lines(path, data)
        return Document(path, data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        found = f"byte {data[error.start]:#04x}"
        raise _error(path, line, found, "the file must be saved as UTF-8 text") from error
    except tomllib.TOMLDecodeError as error:
        raise _not_toml(path, data, str(error)) from error
    except (RecursionError, ValueError, OverflowError) as error:
        why = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise _error(path, 0, "", f"is not valid TOML: {why}") from error


def _check_lines(path: Path, data: bytes) -> None:
    for number, line in enumerate(data.split(b"\n"), 1):
        if len(line) > LINE_LIMIT:
            raise _error(path, number, f"a line of {len(line)} bytes", f"allowed: at most {LINE_LIMIT}")


def _not_toml(path: Path, data: bytes, text: str) -> ConfigError:
    """Say where and why; tomllib names a line, or the end of the document."""
    why, _, where = text.partition(" (at ")
    place = re.match(r"line (\d+)", where)
    line = int(place[1]) if place else len(data.rstrip().split(b"\n")) if where.startswith("end") else 0
    hint = r"; a text with \ in it, like '\x02', stands in single quotes" if why.startswith("Unescaped") else ""
    return _error(path, line, "", f"is not valid TOML: {why}{hint}")


def _error(path: Path, line: int, found: str, allowed: str) -> ConfigError:
    return ConfigError([Problem(path, line, "", found, allowed)])
