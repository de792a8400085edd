"""The arithmetic of a line's time."""

from dataclasses import replace

import pytest

from agent.config_lines import ANSWER_DELAY_S, TCP_DELAY_S, char_time_s, rtu_silence_s
from agent.plan import exchange_s, plan
from agent.settings import InstrumentSettings, LineSettings
from drivers.driver import Exchange
from drivers.sample import Channel

RTU = LineSettings(
    name="rs485", kind="serial", where="/dev/x", port=0, framer="rtu", baud=9600, bits=8, parity="none", stop=1,
    timeout_s=1.0, silence_s=0.004, max_block=125, char_time_s=10 / 9600,
)  # fmt: skip
TCP = replace(RTU, name="rack", kind="tcp", framer="tcp", silence_s=0.0, char_time_s=0.0, answer_delay_s=TCP_DELAY_S)


class Recorder:
    """A driver that only has a plan."""

    channels = (Channel("x", "X", ""),)

    def __init__(self, *exchanges):
        self.exchanges = exchanges

    def read(self, line, address):
        raise AssertionError("a plan reads nothing")

    def plan(self, framer):
        return self.exchanges


def instrument(name, interval_s, *exchanges, silence_s=0.0):
    return InstrumentSettings(name, "recorder", Recorder(*exchanges), "rs485", 1, interval_s, None, silence_s, ("x",))


@pytest.mark.parametrize(
    ("wire", "bits"),
    [((9600, 8, "none", 1), 10), ((9600, 8, "even", 1), 11), ((9600, 7, "odd", 2), 11), ((9600, 7, "none", 1), 9)],
)
def test_a_character_has_a_start_bit_and_all_its_bits(wire, bits):
    """Parity and second stop bit count."""
    assert char_time_s(*wire) == bits / 9600


def test_rtu_silence_is_that_of_the_specification():
    """3.5 characters up to 19200 baud, then 1.75 ms (Modbus over serial line V1.02, 2.5.1.1)."""
    assert rtu_silence_s(19_200, 11 / 19_200) == pytest.approx(0.002005, abs=1e-6)
    assert rtu_silence_s(38_400, 11 / 38_400) == 0.00175


def test_an_exchange_costs_its_bytes_its_silences_and_time_to_answer():
    """8 bytes out and 92 in at 9600 8N1 are 104.2 ms."""
    asked = Exchange("x", 8, 92)
    assert exchange_s(asked, RTU) == pytest.approx(1000 / 9600 + 0.004 + ANSWER_DELAY_S)
    assert exchange_s(asked, RTU, 0.25) == pytest.approx(1000 / 9600 + 0.254 + ANSWER_DELAY_S)
    assert exchange_s(asked, TCP) == TCP_DELAY_S
    assert exchange_s(asked, replace(RTU, answer_delay_s=0.1)) == pytest.approx(1000 / 9600 + 0.104)


def test_what_is_sent_only_at_the_start_is_no_part_of_a_cycle():
    """The line is busy with it once."""
    asked, told = Exchange("x", 8, 92), Exchange("at start: WRITE holding 1", 8, 8, is_once=True)
    cycle = plan(RTU, [instrument("exo", 30.0, told, asked)]).cycles[0]
    assert cycle.seconds == pytest.approx(exchange_s(asked, RTU))
    assert [asking.exchange for asking in cycle.askings] == [told, asked]


def test_who_talks_unasked_needs_no_time_to_answer():
    """Nothing is sent, so nobody has to think."""
    assert exchange_s(Exchange("listen", 0, 96), RTU) == pytest.approx(0.1 + 0.004)


def test_a_line_that_cannot_fit_says_how_much_is_asked_of_it():
    """What is needed is put against the shortest interval."""
    big = Exchange("x", 8, 232)  # 250 ms + silence + delay
    full = plan(RTU, [instrument(f"i{n}", 1.0, big) for n in range(5)])
    assert full.share == pytest.approx(5 * 0.274)
    assert full.overload() == "rs485 needs 1.37 s of every 1 s"
    assert full.lateness() == ""
    assert plan(RTU, [instrument(f"i{n}", 2.0, big) for n in range(5)]).overload() == ""


def test_a_slow_instrument_beside_a_fast_one_is_told():
    """The line is not full, but now and then the fast one must wait for longer than its interval."""
    slow = instrument("slow", 60.0, *[Exchange("x", 8, 232)] * 5)
    fast = instrument("fast", 1.0, Exchange("x", 8, 8))
    both = plan(RTU, [slow, fast])
    assert both.overload() == ""
    assert both.lateness() == "rs485 takes 1.41 s when all are due at once: fast will miss slots"
    assert plan(RTU, [fast]).lateness() == ""


def test_an_empty_line_is_free():
    """No instruments, no time."""
    empty = plan(RTU, [])
    assert (empty.seconds, empty.share, empty.overload(), empty.lateness()) == (0, 0, "", "")
