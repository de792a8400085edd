"""Thermo analyzers over C-Link: what a transcript cannot say."""

from __future__ import annotations

import pytest

from drivers import registry
from drivers.errors import BadAnswer, ConfigError, DriverError, LineDown, Refused
from drivers.line import Line
from drivers.sample import Flag
from drivers.transcript import Transcript, TranscriptPort

RECORD = "00:08 07-28-21  D800500 0.162 724.798*"
LIST = "list lrec\\nfield index variable\\n 1  1 o3\\n 2 11 pres*"
O3 = {"o3": {"name": "o3", "parameter": "O3", "unit": "ppb"}}
ALONE = {"model": "49i", "prefix": "none", "channels": O3}


def conversation(*pairs):
    """Write down questions and answers as a transcript does."""
    return "\n".join(f'> "{asked}\\r"\n< "{answered}\\r"' for asked, answered in pairs)


def play(text, options, reads=1):
    """Read that often, and give the samples or the error of each read."""
    port = TranscriptPort([entry for poll in Transcript(text).polls for entry in poll.entries])
    line = Line("played", port, now_s=port.now_s)
    driver = registry.load("thermo_c_link", options)
    results = []
    for _ in range(reads):
        try:
            results.append(driver.read(line, 1))
        except DriverError as error:
            results.append(error)
    port.finish()
    return results


def test_the_list_of_fields_is_asked_for_once():
    """The table describes every record that follows."""
    record = ("lr00", f"lr00\\n{RECORD}")
    text = conversation(record, ("list lrec", LIST), record)
    results = play(text, ALONE | {"command": "lr00"}, reads=2)
    assert [samples[0].value for samples in results] == [0.162, 0.162]


def test_the_list_of_fields_is_asked_for_again_after_a_failed_read():
    """Somebody may have set the record up anew while the instrument was away."""
    record = ("lr00", f"lr00\\n{RECORD}")
    text = conversation(record, ("list lrec", LIST), ("lr00", "lr00 bad cmd"), record, ("list lrec", LIST))
    first, failed, last = play(text, ALONE | {"command": "lr00"}, reads=3)
    assert isinstance(failed, Refused)
    assert [sample.value for sample in first] == [sample.value for sample in last]


def test_the_list_of_fields_is_asked_for_again_after_the_line_was_down():
    """The instrument may have been restarted with its columns the other way round."""

    class Torn(TranscriptPort):
        away_s = 0.0
        is_torn = False

        def now_s(self):
            return super().now_s() + self.away_s

        def write(self, data):
            if self.is_torn:
                self.is_torn = False
                raise LineDown("reset by peer")
            super().write(data)

    swapped = "list lrec\\nfield index variable\\n 1  1 pres\\n 2 11 o3*"
    again = "00:09 07-28-21  D800500 724.798 0.162*"
    text = conversation(
        ("lr00", f"lr00\\n{RECORD}"), ("list lrec", LIST), ("lr00", f"lr00\\n{again}"), ("list lrec", swapped)
    )
    port = Torn([entry for poll in Transcript(text).polls for entry in poll.entries])
    line = Line("played", port, now_s=port.now_s)
    driver = registry.load("thermo_c_link", ALONE | {"command": "lr00"})
    assert driver.read(line, 1)[0].value == 0.162
    port.is_torn = True
    with pytest.raises(LineDown):
        driver.read(line, 1)
    port.away_s = 60.0
    assert driver.read(line, 1)[0].value == 0.162
    port.finish()


@pytest.mark.parametrize(
    "listed",
    [
        "list lrec\\nfield index variable*",
        "list lrec\\nfield index variable\\n 1  1 o3\\n 3 11 pres*",
        "list lrec\\nindex variable\\n 1  1 o3\\n 2 11 pres*",
        "list lrec\\nfield index variable\\n 1  1 o3\\n 2 11 pres\\n 3 12 bncht*",
    ],
)
def test_a_list_that_does_not_fit_the_record_gives_no_values(listed):
    """Empty, with a gap, without its head, or longer than the record."""
    [error] = play(conversation(("lr00", f"lr00\\n{RECORD}"), ("list lrec", listed)), ALONE | {"command": "lr00"})
    assert isinstance(error, BadAnswer)


def test_a_nameless_erec_is_not_guessed_at():
    """No list says what its numbers are."""
    [error] = play(conversation(("erec", f"erec\\n{RECORD}")), ALONE | {"command": "erec"})
    assert "without names" in str(error)


