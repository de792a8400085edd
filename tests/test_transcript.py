"""A transcript says what was said on a line, is read back as it was written, and is played to the byte."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.sample import Flag, Sample
from drivers.trace import bytes_of, written
from drivers.transcript import Entry, Mismatch, Transcript, TranscriptPort, load, sample_line

TEXT = """
# Acme 100, invented
#: framer rtu
#: address 7
#: options model = "100"
#: options bits.1 = "fault"
> 01 02
< "o3 41.7\\r"
= o3 41.7 ok
= flow - no_comm,fault
= serial "A 1" ok

< 03
! BadAnswer
> 01 02
"""


def test_a_transcript_has_settings_and_reads():
    """Head lines are settings, samples and errors close a read."""
    read = Transcript(TEXT)
    assert (read.framer, read.address, read.evidence) == ("rtu", 7, "invented")
    assert read.options == {"model": "100", "bits": {"1": "fault"}}
    assert [len(poll.entries) for poll in read.polls] == [2, 1, 1]
    assert [poll.error for poll in read.polls] == ["", "BadAnswer", ""]
    assert read.polls[0].entries[1] == Entry("<", b"o3 41.7\r", 8)
    assert read.polls[0].samples == [
        Sample("o3", 41.7),
        Sample("flow", None, (Flag.NO_COMM, Flag.FAULT)),
        Sample("serial", "A 1"),
    ]


def test_a_read_may_bring_nothing_new():
    """An instrument that measures once an hour is asked more often; `=` alone closes such a read."""
    read = Transcript('> "Q"\n< "1"\n= so2 1 ok\n> "Q"\n< "1"\n=\n> "Q"\n< "2"\n= so2 2 ok')
    assert [(len(poll.entries), len(poll.samples), poll.is_unchanged) for poll in read.polls] == [
        (2, 1, False),
        (2, 0, True),
        (2, 1, False),
    ]


@pytest.mark.parametrize("sample", Transcript(TEXT).polls[0].samples, ids=lambda sample: sample.channel)
def test_a_sample_is_written_as_it_is_read(sample):
    """A line that the recorder writes means the same to the reader."""
    assert Transcript(sample_line(sample)).polls[0].samples == [sample]


@given(st.binary(min_size=1))
def test_any_bytes_are_read_back_as_they_were_written(data):
    """The trace loses nothing."""
    assert bytes_of(written(data)) == data
    assert "\n" not in written(data)


@pytest.mark.parametrize("data", [b"lrec\r", b"\x02DA\x0304", b'a "quoted" \\ word\t\r\n'])
def test_text_is_written_as_text(data):
    """A person reads it; what does not print is escaped."""
    assert bytes_of(written(data)) == data
    assert written(data).startswith('"') or b"\t" in data


@pytest.mark.parametrize(
    "line",
    [
        "? 01",
        "> 0",
        '> "open',
        "= o3",
        "= o3 41.7",
        "= o3 x ok",
        "= o3 1 good",
        "#: colour red",
        "#: address one",
    ],
)
def test_a_mistake_is_named_with_its_line(line):
    """A wrong line of a transcript is found by file and number."""
    with pytest.raises(ValueError, match="case:2: "):
        Transcript(f"# built\n{line}", "case")


def test_a_transcript_is_loaded_from_a_file(tmp_path):
    """Its name leads back to the file."""
    path = tmp_path / "case.txt"
    path.write_text(TEXT, encoding="utf-8")
    assert load(path).name == str(path)


def port(text):
    return TranscriptPort(Transcript(text).polls[0].entries, "case")


def test_playing_fails_on_another_byte_and_on_more_than_was_written():
    """What is sent must be what was sent then."""
    playing = port("> 01 02\n< 03")
    with pytest.raises(Mismatch, match="line 1"):
        playing.write(b"\x01\x03")
    playing.write(b"\x01\x02")
    with pytest.raises(Mismatch):
        playing.write(b"\x01\x02")


def test_playing_fails_on_bytes_left_over():
    """What was neither sent nor read is a mistake as well."""
    playing = port("> 01\n< 02\n< 03")
    playing.write(b"\x01")
    assert playing.read(0) == b"\x02"
    with pytest.raises(Mismatch, match="line 3"):
        playing.finish()
    assert playing.read(0) == b"\x03"
    playing.finish()
    with pytest.raises(Mismatch, match="expected the end"):
        playing.write(b"\x01")


def test_time_passes_where_nothing_comes():
    """A timeout of an hour takes no time; unasked bytes come to one who waits."""
    playing = port("< 05")
    assert playing.read(0) == b""
    assert playing.read(1) == b"\x05"
    assert playing.read(3600) == b""
    assert playing.now_s() >= 3600
