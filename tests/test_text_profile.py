"""Text profiles: what a file may say, how its mistakes are told, and what its driver makes of lines."""

from __future__ import annotations

import re
from pathlib import Path

import jsonschema
import played
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers import registry, text_profile, toml_file
from drivers.checksum import crc16, sum16, xor8
from drivers.driver import Exchange
from drivers.errors import BadAnswer, ConfigError, DriverError, NoAnswer
from drivers.line import Line
from drivers.sample import Flag, Sample
from drivers.text_profile import TEXT_PROFILE, TextDriver, load
from drivers.text_profile_words import Words, plain
from drivers.transcript import Entry, TranscriptPort

EXAMPLE = Path(__file__).parent.parent / "config/profiles/acme_200.toml"
SHIPPED = [file for file in registry.files(registry.SHIPPED) if "protocol" in toml_file.load(file).data]
README = (Path(registry.__file__).with_name("README.md")).read_text(encoding="utf-8")
HEAD = 'protocol = "text"\n'
ANSWER = "[answer]\nrequest = 'R\\r'\nend = '\\r\\n'\nlongest = 64\n"
ONE = '[channels]\nx = { parameter = "X", unit = "", field = 1 }\n'


def driver(text: str) -> TextDriver:
    return load(toml_file.Document(Path("acme.toml"), text)).driver()


def problems(text: str) -> list[str]:
    """Load a profile that is wrong, and give its problems without the name of the file."""
    with pytest.raises(ConfigError) as caught:
        driver(text)
    return [str(problem).removeprefix("acme.toml:") for problem in caught.value.problems]


def answer(**keys: str) -> str:
    """Write a table of an answer that is asked for with R and ends in CR LF; values are TOML."""
    entry = {"request": r"'R\r'", "end": r"'\r\n'", "longest": "64"} | keys
    return "[answer]\n" + "".join(f"{key} = {value}\n" for key, value in entry.items() if value)


def channel(**keys: str) -> str:
    """Write a profile's only channel; values are TOML."""
    entry = {"parameter": '"X"', "unit": '""', "field": "1"} | keys
    return "[channels.x]\n" + "".join(f"{key} = {value}\n" for key, value in entry.items() if value)


def asked(profile: str | TextDriver, *conversation: bytes, address: int = 1) -> list[Sample]:
    """Read once; the conversation is request, answer, request …; one that begins unasked has b"" as its first."""
    marks = [Entry("><"[place % 2], data, place) for place, data in enumerate(conversation) if data]
    port = TranscriptPort(marks)
    read = driver(profile) if isinstance(profile, str) else profile
    samples = list(read.read(Line("line", port, now_s=port.now_s), address))
    port.finish()
    return samples


def value(profile: str, text: bytes) -> object:
    """Give what one line makes of the only channel: its value, or None with its flag."""
    sample = asked(profile, b"R\r", text + b"\r\n")[0]
    assert sample.value is not None or sample.flags == (Flag.FAULT,)
    return sample.value


# What the example shows, and what the guide says.


def keys_of(schema: dict) -> list[str]:
    """List the keys of a definition as its schema knows them, each table once."""
    if "anyOf" in schema:
        return keys_of(schema["anyOf"][0])
    inside = [*schema.get("properties", {}).values(), *schema.get("patternProperties", {}).values()]
    return [*schema.get("properties", {}), *(key for one in inside for key in keys_of(one))]


def test_the_example_shows_every_key_and_no_other():
    """In use, or as a comment with one # before it; each of them with an explanation above."""
    shown = set(re.findall(r"^#?(\w+) *= ", EXAMPLE.read_text(encoding="utf-8"), re.MULTILINE))
    tables = set(re.findall(r"^\[(\w+)(?:\.(\w+))?", EXAMPLE.read_text(encoding="utf-8"), re.MULTILINE))
    shown |= {name for table in tables for name in table if name in {"answer", "status", "channels", "checksum"}}
    assert shown == set(keys_of(TEXT_PROFILE.schema()))


def test_the_guide_counts_the_keys_right():
    """The language is small, and says so in numbers."""
    keys = keys_of(TEXT_PROFILE.schema())
    assert f"{len(keys)} keys, {len(set(keys))} different words" in README


