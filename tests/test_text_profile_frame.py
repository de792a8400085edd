"""Text profiles: what is sent, where an answer begins and ends, and what its checksum covers."""

from __future__ import annotations

from pathlib import Path

import played
import pytest
from text_profiles import HEAD, ONE, WIND, answer, asked, channel, driver

from drivers import toml_file
from drivers.checksum import crc16, sum16, xor8
from drivers.driver import Exchange
from drivers.errors import BadAnswer, DriverError, NoAnswer
from drivers.sample import Sample
from drivers.text_profile import load
from drivers.text_profile_words import Words, plain

# What is sent.


@pytest.mark.parametrize(
    ("text", "address", "sent", "addresses"),
    [
        (r"A\x02\r\n\t\\{address}", 7, b"A\x02\r\n\t\\7", range(65_536)),
        ("{address:03}", 7, b"007", range(1000)),
        ("{address:3}", 7, b"  7", range(1000)),
        ("{address:letter}", 17, b"Q", range(1, 27)),
        ("{address:128}", 49, b"\xb1", range(128)),
        (r"\x7Baddress\x7D", 7, b"{address}", range(65_536)),
        ("\x02DA{address:03}\x03{xor8:hex}", 97, b"\x02DA097\x033A", range(1000)),
        (r"\x1b{from}RQ{to}*{sum16:decimal}\r", 1, b"\x1bRQ*163\r", range(65_536)),
        ("${from}WIP{address:letter}Q,{to}*{xor8:hex}", 1, b"$WIPAQ,*72", range(1, 27)),
        ("AB{sum8:decimal}", 1, b"AB131", range(65_536)),
        ("AB{crc16:hex}", 1, b"AB%04X" % crc16(b"AB"), range(65_536)),
    ],
)
def test_requests_are_written_as_the_words_say(text, address, sent, addresses):
    """Escapes, addresses and checksums; the Bayern-Hessen, Met One and Vaisala examples are from manuals."""
    words = Words(text)
    assert not words.problem()
    assert words.written(address) == sent
    assert words.addresses == addresses
    assert words.usual_length >= len(sent)


def test_an_address_that_cannot_be_written_is_an_error_of_the_read_and_of_the_file():
    """The check tells it beforehand; a prompt gets a DriverError."""
    with pytest.raises(DriverError, match="only 0 to 99"):
        Words("{address:2}").written(100)
    text = HEAD + answer(request="'{address:128}'", start="'{address:letter}'") + ONE
    assert load(toml_file.Document(Path("x"), text)).addresses == range(1, 27)


def test_braces_have_no_meaning_where_nothing_changes():
    """A separator may be one."""
    assert plain(r"{}\x02{address}") == b"{}\x02{address}"


# Where an answer begins and ends, and its sum.

FIDAS = HEAD + (
    "[answer]\nrequest = '<getVal60;61;62>\\r\\n'\nstart = '<sendVal '\nend = '\\r\\n'\nlongest = 80\n"
    "separator = ';'\nequals = '='\n"
    'checksum = { method = "xor8", mark = ">", includes = "both" }\n'
    '[channels]\npm1 = { parameter = "PM1", unit = "mg/m3", field = "61" }\n'
)
FIDAS_ASKED = b"<getVal60;61;62>\r\n"


def test_the_makers_example_of_a_fidas_is_read():
    """Also where a line driver switches on before it."""
    line = b"<sendVal 60=1373.361084;61=0.083834;62=0.116399>7C\r\n"
    assert asked(FIDAS, FIDAS_ASKED, line) == [Sample("pm1", 0.083834)]
    assert asked(FIDAS, FIDAS_ASKED, b"\x00\xff" + line) == [Sample("pm1", 0.083834)]


def test_an_answer_to_something_else_is_refused_at_once():
    """Without waiting for the end of the time."""
    for line in (b"<ok>06\r\n", b"<fail>00\r\n", b"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00<sendVal "):
        with pytest.raises(BadAnswer, match="does not begin with"):
            asked(FIDAS, FIDAS_ASKED, line)


def test_a_printed_sample_with_a_wrong_sum_is_refused():
    """The commented sample of mkndaq says 3E, and does not reproduce."""
    line = b"<sendVal 0=0.0;1=1.0;2=2.0;8=4.8;14=42.4;74=0.0>3E\r\n"
    with pytest.raises(BadAnswer, match=r"wrong checksum 3E$"):
        asked(FIDAS, FIDAS_ASKED, line)


def test_a_sum_over_something_else_is_refused_with_what_it_covers():
    """So a profile is put right from the first answer of the instrument."""
    line = b"<sendVal 60=1373.361084;61=0.083834;62=0.116399>7C\r\n"
    with pytest.raises(BadAnswer, match='wrong checksum 7C; it holds with includes = "both"'):
        asked(FIDAS.replace('"both"', '"start"'), FIDAS_ASKED, line)


def test_an_answer_of_another_address_is_shown_beside_the_start_that_was_expected():
    """Written as in a trace."""
    with pytest.raises(BadAnswer, match=r'does not begin with "<sendVal ", as start and address say: "<ok>06\\r\\n"'):
        asked(FIDAS, FIDAS_ASKED, b"<ok>06\r\n")


GUST = b"\x02Q,229,002.74,M,00,\x0316\r\n"


@pytest.mark.parametrize("before", [b"", b"4,M,00,\x0316\r\n", b"\r\n", b"\x00"])
def test_a_message_that_comes_unasked_is_awaited_from_its_start(before):
    """The rest of the one before it is passed over."""
    assert asked(WIND, b"", before + GUST) == [Sample("wind_speed", 2.74)]


