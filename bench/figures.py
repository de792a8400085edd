"""Figures with their bounds, and the options that all bench commands share."""

from __future__ import annotations

import argparse
from pathlib import Path


class Figures:
    """Prints each figure beside its bound; the exit code says whether all were met.

    Bounds on speed are widened by `allow`, bounds on truth never.
    """

    def __init__(self, allow: float) -> None:
        self._allow = allow
        self._missed: list[str] = []

    def show(self, name: str, found: float | str, unit: str = "") -> None:
        """Print a figure that is not judged."""
        print(f"{'':<7} {name:<52} {_shown(found)} {unit}".rstrip(), flush=True)

    def exactly(self, name: str, found: float, bound: float, unit: str = "") -> None:
        """Judge a figure of truth."""
        self._judge(name, found, f"must be {_shown(bound)}", unit, is_met=found == bound)

    def at_most(self, name: str, found: float, bound: float, unit: str = "", *, speed: bool = False) -> None:
        """Judge a figure that must not be larger; `speed` where the machine has a say in it."""
        bound = bound * self._allow if speed else bound
        self._judge(name, found, f"at most {_shown(bound)}", unit, is_met=found <= bound)

    def at_least(self, name: str, found: float, bound: float, unit: str = "", *, speed: bool = False) -> None:
        """Judge a figure that must not be smaller."""
        bound = bound / self._allow if speed else bound
        self._judge(name, found, f"at least {_shown(bound)}", unit, is_met=found >= bound)

    def finish(self) -> int:
        """Print the verdict and give the exit code."""
        print(f"missed: {', '.join(self._missed)}" if self._missed else "all bounds met", flush=True)
        return 1 if self._missed else 0

    def _judge(self, name: str, found: float, bound: str, unit: str, *, is_met: bool) -> None:
        verdict = "ok" if is_met else "MISSED"
        print(f"{verdict:<7} {name:<52} {_shown(found)} {unit}".rstrip(), f"({bound})", flush=True)
        if not is_met:
            self._missed.append(name)


def _shown(number: float | str) -> str:
    if isinstance(number, str):
        return number
    return f"{number:,}" if isinstance(number, int) else f"{number:,.2f}" if abs(number) < 1000 else f"{number:,.0f}"


def options(about: str | None, *, seconds: float = 60) -> argparse.Namespace:
    """Read the command line of a bench."""
    return options_parser(about, seconds=seconds).parse_args()


def options_parser(about: str | None, *, seconds: float = 60) -> argparse.ArgumentParser:
    """Give the parser of the options that all benches share, for one that has more."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=seconds, help="length of the measured part")
    parser.add_argument("--lead", type=float, default=10, help="seconds of running in before it")
    parser.add_argument("--yardstick", type=float, default=15, help="seconds of the bare loop before that; 0: none")
    parser.add_argument("--settle", type=float, default=30, help="seconds for everything to arrive after it")
    parser.add_argument("--dead", type=float, default=5, help="seconds between a kill and the next start")
    parser.add_argument("--instruments", type=int, default=50)
    parser.add_argument("--channels", type=int, default=20)
    parser.add_argument("--ack-timeout", type=int, default=10, help="seconds")
    parser.add_argument("--allow", type=float, default=1.0, help="widen the bounds that depend on the machine's speed")
    parser.add_argument("--directory", type=Path, help="where the files go; on a real disk, or nothing is written")
    parser.add_argument("--keep", action="store_true", help="keep the files")
    return parser
