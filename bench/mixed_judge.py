"""The verdict on a mixed station: what is stored against what the instruments said, and every slot accounted for."""

from __future__ import annotations

import json
import math
from bisect import bisect_left, bisect_right
from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

from agent.message import Encoder
from agent.spool import Reader
from agent.times import milliseconds
from drivers.fields import duration

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from bench.figures import Figures
    from bench.mixed import Mixed

WITHIN_S, IN_TROUBLE_WITHIN_S = 2.5, 5.5
"""A record's time is the middle of its poll: one that wakes its instrument takes 4 s, one in trouble ten time-outs."""
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


class Truth:
    """What the simulator noted. `mates` has for each instrument its line, and all that are on it."""

    def __init__(self, lines: Iterable[str], mates: Mapping[str, set[str]]) -> None:
        self._mates = mates
        self._said: dict[str, list[Said]] = defaultdict(list)
        self.did: list[tuple[float, str]] = []
        for line in map(json.loads, lines):
            at_s = milliseconds(line["at"]) / 1000
            if "did" in line:
                self.did.append((at_s, line["did"]))
            else:
                said = Said(at_s + line.get("late_s", 0), line["values"], line.get("flags", {}))
                self._said[line["instrument"]].append(said)
        for said_by_one in self._said.values():
            said_by_one.sort(key=lambda said: said.at_s)

    def around(self, instrument: str, at_s: float) -> list[Said]:
        """Give what an instrument said around a time."""
        said = self._said[instrument]
        within_s = IN_TROUBLE_WITHIN_S if self.troubled(instrument, at_s) else WITHIN_S
        first = bisect_left(said, at_s - within_s, key=lambda one: one.at_s)
        return said[first : bisect_right(said, at_s + within_s, key=lambda one: one.at_s)]

    def troubled(self, instrument: str, at_s: float) -> bool:
        """Say whether something on its line had a fault shortly before a time."""
        mates = self._mates[instrument]
        first = bisect_left(self.did, at_s - TROUBLE_LASTS_S, key=lambda one: one[0])
        last = bisect_right(self.did, at_s + IN_TROUBLE_WITHIN_S, key=lambda one: one[0])
        return any(what == "well" or not mates.isdisjoint(what.split()) for _, what in self.did[first:last])


def judge(figures: Figures, mixed: Mixed, stopped_s: float, ended_s: float) -> None:
    """Judge all that is stored; the daemon was told to stop at one time and had ended at the other."""
    lines = {one.name: one.file["line"] for one in mixed.instruments}
    mates = {name: {line, *(other for other, its in lines.items() if its == line)} for name, line in lines.items()}
    truth = Truth(mixed.truth.read_text().splitlines(), mates)
    records = list(_records(mixed.spool))
    raw = [one for one in records if one["kind"] == "raw" and one["instrument"] != "station"]
    wrong = [text for record in raw for text in mistakes(record, truth)]
    figures.show("records of instruments", len(raw))
    figures.show("faults made", sum(not what.startswith(("well", "plug")) for _, what in truth.did))
    figures.show("samples with a value", sum(_count(record) for record in raw))
    _list(wrong)
    figures.exactly("samples that are neither right nor flagged", len(wrong), 0)
    measured = {record["instrument"] for record in raw if _count(record) and "error" not in record}
    figures.exactly("instruments without any value", len({one.name for one in mixed.instruments} - measured), 0)
    _judge_slots(figures, mixed, records, (stopped_s, ended_s))
    _judge_calm(figures, raw, truth)


def mistakes(record: dict[str, Any], truth: Truth) -> Iterator[str]:
    """Give what is wrong about the samples of a record."""
    said = truth.around(record["instrument"], milliseconds(record["at"]) / 1000)
    flags = record.get("flags", {})
    for channel, value in record["values"].items():
        flag = flags.get(channel, "ok")
        where = f"{record['seq']} {record['at']} {record['instrument']}.{channel} = {value!r}, {flag}"
        if value is None:
            if flag == "ok":
                yield f"{where}: null without a flag"
            continue
        same = [one for one in said if channel in one.values and _is_same(value, one.values[channel])]
        if not same:
            yield f"{where}: nobody said that; said was {[one.values.get(channel) for one in said]}"
        elif flag == "ok" and all(one.flags.get(channel) for one in said if channel in one.values):
            yield f"{where}: said with {same[0].flags[channel]}"


def slots(records: Iterable[dict[str, Any]], name: str) -> int:
    """Count the slots of an instrument that records account for: polls, and those that ended outages say."""
    mine = [one for one in records if one.get("instrument") == name]
    ended = [one for one in mine if one["kind"] == "outage" and "span_s" in one]
    return sum(one["kind"] == "raw" for one in mine) + sum(one["slots"] for one in ended)


def _judge_slots(figures: Figures, mixed: Mixed, records: list[dict[str, Any]], end_s: tuple[float, float]) -> None:
    """Hold the slots accounted for against those that the clock had; the first and the last may be in doubt.

    A poll that goes on when the daemon must stop is not waited for longer than that may take, so nothing tells of it.
    """
    missing = []
    for one in mixed.instruments:
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


def _count(record: dict[str, Any]) -> int:
    return sum(value is not None for value in record["values"].values())


def _is_same(one: Any, other: Any) -> bool:
    if isinstance(one, str) or isinstance(other, str) or other is None:
        return bool(one == other)
    return math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-9)


def _list(wrong: list[str]) -> None:
    for text in wrong[:_SHOWN]:
        print(f"        {text}")
