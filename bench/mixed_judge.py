"""The verdict on a mixed station: what is stored against what the instruments said, and every slot accounted for."""

from __future__ import annotations

import json
import math
from bisect import bisect_left, bisect_right
from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

from agent.config import load
from agent.delivery.message import Encoder
from agent.lines import timing
from agent.spool.spool import Reader
from agent.times import milliseconds
from drivers import registry, transcript
from drivers.fields import duration

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from bench.figures import Figures
    from bench.mixed_station import Planned

WITHIN_S, IN_TROUBLE_WITHIN_S = 0.9, 5.5
"""A record's time is the middle of its poll, which takes ten time-outs in trouble; else the poll before is farther."""
ROUNDED_S = 0.01
"""By so much times of the station and the simulator, and the middle of them, may differ that are one."""
TURNS_WITHIN_S = 1.0
"""A flag that begins or ends within a poll is seen by a part of it: then no flag is judged."""
TROUBLE_LASTS_S = 40.0
"""After a fault: back-off, late answers, a port that is opened anew."""
POLL_MOST_S = 35.0
"""Ten of the longest time-outs that a profile has."""
FAILED_MOST = 0.01
_SHOWN = 10
_INTERVAL = duration()


class Said(NamedTuple):
    """An answer of an instrument: its time, and value and worst flag of each channel."""

    at_s: float
    values: dict[str, Any]
    flags: dict[str, str]


class Shape(NamedTuple):
    """What the records of an instrument must look like: its channels in order, or none if it gives a result once."""

    channels: list[str]
    gives_once: bool = False


class Truth:
    """What the simulator noted. `mates` has for each instrument its line, and all that are on it.

    `waits_s` says how late an answer may be; one that is later must be nobody's value.
    """

    def __init__(self, lines: Iterable[str], mates: Mapping[str, set[str]], waits_s: Mapping[str, float]) -> None:
        self._mates = mates
        self._said: dict[str, list[Said]] = defaultdict(list)
        self._moods: dict[str, str] = {}
        self._turns: list[tuple[float, str]] = []
        self._troubles: list[tuple[float, set[str]]] = []
        self.faults = 0
        for line in map(json.loads, lines):
            at_s = milliseconds(line["at"]) / 1000
            if "did" in line:
                self._did(at_s, *line["did"].split())
            elif line.get("late_s", 0) <= waits_s[line["instrument"]]:
                said = Said(at_s + line.get("late_s", 0), line["values"], line.get("flags", {}))
                self._said[line["instrument"]].append(said)
        for said_by_one in self._said.values():
            said_by_one.sort(key=lambda said: said.at_s)

    def _did(self, at_s: float, word: str, name: str, *more: str) -> None:
        """Take a command: whoever is flagged answers as well as before, so neither that nor its end is trouble."""
        self.faults += word not in {"well", "plug"}
        before, self._moods[name] = self._moods.get(name, "well"), word
        if "flag" in {word, before}:
            self._turns.append((at_s, name))
        if not {word, before} <= {"well", "flag"}:
            self._troubles.append((at_s, {name, *more}))

    def around(self, instrument: str, channel: str, at_s: float, reach_s: float) -> list[Said]:
        """Give what an instrument said of a channel around a time; where all is well, the nearest answer at least.

        Nothing that was said farther away than `reach_s` can belong to that poll.
        """
        most_s = min(IN_TROUBLE_WITHIN_S, max(WITHIN_S, reach_s + ROUNDED_S))
        said = [one for one in self._between(instrument, at_s, most_s) if channel in one.values]
        if not said or self.troubled(instrument, at_s):
            return said
        within_s = max(WITHIN_S, min(abs(one.at_s - at_s) for one in said))
        return [one for one in said if abs(one.at_s - at_s) <= within_s]

    def _between(self, instrument: str, at_s: float, within_s: float) -> list[Said]:
        said = self._said[instrument]
        first = bisect_left(said, at_s - within_s, key=lambda one: one.at_s)
        return said[first : bisect_right(said, at_s + within_s, key=lambda one: one.at_s)]

    def turned(self, instrument: str, at_s: float) -> bool:
        """Say whether a flag of an instrument began or ended at about a time."""
        return any(name == instrument and abs(did_s - at_s) <= TURNS_WITHIN_S for did_s, name in self._turns)

    def troubled(self, instrument: str, at_s: float) -> bool:
        """Say whether something on its line had a fault shortly before a time."""
        mates = self._mates[instrument]
        first = bisect_left(self._troubles, at_s - TROUBLE_LASTS_S, key=lambda one: one[0])
        last = bisect_right(self._troubles, at_s + IN_TROUBLE_WITHIN_S, key=lambda one: one[0])
        return any(not mates.isdisjoint(names) for _, names in self._troubles[first:last])


