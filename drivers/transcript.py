r"""A transcript: a recorded conversation on a line, with what it means, in a text file; played as a port.

    # Acme 100, answer captured at the sewage plant, 2026-04-03
    #: framer rtu
    #: address 1
    #: options order = "CDAB"
    > 01 04 00 12 00 02 D1 CE
    < 01 04 04 42 26 CC CD 9A A2
    = o3 41.7 ok
    = flow 0.71 fault,over_range
    = model "100" ok
    = cell - no_comm

    > 01 04 00 12 00 02 D1 CE
    ! NoAnswer

`#` is a comment; those before the first `>` say where the bytes come from, with one of the words captured,
manual, built (from the documented rule) or invented; the first of them counts. `#:` is a setting: `framer` (tcp,
rtu, ascii, none; default none), `address` (default 1) and `options`, a piece of TOML, several of which are joined
line by line. `>` is sent and `<` received, bytes written as `drivers.trace` does; each `<` is one arrival, a `>`
without `<` is met by silence, a `<` without `>` comes unasked. `=` is a channel, its value (JSON; `-` is
none) and its flags (`ok` is none). `!` names the error that the read ends with; the `=` lines beside it are
the samples it carries. A `=` with nothing behind it is a read that brought no new result. A `>` or `<` after
`=` or `!` begins the next read. A comment may follow a sample, unless it
holds a quotation mark. Before `>` and `<` may stand what `stationd run --trace` and the journal put there.
"""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

from drivers.sample import Flag, Sample
from drivers.trace import bytes_of

FOLDER = Path(__file__).with_name("transcripts")
"""Those that are shipped, in a folder for each driver."""
_LOGGED = re.compile(r"^(?:.*\bstationd\[\d+\]: )?INFO (?=[<>] )")
_REMARK = re.compile(r'\s+#[^"]*$')
EVIDENCE = ("captured", "manual", "built", "invented")
_EVIDENCE = re.compile(rf"\b({'|'.join(EVIDENCE)})\b")


class Mismatch(Exception):
    """The conversation did not go as written."""


class Entry(NamedTuple):
    """Bytes that were sent (mark `>`) or received (`<`), and the line of the file they stand on."""

    mark: str
    data: bytes
    line: int


class Poll:
    """One read of the instrument: its bytes and what it gives. `before` may hold the reads that must precede it."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.samples: list[Sample] = []
        self.is_unchanged = False
        self.error = ""
        self.before: list[Poll] = []

    @property
    def has_ended(self) -> bool:
        """Say whether it is written down what the read gives."""
        return bool(self.samples or self.is_unchanged or self.error)


class Transcript:
    """A parsed transcript; `polls` in their order."""

    def __init__(self, text: str, name: str = "transcript") -> None:
        self.name = name
        self.comments: list[str] = []
        self.framer, self.address = "none", 1
        self.polls: list[Poll] = []
        self._options: list[str] = []
        for number, line in enumerate(text.splitlines(), 1):
            try:
                self._read(_LOGGED.sub("", line.strip()), number)
            except ValueError as error:
                raise ValueError(f"{name}:{number}: {error}") from error
        self.options: dict[str, Any] = tomllib.loads("\n".join(self._options))

    @property
    def evidence(self) -> str:
        """Say how the bytes were obtained, with the first word of `EVIDENCE` in the head; "" if there is none."""
        head = " ".join(self.comments).lower()
        found = _EVIDENCE.search(head)
        return found[0] if found else ""

    def _read(self, line: str, number: int) -> None:
        if not line:
            return
        mark, rest = line[:1], line[1:].strip()
        if line.startswith("#:"):
            self._set(*line[2:].strip().partition(" ")[::2])
        elif mark == "#":
            self.comments.append(rest)
        elif mark in {">", "<"}:
            self._poll(begins=True).entries.append(Entry(mark, bytes_of(rest), number))
        elif mark == "=" and not rest:
            self._poll().is_unchanged = True
        elif mark == "=":
            self._poll().samples.append(_sample(_REMARK.sub("", rest)))
        elif mark == "!":
            self._poll().error = rest
        else:
            raise ValueError(f"begins with {mark!r}, not with one of # > < = !")

    def _set(self, key: str, value: str) -> None:
        if key == "framer":
            self.framer = value
        elif key == "address":
            self.address = int(value)
        elif key == "options":
            self._options.append(value)
        else:
            raise ValueError(f"unknown setting {key!r}; allowed: framer, address, options")

    def _poll(self, *, begins: bool = False) -> Poll:
        last = self.polls[-1] if self.polls else None
        if last is None or (begins and last.has_ended):
            last = Poll()
            self.polls.append(last)
        return last


def load(path: Path) -> Transcript:
    """Read a transcript file. Raises ValueError with the line that is wrong."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: must be saved as UTF-8 text") from error
    return Transcript(text, str(path))


def files(driver: str = "*", *more: Path) -> list[Path]:
    """List the transcripts of a driver, or of all: the shipped ones, then those of `more` folders like that."""
    return [file for folder in (FOLDER, *more) for file in sorted(folder.glob(f"{driver}/*.txt"))]


def sample_line(sample: Sample) -> str:
    """Write a sample as a line of a transcript."""
    value = "-" if sample.value is None else json.dumps(sample.value)
    return f"= {sample.channel} {value} {','.join(sample.flags) or Flag.OK}"


def _sample(text: str) -> Sample:
    channel, _, rest = text.partition(" ")
    value, _, flags = rest.strip().rpartition(" ")
    if not value:
        raise ValueError(f"expected channel, value and flags, found {text!r}")
    held = () if flags == Flag.OK else tuple(map(Flag, flags.split(",")))
    return Sample(channel, None if value.strip() == "-" else json.loads(value), held)


class TranscriptPort:
    """Plays entries as a port. Raises Mismatch on a byte that differs, and at `finish` on bytes left over.

    No read waits. Where none of the bytes is due, time passes at once: give `now_s` to the line, so that its
    deadlines run on the played time. Bytes that come unasked wait until someone waits for them.
    """

    is_network = False

    def __init__(self, entries: list[Entry], name: str = "transcript") -> None:
        self.where = name
        self._entries = list(entries)
        self._was_asked = False
        self._time_s = 0.0

    def now_s(self) -> float:
        """Give the seconds that were waited so far."""
        return self._time_s

    def open(self) -> None:
        """Nothing to open."""

    def close(self) -> None:
        """Nothing to close."""

    def write(self, data: bytes) -> None:
        """Compare with what should be sent now."""
        due = self._entries[0] if self._entries else Entry("end", b"", 0)
        if due != (">", data, due.line):
            expected = f"{due.mark} {due.data!r} (line {due.line})" if self._entries else "the end"
            raise Mismatch(f"{self.where}: sent {data!r}, expected {expected}")
        del self._entries[0]
        self._was_asked = True

    def read(self, timeout_s: float) -> bytes:
        """Give the next arrival, or let the time pass."""
        if self._entries and self._entries[0].mark == "<" and (self._was_asked or timeout_s > 0):
            return self._entries.pop(0).data
        self._time_s += max(timeout_s, 0) + 1e-6
        return b""

    @property
    def left(self) -> int:
        """How many entries were neither sent nor read."""
        return len(self._entries)

    def finish(self) -> None:
        """Raise Mismatch if anything was neither sent nor read."""
        if self._entries:
            mark, data, line = self._entries[0]
            raise Mismatch(f"{self.where}: left over {mark} {data!r} (line {line})")
