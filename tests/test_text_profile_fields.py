"""Text profiles: fields by number, key and column, their values, and the status in them."""

from __future__ import annotations

import pytest
from text_profiles import ANSWER, HEAD, ONE, TWO, answer, asked, channel, driver, value, with_header

from drivers.driver import Exchange
from drivers.errors import BadAnswer, DriverError, NoAnswer
from drivers.sample import Flag, Sample

# Fields.


def test_blanks_as_separator_may_be_several():
    """At the ends as well; another number of fields is refused."""
    profile = HEAD + answer(separator="' '", count="3") + channel(field="2")
    assert value(profile, b"  1   2 3 ") == 2
    for line in (b"1 2", b"1 2 3 4", b"1,2,3", b""):
        with pytest.raises(BadAnswer, match="fields, expected 3"):
            value(profile, line)


@pytest.mark.parametrize("line", [b"a=1,b", b"a=1=2,b=2", b"a=1,a=2", b"b=2", b"a=1,,b=2", b"a = 1 2,b=2"])
def test_a_list_of_keys_must_be_one(line):
    """Two run together, one twice, one missing, nothing at all."""
    profile = HEAD + answer(separator="','", equals="'='") + channel(field='"a"')
    assert value(profile, b"b=2, a = 1 ,") == 1
    with pytest.raises(BadAnswer):
        value(profile, line)


def test_fields_that_never_change_are_compared():
    """Words, and the unit in a field of its own."""
    profile = HEAD + answer(separator="' '", count="2", fixed='{ 2 = "ppb" }') + ONE
    assert value(profile, b"41.7 ppb") == 41.7
    with pytest.raises(BadAnswer, match="field 2 is 'ppm', expected 'ppb'"):
        value(profile, b"41.7 ppm")


NAMES = b"Time,B,A,"


def test_the_names_of_columns_are_asked_for_once_and_remembered():
    """Columns are found wherever they stand."""
    read = with_header()
    assert asked(read, b"H\r", NAMES + b"\r\n", b"R\r", b"12:00,1,2,\r\n") == [Sample("x", 2)]
    assert asked(read, b"R\r", b"12:01,3,4\r\n") == [Sample("x", 4)]
    assert read.plan("none") == [Exchange("R\\r", 2, 64)]


@pytest.mark.parametrize("trouble", [b"12:00,1\r\n", b"12:00,1,2,3\r\n", b"12:00,1,?,\r\n", b""])
def test_after_any_trouble_the_names_are_asked_for_again(trouble):
    """Someone may have changed the report, or the power was off."""
    read = with_header()
    asked(read, b"H\r", NAMES + b"\r\n", b"R\r", b"12:00,1,2,\r\n")
    with pytest.raises(DriverError):
        asked(read, b"R\r", trouble)
    assert asked(read, b"H\r", b"Time,A,B\r\n", b"R\r", b"12:00,1,2\r\n") == [Sample("x", 1)]


@pytest.mark.parametrize("names", [b"Time,B,C", b"Time,A,A", b"", b","])
def test_a_header_that_does_not_name_the_column_once_is_refused(names):
    """And not remembered."""
    with pytest.raises(BadAnswer):
        asked(with_header(), b"H\r", names + b"\r\n", b"R\r", b"12:00,1,2\r\n")


def test_several_requests_are_asked_in_their_order():
    """Where the second stays away, no value counts."""
    text = HEAD + TWO + "[channels]\n"
    text += "".join(f'{n} = {{ parameter = "X", unit = "", field = 1, answer = "{n}" }}\n' for n in "ba")
    assert asked(text, b"A\r", b"1\r", b"B\r", b"2\r") == [Sample("b", 2), Sample("a", 1)]
    with pytest.raises(NoAnswer):
        asked(text, b"A\r", b"1\r", b"B\r")
    assert [one.what for one in driver(text).plan("none")] == ["A\\r", "B\\r"]


# Values.

MISSING = HEAD + 'missing = ["///", "---", "#", "", "99999", "nan"]\n'


@pytest.mark.parametrize(
    "text", [b"///", b"---", b"#", b"", b"000#", b"4.0#", b"+99999.0", b"99999", b"nan", b"  ", b"1e999", b"99999C"]
)
def test_every_mark_of_a_missing_value_makes_it_null_and_a_fault(text):
    """Alone, behind a number, empty, or as a number in whatever form; also one that is not finite."""
    assert value(MISSING + ANSWER + channel(suffix='"C"'), text) is None


