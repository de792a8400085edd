"""The AK protocol: what a transcript cannot say."""

from __future__ import annotations

import pytest

from drivers import registry
from drivers.errors import BadAnswer, ConfigError, Refused
from drivers.line import Line
from drivers.sample import Flag
from drivers.transcript import Transcript, TranscriptPort

CAI = {"protocol": "akon", "channels": {"1": {"name": "nox", "parameter": "NOx", "unit": "ppm"}}}
GASERA = {"protocol": "gasera", "channels": {"74-82-8": {"name": "ch4", "parameter": "CH4", "unit": "ppm"}}}


def play(options, tail, *reads):
    """Give the samples of each read, a list of pairs of command and answer."""
    pairs = [pair for pairs in reads for pair in pairs]
    text = "\n".join(f'> "\\x02 {command}{tail}\\x03"\n< "\\x02 {answer}\\x03"' for command, answer in pairs)
    port = TranscriptPort([entry for poll in Transcript(text).polls for entry in poll.entries])
    line, driver = Line("played", port, now_s=port.now_s), registry.load("ak", options)
    samples = [list(driver.read(line, 1)) for _ in reads]
    port.finish()
    return samples


def cai(*pairs, **options):
    """Read a CAI once."""
    return play(CAI | options, " K0", pairs)[0]


def gasera(status, time):
    """Give the questions and answers of one read of a Gasera."""
    return [("ASTS", f"ASTS 0 {status}"), ("AERR", "AERR 0 "), ("ACON", f"ACON 0 {time} 74-82-8 1.9")]


def test_errors_are_asked_for_only_if_the_counter_says_so():
    """The counter of either answer will do."""
    for first, second in ((0, 2), (2, 0)):
        samples = cai(("AKON", f"AKON {first} 35.1"), ("ASTZ", f"ASTZ {second} SREM SMGA"), ("ASTF", "ASTF 2 7 9"))
        assert samples == [("nox", 35.1, (Flag.FAULT,)), ("errors", "7 9", (Flag.FAULT,))]


def test_the_words_of_a_state_are_for_the_owner_to_add():
    """A span gas, as this instrument may call it."""
    pairs = ("AKON", "AKON 0 35.1"), ("ASTZ", "ASTZ 0 SREM SEGA")
    assert cai(*pairs)[0].flags == ()
    assert cai(*pairs, states={"SEGA": "calibration"})[0].flags == (Flag.CALIBRATION,)


def test_a_damaged_result_of_a_gasera_is_not_lost():
    """It is there still, and whole when it is asked for again."""
    reads = [*gasera(5, 1000), *gasera(5, 2000), *gasera(5, 2000), *gasera(5, 2000)]
    reads[5] = ("ACON", "ACON 0 2000 74-82-8 1.?9")
    text = "\n".join(f'> "\\x02 {command} K0 \\x03"\n< "\\x02 {answer}\\x03"' for command, answer in reads)
    port = TranscriptPort([entry for poll in Transcript(text).polls for entry in poll.entries])
    line, driver = Line("played", port, now_s=port.now_s), registry.load("ak", GASERA)
    assert driver.read(line, 1)[0].value == 1.9
    with pytest.raises(BadAnswer):
        driver.read(line, 1)
    assert [sample.value for sample in driver.read(line, 1)][:1] == [1.9]
    assert driver.read(line, 1) == []
    port.finish()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ("???? 0", Refused),
        ("AKON 0 K0 OF", Refused),
        ("AKON 0 SE", Refused),
        ("AKON 0 DF", Refused),
        ("AKON 0 3 NA", Refused),
        ("AKON 0 BS", BadAnswer),
        ("AKON", BadAnswer),
        ("AKON x 1.0", BadAnswer),
        ("ACON 0 1.0", BadAnswer),
    ],
)
def test_a_no_is_told_from_a_bad_answer(answer, error):
    """As the manuals list them; busy passes."""
    with pytest.raises(error):
        cai(("AKON", answer))


@pytest.mark.parametrize(
    ("word", "value"), [("1", 1), ("-0.5", -0.5), (".5", 0.5), ("3.26E5", 326_000), ("#9999", None), ("NaN", None)]
)
def test_numbers_are_read_as_they_are_written(word, value):
    """A # before a value says that it is not valid."""
    assert cai(("AKON", f"AKON 0 {word}"), ("ASTZ", "ASTZ 0 SREM SMGA"))[0].value == value


@pytest.mark.parametrize("word", ["1e999", "12,5", "M1", "1.2.3"])
def test_what_is_no_number_is_a_bad_answer(word):
    """Never a value."""
    with pytest.raises(BadAnswer):
        cai(("AKON", f"AKON 0 {word}"), ("ASTZ", "ASTZ 0 SREM SMGA"))


def test_what_an_idle_gasera_holds_at_the_start_is_no_value_of_now():
    """It may be a week old."""
    [samples] = play(GASERA, " K0 ", gasera(2, 100))
    assert samples == [("ch4", None, (Flag.STOPPED,)), ("errors", "none", (Flag.STOPPED,))]


def test_a_result_of_a_gasera_counts_once_and_whenever_its_time_is_new():
    """Also one that it finished just before it was calibrated."""
    reads = play(GASERA, " K0 ", gasera(5, 100), gasera(5, 100), gasera(6, 200), gasera(6, 200))
    assert [[sample.value for sample in samples][:1] for samples in reads] == [[1.9], [], [1.9], [None]]


@pytest.mark.parametrize("result", ["100 74-82-8", "x 74-82-8 1.9", "100 124-38-9 1.9", "100 74-82-8 1 100 74-82-8 2"])
def test_a_result_that_is_not_made_of_triples_gives_no_values(result):
    """Cut short, without a time, without the gas, twice the gas."""
    pairs = [("ASTS", "ASTS 0 5"), ("AERR", "AERR 0 "), ("ACON", f"ACON 0 {result}")]
    with pytest.raises(BadAnswer):
        play(GASERA, " K0 ", pairs)


@pytest.mark.parametrize(
    "options",
    [
        CAI | {"channels": {}},
        CAI | {"channels": GASERA["channels"]},
        GASERA | {"channels": CAI["channels"]},
        GASERA | {"channels": {"74-82-8": {"name": "ch4", "parameter": "CH4", "unit": "ppb"}}},
    ],
)
def test_channels_that_do_not_fit_the_protocol_are_refused(options):
    """Positions for one, CAS numbers and ppm for the other."""
    with pytest.raises(ConfigError, match="channels"):
        registry.load("ak", options)
