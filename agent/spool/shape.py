"""The shape of stored records: what all of an instrument have in common, taken apart for reading."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple
from zlib import crc32

_INSTRUMENT = re.compile(r'"kind":"raw","instrument":("(?:[^"\\]|\\.)*")')
_WAS, _UNSURE = b'"was":{', b'"clock":"unsure"'


class Shape(NamedTuple):
    """What records have in common: the parts around their values, the checksum so far, the number of channels.

    `instrument` is None where it stands in the body.
    """

    parts: list[bytes]
    seed: int
    values: int
    instrument: str | None


def shaped(text: str, base: int) -> Shape:
    """Take a shape apart; what a salvaged record says of its origin counts as no channel."""
    parts = text.encode().split(b"\x1f")
    origin = 1 + (_UNSURE in parts[1]) if parts[0].startswith(_WAS) and len(parts) > 1 else 0
    found = _INSTRUMENT.search(text.replace("\x1f", ""))
    instrument: Any = json.loads(found[1]) if found else None
    return Shape(parts, crc32(text.encode(), base), max(1, len(parts) - 1 - origin), instrument)
