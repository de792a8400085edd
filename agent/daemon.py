"""Starts the daemon: loads the files, says what is wrong with them, and runs the station."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from agent.config import load, secret_problems
from agent.notify import notify
from agent.spool.stored import SpoolError
from agent.standby import Standby
from agent.station import Station
from drivers.clock import monotonic_s
from drivers.errors import ConfigError
from drivers.fields import did_you_mean
from drivers.trace import written

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

log = logging.getLogger("stationd")

ANEW_S = 2.0


def run(directory: Path, traced: str | None) -> int:
    """Run until told to stop; gives the exit status."""
    config = load(directory)
    if traced is not None and traced not in config.lines:
        names = ", ".join(config.lines) or "none"
        log.critical("no line %r to trace; there are: %s%s", traced, names, did_you_mean(traced, config.lines))
        return 1
    if problems := secret_problems(config):
        raise ConfigError(problems)
    for problem in config.problems:
        log.error("%s", problem)
    for notice in config.notices:
        log.info("%s", notice)
    if not config.instruments:
        log.warning("no instrument is configured; nothing will be measured")
    stop: SimpleQueue[str] = SimpleQueue()
    tracing = (traced, _trace) if traced else None
    standby = Standby(config, stop, lambda: _listening(stop))
    try:
        station = standby.begin(lambda begun: Station(config, begun, stop, tracing))
    except SpoolError as error:
        log.critical("%s", error)
        return 1
    with _listening(stop):
        status = (station.run() if station else 0) or int(standby.has_failed)
        if station and station.is_to_wait:
            _begin_anew(stop)
        logging.shutdown()
        os._exit(status)  # a thread may still wait for a name server; everything is committed


def _begin_anew(stop: SimpleQueue[str]) -> None:
    """Become a new process of the same number, whose start waits if it cannot store; returns if told to end before.

    An end would be a start refused where nobody starts us again.
    """
    notify(f"STATUS=waits {ANEW_S:g} s and begins anew")
    logging.shutdown()
    until_s = monotonic_s() + ANEW_S
    while (left_s := until_s - monotonic_s()) > 0:
        notify("WATCHDOG=1")
        with contextlib.suppress(Empty):
            if stop.get(timeout=min(left_s, 1.0)).startswith("SIG"):
                return
    with contextlib.suppress(OSError):
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606  our own words, no shell


@contextlib.contextmanager
def _listening(stop: SimpleQueue[str]) -> Iterator[None]:
    """Have signals say when to stop, instead of ending the process."""
    before = [(number, signal.getsignal(number)) for number in (signal.SIGTERM, signal.SIGINT)]
    for number, _ in before:
        signal.signal(number, lambda number, _frame: stop.put(signal.Signals(number).name))
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)


def _trace(direction: str, data: bytes) -> None:
    log.info("%s %s", direction, written(data))
