"""stationd probe: every reading of a register that could be a value, and the one that the display shows."""

import re

import pytest
from talker import Talker, floats, rtu

from agent.cli import main
from agent.kit.probe_readings import Form, Reading, forms, marked, readings
from drivers import profile, toml_file

HELD = floats({18: 41.7}) | floats({30: 12.5}, "CDAB") | {40: 417, 41: 0x4142, 42: 0x4344, 43: 0xFFEF}


@pytest.fixture
def probe(tmp_path, capsys):
    """Give a function that probes an instrument at address 3 and gives status and text."""
    talker = Talker(tmp_path / "port", rtu(3, {4: HELD}, last=45))

    def run(*words):
        status = main(["--config", str(tmp_path / "none"), "probe", f"{tmp_path}/port", *words, "--timeout", "100ms"])
        return status, capsys.readouterr().out

    yield run
    talker.stop()


def rows(text):
    """Take the table apart: row, table, base, format, order, value, mark."""
    found = re.findall(r"^ *(\d+)  (holding|input) +(\d+)  (\S+) +(\S+) +(.*?)(?:  (<--.*))?$", text, re.MULTILINE)
    return [(int(row), table, int(base), *rest) for row, table, base, *rest in found]


def test_the_display_marks_the_one_reading_that_is_right(probe):
    status, text = probe("3", "18", "--display", "41.7")
    assert status == 0
    near = [row for row in rows(text) if row[-1]]
    assert near[0][1:] == ("input", 0, "float32", "ABCD", "41.7", "<--")
    assert all(row[2] == 1 for row in near[1:])  # 41.5 of the neighbour is near, too


@pytest.mark.parametrize(
    ("register", "display", "expected"),
    [
        ("31", "12.5", ("input", 1, "float32", "CDAB", "12.5", "<--")),
        ("40", "41.7", ("input", 0, "u16", "ABCD", "417", "<-- x 0.1")),
        ("30041", "417", ("input", 30001, "u16", "ABCD", "417", "<--")),
        ("43", "-17", ("input", 0, "i16", "ABCD", "-17", "<--")),
        ("0x2B", "-17", ("input", 0, "i16", "ABCD", "-17", "<--")),
    ],
)
def test_wherever_counting_begins_and_however_it_is_scaled(probe, register, display, expected):
    assert expected in [row[1:] for row in rows(probe("3", register, "--display", display)[1])]


def test_text_is_read_as_far_as_it_is_wanted(probe):
    text = probe("3", "41", "--max", "2")[1]
    assert ("input", 0, "string", "ABCD", "ABCD", "") in [row[1:] for row in rows(text)]


def test_what_is_printed_for_a_row_is_a_profile(probe, tmp_path):
    """With the scale that brings it to the display; it reads what the row showed."""
    text = probe("3", "31", "--display", "12.5")[1]
    row = next(str(row[0]) for row in rows(text) if row[3:5] == ("float32", "CDAB") and row[-1])
    status, line = probe("3", "31", "--row", row)
    assert status == 0
    file = tmp_path / "acme.toml"
    file.write_text(line.replace("NAME", "o3"))
    (measured,) = profile.load(toml_file.load(file)).profile.measured
    assert (measured.place.block.start, measured.place.number.order) == (30, "CDAB")
    assert "scale = 0.1" in probe("3", "40", "--display", "41.7", "--table", "input")[1]


def test_a_row_keeps_its_number(probe):
    """Whatever the registers hold, and whichever could be values then."""
    assert rows(probe("3", "18")[1])[0][0] == rows(probe("3", "18", "--display", "9")[1])[0][0]
    status, text = probe("3", "18", "--row", "1")
    assert status == 1
    assert "no row 1 is among those" in text


def test_what_is_refused_or_silent_is_said(probe):
    status, text = probe("3", "44")
    assert status == 0
    assert "holding register 44, if counting begins at 0: Modbus exception 1" in text
    status, text = probe("4", "18")
    assert status == 1
    assert "no answer within 0.1 s" in text
    assert text.endswith("nothing was answered that could be a value\n")


def test_wrong_words_are_told(probe):
    for words, said in (
        (("256", "1"), "address 256: allowed are 0 to 255"),
        (("1", "999999"), "register 999999"),
        (("1", "1", "--max", "99"), "--max 99: allowed are 1 to 64"),
        (("1", "1", "--display", "4,5"), "expected a number like 41.7"),
    ):
        status, text = probe(*words)
        assert status == 1
        assert said in text


def test_near_is_within_a_digit_or_a_hundredth():
    row = Reading(1, "input", 0, Form("float32", registers=2), 41.6)
    assert marked(row, "41.7") == 1
    assert marked(row, "42.3") is None
    assert marked(row, "0.416") == 0.01
    assert marked(row, None) is None
    assert marked(row._replace(value="41.7"), "41.7") is None


def test_numbers_that_no_value_has_are_left_out():
    """BCD that is none, floats of the wrong order, letters that do not print, what is the same as unsigned."""
    data = bytes.fromhex("42 26 CC CD 00 00 00 00")
    shown = [(one.format, one.order) for one in forms(4) if list(readings(1, "input", 0, one, data))]
    assert ("float32", "ABCD") in shown
    assert ("float32", "BADC") not in shown
    assert ("bcd32", "ABCD") not in shown
    assert ("i16", "ABCD") not in shown
    assert ("string", "ABCD") not in shown
    assert list(readings(1, "input", 0, Form("float64", registers=4), data[:4])) == []
