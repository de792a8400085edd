"""What options of the code drivers mean, and what they refuse."""

from __future__ import annotations

import pytest

from drivers import registry
from drivers.checksum import sum16
from drivers.errors import BadAnswer, ConfigError
from drivers.line import Line
from drivers.transcript import Transcript, TranscriptPort

ONE = {"001": {"name": "pm10", "parameter": "PM10", "unit": "ug/m3"}}


def read(name: str, options: dict[str, object], text: str) -> list[object]:
    """Read once over a conversation and give the values."""
    port = TranscriptPort(Transcript(text).polls[0].entries)
    line = Line("played", port, now_s=port.now_s)
    samples = registry.load(name, options).read(line, 1)
    port.finish()
    return [sample.value for sample in samples]


def test_a_record_that_no_manual_shows_is_refused_in_words():
    """The SHARP has single commands only; the file's mistake says so."""
    with pytest.raises(ConfigError, match='command = "individual"'):
        registry.load("thermo_c_link", {"model": "5014i"})


@pytest.mark.parametrize(
    ("model", "unit"), [("42i", "ppb"), ("43c", "ppb"), ("48i", "ppm"), ("48c", "ppm"), ("49i", "ppb")]
)
def test_the_gas_unit_of_an_analyzer_is_its_makers_unless_set(model, unit):
    """Thermo ships CO in ppm and the rest in ppb."""
    assert registry.load("thermo_c_link", {"model": model}).channels[0].unit == unit
    chosen = registry.load("thermo_c_link", {"model": model, "unit": "mg/m3"})
    assert chosen.channels[0].unit == "mg/m³"
    assert chosen.channels[-1].unit == ""


@pytest.mark.parametrize(("rule", "value"), [("implied_decimal", 20.99), ("integer", 20990)])
def test_the_value_rule_decides_what_four_digits_mean(rule, value):
    """The same frame is a thousand times more under the other rule."""
    text = '> "\\x02DA\\r"\n< "\\x02MD01 001 +2099+01 00 00 000 000000\\r"'
    assert read("bayern_hessen", {"value_rule": rule, "framing": "stx_cr", "channels": ONE}, text) == [value]


@pytest.mark.parametrize(
    ("framing", "text"),
    [
        ("cr", '> "DA\\r"\n< "MD01 001 +1000+01 00 00 000 000000\\r"'),
        ("stx_cr", '> "\\x02DA\\r"\n< "\\x02MD01 001 +1000+01 00 00 000 000000\\r"'),
        ("etx", '> "\\x02DA\\x0304"\n< "\\x02MD01 001 +1000+01 00 00 000 000000\\x03??"'),
        ("etx_bcc", '> "\\x02DA\\x0304"\n< "\\x02MD01 001 +1000+01 00 00 000 000000\\x0308"'),
    ],
)
def test_frames_end_as_the_option_says(framing, text):
    """CR, ETX with a sum that is not looked at, ETX with a sum."""
    assert read("bayern_hessen", {"value_rule": "implied_decimal", "framing": framing, "channels": ONE}, text) == [10]


@pytest.mark.parametrize(
    ("unit", "letter", "check"),
    [("m/s", "M", "16"), ("kn", "N", "15"), ("km/h", "K", "10"), ("ft/min", "F", "1D")],
)
def test_the_anemometers_unit_letter_is_the_one_set(unit, letter, check):
    """The channel has the unit of the letter."""
    text = f'< "\\x02Q,229,002.74,{letter},00,\\x03{check}\\r\\n"'
    assert read("gill_windsonic", {"unit": unit}, text) == [229, 2.74]
    assert registry.load("gill_windsonic", {"unit": unit}).channels[1].unit == unit


def test_a_published_sample_of_a_fidas_whose_sum_does_not_hold_is_refused_for_that():
    """What mkndaq shows ends in `3E` behind it; the exclusive or is 6E, and with that it only lacks values."""
    record = "6082<sendVal 0=0.0;1=1.0;2=2.0;8=4.8;14=42.4;74=0.0>"
    with pytest.raises(BadAnswer, match="wrong checksum"):
        read("palas_fidas", {"mode": "stream"}, f'< "{record}3E"')
    with pytest.raises(BadAnswer, match="no value with number 3, 4"):
        read("palas_fidas", {"mode": "stream"}, f'< "{record}6E"')


def test_the_sum_of_met_one_is_that_of_its_manuals_example():
    """ES-405 manual, 9.5.4: five decimal digits behind the star, over everything before it."""
    assert sum16(b"ES-405, 83904, R1.2.0.0a") == 1278
    assert [sum16(command) for command in (b"4", b"QH", b"RQ", b"4 1")] == [52, 153, 163, 133]


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("plantower", {"model": "pms3003", "mode": "passive"}, "takes no commands"),
        (
            "met_one",
            {
                "protocol": "menu",
                "parameter": "PM10",
                "columns": {"AT": {"name": "pm10", "parameter": "x", "unit": ""}},
            },
            "same name",
        ),
    ],
)
def test_options_that_do_not_go_together_are_a_mistake_of_the_file(name, options, words):
    """Each is right by itself."""
    with pytest.raises(ConfigError, match=words):
        registry.load(name, options)


MENU = r"""
> "\r\r\r"
< "*"
> "6"
< "6\r\n>"
> "4"
< "4 - Display CSV Data\r\nStation, 5\r\n{header}\r\n01/30/08 16:00,0.084,0.834,{record}\r\n"
"""
LETTERS = "E,U,M,I,L,R,N,F,P,D,C,T"
NO_ERROR = ",".join("0" * 12)


@pytest.mark.parametrize(
    ("header", "record", "is_good"),
    [
        ("Time,Conc(mg/m3),Qtot(m3)", "", True),
        ("Time,Conc (\xb5g/m3),Qtot(m3)", "", False),
        ("Time,Conc(mg/m3),Qtot(m3),RH(%),RH(%)", "1,2,", True),
        ("Time,Conc(mg/m3),Conc(mg/m3)", "", False),
        ("Time,Conc(mg/m3),Qtot(m3),T(C)", "27,", False),
    ],
    ids=["as delivered", "other unit", "doubles not wanted", "wanted twice", "a name like a letter"],
)
def test_columns_of_a_bam_are_found_by_name_or_not_at_all(header, record, is_good):
    """Doubles cost nothing unless they are wanted; a unit or a name that is in doubt costs the record."""
    text = MENU.format(header=f"{header},{LETTERS}", record=record + NO_ERROR)
    options = {"protocol": "menu", "parameter": "PM10"}
    if is_good:
        assert read("met_one", options, text) == [0.084, 0.834, "", "01/30/08 16:00"]
    else:
        with pytest.raises(BadAnswer):
            read("met_one", options, text)