def judge(figures: Figures, folder: Path, instruments: Sequence[Planned], end_s: tuple[float, float]) -> None:
    """Judge all that is stored in the folder of a run; `end_s`: when the daemon was told to stop, and had ended."""
    lines = {one.name: one.file["line"] for one in instruments}
    mates = {name: {line, *(other for other, its in lines.items() if its == line)} for name, line in lines.items()}
    truth = Truth((folder / "truth.jsonl").read_text().splitlines(), mates, _waits_s(folder / "config"))
    records = list(_records(folder / "spool.db"))
    raw = [one for one in records if one["kind"] == "raw" and one["instrument"] != "station"]
    shapes = {one.name: _shape(one.file) for one in instruments}
    reaches_s = reaches(records, lines)
    wrong = [
        text
        for record in raw
        for text in mistakes(record, truth, shapes[record["instrument"]], reaches_s[record["seq"]])
    ]
    figures.show("records of instruments", len(raw))
    figures.show("faults made", truth.faults)
    figures.show("samples with a value", sum(_count(record) for record in raw))
    figures.show("of them with a flag", sum(_count(record, flagged=True) for record in raw))
    _list(wrong)
    figures.exactly("samples that are not as they were said", len(wrong), 0)
    measured = {record["instrument"] for record in raw if _count(record) and "error" not in record}
    figures.exactly("instruments without any value", len({one.name for one in instruments} - measured), 0)
    figures.exactly("seqs that no record has", records[-1]["seq"] - len(records), 0)
    _judge_slots(figures, instruments, records, end_s)
    _judge_calm(figures, raw, truth)


def reaches(records: Iterable[dict[str, Any]], lines: Mapping[str, str]) -> dict[int, float]:
    """Give for the seq of each record how far from its time its poll may reach.

    A poll begins when its line has told what was before it, and its record has the time of its middle or its end.
    """
    told_s: dict[str, float] = {}
    found: dict[int, float] = {}
    for record in records:
        if line := lines.get(record.get("instrument", "")):
            at_s = milliseconds(record["at"]) / 1000
            found[record["seq"]] = at_s - told_s.get(line, -math.inf)
            told_s[line] = at_s
    return found


def mistakes(record: dict[str, Any], truth: Truth, shape: Shape, reach_s: float) -> Iterator[str]:
    """Give what is wrong about a record: a channel too few or too many, a value, a null or a flag nobody said."""
    flags = record.get("flags", {})
    head = f"{record['seq']} {record['at']} {record['instrument']}"
    given = [*record["values"], *(channel for channel in flags if channel not in record["values"])]
    if given != shape.channels and not (shape.gives_once and not given):
        yield f"{head}: has {given}, not {shape.channels}"
    for channel, value in record["values"].items():
        if wrong := _wrong(record, truth, shape, channel, reach_s):
            yield f"{head}.{channel} = {value!r}, {flags.get(channel, 'ok')}: {wrong}"


def _wrong(record: dict[str, Any], truth: Truth, shape: Shape, channel: str, reach_s: float) -> str:
    """Say what is wrong about one sample, "" if nothing is; beside a null there may be news of an old result's flag."""
    value = record["values"][channel]
    flag = record.get("flags", {}).get(channel, "ok")
    if value is None and flag == "ok":
        return "null without a flag"
    if value is None and flag == "no_comm":
        return "" if "error" in record else "null, but the poll did not fail"
    name, at_s = record["instrument"], milliseconds(record["at"]) / 1000
    said = truth.around(name, channel, at_s, reach_s)
    same = [one for one in said if _is_same(value, one.values[channel]) or (value is None and shape.gives_once)]
    if not same:
        return f"nobody said that; said was {[one.values[channel] for one in said]}"
    meant = {one.flags.get(channel, "ok") for one in same} | ({"no_comm"} if "error" in record else set())
    return "" if flag in meant or truth.turned(name, at_s) else f"said with {', '.join(sorted(meant))}"


