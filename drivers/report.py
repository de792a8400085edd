"""Collects what is wrong with one file, in words a technician can act on."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Protocol

from drivers.errors import ConfigError, Problem, printable

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

Path_ = tuple[str, ...]
SHOWN = 60
"""Characters of a wrong value that are shown."""
_BARE = re.compile(r"[A-Za-z0-9_-]+")


class Places(Protocol):
    """What a report needs of the document it is about."""

    path: Path

    def line(self, path: Path_) -> int:
        """Give the line of a key, 0 if it is unknown."""


class Report:
    """Collects the problems of one document."""

    def __init__(self, document: Places) -> None:
        self.document = document
        self.problems: list[Problem] = []

    def add(self, path: Path_, found: object, allowed: str) -> None:
        """Note a problem at a key; `found` is the value, or "" where a key is missing."""
        text = "" if found == "" else shown(found)
        line = self.document.line(path)
        self.problems.append(Problem(self.document.path, line, dotted(path), text, allowed))

    def done(self) -> None:
        """Raise ConfigError with everything noted, if anything was."""
        if self.problems:
            raise ConfigError(self.problems)


def shown(value: object) -> str:
    """Write a value as it may stand in the file: short, in one line, and harmless to a terminal."""
    if isinstance(value, bool):
        text = str(value).lower()
    elif isinstance(value, dict):
        text = "a table"
    elif isinstance(value, list):
        text = f"a list of {len(value)}"
    elif isinstance(value, int) and abs(value) >= 10**SHOWN:
        text = "a huge number"  # Python refuses to write out more than 4300 digits
    else:
        text = f'"{printable(value[: 2 * SHOWN])}"' if isinstance(value, str) else str(value)
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."


def dotted(path: Path_) -> str:
    """Write a key as it stands in the file, with quotes where it needs them."""
    return ".".join(part if _BARE.fullmatch(part) else shown(part) for part in path)


def did_you_mean(found: object, allowed: Iterable[str]) -> str:
    """Suggest the nearest allowed word, as the end of a sentence."""
    near = nearest(found, allowed)
    return f"; did you mean {near}?" if near else ""


def nearest(found: object, allowed: Iterable[str]) -> str:
    """Give the allowed word that is most like the one found, capitals aside; "" if none is near."""
    words = {word.lower(): word for word in allowed}
    near = get_close_matches(str(found)[:SHOWN].lower(), list(words), 1, 0.6)
    return words[near[0]] if near else ""