def test_a_captured_no_is_a_refusal():
    """A 49i that is not in dual range mode, captured by mkndaq."""
    text = conversation(("high o3 coef", "high o3 coef can't, wrong settings*\\nsum 0c40"))
    channels = {"high o3 coef": {"name": "coefficient", "parameter": "slope", "unit": ""}}
    [error] = play(text, ALONE | {"command": "individual", "checksum": "required", "channels": channels})
    assert isinstance(error, Refused)


def test_a_value_that_stands_twice_in_a_record_does_not_count():
    """Two records that ran into each other are no record."""
    [error] = play(conversation(("lrec", "lrec\\n00:08 07-28-21 flags 0 o3 1.0 o3 2.0")), ALONE)
    assert isinstance(error, BadAnswer)


def test_a_hexadecimal_word_that_looks_like_a_huge_number_harms_nothing():
    """1E690 is 124560 counts in an erec, and no power of ten."""
    record = "erec\\n00:08 07-28-21 flags 0 o3 1.0 int a 1E690 int b 17658"
    cell = {"int a": {"name": "cell_a_intensity", "parameter": "cell_a_intensity", "unit": "Hz"}}
    for channels, expected in ((O3, 1.0), (cell, 0x1E690)):
        [samples] = play(conversation(("erec", record)), ALONE | {"command": "erec", "channels": channels})
        assert samples[0].value == expected


@pytest.mark.parametrize(
    ("model", "word", "flagged"),
    [
        ("49i", "1C00554A", {"cell_a", "cell_b", "bench", "lamp", "flow_a", "flow_b", "pressure", "o3"}),
        ("49i", "00000001", {"bench", "o3"}),
        ("49c", "00000001", {"bench", "o3"}),
        ("49c-ps", "00000001", {"ozonator"}),
        ("49c-ps", "00000010", {"bench", "o3"}),
        ("49i", "C0000000", set()),
        ("42i", "FFFFFFFF", set()),
    ],
)
def test_alarm_bits_flag_what_they_are_about(model, word, flagged):
    """The first is the example of the 49i's manual; a model whose bits are not known flags nothing."""
    names = "o3 1 cellai 1 cellbi 1 bncht 1 lmpt 1 o3lt 1 flowa 1 flowb 1 pres 1 no 1 no2 1 nox 1"
    text = conversation(("lrec", f"lrec\\n13:00 08-12-05 flags {word} {names}"))
    [samples] = play(text, {"model": model, "prefix": "none"})
    found = {sample.channel for sample in samples if Flag.FAULT in sample.flags}
    assert {name.split("_int")[0].split("_temp")[0].removesuffix("_lamp") for name in found} == flagged


def test_channels_of_ones_own_keep_the_alarms_of_their_word():
    """A bench that is called otherwise is still the bench."""
    own = {"bncht": {"name": "oven", "parameter": "bench_temperature", "unit": "°C"}}
    [samples] = play(conversation(("lrec", "lrec\\n13:00 08-12-05 flags 1 bncht 30.1")), ALONE | {"channels": own})
    assert samples[0] == ("oven", 30.1, (Flag.FAULT,))


@pytest.mark.parametrize("name", ["o3", "flags"])
def test_two_channels_of_one_name_are_refused(name):
    """One of them would be lost."""
    channels = O3 | {"hio3": {"name": name, "parameter": "O3", "unit": "ppb"}}
    with pytest.raises(ConfigError, match="one name"):
        registry.load("thermo_c_link", {"model": "49i", "channels": channels})


@pytest.mark.parametrize("command", ["lrec", "individual"])
@pytest.mark.parametrize("word", ["set zero", "set avg time 1", "set", "push do", "save"])
def test_a_command_that_sets_something_is_no_channel(word, command):
    """The file is refused with what is wrong; nothing is asked."""
    channels = {word: {"name": "x", "parameter": "x", "unit": ""}}
    with pytest.raises(ConfigError, match=rf"channels.*{word}.*none that sets something"):
        registry.load("thermo_c_link", {"model": "49i", "command": command, "channels": channels})


def test_a_word_that_only_begins_like_one_that_sets_may_be_a_channel():
    channels = {"setpoint": {"name": "x", "parameter": "x", "unit": ""}}
    assert registry.load("thermo_c_link", {"model": "49i", "channels": channels}).channels[0].name == "x"