def _waits_s(directory: Path) -> dict[str, float]:
    """Give how long each instrument of a configuration is waited for; one that talks unasked is never late."""
    config, waits_s = load(directory), {}
    for name, one in config.instruments.items():
        talks = getattr(one.driver, "unsolicited", False)
        longest_s = timing(one, config.lines[one.line]).timeout_s + getattr(one.driver, "patience_s", 0.0)
        waits_s[name] = math.inf if talks else longest_s
    return waits_s


def _shape(file: Mapping[str, Any]) -> Shape:
    """Give the shape of the records of an instrument of the configuration."""
    driver, options = file["driver"], file.get("options", {})
    polls = [poll for case in map(transcript.load, transcript.files(driver)) for poll in case.polls]
    channels = [channel.name for channel in registry.load(driver, options).channels]
    return Shape(channels, gives_once=any(poll.is_unchanged for poll in polls))


def slots(records: Iterable[dict[str, Any]], name: str) -> int:
    """Count the slots of an instrument that records account for: polls, and those that ended outages say."""
    mine = [one for one in records if one.get("instrument") == name]
    ended = [one for one in mine if one["kind"] == "outage" and "span_s" in one]
    return sum(one["kind"] == "raw" for one in mine) + sum(one["slots"] for one in ended)


def _judge_slots(
    figures: Figures, instruments: Sequence[Planned], records: list[dict[str, Any]], end_s: tuple[float, float]
) -> None:
    """Hold the slots accounted for against those that the clock had; the first and the last may be in doubt.

    A poll that goes on when the daemon must stop is not waited for longer than that may take, so nothing tells of it.
    """
    missing = []
    for one in instruments:
        interval_s = _INTERVAL.amount(one.file["interval"]) or 1.0
        mine = [record for record in records if record.get("instrument") == one.name]
        first_s = min((milliseconds(record["at"]) / 1000 for record in mine), default=0.0)
        last_s = max((milliseconds(record["at"]) / 1000 for record in mine), default=0.0)
        begun_s = last_s if end_s[0] - last_s < POLL_MOST_S else end_s[0]
        spans_s = (min(begun_s, end_s[0]), end_s[1])
        least, most = (math.floor(s / interval_s) - math.floor(first_s / interval_s) + 1 for s in spans_s)
        found = slots(records, one.name)
        if not least - 2 <= found <= most + 1:
            missing.append(f"{one.name}: {found} slots of {least} to {most}")
    _list(missing)
    figures.exactly("instruments with slots unaccounted for", len(missing), 0)


def _judge_calm(figures: Figures, raw: list[dict[str, Any]], truth: Truth) -> None:
    """Hold that what fails has a cause: a fault of the instrument, its line or another on that line."""
    calm = [one for one in raw if not truth.troubled(one["instrument"], milliseconds(one["at"]) / 1000)]
    failed = [f"{one['seq']} {one['at']} {one['instrument']}: {one['error']}" for one in calm if "error" in one]
    _list(failed)
    figures.show("polls without a fault near", len(calm))
    figures.at_most("of them failed", len(failed) / max(len(calm), 1), FAILED_MOST)


def _records(spool: Path) -> Iterator[dict[str, Any]]:
    reader = Reader(spool)
    encoder, after = Encoder("MIXED", reader.id), 0
    while found := reader.records(after + 1, reader.newest(), 500_000):
        yield from (json.loads(encoder.record(stored)) for stored in found)
        after = found[-1].seq
    reader.close()


def _count(record: dict[str, Any], *, flagged: bool = False) -> int:
    flags = record.get("flags", {})
    return sum(value is not None and (channel in flags or not flagged) for channel, value in record["values"].items())


def _is_same(one: Any, other: Any) -> bool:
    if isinstance(one, str) or isinstance(other, str) or one is None or other is None:
        return bool(one == other)
    return math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-9)


def _list(wrong: list[str]) -> None:
    for text in wrong[:_SHOWN]:
        print(f"        {text}")