def test_the_example_reads_what_its_head_shows():
    """The answer of the comment, and one in trouble."""
    acme = registry.load("acme_200", site=EXAMPLE.parent)
    line = b"#001 O3=41.7 ppb;FLOW=702 cc/min;STAT=0A;MODE=M>7A\r\n"
    assert f"< {line[:-2].decode()} CR LF" in EXAMPLE.read_text(encoding="utf-8")
    assert asked(acme, b"MEAS 001\r", line) == [Sample("o3", 41.7), Sample("sample_flow", pytest.approx(0.702))]
    bad = b"#001 O3=---;FLOW=702 cc/min;STAT=03;MODE=Z>"
    samples = asked(acme, b"MEAS 001\r", bad + b"%02X\r\n" % xor8(bad))
    assert samples[0] == Sample("o3", None, (Flag.CALIBRATION, Flag.FAULT))
    assert samples[1].flags == (Flag.CALIBRATION,)


def test_the_example_of_the_documentation_loads():
    """The docstring of the module is a profile, and its comments the conversation."""
    lines = text_profile.__doc__.split("\n\n")[1].splitlines()
    line = b"#001 23.4 ppb,OK"
    assert any(f"< {line.decode()}*{xor8(line):02X} CR LF" in one for one in lines)
    assert asked("\n".join(one[4:] for one in lines), b"MEAS 001\r", line + b"*%02X\r\n" % xor8(line))[0].value == 23.4


def test_the_guide_ends_in_a_profile_that_passes():
    """The profile and the transcript of drivers/README.md, as they stand."""
    profile, case = (re.search(rf"```{word}\n(.*?)```", README, re.DOTALL)[1] for word in ("toml", "transcript"))
    parsed = played.Transcript(case)
    read = driver(profile)
    for poll in parsed.polls:
        port = TranscriptPort(poll.entries)
        result = played.read(read, Line("line", port, now_s=port.now_s), parsed.address)
        assert result.error == poll.error
        played.assert_same(result.samples, poll.samples)
    assert {poll.error for poll in parsed.polls} == {"", "BadAnswer", "NoAnswer"}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_profile_loads_and_fits_the_schema(path):
    """The schema for editors and the loader agree on what ships; source and check are told."""
    document = toml_file.load(path)
    assert load(document).driver().channels
    jsonschema.validate(document.data, TEXT_PROFILE.schema())
    head = path.read_text(encoding="utf-8").partition("\nprotocol")[0]
    assert "# Source: " in head
    assert "# Checked: " in head


def test_a_site_keeps_text_profiles_beside_those_of_registers(tmp_path):
    """It wins over a shipped one, brings its own timings, and has no options."""
    (tmp_path / "vaisala_pwd22.toml").write_text(HEAD + 'timeout = "5s"\nsilence = "50ms"\n' + ANSWER + ONE)
    report = registry.Report(registry._Prompt())
    found = registry.read("vaisala_pwd22", {}, tmp_path, report)
    assert [one.name for one in found.driver.channels] == ["x"]
    assert (found.speaks_modbus, found.timeout_s, found.silence_s) == (False, 5, 0.05)
    assert registry.overrides(tmp_path) == ["vaisala_pwd22"]
    assert registry.read("vaisala_pwd22", {"unit": "m"}, tmp_path, report) is None


# Mistakes.


def test_every_mistake_of_a_file_is_told_at_once_with_its_line():
    """Nobody mends a file one mistake a start."""
    text = """protocol = "txt"
timeout = "2"
colour = "red"
[answer]
request = "R{adress}"
longest = 9000
separator = ","
[answer.checksum]
method = "xor9"
format = "decimal"
includes = "both"
[status]
field = 2
bits = { 64 = "fault", 1 = "broken" }
channels = ["b", "z"]
[channels.b]
unit = "ppb"
field = 0
format = "text"
scale = 2
range = [5, 1]
"""
    found = sorted((int(one.partition(":")[0]), one.split(": ")[1]) for one in problems(text))
    assert [key for _, key in found] == [
        "protocol",
        "timeout",
        "colour",
        "answer.count",
        "answer.end",
        "answer.request",
        "answer.longest",
        "answer.checksum.mark",
        "answer.checksum.method",
        "answer.checksum.includes",
        "answer.checksum.includes",
        "status.bits",
        "status.bits.1",
        "status.bits.64",
        "status.channels.1",
        "channels.b.parameter",
        "channels.b.field",
        "channels.b.scale",
        "channels.b.range",
        "channels.b.range",
    ]
    assert [line for line, _ in found] == [1, 2, 3, 4, 4, 5, 6, 8, 9, 11, 11, 14, 14, 14, 15, 16, 18, 20, 21, 21]


