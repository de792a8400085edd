"""Mutated answers to every driver: values or a DriverError come of any, soon and in bounded memory.

    python -m bench.fuzz --runs 10000000           # all drivers, the runs shared out evenly; prints its seed
    python -m bench.fuzz --runs 100000 --driver gill_windsonic

Each driver is fuzzed in a process of its own by atheris (libFuzzer), guided by the coverage of `drivers`, from the
answers of its transcripts. An input is the place of an answer in a conversation (2 bytes), whether to make its checksum
right again after the mutation (1 byte), and the answer. The rest of the conversation is as recorded.

A run fails on any exception but DriverError, on samples that are not those of the driver's channels or could not be
stored as JSON, on one that takes longer than 5 s, and where memory grows.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench.figures import Figures
from drivers import registry, transcript
from drivers.checksum import crc16, crc_ccitt, crc_hj212, sum8, sum16, xor8
from drivers.errors import DriverError, LineDown
from drivers.line import Line
from drivers.sample import Flag
from drivers.sdi_12 import crc_characters

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from drivers.driver import Driver

HEAD_BYTES = 3
TIMEOUT_S, RSS_LIMIT_MB = 5, 700
GROWTH_MOST_MB = 40.0
"""Between a tenth of the runs and the last: libFuzzer itself keeps the inputs that found something new."""
FRESH_EVERY = 50
"""A driver may remember what it learned of an instrument, so it is built anew after so many answers."""
_FLAGS = frozenset(Flag) - {Flag.OK, Flag.SUSPECT}
_REPORT = re.compile(r"^fuzzed (\S+) (\S+) (\S+)$", re.MULTILINE)


class Place(NamedTuple):
    """One answer of a conversation: all answers, which of them is replaced, and what it is asked over."""

    answers: tuple[bytes, ...]
    index: int
    options: str
    framer: str
    address: int
    is_asked: bool
    repair: Callable[[bytes], bytes]


class Replay:
    """A port that gives answers in their order, one for each thing sent (or unasked); time passes at once."""

    where, is_network = "replay", False

    def __init__(self, answers: Sequence[bytes], *, is_asked: bool) -> None:
        self._answers, self._is_asked, self._is_due = list(answers), is_asked, not is_asked
        self.time_s = 0.0

    def open(self) -> None: ...

    def close(self) -> None: ...

    def now_s(self) -> float:
        return self.time_s

    def write(self, _data: bytes) -> None:
        self._is_due = True

    def read(self, timeout_s: float) -> bytes:
        if self._answers and self._is_due and timeout_s > 0:
            self._is_due = not self._is_asked
            return self._answers.pop(0)
        self.time_s += max(timeout_s, 0) + 1e-4
        return b""


def places(name: str) -> list[Place]:
    """Give every answer of every transcript of a driver that is not empty."""
    found = []
    for file in transcript.files(name):
        case = transcript.load(file)
        for poll in case.polls:
            answers = tuple(entry.data for entry in poll.entries if entry.mark == "<")
            is_asked = any(entry.mark == ">" for entry in poll.entries)
            options = json.dumps(case.options)
            found += [
                Place(answers, index, options, case.framer, case.address, is_asked, _repair(answer, case.framer))
                for index, answer in enumerate(answers)
            ]
    return found


class Target:
    """What libFuzzer calls, for one driver."""

    def __init__(self, name: str, runs: int) -> None:
        self._name, self._runs = name, runs
        self._places = places(name)
        self._drivers: dict[str, tuple[Driver, int]] = {}
        self._count = 0
        self._begin_mb = 0.0

    def seeds(self, folder: Path) -> None:
        """Write what is fuzzed first: the recorded answers, with and without their sums made right."""
        for number, place in enumerate(self._places):
            for mode in (0, 1):
                head = number.to_bytes(2, "big") + bytes([mode])
                (folder / f"{number}-{mode}").write_bytes(head + place.answers[place.index])

    def __call__(self, data: bytes) -> None:
        """Read one mutated answer. Raises for everything that must not be."""
        self._measure()
        if len(data) < HEAD_BYTES:
            return
        place = self._places[int.from_bytes(data[:2], "big") % len(self._places)]
        answer = place.repair(data[HEAD_BYTES:]) if data[2] & 1 else data[HEAD_BYTES:]
        answers = [*place.answers[: place.index], answer, *place.answers[place.index + 1 :]]
        port = Replay(answers, is_asked=place.is_asked)
        line = Line("fuzz", port, framer=place.framer, now_s=port.now_s)
        if place.framer == "tcp":
            line.transaction = int.from_bytes(place.answers[0][:2], "big") - 1
        driver = self._driver(place.options)
        try:
            samples = driver.read(line, place.address)
        except DriverError as error:
            samples = error.samples
            _check(driver, samples, is_whole=False)
        except LineDown:
            raise AssertionError("a line that is there is called gone") from None
        else:
            _check(driver, samples, is_whole=bool(samples))

    def _driver(self, options: str) -> Driver:
        driver, reads = self._drivers.get(options, (None, 0))
        if driver is None or reads >= FRESH_EVERY:
            driver, reads = registry.load(self._name, json.loads(options)), 0
        self._drivers[options] = driver, reads + 1
        return driver

    def _measure(self) -> None:
        self._count += 1
        if self._count == self._runs // 10:
            self._begin_mb = _rss_mb()
        elif self._count == self._runs:
            growth = _rss_mb() - self._begin_mb
            print(f"\nfuzzed {self._name} {self._count} {growth:.1f}", flush=True)


def _check(driver: Driver, samples: Sequence[object], *, is_whole: bool) -> None:
    names = [channel.name for channel in driver.channels]
    given = [sample.channel for sample in samples]  # type: ignore[attr-defined]
    assert given == names if is_whole else set(given) <= set(names), given
    for sample in samples:
        assert set(sample.flags) <= _FLAGS, sample  # type: ignore[attr-defined]
        assert sample.value is not None or sample.flags, sample  # type: ignore[attr-defined]
        json.dumps(sample.value, allow_nan=False)  # type: ignore[attr-defined]


def _rss_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _repair(answer: bytes, framer: str) -> Callable[[bytes], bytes]:
    """Find the sum of a recorded answer, and give what makes that sum right in any other."""
    if framer == "tcp":
        return lambda data: data[:4] + max(0, len(data) - 6).to_bytes(2, "big")[-2:] + data[6:]
    for fix in _SUMS:
        if len(answer) > 4 and fix(answer) == answer:
            return fix
    return lambda data: data


def _trailing(make: Callable[[bytes], bytes], width: int) -> Callable[[bytes], bytes]:
    return lambda data: data[:-width] + make(data[:-width]) if len(data) > width else data


def _between(start: bytes, end: bytes, make: Callable[[bytes], bytes], width: int, *, inside: bool = False) -> Callable:
    """Give what mends a sum of `width` characters behind the last `end`, over the bytes from the first `start` on."""

    def fix(data: bytes) -> bytes:
        first, last = data.find(start), data.rfind(end)
        if not 0 <= first < last:
            return data
        place = last + len(end)
        covered = data[first + len(start) : last] if inside else data[first:place]
        return data[:place] + make(covered) + data[place + width :]

    return fix


def _hex(function: Callable[[bytes], int], width: int, *, upper: bool = True) -> Callable[[bytes], bytes]:
    return lambda data: f"{function(data):0{width}{'X' if upper else 'x'}}".encode()


_SUMS: list[Callable[[bytes], bytes]] = [
    _trailing(lambda data: crc16(data).to_bytes(2, "little"), 2),
    _trailing(lambda data: sum16(data).to_bytes(2, "big"), 2),
    _between(b"\x02", b"\x03", _hex(xor8, 2), 2),
    _between(b"\x02", b"\x03", _hex(xor8, 2), 2, inside=True),
    _between(b"<", b">", _hex(xor8, 2), 2),
    _between(b"$", b"*", _hex(xor8, 2), 2, inside=True),
    _between(b"", b"\nsum ", _hex(sum16, 4, upper=False), 4, inside=True),
    _between(b"", b"*", lambda data: f"{sum16(data[:-1]):05d}".encode(), 5),
    lambda data: data[:-2] + bytes([sum8(data[2:-2])]) + data[-1:] if len(data) > 4 else data,
    lambda data: data[:-3] + crc16(data[:-3], 0x8408).to_bytes(2, "little") + data[-1:] if len(data) > 4 else data,
    lambda data: data[:-2] + bytes([xor8(data[1:-2])]) + data[-1:] if len(data) > 4 else data,
    lambda data: data[:-2] + bytes([~sum8(data[1:-2]) & 0xFF]) + data[-1:] if len(data) > 4 else data,
    _trailing(lambda data: crc_ccitt(data).to_bytes(2, "big"), 2),
    lambda data: data[:-2] + crc_ccitt(data[1:-2]).to_bytes(2, "big") if len(data) > 4 else data,
    lambda data: data[:-5] + crc_characters(data[:-5]).encode() + data[-2:] if len(data) > 5 else data,
    lambda data: data[:-6] + b"%04X" % crc_hj212(data[6:-6]) + data[-2:] if len(data) > 12 else data,
]
"""Sums of the protocols there are; which one an answer has shows in that mending changes nothing of it."""


def _fuzz(name: str, runs: int, seed: int) -> None:
    """Fuzz one driver in this process; libFuzzer ends it."""
    import atheris  # noqa: PLC0415  only where it is fuzzed

    with atheris.instrument_imports(include=["drivers"], enable_loader_override=False):
        target = Target(name, runs)
    for module in [one for key, one in sys.modules.items() if key.startswith("drivers.")]:
        for item in vars(module).values():
            if getattr(item, "__module__", "") == module.__name__ and callable(item) and hasattr(item, "__code__"):
                atheris.instrument_func(item)
    folder = Path(tempfile.mkdtemp(prefix="stationd-fuzz-"))
    target.seeds(folder)
    words = [
        f"-runs={runs}",
        f"-seed={seed}",
        f"-timeout={TIMEOUT_S}",
        f"-rss_limit_mb={RSS_LIMIT_MB}",
        "-max_len=2048",
    ]
    atheris.Setup([sys.argv[0], *words, f"-artifact_prefix={folder}/", "-verbosity=0", str(folder)], target)
    atheris.Fuzz()


def main() -> int:
    """Fuzz all drivers, two at a time, and judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1, 10**6))
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--driver", action="append", default=[])
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.here:
        _fuzz(chosen.driver[0], chosen.runs, chosen.seed)
        return 0
    names = chosen.driver or registry.names()
    each = -(-chosen.runs // len(names))
    print(f"seed {chosen.seed}, {each} answers to each of {len(names)} drivers", flush=True)
    begin_s = time.monotonic()
    with ThreadPoolExecutor(chosen.jobs) as pool:
        done = list(pool.map(lambda name: _run(name, each, chosen.seed), names))
    figures = Figures(1)
    failed = [name for name, code, _, _ in done if code]
    figures.show("answers a second", sum(count for *_, count, _ in done) / (time.monotonic() - begin_s))
    figures.at_least("mutated answers read", sum(count for *_, count, _ in done), chosen.runs)
    figures.exactly("drivers that failed", len(failed), 0)
    figures.at_most("memory grew, most", max(growth for *_, growth in done), GROWTH_MOST_MB, "MB")
    return figures.finish()


def _run(name: str, runs: int, seed: int) -> tuple[str, int, int, float]:
    words = ["--driver", name, "--runs", str(runs), "--seed", str(seed), "--here"]
    done = subprocess.run([sys.executable, "-m", "bench.fuzz", *words], capture_output=True, text=True, check=False)
    found = _REPORT.search(done.stdout)
    count, growth = (int(found[2]), float(found[3])) if found else (0, 0.0)
    print(
        f"{name:24} {count:9} answers, memory {growth:+.1f} MB{'' if not done.returncode else ': FAILED'}", flush=True
    )
    if done.returncode:
        print(done.stdout[-2000:], done.stderr[-4000:])
    return name, done.returncode, count, growth


if __name__ == "__main__":
    sys.exit(main())
