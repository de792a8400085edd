r"""The form in which bytes on a line are written down: the trace of the daemon and the transcript of a test.

    > "lrec\r"                 sent, when it reads as text
    < 01 03 04 3F 80 00 00 F7 CF    received, when it does not

Text is quoted, with backslashes before what does not print.
"""

from __future__ import annotations

import re

_ESCAPES = {0x0D: "\\r", 0x0A: "\\n", 0x09: "\\t", 0x22: '\\"', 0x5C: "\\\\"}
_UNESCAPE = re.compile(rb"\\(?:x([0-9A-Fa-f]{2})|(.))", re.DOTALL)
_PLAIN = {b"r": b"\r", b"n": b"\n", b"t": b"\t"}


def written(data: bytes) -> str:
    """Write bytes as quoted text if most of them are printable, else as pairs of hex digits."""
    printable = sum(0x20 <= byte < 0x7F or byte in b"\r\n\x02\x03" for byte in data)
    if printable == len(data) and any(0x30 <= byte < 0x7F for byte in data):
        return '"' + "".join(map(_char, data)) + '"'
    return data.hex(" ").upper()


def _char(byte: int) -> str:
    return _ESCAPES.get(byte) or (chr(byte) if 0x20 <= byte < 0x7F else f"\\x{byte:02X}")


def bytes_of(text: str) -> bytes:
    """Read what `written` wrote; raises ValueError if it is neither form."""
    text = text.strip()
    if text.startswith('"'):
        if len(text) < 2 or not text.endswith('"'):
            raise ValueError("closing quote is missing")
        return _UNESCAPE.sub(_unescaped, text[1:-1].encode("latin-1"))
    return bytes.fromhex(text)


def _unescaped(found: re.Match[bytes]) -> bytes:
    return bytes.fromhex(found[1].decode()) if found[1] else _PLAIN.get(found[2], found[2])