TWO = "[answer.a]\nrequest = 'A\\r'\nend = '\\r'\nlongest = 9\n[answer.b]\nrequest = 'B\\r'\nend = '\\r'\nlongest = 9\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (ONE, "answer: is missing"),
        (ANSWER + "[channels]\n", "channels: is empty"),
        (ANSWER, "channels: is missing"),
        ("[answer]\n" + ONE, "answer.longest: is missing"),
        (answer(end="") + ONE, "answer.end: is missing"),
        (answer(request="''") + ONE, "answer.request: expected text"),
        (answer(request="'{x}'") + ONE, "braces only as in {address}"),
        (answer(request="'{sum8:hex}{sum8:hex}'") + ONE, "more than one sum"),
        (answer(request="'{to}R{from}{sum8:hex}'") + ONE, "needs {from}, {to} and a sum, in this order"),
        (answer(request="'{from}R{to}'") + ONE, "needs {from}, {to} and a sum, in this order"),
        (answer(start="'{sum8:hex}'") + ONE, "answer.start: found"),
        (answer(end='"€"') + ONE, "answer.end: found"),
        (answer(separator="','") + ONE, "answer.count: is missing"),
        (answer(count="2") + ONE, "answer.separator: is missing; there are 2 fields"),
        (answer(separator="','", count="2") + channel(field="3"), "channels.x.field: found 3; allowed: 1 to 2"),
        (answer() + channel(field="2"), "allowed: 1 to 1"),
        (answer(separator="','", count="2") + channel(field='"T"'), "expected the number of a field"),
        (answer(separator="','", equals="'='") + ONE, "expected a name in quotes, since the answer has `equals`"),
        (answer(separator="','", header=r"'H\r'") + ONE, "expected a name in quotes, since the answer has `header`"),
        (answer(separator="','", header="'H'", equals="'='") + channel(field='"T"'), "no meaning beside header"),
        (answer(separator="','", header="'H'", count="2") + channel(field='"T"'), "count: has no meaning beside"),
        (answer(separator="','", equals="'='", fixed='{ 1 = "x" }') + channel(field='"T"'), "fixed: has no meaning"),
        (answer(separator="','", count="2", fixed='{ 3 = "x" }') + ONE, "answer.fixed.3: found 3; allowed: 1 to 2"),
        (answer(request="", header="'H'") + channel(field='"T"'), "header: found"),
        (answer(checksum='{ method = "sum16", format = "decimal" }') + ONE, "checksum.mark: is missing"),
        (answer(checksum='{ method = "xor8", includes = "start" }') + ONE, "there is no start"),
        (answer(checksum='{ method = "xor8", includes = "mark" }') + ONE, "there is no mark"),
        (answer(end="", checksum='{ method = "xor8" }') + ONE, "answer.end: is missing"),
        (TWO + ONE, "channels.x.answer: is missing; expected the name of an answer: a, b"),
        (TWO + channel(answer='"c"'), 'channels.x.answer: found "c"; expected the name of an answer'),
        (TWO + channel(answer='"a"'), "answer.b: no channel and no status takes a field of it"),
        (ANSWER + channel(answer='"a"'), "where there is one [answer] without a name"),
        (TWO.replace("request = 'B\\r'\n", "") + channel(answer='"a"'), "answer.b.request: is missing"),
        (ANSWER + channel(scale="0"), "channels.x.scale: found 0"),
        (ANSWER + channel(format='"text"', suffix='"C"'), "no meaning for the format text"),
        (ANSWER + channel(format='"hex"', suffix='"C"'), "no meaning for the format hex"),
        (ANSWER + channel(range="[5, 1]"), "allowed: [lowest, highest]"),
        (ANSWER + channel(field="true"), "expected the number of the field, from 1, or its key"),
        (ANSWER + "[status]\nfield = 1\n" + ONE, "status: says nothing"),
        (ANSWER + '[status]\nfield = 1\nbits = { 1 = "fault" }\n' + ONE, 'add format = "hex" or "decimal"'),
        (
            ANSWER
            + '[status]\nfield = 1\nformat = "hex"\nbits = { 1 = "fault" }\nclear_bits = { 1 = "fault" }\n'
            + ONE,
            "stands in bits as well",
        ),
        (
            ANSWER + '[status]\nfield = 1\nformat = "hex"\nvalues = { G = "ok" }\n' + ONE,
            "expected a whole number in hex",
        ),
        (
            ANSWER + '[status]\nfield = 1\nformat = "decimal"\nvalues = { 1 = "ok", 01 = "fault" }\n' + ONE,
            "means the same as a value before it",
        ),
        (ANSWER + '[status]\nfield = 1\nvalues = { A = "okay" }\n' + ONE, "did you mean ok?"),
        (ANSWER + '[status]\nfield = 1\nvalues = { A = "ok" }\nchannels = ["y"]\n' + ONE, "a channel of this file"),
    ],
)
def test_a_mistake_is_told_in_words(text, expected):
    """Each where it stands, with what is allowed."""
    found = problems(HEAD + text)
    assert any(expected in problem for problem in found), found


