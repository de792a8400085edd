"""The live view: what the platform sees, what is stored, and what was done to the station. The only owner of rich."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from agent.demo.arrivals import live_per_s
from agent.demo.keys import KEYS
from agent.demo.plan import INSTRUMENTS
from agent.simulate.mood import Mood
from drivers.clock import wall_s

if TYPE_CHECKING:
    from agent.demo.arrivals import Arrivals, Seen
    from agent.demo.plan import Planned
    from agent.demo.show import Show

_VALUES = 5
_NOTES = 5
_STALE_S = 10
_COLOURS = {"ok": "green", "no_comm": "red", "fault": "red", "calibration": "yellow", "maintenance": "yellow"}


def screen(show: Show) -> Group:
    """Draw everything."""
    return Group(
        Text("   ".join(f"[{key}] {what}" for key, what in KEYS.items()), style="bold"),
        _numbers(show),
        show.platform.read(_instruments),
        Panel("\n".join(show.notes[-_NOTES:]) or "all is well", title="what happened", title_align="left"),
    )


def _instruments(arrivals: Arrivals) -> Table:
    table = Table(title="newest values, as the platform has them", title_justify="left", expand=True)
    for column in ("instrument", "driver", "line"):
        table.add_column(column, no_wrap=True)
    table.add_column("age", justify="right", no_wrap=True)
    table.add_column("values and flags", ratio=1)
    for one in INSTRUMENTS:
        seen = arrivals.newest.get(one.name)
        table.add_row(one.name, one.driver, _line(one), _age(seen), _values(seen))
    return table


def _line(one: Planned) -> str:
    return f"{one.line}:{one.address}"


def _age(seen: Seen | None) -> Text:
    if seen is None:
        return Text("never", style="red")
    age_s = wall_s() - seen.at_ms / 1000
    return Text(f"{age_s:.0f} s", style="red" if age_s > _STALE_S else "")


def _values(seen: Seen | None) -> Text:
    text = Text(no_wrap=True, overflow="ellipsis")
    if seen is None:
        return text
    for name, value in list(seen.values.items())[:_VALUES]:
        flag = seen.flags.get(name, "ok")
        shown = "-" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
        text.append(f"{name} ", style="dim").append(shown, style=_COLOURS.get(flag, "magenta"))
        text.append("  " if flag == "ok" else f" {flag}  ", style=_COLOURS.get(flag, "magenta"))
    return text


def _numbers(show: Show) -> Table:
    table = Table.grid(expand=True)
    for _ in range(3):
        table.add_column(ratio=1)
    titles = {"spool": _spool(show), "deliveries": show.platform.read(_deliveries), "outage": _outage(show)}
    table.add_row(*(Panel(text, title=title, title_align="left") for title, text in titles.items()))
    return table


def _spool(show: Show) -> str:
    reader = show.spool()
    if reader is None:
        return "not there yet"
    newest = reader.newest()
    unsent = reader.acknowledged().missing(1, newest)
    return f"newest seq      {newest:,}\nunacknowledged  {unsent:,}\nsize            {show.spool_bytes() / 1e6:.2f} MB"


def _deliveries(arrivals: Arrivals) -> str:
    return (
        f"live      {live_per_s(arrivals):.1f} messages/s, {arrivals.live:,} records\n"
        f"backfill  {arrivals.backfill:,} records\n"
        f"again     {arrivals.again:,} records"
    )


def _outage(show: Show) -> str:
    uplink = "frozen" if show.uplink.is_frozen else "open" if show.uplink.is_open else "shut"
    silent = [one.name for one in show.simulation.instruments.values() if one.mood is Mood.SILENT]
    return (
        f"{show.broker.name:<9} {'runs' if show.broker.is_running else 'STOPPED'}, uplink {uplink}\n"
        f"daemon    {'runs' if show.daemon_runs else 'DEAD'}, killed {show.kills} times\n"
        f"silent    {', '.join(silent) or 'none'}"
    )
