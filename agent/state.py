"""What the station says of itself: the state and catalog topics."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from agent import __version__
from agent.own_channels import CHANNELS, INTERVAL_S, NAME
from agent.say import clean
from agent.times import iso
from drivers.clock import now

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from agent.poller import Poller
    from agent.settings import Config
    from agent.storage import Storage
    from agent.timekeeper import Timekeeper
    from agent.works import Works
    from drivers.sample import Channel


class Portrait:
    """Draws the state and the catalog of a station; `cannot_store` says why it waits instead of measuring."""

    storage: Storage | None = None
    works: Works | None = None
    cannot_store: str = ""

    def __init__(self, config: Config, spool_id: str | None, timekeeper: Timekeeper) -> None:
        self._config, self._spool_id, self._timekeeper = config, spool_id, timekeeper
        self._started = iso(now().wall_ms)
        self.pollers: Sequence[Poller] = ()

    def state(self, is_online: bool, delivery: dict[str, Any]) -> bytes:  # noqa: FBT001  stands as in the message
        """Give the state as JSON; `delivery` are the numbers that change all the time."""
        config = self._config
        status = "cannot_store" if self.cannot_store else "online"
        return _json(
            {
                "v": 1,
                "station": config.station.id,
                "status": status if is_online else "offline",
                **({"why": clean(self.cannot_store)} if is_online and self.cannot_store else {}),
                "version": __version__,
                "config": config.hash,
                "spool": self._spool_id,
                "started": self._started,
                "clock": "trusted" if self._timekeeper.is_trusted else "untrusted",
                "problems": [str(problem) for problem in config.problems][:20],
                "outages": self._outages(),
                "maintenance": self.works.portrait() if self.works else [],
                "delivery": delivery,
                "storage": self.storage.portrait() if self.storage and delivery else {},
            }
        )

    def catalog(self) -> bytes:
        """Give what this station measures as JSON."""
        config = self._config
        instruments: dict[str, Any] = {
            name: {
                "driver": one.driver_name,
                "line": one.line,
                "address": one.address,
                "interval_s": one.interval_s,
                "channels": _described(channel for channel in one.driver.channels if channel.name in one.channels),
            }
            for name, one in config.instruments.items()
        }
        instruments[NAME] = {"driver": NAME, "interval_s": INTERVAL_S, "channels": _described(CHANNELS)}
        return _json({"v": 1, "station": config.station.id, "name": config.station.name, "instruments": instruments})

    def _outages(self) -> list[dict[str, Any]]:
        return [
            {"instrument": one.name, "since": iso(trouble[0].wall_ms), "reason": trouble[1]}
            for poller in self.pollers
            for one in poller.instruments
            if (trouble := one.out_of_reach())
        ]


def _described(channels: Iterable[Channel]) -> dict[str, dict[str, str]]:
    return {channel.name: {"parameter": channel.parameter, "unit": channel.unit} for channel in channels}


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