def test_one_mistake_is_told_once():
    """No other problem follows from a key that is wrong."""
    for text in (answer(request="'{x}'"), answer(checksum='{ method = "x" }'), answer(longest="0"), answer(end="5")):
        assert len(problems(HEAD + text + ONE)) == 1
    assert len(problems(HEAD + answer(separator="','", count="0") + ONE)) == 1


def test_a_forgotten_protocol_is_guessed():
    """A table `answer` in a profile of registers."""
    with pytest.raises(ConfigError, match='needs protocol = "text"'):
        registry.profile_kinds.load(toml_file.Document(Path("acme.toml"), ANSWER + ONE))


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


def test_an_address_that_cannot_be_written_is_an_error_of_the_read_and_of_the_file(tmp_path):
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
    with pytest.raises(BadAnswer, match="wrong checksum"):
        asked(FIDAS, FIDAS_ASKED, line)


WIND = HEAD + (
    "[answer]\nstart = '\\x02'\nend = '\\r\\n'\nlongest = 40\nseparator = ','\ncount = 6\n"
    'fixed = { 1 = "Q", 4 = "M", 6 = "" }\n'
    "checksum = { method = \"xor8\", mark = '\\x03' }\n"
    '[status]\nfield = 5\nvalues = { 00 = "ok", A = "ok", V = "ok" }\n'
    '[channels]\nwind_speed = { parameter = "wind_speed", unit = "m/s", field = 3 }\n'
)
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


EBAM = registry.SHIPPED / "met_one_ebam.toml"
NAMES = b"Time,B,A,"


def with_header() -> TextDriver:
    return driver(HEAD + answer(separator="','", header=r"'H\r'") + channel(field='"A"'))


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
    text = HEAD + TWO.replace("longest = 9", "longest = 9") + "[channels]\n"
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


# Whatever comes.

PROFILES = [*(load(toml_file.load(path)).driver() for path in SHIPPED), driver(WIND), with_header()]
ALPHABET = b"0123456789.,;=+-#/ \r\n\x01\x02\x03*>ABCDEFTMPQRa<sendVl'%\xff"


class Talker:
    """A port that gives the same pieces to whoever asks or waits."""

    where, is_network = "talker", False

    def __init__(self, pieces: list[bytes]) -> None:
        self.pieces = list(pieces)
        self.time_s = 0.0

    def open(self) -> None: ...

    def close(self) -> None: ...

    def write(self, data: bytes) -> None: ...

    def read(self, timeout_s: float) -> bytes:
        if self.pieces and timeout_s > 0:
            return self.pieces.pop(0)
        self.time_s += max(timeout_s, 0) + 1e-3
        return b""


PIECE = st.one_of(
    st.binary(max_size=40),
    st.lists(st.sampled_from(ALPHABET), max_size=60).map(bytes),
    st.sampled_from([poll.data for file in SHIPPED for case in [*map(played.load, played.files(file.stem))]
                     for one in case.polls for poll in one.entries if poll.mark == "<"]),
)  # fmt: skip


@pytest.mark.parametrize("read", PROFILES, ids=[*(file.stem for file in SHIPPED), "wind", "header"])
@settings(deadline=None)
@given(pieces=st.lists(PIECE, max_size=4), cut=st.integers(0, 40), address=st.integers(0, 70_000))
def test_any_bytes_are_values_or_a_driver_error(read, pieces, cut, address):
    """Never another exception, never another number of samples, never a value that is no number."""
    port = Talker([*pieces[:1], *(piece[cut:] + piece[:cut] for piece in pieces[1:])])
    try:
        samples = read.read(Line("line", port, now_s=lambda: port.time_s), address)
    except DriverError:
        return
    assert [one.channel for one in samples] == [one.name for one in read.channels]
    assert all(one.value is not None or one.flags for one in samples)
    assert all(isinstance(one.value, str | None) or abs(one.value) < float("inf") for one in samples)
