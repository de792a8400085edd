"""SDI-12: the standard's own examples, who a sensor is, and how long one waits for it."""

from __future__ import annotations

import pytest

from drivers import registry
from drivers.errors import BadAnswer, ConfigError, LineDown, NoAnswer, Refused
from drivers.line import Line
from drivers.sdi_12 import crc_characters, identify, query_address
from drivers.transcript import Transcript, TranscriptPort

ONE = [{"name": "level", "parameter": "water_level", "unit": "m"}]


def played(text):
    port = TranscriptPort([entry for poll in Transcript(text).polls for entry in poll.entries])
    return Line("played", port, now_s=port.now_s), port


def read(options, text, address=0):
    line, port = played(text)
    samples = registry.load("sdi_12", {"channels": ONE, **options}).read(line, address)
    port.finish()
    return [sample.value for sample in samples], port.now_s()


@pytest.mark.parametrize(
    "answer",
    [
        "0+3.14OqZ",  # specification 1.4, section 4.4.12.3, a to c
        "0+3.14+2.718+1.414Ipz",
        "0+1.11+2.22+3.33+4.44+5.55+6.66I]q",
        "0+7.77+8.88+9.99IvW",
        "1+2.7+85.2-0.2-2.7+770.5CAH",  # Vaisala WMT700 manual
        "0+295+000.01+00B{T",  # Gill WindSonic manual
        "0+000.00+000.00+00JZY",
        "0AP@",
    ],
)
def test_the_crc_is_three_characters_that_manuals_print(answer):
    """Six bits each, so that every one can be printed."""
    assert crc_characters(answer[:-3].encode()) == answer[-3:]


@pytest.mark.parametrize(("address", "letter"), [(0, "0"), (9, "9"), (10, "A"), (35, "Z"), (36, "a"), (61, "z")])
def test_letters_are_counted_after_the_digits(address, letter):
    """As Vaisala counts them."""
    text = f'> "{letter}M!"\n< "{letter}0001\\r\\n"\n> "{letter}D0!"\n< "{letter}+1.5\\r\\n"'
    assert read({}, text, address)[0] == [1.5]


def test_an_address_that_no_sensor_can_have_is_refused():
    """Said once, asked less often."""
    with pytest.raises(Refused, match="0 to 61"):
        read({}, "", 62)


def test_the_wait_ends_with_the_service_request():
    """The sensor said 20 s and was ready at once."""
    values, waited_s = read({}, '> "0M!"\n< "00201\\r\\n"\n< "0\\r\\n"\n> "0D0!"\n< "0+1.5\\r\\n"')
    assert values == [1.5]
    assert waited_s < 1


@pytest.mark.parametrize("options", [{"ready": "time"}, {"measurement": "C"}])
def test_without_a_service_request_the_time_is_waited_out(options):
    """By choice, and in a concurrent measurement."""
    letter = options.get("measurement", "M")
    values, waited_s = read(options, f'> "0{letter}!"\n< "00201\\r\\n"\n> "0D0!"\n< "0+1.5\\r\\n"')
    assert values == [1.5]
    assert waited_s == pytest.approx(20, abs=0.1)


def test_a_service_request_in_the_same_moment_counts_in_pieces_too():
    """It may come together with the answer, or its end a little later."""
    assert read({}, '> "0M!"\n< "00201\\r\\n0"\n< "\\r\\n"\n> "0D0!"\n< "0+1.5\\r\\n"')[0] == [1.5]


def test_a_service_request_that_does_not_come_costs_what_the_sensor_said_and_a_second():
    """The sensor was stopped, by a break say; it must measure again."""
    line, port = played('> "0M!"\n< "00051\\r\\n"')
    with pytest.raises(NoAnswer):
        registry.load("sdi_12", {"channels": ONE}).read(line, 0)
    assert port.now_s() == pytest.approx(6, abs=0.1)


def test_another_sensor_than_configured_is_noticed():
    """One was exchanged for another model; it is asked again the next time."""
    driver = registry.load("sdi_12", {"channels": ONE, "identity": "13Lufft"})
    for _ in range(2):
        line, port = played('> "0I!"\n< "013GillInst 2487B0611220012\\r\\n"')
        with pytest.raises(BadAnswer, match="GillInst"):
            driver.read(line, 0)
        port.finish()


def test_a_sensor_that_was_silent_is_asked_again_who_it_is():
    """Another one may have been plugged in, which measures something else."""
    who = '> "0I!"\n< "013Lufft.deWS600u022\\r\\n"\n'
    value = '> "0R0!"\n< "0+1.5\\r\\n"\n'
    other = '> "0I!"\n< "013GillInst 2487B0611220012\\r\\n"\n'
    driver = registry.load("sdi_12", {"channels": ONE, "identity": "13Lufft", "measurement": "R0"})
    line, port = played(who + value + value + '> "0R0!"\n' + other)
    assert [driver.read(line, 0)[0].value for _ in range(2)] == [1.5, 1.5]
    with pytest.raises(NoAnswer):
        driver.read(line, 0)
    with pytest.raises(BadAnswer, match="GillInst"):
        driver.read(line, 0)
    port.finish()


def test_after_the_line_was_down_a_sensor_is_asked_again_who_it_is():
    """So it is after silence; without `identity` nobody is asked."""

    class Gone:
        def ask(self, *_, **__):
            raise LineDown("gone")

    for identity, known in (("13Lufft", '> "0I!"\n< "013Lufft.deWS600u022\\r\\n"\n'), ("", "")):
        driver = registry.load("sdi_12", {"channels": ONE, "identity": identity, "measurement": "R0"})
        line, port = played((known + '> "0R0!"\n< "0+1.5\\r\\n"\n') * 2)
        driver.read(line, 0)
        with pytest.raises(LineDown):
            driver.read(Gone(), 0)
        assert driver.read(line, 0)[0].value == 1.5
        port.finish()


def test_a_sensor_says_who_and_where_it_is():
    """From a Python prompt; the second only of a lone sensor."""
    line, port = played('> "0I!"\n< "013Lufft.deWS600u022\\r\\n"\n= a 1 ok\n> "?!"\n< "z\\r\\n"')
    assert identify(line, 0) == "13Lufft.deWS600u022"
    assert query_address(line) == 61
    port.finish()
    line, _ = played('> "?!"\n< "01\\r\\n"')
    with pytest.raises(BadAnswer):
        query_address(line)


@pytest.mark.parametrize("text", ["+1.5.2", "+", "1.5", "+1e5", "+12345678", "+1,5", " +1.5", "+1.5 "])
def test_what_is_not_a_value_is_refused(text):
    """A sign, and seven digits at most."""
    with pytest.raises(BadAnswer):
        read({}, f'> "0M!"\n< "00001\\r\\n"\n> "0D0!"\n< "0{text}\\r\\n"')


def test_a_name_that_stands_twice_is_refused():
    """Channels are named once."""
    with pytest.raises(ConfigError, match="twice"):
        registry.load("sdi_12", {"channels": ONE * 2})
