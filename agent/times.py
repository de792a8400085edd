"""Times as they stand in messages: UTC, milliseconds, ISO 8601."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LIMIT_MS = 253_402_300_799_999  # 9999-12-31


def iso(wall_ms: int) -> str:
    """Write milliseconds since 1970 as `2026-11-23T10:00:05.012Z`."""
    second, millisecond = divmod(min(max(wall_ms, 0), _LIMIT_MS), 1000)
    return f"{_second(second)}.{millisecond:03d}Z"


@lru_cache(maxsize=64)
def _second(second: int) -> str:
    return (_EPOCH + timedelta(seconds=second)).isoformat()[:-6]


def milliseconds(text: str) -> int:
    """Read what `iso` wrote; raises ValueError for anything else."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"no time zone in {text!r}")
    return round((moment - _EPOCH) / timedelta(milliseconds=1))
