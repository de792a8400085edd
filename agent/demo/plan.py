"""What the demo station consists of, and the files that say so to the daemon."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

STATION = "DEMO"
CLINK_LINE, WIND_LINE, RTU_LINE = "thermo", "wind", "rs485"


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
    Planned("so2_roof", "saimosen_sms8200", RTU_LINE, 4, "2s"),
    Planned("nox_roof", "saimosen_sms8300", RTU_LINE, 2, "2s"),
    Planned("o3_roof", "saimosen_sms8400", RTU_LINE, 3, "2s"),
    Planned("co_roof", "saimosen_sms8500", RTU_LINE, 1, "2s"),
    Planned("o3_ref", "thermo_c_link", CLINK_LINE, 49, "2s", '[options]\nmodel = "49i"\nchecksum = "required"\n'),
    Planned("wind", "gill_windsonic", WIND_LINE, 1, "2s"),
)


def write_files(config: Path, uplink_port: int, spool: Path, protocol: str, lines: Mapping[str, str]) -> None:
    """Write the configuration directory; `lines` says for each line where it is and its framer, in TOML."""
    (config / "instruments").mkdir(parents=True)
    head = (
        f'[station]\nid = "{STATION}"\nname = "Demo station"\n\n'
        f'[broker]\nurl = "mqtt://127.0.0.1:{uplink_port}"\nreconnect_max = "2s"\nack_timeout = "5s"\n'
        f'protocol = "{protocol}"\n\n'
        f'[spool]\npath = "{spool}"\ncommit_interval = "1s"\n'
    )
    tables = "".join(f"\n[lines.{name}]\n{text}" for name, text in lines.items())
    (config / "station.toml").write_text(head + tables, encoding="utf-8")
    for one in INSTRUMENTS:
        text = f'driver = "{one.driver}"\nline = "{one.line}"\naddress = {one.address}\ninterval = "{one.interval}"\n'
        (config / "instruments" / f"{one.name}.toml").write_text(f"{text}{one.more}", encoding="utf-8")
