"""What the demo station consists of, and the files that say so to the daemon."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

STATION = "DEMO"
C_LINK, WIND = "o3_ref", "wind"
"""The instruments that speak protocols of their own."""


class Planned(NamedTuple):
    """One instrument of the demo station; `more` are further lines of its file."""

    name: str
    driver: str
    line: str
    address: int
    interval: str
    more: str = ""


INSTRUMENTS = (
    Planned("o3", "teledyne_t400", "rack1", 1, "1s"),
    Planned("co", "teledyne_t300", "rack2", 1, "1s"),
    Planned("pm", "teledyne_t640", "rack3", 1, "2s"),
    Planned("so2", "ecotech_serinus", "rack4", 1, "1s"),
    Planned("river", "eh_cm44x", "water", 247, "2s"),
    Planned("outlet", "eh_cm44x", "water", 246, "2s"),
    Planned("so2_roof", "saimosen_sms8200", "rs485", 4, "2s"),
    Planned("nox_roof", "saimosen_sms8300", "rs485", 2, "2s"),
    Planned("o3_roof", "saimosen_sms8400", "rs485", 3, "2s"),
    Planned("co_roof", "saimosen_sms8500", "rs485", 1, "2s"),
    Planned(C_LINK, "thermo_c_link", "thermo", 49, "2s", '[options]\nmodel = "49i"\nchecksum = "required"\n'),
    Planned(WIND, "gill_windsonic", "wind", 1, "2s"),
)


FRAMERS = {"rs485": "rtu", "thermo": "none", "wind": "none"}
"""Of the lines that are serial; the others are Modbus TCP."""


def write_files(
    config: Path, uplink_port: int, spool: Path, protocol: str, places: Mapping[str, Mapping[str, str]] | None = None
) -> None:
    """Write the configuration directory; `places` says for each line where it is, None: not known yet."""
    (config / "instruments").mkdir(parents=True)
    head = (
        f'[station]\nid = "{STATION}"\nname = "Demo station"\n\n'
        f'[broker]\nurl = "mqtt://127.0.0.1:{uplink_port}"\nreconnect_max = "2s"\nack_timeout = "5s"\n'
        f'protocol = "{protocol}"\n\n'
        f'[spool]\npath = "{spool}"\ncommit_interval = "1s"\n'
    )
    names = dict.fromkeys(one.line for one in INSTRUMENTS)
    tables = "".join(f"\n{_table(name, (places or {}).get(name))}" for name in names)
    (config / "station.toml").write_text(head + tables, encoding="utf-8")
    for one in INSTRUMENTS:
        text = f'driver = "{one.driver}"\nline = "{one.line}"\naddress = {one.address}\ninterval = "{one.interval}"\n'
        (config / "instruments" / f"{one.name}.toml").write_text(f"{text}{one.more}", encoding="utf-8")


def _table(name: str, place: Mapping[str, str] | None) -> str:
    """Give the table of a line in station.toml."""
    framer = FRAMERS.get(name, "tcp")
    unknown = {"tcp": "127.0.0.1:1"} if framer == "tcp" else {"serial": f"/dev/none/{name}"}
    where = "".join(f'{key} = "{it}"\n' for key, it in (place or unknown).items())
    wire = "" if framer == "tcp" else "baud = 9600\n"
    return f'[lines.{name}]\n{where}framer = "{framer}"\n{wire}'
