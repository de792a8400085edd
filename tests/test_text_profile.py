"""Text profiles: what a file may say, how its mistakes are told, and that nothing that comes can hurt."""

from __future__ import annotations

import re
from pathlib import Path

import jsonschema
import played
import pytest
from hypothesis import given
from hypothesis import strategies as st
from text_profiles import ANSWER, HEAD, ONE, SHIPPED, TWO, WIND, answer, asked, channel, driver, with_header

from drivers import profile_kinds, registry, text_profile, toml_file
from drivers.checksum import xor8
from drivers.errors import ConfigError, DriverError
from drivers.line import Line
from drivers.sample import Flag, Sample
from drivers.text_profile import TEXT_PROFILE, load
from drivers.transcript import TranscriptPort

EXAMPLE = Path(__file__).parent.parent / "config/profiles/acme_200.toml"
README = (Path(registry.__file__).with_name("README.md")).read_text(encoding="utf-8")


def problems(text: str) -> list[str]:
    """Load a profile that is wrong, and give its problems without the name of the file."""
    with pytest.raises(ConfigError) as caught:
        driver(text)
    return [str(problem).removeprefix("acme.toml:") for problem in caught.value.problems]


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
        profile_kinds.load(toml_file.Document(Path("acme.toml"), ANSWER + ONE))


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