def test_a_stream_without_a_start_is_read_from_the_end_of_the_line_before():
    """For what comes first may be the tail of a number."""
    stream = HEAD + answer(request="") + ONE
    assert asked(stream, b"", b"2.5\r\n12.5\r\n") == [Sample("x", 12.5)]
    with pytest.raises(NoAnswer):
        asked(stream, b"", b"2.5\r\n")
    assert driver(stream).unsolicited
    assert driver(stream).plan("none") == [Exchange("listen", 0, 64)]


def test_a_text_profile_can_say_what_the_windsonic_driver_says():
    """All of its transcript, but for the direction."""
    case = played.load(played.files("gill_windsonic")[0])
    for poll in case.polls:
        line, _ = played.line_over(case, poll.entries)
        result = played.read(driver(WIND), line, 1)
        assert result.error == poll.error
        speeds = [one for one in poll.samples if one.channel == "wind_speed"]
        if not any(one.value is None for one in speeds):
            played.assert_same(result.samples, speeds)


@pytest.mark.parametrize(
    ("start", "keys", "line"),
    [
        ("$WI", "", b"$WI1*%02X\r\n" % xor8(b"WI1")),
        ("$WI", 'includes = "start"', b"$WI1*%02X\r\n" % xor8(b"$WI1")),
        ("$WI", 'includes = "both"', b"$WI1*%02X\r\n" % xor8(b"$WI1*")),
        ("$WI", 'includes = "mark"', b"$WI1*%02x\r\n" % xor8(b"WI1*")),
        ("", 'includes = "neither"', b"1*%02X\r\n" % xor8(b"1")),
    ],
)
def test_a_sum_covers_what_is_included(start, keys, line):
    """Hex in either case; one wrong bit of it is refused."""
    keys = f"{{ method = \"xor8\", mark = '*'{keys and ', '}{keys} }}"
    profile = HEAD + answer(start=f"'{start}'", longest="120", checksum=keys) + ONE
    assert asked(profile, b"R\r", line)
    wrong = line[:-3] + bytes([line[-3] ^ 1]) + line[-2:]
    with pytest.raises(BadAnswer, match="checksum"):
        asked(profile, b"R\r", wrong)


WIXDR = b"$WIXDR,V,0.02,M,0,Z,30,s,0,R,2.7,M,0,V,0.0,M,1,Z,0,s,1,R,0.0,M,1,R,6.3,M,2,R,0.0,M,3*51\r\n"


def test_the_manuals_sample_of_a_wxt_in_nmea_is_read():
    """Which transducer a value is from is held against what never changes; other sentences are passed over."""
    profile = HEAD + answer(
        request="",
        start="'$WIXDR,'",
        longest="120",
        separator="','",
        count="32",
        fixed='{ 1 = "V", 3 = "M", 4 = "0", 9 = "R", 11 = "M", 12 = "0" }',
        checksum='{ method = "xor8", mark = "*" }',
    )
    assert asked(profile + channel(field="10"), b"", b"$WIMWV,1,R*00\r\n" + WIXDR) == [Sample("x", 2.7)]


@pytest.mark.parametrize("line", [b"*75", b"*2D"])
def test_printed_samples_of_a_wxt_that_do_not_reproduce_are_refused(line):
    """Whatever text stands before them with another sum."""
    keys = "{ method = \"xor8\", mark = '*' }"
    with pytest.raises(BadAnswer, match="wrong checksum"):
        asked(HEAD + answer(start="'$'", checksum=keys) + ONE, b"R\r", b"$1" + line + b"\r\n")


@pytest.mark.parametrize(
    ("end", "keys", "line"),
    [
        ("", '{ method = "xor8", mark = \'\\x03\', includes = "both" }', b"\x021\x03%02X" % xor8(b"\x021\x03")),
        ("'\\x03'", '{ method = "xor8" }', b"\x021%02X\x03" % xor8(b"1")),
        ("'\\r'", "{ method = \"sum16\", mark = '\\nsum ' }", b"\x021\nsum %04x\r" % sum16(b"1")),
        ("'\\r'", '{ method = "sum16", format = "decimal", mark = "*" }', b"\x021*%05d\r" % sum16(b"1")),
        ("'\\r'", '{ method = "sum16", format = "decimal", mark = "*" }', b"\x021*%d\r" % sum16(b"1")),
        ("'\\r'", '{ method = "crc16", mark = "*" }', b"\x021*%04X\r" % crc16(b"1")),
        ("'\\r'", '{ method = "sum8" }', b"\x021%02X\r" % sum16(b"1")),
    ],
)
def test_sums_stand_behind_the_end_before_it_or_behind_words(end, keys, line):
    """As in Bayern-Hessen, ENVEA, C-Link and Met One."""
    profile = HEAD + answer(start="'\\x02'", end=end, checksum=keys) + ONE
    assert asked(profile, b"R\r", line) == [Sample("x", 1)]
    for cut in range(len(line)):
        with pytest.raises(DriverError):
            asked(profile, b"R\r", line[:cut])
    digits = [place for place, byte in enumerate(line) if chr(byte) in "0123456789abcdefABCDEF" and place > 1]
    for place in digits[-2:]:
        other = line[:place] + (b"8" if line[place : place + 1] != b"8" else b"7") + line[place + 1 :]
        with pytest.raises(DriverError):
            asked(profile, b"R\r", other)


def test_an_answer_longer_than_the_longest_is_refused():
    """Before its end came, and when it did."""
    profile = HEAD + answer(longest="8") + ONE
    assert asked(profile, b"R\r", b"123456\r\n")[0].value == 123456
    for line in (b"1234567\r\n", b"123456789"):
        with pytest.raises(BadAnswer, match="longer than 8 bytes"):
            asked(profile, b"R\r", line)
