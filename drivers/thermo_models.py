"""What each Thermo analyzer says over C-Link: its channels, their words in a record and their commands.

A word in a record differs between firmwares and kinds of record (`bncht` in `lrec`, `bencht` in `erec`), so there may
be several. Where a manual or a capture shows none, there is none here: see the head of `thermo_c_link`.
"""

from __future__ import annotations

from typing import NamedTuple

LREC, EREC = "lrec", "erec"


class Item(NamedTuple):
    """A channel, its words in a record, its command ("" where not documented), its alarm bits.

    `records` are the kinds of record that hold it as the analyzer is delivered.
    """

    name: str
    parameter: str
    unit: str
    words: tuple[str, ...]
    command: str
    alarms: int = 0
    records: tuple[str, ...] = (LREC, EREC)


CONCENTRATION = ""
"""In place of the unit: the one that the instrument is set to."""
HEXADECIMAL = ("int a", "int b")
"""Words whose numbers are hexadecimal, without a mark."""
UNITS = {
    "mm hg": "mmHg",
    "deg c": "°C",
    "degc": "°C",
    "l/m": "L/min",
    "l/min": "L/min",
    "lpm": "L/min",
    "hz": "Hz",
}
"""How instruments write units, where that is more than another spelling."""
GAS_UNITS = ("ppb", "ppm", "µg/m³", "mg/m³")
SERVICE_MODE = 0x2000_0000


def _ozone(bench: int, ozonator: int) -> tuple[Item, ...]:
    """Give the channels of a 49; two of its alarms changed places between two models."""
    return (
        Item("o3", "O3", CONCENTRATION, ("o3",), "o3", 0xFFFF & ~ozonator),
        Item("cell_a_intensity", "cell_a_intensity", "Hz", ("cellai", "cella", "int a"), "cell a int", 0x3000),
        Item("cell_b_intensity", "cell_b_intensity", "Hz", ("cellbi", "int b"), "cell b int", 0xC000),
        Item("bench_temperature", "bench_temperature", "°C", ("bncht", "bencht"), "bench temp", bench),
        Item("lamp_temperature", "lamp_temperature", "°C", ("lmpt", "lampt"), "lamp temp", 0x000C),
        Item("ozonator_lamp_temperature", "ozonator_lamp_temperature", "°C", ("o3lt", "ozlampt"), "", ozonator),
        Item("flow_a", "flow_a", "L/min", ("flowa",), "flow a", 0x0300),
        Item("flow_b", "flow_b", "L/min", ("flowb",), "flow b", 0x0C00),
        Item("pressure", "pressure", "mmHg", ("pres",), "pres", 0x00C0),
    )


_O3 = _ozone(bench=0x0003, ozonator=0x0030)
_O3_PRIMARY_STANDARD = _ozone(bench=0x0030, ozonator=0x0003)
_NOX = (
    Item("no", "NO", CONCENTRATION, ("no",), "no"),
    Item("no2", "NO2", CONCENTRATION, ("no2",), "no2"),
    Item("nox", "NOx", CONCENTRATION, ("nox",), "nox"),
)
_SO2 = (Item("so2", "SO2", CONCENTRATION, ("so2",), "so2"),)
_CO = (
    Item("co", "CO", CONCENTRATION, ("co",), "co"),
    Item("internal_temperature", "internal_temperature", "°C", ("intt",), ""),
    Item("chamber_temperature", "chamber_temperature", "°C", ("cht",), ""),
    Item("pressure", "pressure", "mmHg", ("pres",), "pres"),
    Item("sample_flow", "sample_flow", "L/min", ("smplfl", "smpfl"), ""),
    Item("bias_voltage", "bias_voltage", "V", ("biasv",), ""),
    Item("intensity", "intensity", "Hz", ("intensity",), "", records=(LREC,)),
)
_PM = (
    Item("pm", "PM", CONCENTRATION, ("pm",), "pm", records=(EREC,)),
    Item("nephelometer", "PM_nephelometer", "µg/m³", (), "neph", records=()),
)
MODELS: dict[str, tuple[Item, ...]] = {
    **dict.fromkeys(("42i", "42c"), _NOX),
    **dict.fromkeys(("43i", "43c"), _SO2),
    **dict.fromkeys(("48i", "48c"), _CO),
    **dict.fromkeys(("49i", "49c"), _O3),
    "49c-ps": _O3_PRIMARY_STANDARD,
    **dict.fromkeys(("5014i", "5030i"), _PM),
}
DEFAULT_UNIT = {"48i": "ppm", "48c": "ppm", "5014i": "mg/m³", "5030i": "mg/m³"}


def knows_bits(model: str) -> bool:
    """Say whether the bits of its status word are documented."""
    return model.startswith("49")
