"""Teledyne's text protocol: what a transcript cannot say."""

from __future__ import annotations

import pytest

from drivers import registry
from drivers.errors import BadAnswer, ConfigError
from drivers.line import Line
from drivers.transcript import Transcript, TranscriptPort


def read(text, options):
    """Read once over a conversation."""
    port = TranscriptPort(Transcript(text).polls[0].entries)
    samples = registry.load("teledyne_ascii", options).read(Line("played", port, now_s=port.now_s), 1)
    port.finish()
    return samples


def answer(text, options=None):
    """Read a test value once, without warnings."""
    return read(
        f'> "T SO2\\r"\n< "T 194:11:29 0100 {text}\\r\\n"', {"gas": "SO2", "warnings": "none"} | (options or {})
    )


@pytest.mark.parametrize(
    ("gas", "channels"),
    [
        ("SO2", [("so2", "SO2", "ppb")]),
        ("CO", [("co", "CO", "ppm")]),
        ("O3", [("o3", "O3", "ppb")]),
        ("NOx", [("no", "NO", "ppb"), ("no2", "NO2", "ppb"), ("nox", "NOx", "ppb")]),
    ],
)
def test_an_analyzer_of_a_gas_has_the_channels_of_the_gas(gas, channels):
    """Without any other configuration; the warnings come last."""
    assert list(registry.load("teledyne_ascii", {"gas": gas}).channels) == [*channels, ("warnings", "warnings", "")]


def test_nothing_to_ask_for_is_a_mistake_of_the_file():
    """Said in words."""
    with pytest.raises(ConfigError, match="`gas` or `channels`"):
        registry.load("teledyne_ascii", {})


@pytest.mark.parametrize(
    ("text", "value"),
    [("SO2=261.4 PPB", 261.4), ("SO2 = -0.3 PPB", -0.3), ("SO2=.5 PPB", 0.5), ("so2=17", 17), ("SO2=XXXX", None)],
)
def test_a_value_is_read_however_it_is_written(text, value):
    """With and without blanks, digits before the point, and a unit."""
    assert answer(text)[0].value == value


@pytest.mark.parametrize("text", ["SO2=261.4 UGM", "SO2=ON", "SO2=1E9 PPB", "SO2=12:30:11", f"SO2={'9' * 400} PPB"])
def test_what_is_no_value_in_the_configured_unit_is_a_bad_answer(text):
    """Another unit, a word, an exponent, a time, a number without end."""
    with pytest.raises(BadAnswer):
        answer(text)


def test_a_unit_may_be_written_as_keyboards_allow():
    """Degrees have two spellings on keyboards."""
    for unit in ("degC", "°C"):
        channels = {"SO2": {"name": "pmt", "parameter": "pmt_temperature", "unit": unit, "label": "PMT TEMP"}}
        assert answer("PMT TEMP=7.0 C", {"channels": channels})[0].value == 7


def test_a_unit_that_is_none_of_the_known_ones_may_come_in_another_spelling():
    """It stands in the file as the instrument writes it, and is read as all units are."""
    channels = {"SO2": {"name": "flow", "parameter": "flow", "unit": "m3/h", "label": "FLOW"}}
    assert answer("FLOW=7.0 m3/h", {"channels": channels})[0].value == 7


def test_which_warnings_are_harmless_is_for_the_owner_to_say():
    """As shipped, one about the box is not."""
    text = '> "W LIST\\rT O3\\r"\n< "W 194:11:03 0400 BOX TEMP WARNING\\r\\nT 194:11:29 0400 O3=41.7 PPB\\r\\n"'
    assert read(text, {"gas": "O3"})[0].flags
    assert not read(text, {"gas": "O3", "harmless": ["BOX TEMP"]})[0].flags
