"""What is left to do about each damaged file, as it is noted; the words for what was lost of it."""

from __future__ import annotations

import json
from typing import Any

LOST_RANGES = 100


def read(text: str) -> list[dict[str, Any]]:
    """Read a note; one of an earlier version has fewer words."""
    found = [new("") | job for job in json.loads(text)]
    for job in found:
        if not isinstance(job["by_way_of"], list):
            job["by_way_of"] = [job["by_way_of"]] if job["by_way_of"] else []
    return found


def again(job: dict[str, Any]) -> dict[str, Any]:
    """Begin a file anew."""
    return new(job["kept_as"]) | {"told": job["told"]}


def new(name: str) -> dict[str, Any]:
    """Give the job of a file: the next seq to look at, what was copied and lost of it, and where its copies stand."""
    return {
        "kept_as": name,
        "next": 1,
        "copied": 0,
        "lost": [],
        "lost_records": 0,
        "moved": [],
        "moved_records": 0,
        "pending": [],
        "failed": 0,
        "since": 0,
        "latest_ms": None,
        "by_way_of": [],
        "done": False,
        "told": True,
    }


def is_listed(job: dict[str, Any], what: str) -> bool:
    """Say whether all ranges fitted into the list."""
    return _count(job[what]) == int(job[f"{what}_records"])


def lose(job: dict[str, Any], first: int, last: int, *, pending: bool) -> None:
    """Count seqs as lost; those behind the last record that reads only once another one is found behind them."""
    if not pending:
        for earlier in job["pending"]:
            note_lost(job, *earlier)
        job["pending"] = []
        note_lost(job, first, last)
    elif first <= last:
        extend(job["pending"], first, last)


def note_lost(job: dict[str, Any], first: int, last: int) -> None:
    """Count seqs as lost for good."""
    if first <= last:
        job["lost_records"] += last - first + 1
        extend(job["lost"], first, last)


def extend(ranges: list[list[int]], first: int, last: int) -> None:
    """Put a range behind others, joining what touches; at most so many are kept."""
    if ranges and ranges[-1][1] == first - 1:
        ranges[-1][1] = last
    elif len(ranges) < LOST_RANGES:
        ranges.append([first, last])


def _count(ranges: list[list[int]]) -> int:
    return sum(last - first + 1 for first, last in ranges)