@pytest.mark.parametrize("text", [b"//", b"----", b"1.0##", b"1.0F", b"1.0", b"nan1", b"inf", b"C", b"--1C", b"1 2C"])
def test_anything_else_that_is_not_a_number_with_its_unit_is_refused(text):
    """Another unit, above all."""
    with pytest.raises(BadAnswer):
        value(MISSING + ANSWER + channel(suffix='"C"'), text)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        (b"5057E-1", 505.7),
        (b"+00.027", 0.027),
        (b"-.5", -0.5),
        (b"12.", 12.0),
        (b"1.410e+01", 14.1),
        (b" 7 ", 7.0),
        (b"-0.00", 0.0),
    ],
)
def test_numbers_as_instruments_write_them(text, number):
    """Signs, leading zeros, exponents, bare points."""
    assert value(HEAD + ANSWER + ONE, text) == pytest.approx(number)


@pytest.mark.parametrize(
    "text", [b"1,5", b"0x1F", b"1_000", "١٢".encode(), b"1" * 30, b"E5", b".", b"+", b"1E", b"\xb2"]
)
def test_what_python_would_take_for_a_number_or_nearly_is_refused(text):
    """Only digits, one point, one exponent, of bounded length."""
    with pytest.raises(BadAnswer):
        value(HEAD + ANSWER + ONE, text)


def test_scale_offset_and_range():
    """A value that leaves the numbers is missing, one outside of the range is flagged."""
    profile = HEAD + ANSWER + channel(scale="2", offset="-1", range="[0, 10]")
    assert asked(profile, b"R\r", b"3\r\n") == [Sample("x", 5)]
    assert asked(profile, b"R\r", b"6\r\n") == [Sample("x", 11, (Flag.OVER_RANGE,))]
    assert value(HEAD + ANSWER + channel(scale="1e9"), b"1e307") is None


def test_hex_numbers_and_words_are_values_too():
    """Of bounded length."""
    assert value(HEAD + ANSWER + channel(format='"hex"'), b"A01F") == 0xA01F
    assert value(HEAD + ANSWER + channel(format='"text"'), b"R-") == "R-"
    for form, text in (("hex", b"G"), ("hex", b"1" * 17), ("text", b""), ("text", b"x" * 65), ("text", b"a\x07")):
        with pytest.raises(BadAnswer):
            value(HEAD + answer(longest="99") + channel(format=f'"{form}"'), text)


# Status.


def flags(status: str, text: bytes) -> tuple[Flag, ...]:
    """Give the flags of the channel, whose value is 1, by what the status field reads."""
    head = HEAD + 'missing = ["-"]\n' + answer(separator="','", count="2")
    return asked(head + f"[status]\nfield = 2\n{status}\n" + ONE, b"R\r", b"1," + text + b"\r\n")[0].flags


@pytest.mark.parametrize(
    ("text", "held"),
    [(b"M", ()), (b"Z", (Flag.CALIBRATION,)), (b"X", (Flag.FAULT,)), (b"", (Flag.FAULT,)), (b"-", (Flag.FAULT,))],
)
def test_letters_give_flags_and_an_unknown_or_missing_one_is_a_fault(text, held):
    """Only what is listed as ok is good."""
    assert flags('values = { M = "ok", Z = "calibration" }', text) == held


@pytest.mark.parametrize(
    ("text", "held"),
    [(b"8", ()), (b"9", (Flag.FAULT,)), (b"C", (Flag.CALIBRATION,)), (b"0000", (Flag.MANUAL,)), (b"-", (Flag.FAULT,))],
)
def test_bits_give_flags(text, held):
    """Set and clear ones, of a hex number."""
    bits = 'format = "hex"\nbits = { 0 = "fault", 2 = "calibration" }\nclear_bits = { 3 = "manual" }'
    assert flags(bits, text) == held


def test_numbers_give_flags_however_they_are_written():
    """A mode of a Fidas has a decimal point."""
    modes = 'format = "decimal"\nvalues = { 1 = "ok", 4 = "calibration" }'
    assert flags(modes, b"1.000000") == ()
    assert flags(modes, b"04") == (Flag.CALIBRATION,)
    assert flags('format = "hex"\nvalues = { 1F = "ok" }', b"001f") == ()
    for text in (b"1.5", b"-1", b"x"):
        with pytest.raises(BadAnswer):
            flags(modes + '\nbits = { 9 = "fault" }', text)


def test_a_bit_that_must_be_set_refuses_the_answer():
    """It says that another unit is set, so no value may be taken."""
    units = 'format = "hex"\nrequired_bits = { 1 = 1, 0 = 0 }'
    assert flags(units, b"2") == ()
    for text in (b"0", b"3"):
        with pytest.raises(BadAnswer, match="is another unit set"):
            flags(units, text)


def test_a_status_is_about_its_channels():
    """Others are not touched."""
    text = HEAD + answer(separator="','", count="3") + '[status]\nfield = 3\nvalues = { 0 = "ok" }\nchannels = ["a"]\n'
    text += "[channels]\n" + "".join(f'{n} = {{ parameter = "X", unit = "", field = {f} }}\n' for n, f in ("a1", "b2"))
    assert asked(text, b"R\r", b"1,2,7\r\n") == [Sample("a", 1, (Flag.FAULT,)), Sample("b", 2)]
