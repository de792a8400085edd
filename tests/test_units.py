"""A unit has one spelling in all drivers, whoever wrote it: an instrument, a technician or a developer."""

import re
from pathlib import Path

import played
import pytest

from drivers import registry
from drivers.units import spelled

ROOT = Path(__file__).parent.parent
WRITTEN = re.compile(r'\bunit"? *[=:] *"([^"]*)"')
FILES = [
    *ROOT.glob("drivers/profiles/*.toml"),
    *ROOT.glob("config/**/*.toml"),
    *ROOT.glob("docs/*.md"),
    *ROOT.glob("docs/schemas/*.json"),
    ROOT / "drivers/README.md",
    ROOT / "README.md",
]


@pytest.mark.parametrize("name", registry.names())
def test_every_channel_of_every_driver_has_its_unit_in_the_usual_spelling(name):
    channels = [one for path in played.files(name) for one in played.driver_of(played.load(path)).channels]
    assert {channel.unit for channel in channels} == {spelled(channel.unit) for channel in channels}


@pytest.mark.parametrize("path", [*FILES, *played.files()], ids=lambda path: "/".join(path.parts[-2:]))
def test_no_file_that_is_copied_from_has_another_spelling(path):
    units = set(WRITTEN.findall(path.read_text(encoding="utf-8")))
    assert units == set(map(spelled, units))


def test_no_driver_writes_a_unit_of_its_own_in_another_spelling():
    """Raw words of instruments are keys there, never what a channel is given."""
    for path in sorted(ROOT.glob("drivers/*.py")):
        given = re.findall(r'Channel\([^()]*?, "([^"]*)"\)', path.read_text(encoding="utf-8"))
        assert given == [spelled(unit) for unit in given], path.name


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("ug/m3", "µg/m³"),
        ("\u03bcg/m3", "\u00b5g/m³"),
        ("mg/m3", "mg/m³"),
        ("degC", "°C"),
        ("deg C", "°C"),
        ("\u2103", "°C"),
        ("degF", "°F"),
        ("m3/h", "m³/h"),
        ("Nm3", "Nm³"),
        ("W/m2", "W/m²"),
        ("1/cm3", "1/cm³"),
        ("hits/(cm2 h)", "hits/(cm² h)"),
        ("uS/cm", "µS/cm"),
        ("um", "µm"),
    ],
)
def test_another_spelling_is_read_as_the_usual_one(text, unit):
    assert spelled(text) == spelled(unit) == unit


@pytest.mark.parametrize("unit", ["", "deg", "ppm CO2", "mmH2O", "ohm·cm", "1/0.1L", "L/min", "ppb/mV", "mm", "pH"])
def test_what_has_one_spelling_only_stays_as_it_is(unit):
    assert spelled(unit) == unit


@pytest.mark.parametrize("unit", ["ug/m3", "µg/m³"])
def test_a_file_may_say_it_in_either_spelling(unit):
    """Not every keyboard has them all."""
    chosen = {"001": {"name": "pm10", "parameter": "PM10", "unit": unit}}
    assert registry.load("bayern_hessen", {"value_rule": "integer", "channels": chosen}).channels[0].unit == "µg/m³"
    assert registry.load("thermo_c_link", {"model": "42i", "unit": unit}).channels[0].unit == "µg/m³"
