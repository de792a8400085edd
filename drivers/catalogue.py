"""What is supported, and how each driver was checked: read from the heads of drivers and profiles.

The first line of a head names the instruments. A line in it says how good the bytes are that it was tested with:

    Evidence: captured

*captured*: bytes that a real instrument sent; *manual*: examples printed in a manual; *built*: by the documented
rules; *invented*: made up. A test holds the word against the transcripts.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from drivers import registry

if TYPE_CHECKING:
    from collections.abc import Iterable

_EVIDENCE = re.compile(r"^Evidence: (\w+)", re.MULTILINE)
_README = Path(__file__).with_name("README.md")


class Entry(NamedTuple):
    """One driver: `kind` is code, profile or site (a profile of this station); `evidence` may be empty for a site's."""

    name: str
    instruments: str
    kind: str
    evidence: str


def entries(site: Path | None = None) -> list[Entry]:
    """List all drivers, those of a site included, in alphabetical order."""
    return [_entry(name, site) for name in registry.names(site)]


def table(listed: Iterable[Entry]) -> str:
    """Give the table of drivers/README.md."""
    rows = [f"| `{one.name}` | {one.instruments} | {one.kind} | {one.evidence} |" for one in listed]
    return "\n".join(["| driver | instruments | kind | evidence |", "|---|---|---|---|", *rows])


def head(name: str, site: Path | None = None) -> str:
    """Give what the head of a driver says, "" of a profile that cannot be read."""
    if file := registry.profile_file(name, site):
        lines = _text(file).splitlines()
        comment = lines[: next((place for place, line in enumerate(lines) if not line.startswith("#")), len(lines))]
        return "\n".join(line.removeprefix("#").strip() for line in comment)
    source = Path(__file__).with_name(f"{name}.py").read_text(encoding="utf-8")
    return ast.get_docstring(ast.parse(source)) or ""


def _text(file: Path) -> str:
    """Read a profile, a site's in another encoding as well: it is `check` that tells what is wrong with it."""
    try:
        return file.read_bytes().decode("utf-8", errors="replace")
    except OSError:
        return ""


def _entry(name: str, site: Path | None) -> Entry:
    file = registry.profile_file(name, site)
    kind = "code" if file is None else "profile" if file.parent == registry.SHIPPED else "site"
    text = head(name, site)
    evidence = _EVIDENCE.search(text)
    return Entry(name, text.partition("\n")[0].rstrip("."), kind, evidence[1] if evidence else "")


def write_readme(text: str) -> str:
    """Give README.md with its table made anew."""
    before, _, rest = text.partition("| driver | instruments |")
    return before + table(entries()) + "\n\n" + rest.partition("\n\n")[2]


if __name__ == "__main__":
    _README.write_text(write_readme(_README.read_text(encoding="utf-8")), encoding="utf-8")
