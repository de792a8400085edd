"""Everything that a run has: station, instruments, network, broker, platform, observer."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any

from bench.chaos.broker import Broker
from bench.chaos.gate import Gate
from bench.chaos.instruments import Instrument, Modbus, Ozone, Wind
from bench.chaos.lines import SerialLine, TcpLine, Wire
from bench.chaos.network import Network, small_disk
from bench.chaos.observer import Observer
from bench.chaos.platform import Platform
from bench.chaos.stalls import Stalls
from bench.chaos.station import Station

if TYPE_CHECKING:
    from pathlib import Path

DISK = "24m"


class World:
    """Starts everything and ends it. `chance` decides what faults do."""

    def __init__(self, folder: Path, seed: int, *, receipts: bool, is_apart: bool) -> None:
        self.folder, self.chance = folder, random.Random(seed)
        self.network = Network(is_apart=is_apart)
        self.disk = folder / "disk"
        self.disk.mkdir()
        if is_apart:
            small_disk(self.disk, DISK)
        self.broker = Broker(folder)
        self.broker.start()
        self.gate = Gate(self.network.platform_address, self.broker.port)
        self.wire = Wire()
        self.lines = self._lines()
        self.instruments: dict[str, Instrument] = {one.name: one for line in self.lines for one in line.instruments}
        self.latest: dict[str, float] = {}
        self.platform = Platform(self.broker.port, self._seen, receipts=receipts)
        address = f"{self.network.platform_address}:{self.gate.port}"
        self.station = Station(folder, self.disk / "spool.db", self.network, address)
        more = 'delivered_by = "receipt"\nreceipt_timeout = "10s"\n' if receipts else ""
        self.station.write(self.lines, more, 'keep = "60s"\n' if receipts else "")
        self.observer = Observer(self.station.spool)
        self.stalls = Stalls()
        self.stalls.start()
        self.wire.start()
        self.observer.start()
        self.station.start()

    def close(self) -> None:
        """End what was started."""
        self.station.close()
        self.platform.close()
        self.broker.thaw()
        self.broker.stop()

    def _lines(self) -> list[TcpLine | SerialLine]:
        tcp = [TcpLine(f"tcp{n}", self.wire, [Modbus(n, "tcp")], self.network) for n in range(6)]
        (self.folder / "serial").mkdir()
        pair: list[Instrument] = [Modbus(6, "rtu", 1), Modbus(7, "rtu", 2)]
        others: list[list[Instrument]] = [pair, [Modbus(8, "rtu")], [Ozone(9, 49)], [Wind(10)]]
        names = ("pair", "rtu", "ozone", "wind")
        serial = [
            SerialLine(name, self.wire, instruments, self.folder / "serial" / name)
            for name, instruments in zip(names, others, strict=True)
        ]
        return [*tcp, *serial]

    def _seen(self, body: dict[str, Any]) -> None:
        """Remember how new the newest answer of each instrument at the platform is."""
        instrument = self.instruments.get(body.get("instrument", ""))
        if instrument is None or body["kind"] != "raw":
            return
        number = instrument.found(body["values"])
        if number is not None:
            moment_s = instrument.said[number].moment_s
            self.latest[instrument.name] = max(moment_s, self.latest.get(instrument.name, 0.0))

    def has_recovered(self, since_s: float, names: list[str]) -> bool:
        """Say whether an answer given after that moment has arrived from each of them, or from any if none is named."""
        if names:
            return all(self.latest.get(name, 0.0) > since_s for name in names)
        return any(moment_s > since_s for moment_s in list(self.latest.values()))

    def newest_live_s(self) -> float:
        """Give how old the newest answer at the platform is."""
        return time.monotonic() - max(self.latest.values(), default=0.0)
