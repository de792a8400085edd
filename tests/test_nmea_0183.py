"""What the options of NMEA 0183 refuse, and which dates are believed."""

from __future__ import annotations

import pytest

from drivers import registry
from drivers.checksum import xor8
from drivers.errors import BadAnswer, ConfigError, NoAnswer
from drivers.line import Line
from drivers.transcript import Entry, TranscriptPort

UTC = {"utc": {"from": "RMC utc", "parameter": "utc"}}


def read(options, *sentences):
    """Read once over sentences, to which their sums are added."""
    text = b"".join(b"$%s*%02X\r\n" % (each.encode(), xor8(each.encode())) for each in sentences)
    port = TranscriptPort([Entry("<", text, 1)])
    line = Line("played", port, now_s=port.now_s)
    return [(sample.value, [*sample.flags]) for sample in registry.load("nmea_0183", options).read(line, 1)]


@pytest.mark.parametrize(
    ("source", "unit", "allowed"),
    [
        ("RMC speed", "m/s", '"kn"'),
        ("MWV speed", "kt", '"km/h", "m/s", "kn", "mph"'),
        ("XDR P 0", "mbar", '"bar", "Pa", "hPa", "inHg", "mmHg"'),
        ("XDR C 0", "", '"°C", "°F"'),
    ],
)
def test_a_unit_that_no_sentence_can_have_is_refused(source, unit, allowed):
    """The mistake in the file names the units that there are."""
    with pytest.raises(ConfigError, match="has no unit") as caught:
        registry.load("nmea_0183", {"channels": {"a": {"from": source, "parameter": "p", "unit": unit}}})
    assert allowed in str(caught.value)


@pytest.mark.parametrize("source", ["RMC time", "GSV utc", "XDR X 0", "XDR C", "rmc utc"])
def test_a_source_that_is_not_known_is_refused(source):
    """What is known of sentences is all there is."""
    with pytest.raises(ConfigError, match="expected a source"):
        registry.load("nmea_0183", {"channels": {"a": {"from": source, "parameter": "p"}}})


def test_an_earliest_date_that_is_none_is_refused():
    """It has the form of a date, but there is no such day."""
    with pytest.raises(ConfigError):
        registry.load("nmea_0183", {"channels": UTC, "earliest": "2026-02-30"})


@pytest.mark.parametrize(
    ("date", "clock", "value"),
    [
        ("010126", "000000", "2026-01-01T00:00:00.000Z"),
        ("160845", "235959.9999", "2045-08-16T23:59:59.999Z"),
        ("311225", "235959", None),  # one second too early
        ("170845", "000000", None),  # 1024 weeks after the earliest date
        ("180506", "120000", None),  # 2026 as a receiver of the era before says it
        ("060180", "000000", None),  # where GPS begins, when a receiver has lost all
    ],
)
def test_a_date_is_believed_within_one_era_of_gps_weeks(date, clock, value):
    """Receivers count 1024 weeks; a date of another era is null and a fault, without an error."""
    found = read({"channels": UTC}, f"GPRMC,{clock},A,1541.3,N,05130.5,W,0.26,147.44,{date},,,A")
    assert found == [(value, [] if value else ["fault"])]


@pytest.mark.parametrize("clock", ["240000", "126000", "235961", "125960", "12:00:00", "1200"])
def test_a_time_that_cannot_be_is_refused(clock):
    """A leap second is only at the end of a day."""
    with pytest.raises(BadAnswer):
        read({"channels": UTC}, f"GPRMC,{clock},A,1541.3,N,05130.5,W,0.26,147.44,010126,,,A")


def test_what_is_missing_is_named():
    """A technician sees which sentence to switch on."""
    with pytest.raises(NoAnswer, match="without a sentence: RMC utc"):
        read({"channels": UTC}, "GPGSA,M,3,14,16,26,27,29,31,,,,,,,2.7,1.5,2.3")


def test_other_sentences_are_passed_over_however_damaged():
    """A damaged sentence that no channel needs costs nothing."""
    text = b"$GPGSV,3,1,12,0\xff*00\r\n$GPRMC,000000,A,,,,,,,010126,,,A*4F\r\n"
    port = TranscriptPort([Entry("<", text, 1)])
    line = Line("played", port, now_s=port.now_s)
    assert registry.load("nmea_0183", {"channels": UTC}).read(line, 1)[0].value == "2026-01-01T00:00:00.000Z"


def test_the_state_of_a_heater_is_text():
    """A generic transducer of a WXT holds no number."""
    heater = {"heater": {"from": "XDR G 4", "parameter": "heater"}}
    assert read({"channels": heater}, "WIXDR,C,20.4,C,2,G,HEL/___,,4") == [("HEL/___", [])]


@pytest.mark.parametrize(
    ("source", "unit", "sentence"),
    [
        ("RMC speed", "kn", f"GPRMC,120000,A,4800.0,N,01100.0,E,{'9' * 400},1.0,271126,,,A"),
        ("RMC speed", "kn", f"GPRMC,120000,A,4800.0,N,01100.0,E,0.{'9' * 400},1.0,271126,,,A"),
        ("RMC latitude", "deg", f"GPRMC,120000,A,4800.{'9' * 400},N,01100.0,E,1.0,1.0,271126,,,A"),
        ("GGA satellites", "", f"GPGGA,120000,4800.0,N,01100.0,E,1,{'9' * 40},1.0,1.0,M,,M,,"),
        ("GGA satellites", "", f"GPGGA,120000,4800.0,N,01100.0,E,1,{'9' * 5000},1.0,1.0,M,,M,,"),
    ],
)
def test_a_number_without_end_is_a_bad_answer(source, unit, sentence):
    """It would be infinite, or more digits than a number may have."""
    with pytest.raises(BadAnswer):
        read({"channels": {"a": {"from": source, "parameter": "p", "unit": unit}}}, sentence)
