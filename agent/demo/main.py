"""`stationd demo`: a whole station on this machine, with nothing real but the daemon."""

from __future__ import annotations

import contextlib
import importlib.util
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from agent.demo.keys import Keyboard, Script, single_keys
from agent.demo.show import Show, wait_until
from drivers.clock import monotonic_s

if TYPE_CHECKING:
    import argparse

DEFAULT_SECONDS = 30.0
SETTLE_S = 15.0
_TURN_S = 0.25


def run(arguments: argparse.Namespace) -> int:
    """Run until `q` or the end of the seconds; gives 1 if anything that was stored did not arrive."""
    if importlib.util.find_spec("rich") is None:
        print("the demo needs two more packages: pip install 'stationd[demo]'", file=sys.stderr)
        return 1
    try:
        script = Script(arguments.script)
    except ValueError as error:
        print(f"--script {error}", file=sys.stderr)
        return 2
    for end in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(end, _interrupt)  # so that nothing is left running
    has_terminal = sys.stdin.isatty() and sys.stdout.isatty() and not arguments.script
    with tempfile.TemporaryDirectory(prefix="stationd-demo-") as directory:
        show = Show(Path(directory), wants_mosquitto=arguments.broker == "mosquitto")
        try:
            show.start()
            with contextlib.suppress(KeyboardInterrupt):
                if has_terminal:
                    _watch(show, arguments.seconds or float("inf"))
                else:
                    _follow(show, script, arguments.seconds or DEFAULT_SECONDS)
            return _sum_up(show)
        except RuntimeError as error:
            print(error, file=sys.stderr)
            return 1
        finally:
            show.close()


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _watch(show: Show, seconds: float) -> None:
    """Draw the live view and obey the keyboard."""
    from rich.live import Live  # noqa: PLC0415  an extra, and needed here alone

    from agent.demo.view import screen  # noqa: PLC0415

    with single_keys(), Live(screen(show), screen=True, auto_refresh=False) as live:
        while monotonic_s() - show.began_s < seconds:
            keys = Keyboard.wait(_TURN_S)
            if "q" in keys:
                return
            for key in keys:
                show.press(key)
            show.tend()
            live.update(screen(show), refresh=True)


def _follow(show: Show, script: Script, seconds: float) -> None:
    """Obey the script, and print what happens."""
    printed = 0
    while monotonic_s() - show.began_s < seconds:
        keys = script.wait(_TURN_S)
        if "q" in keys:
            return
        for key in keys:
            show.press(key)
        show.tend()
        for note in show.notes[printed:]:
            print(note, flush=True)
        printed = len(show.notes)


def _sum_up(show: Show) -> int:
    """Undo what was done, let the backlog drain, and compare what is stored with what arrived."""
    from rich.console import Console  # noqa: PLC0415  an extra, and needed here alone

    from agent.demo.view import screen  # noqa: PLC0415

    print("putting everything right, waiting for the backlog …", flush=True)
    show.mend()
    if not wait_until(lambda: show.missing() == 0 and _has_all(show), SETTLE_S) and (count := show.ask_again()):
        print(f"the platform asks for {count} records once more, which the broker acknowledged and did not pass on")
        wait_until(lambda: show.missing() == 0, SETTLE_S)
    Console(highlight=False, markup=False, width=140).print(screen(show))
    reader, missing = show.spool(), show.missing()
    stored = reader.newest() if reader else 0
    counts = show.platform.read(lambda seen: (seen.live, seen.backfill, seen.again))
    print(f"stored {stored}, missing at the platform {missing}; came live {counts[0]}, as backfill {counts[1]}")
    silent = _never_seen(show)
    if silent:
        print(f"never seen: {', '.join(silent)}")
    if missing or silent or not stored:
        print(f"the daemon said:\n{show.daemon_log}", file=sys.stderr)
        return 1
    print("nothing was lost")
    return 0


def _has_all(show: Show) -> bool:
    return not _never_seen(show)


def _never_seen(show: Show) -> list[str]:
    seen = show.platform.read(lambda arrivals: set(arrivals.newest))
    return sorted(set(show.simulation.instruments) - seen)
