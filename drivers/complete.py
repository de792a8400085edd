"""Tests for when an answer is whole: what `Line.ask` is given for the bytes that have come so far."""

from __future__ import annotations

from typing import TYPE_CHECKING

from drivers.errors import BadAnswer

if TYPE_CHECKING:
    from collections.abc import Callable

    Complete = Callable[[bytes], int]
    """Given what has come so far: the length of the whole answer at its start, 0 if more must come.
    Raises BadAnswer if it can never become one."""


def exactly(length: int) -> Complete:
    """Build the test for an answer of a fixed number of bytes."""
    return lambda data: length if len(data) >= length else 0


def until(end: bytes, *, more: int = 0, limit: int = 4096) -> Complete:
    """Build the test for an answer that ends in `end` and that many bytes more (a checksum, say)."""

    def complete(data: bytes) -> int:
        place = data.find(end)
        if place < 0 and len(data) > limit:
            raise BadAnswer(f"{len(data)} bytes without the end of the answer")
        length = place + len(end) + more
        return length if place >= 0 and len(data) >= length else 0

    return complete


def after_echo(request: bytes, complete: Complete) -> Complete:
    """Build the test for an answer that the request itself comes before."""

    def beyond(data: bytes) -> int:
        if not request.startswith(data[: len(request)]):
            raise BadAnswer(f"the echo differs from what was sent: {data[: len(request)].hex(' ')}")
        length = complete(data[len(request) :]) if len(data) > len(request) else 0
        return len(request) + length if length else 0

    return beyond
