"""`stationd poll`: asks an instrument now and prints what went over the line and what it means, as a transcript."""

from __future__ import annotations

from threading import Event
from typing import IO, TYPE_CHECKING

from agent.config import load
from agent.kit.by_hand import Cannot, Either
from agent.times import iso
from agent.toml_value import toml_key, toml_value
from drivers.clock import monotonic_s
from drivers.transcript import sample_line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agent.conversation import Outcome
    from agent.kit.by_hand import About


def poll(
    directory: Path,
    name: str,
    out: IO[str],
    *,
    is_watching: bool = False,
    every_s: float | None = None,
    starts: bool = False,
) -> int:
    """Poll one instrument once, or until interrupted; gives the exit status."""
    config = load(directory)
    try:
        by_hand = Either(config, name, starts=starts)
        try:
            about, outcome = by_hand.poll()
            print("\n".join([*head(about, outcome.at_ms), *lines(about, outcome)]), file=out, flush=True)
            if not is_watching:
                return 1 if outcome.error else 0
            for _ in ticks(every_s or config.instruments[name].interval_s):
                print("\n".join(["", *_again(by_hand)]), file=out, flush=True)
        finally:
            by_hand.close()
    except Cannot as error:
        print(error, file=out)
    return 1


def _again(by_hand: Either) -> list[str]:
    """Poll once more; that it cannot be, since the daemon starts anew say, is no end of watching."""
    try:
        about, outcome = by_hand.poll()
    except Cannot as error:
        return [f"# {line}" for line in str(error).splitlines()]
    return [f"# {iso(outcome.at_ms)}", *lines(about, outcome)]


def ticks(every_s: float) -> Iterator[None]:
    """Wait until the next of evenly spaced moments, again and again; those that have passed are left out."""
    due_s, waiting = monotonic_s(), Event()
    while True:
        due_s = max(due_s + every_s, monotonic_s())
        waiting.wait(due_s - monotonic_s())
        yield


def head(about: About, at_ms: int) -> list[str]:
    """Write how a transcript begins."""
    return [
        f"# captured {iso(at_ms)}: {about.instrument}, driver {about.driver}, line {about.line}",
        *([f"# {about.remark}"] if about.remark else []),
        f"#: framer {about.framer}",
        f"#: address {about.address}",
        *(f"#: options {toml_key(key)} = {toml_value(value)}" for key, value in about.options.items()),
    ]


def lines(about: About, outcome: Outcome) -> list[str]:
    """Write one poll: bytes, samples with parameter and unit, how it ended."""
    samples = outcome.samples if outcome.answer is None else outcome.answer
    known = [(sample, about.channels[sample.channel]) for sample in samples]
    written = [f"{sample_line(sample)}   # {channel.parameter} {channel.unit}".rstrip() for sample, channel in known]
    if outcome.error:
        ended = [f"! {outcome.error}", f"# {outcome.reason}: {outcome.text}"]
    else:
        ended = [*([] if written else ["="]), f"# answered in {outcome.took_s * 1000:.0f} ms"]
    return [*outcome.trace, *written, *ended]
