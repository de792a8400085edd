"""Text profiles written in a line, and read over a played conversation."""

from __future__ import annotations

from pathlib import Path

from drivers import registry, toml_file
from drivers.line import Line
from drivers.sample import Flag, Sample
from drivers.text_profile import TextDriver, load
from drivers.transcript import Entry, TranscriptPort

SHIPPED = [file for file in registry.files(registry.SHIPPED) if "protocol" in toml_file.load(file).data]
HEAD = 'protocol = "text"\n'
ANSWER = "[answer]\nrequest = 'R\\r'\nend = '\\r\\n'\nlongest = 64\n"
TWO = "[answer.a]\nrequest = 'A\\r'\nend = '\\r'\nlongest = 9\n[answer.b]\nrequest = 'B\\r'\nend = '\\r'\nlongest = 9\n"
ONE = '[channels]\nx = { parameter = "X", unit = "", field = 1 }\n'


def driver(text: str) -> TextDriver:
    return load(toml_file.Document(Path("acme.toml"), text)).driver()


def answer(**keys: str) -> str:
    """Write a table of an answer that is asked for with R and ends in CR LF; values are TOML."""
    entry = {"request": r"'R\r'", "end": r"'\r\n'", "longest": "64"} | keys
    return "[answer]\n" + "".join(f"{key} = {value}\n" for key, value in entry.items() if value)


def channel(**keys: str) -> str:
    """Write a profile's only channel; values are TOML."""
    entry = {"parameter": '"X"', "unit": '""', "field": "1"} | keys
    return "[channels.x]\n" + "".join(f"{key} = {value}\n" for key, value in entry.items() if value)


def asked(profile: str | TextDriver, *conversation: bytes, address: int = 1) -> list[Sample]:
    """Read once; the conversation is request, answer, request …; one that begins unasked has b"" as its first."""
    marks = [Entry("><"[place % 2], data, place) for place, data in enumerate(conversation) if data]
    port = TranscriptPort(marks)
    read = driver(profile) if isinstance(profile, str) else profile
    samples = list(read.read(Line("line", port, now_s=port.now_s), address))
    port.finish()
    return samples


def value(profile: str, text: bytes) -> object:
    """Give what one line makes of the only channel: its value, or None with its flag."""
    sample = asked(profile, b"R\r", text + b"\r\n")[0]
    assert sample.value is not None or sample.flags == (Flag.FAULT,)
    return sample.value


WIND = HEAD + (
    "[answer]\nstart = '\\x02'\nend = '\\r\\n'\nlongest = 40\nseparator = ','\ncount = 6\n"
    'fixed = { 1 = "Q", 4 = "M", 6 = "" }\n'
    "checksum = { method = \"xor8\", mark = '\\x03' }\n"
    '[status]\nfield = 5\nvalues = { 00 = "ok", A = "ok", V = "ok" }\n'
    '[channels]\nwind_speed = { parameter = "wind_speed", unit = "m/s", field = 3 }\n'
)


def with_header() -> TextDriver:
    return driver(HEAD + answer(separator="','", header=r"'H\r'") + channel(field='"A"'))
