"""Every due slot is accounted for, and what is wrong with one instrument stays with that instrument."""

import threading
from itertools import pairwise

import pytest
from instrument_peers import PtyInstrument, answer_pdu, framed, unframed
from simulated_station import SETTINGS, Simulation, TenRegisters, damaged, prompt, refusing, silent
from waiting import until

from agent.poller import Poller
from agent.say import Say
from agent.settings import InstrumentSettings
from drivers.errors import BadAnswer, NoAnswer
from drivers.line import Line, Timing
from drivers.port import SerialPort
from drivers.sample import Channel, Flag, Sample


@pytest.fixture
def simulate(monkeypatch):
    return lambda *words, **settings: Simulation(monkeypatch, *words, **settings)


# ---- a healthy line


def test_every_slot_of_every_instrument_becomes_a_record_with_values(simulate):
    station = simulate(10).run(60)
    for number in range(1, 11):
        assert len(station.good(number)) == 60
        assert station.good(number)[0]["values"]["r3"] == 100 * number + 3


def test_polls_begin_on_their_slots_one_after_the_other(simulate):
    """Ten conversations of 40 ms fit into the second; the record's time is the middle of its conversation."""
    station = simulate(10).run(60)
    for number in range(1, 11):
        phases = [record["t"] % 1.0 for record in station.good(number)]
        assert max(phases) - min(phases) < 0.002
        assert phases[0] == pytest.approx(0.02 + 0.043 * (number - 1), abs=0.02)


def test_a_healthy_line_logs_nothing(simulate, lines):
    simulate(3).run(3600)
    assert lines() == []


def test_the_time_of_a_record_is_the_middle_of_the_exchange(simulate):
    station = simulate(1).run(10)
    exchange_s = 0.005 + (8 + 25) * 10 / 9600
    assert [record["t"] for record in station.of(1)] == pytest.approx(
        [slot + exchange_s / 2 for slot in range(10)], abs=0.002
    )


def test_only_the_channels_that_are_to_be_published_are_in_the_record(monkeypatch):
    station = Simulation(monkeypatch)
    (polled,) = station.poller.instruments
    polled.published, polled.publishes_all = frozenset({"r2", "r5"}), False
    station.run(3)
    assert station.of(1)[0]["values"] == {"r2": 102, "r5": 105}


class Hourly(TenRegisters):
    """An instrument that has a new result at every third read."""

    reads = 0

    def read(self, line, address):
        self.reads += 1
        samples = super().read(line, address)
        return samples if self.reads % 3 == 1 else []


def test_a_poll_that_brings_no_new_result_is_a_record_without_values(monkeypatch, lines):
    """The slot is accounted for, a result is stored once, and nothing is wrong."""
    station = Simulation(monkeypatch)
    (polled,) = station.poller.instruments
    polled.driver = Hourly(100)
    station.run(6)
    assert [len(record["values"]) for record in station.of(1)] == [10, 0, 0, 10, 0, 0]
    assert not any("error" in record or "flags" in record for record in station.of(1))
    assert lines() == []


# ---- an instrument that does not answer


def test_one_dead_instrument_of_ten_at_9600_baud_leaves_the_others_nine_polls_of_ten(simulate):
    """Ten minutes with a timeout of 1 s, the instrument dead from the start."""
    station = simulate(10)
    station.set(4, silent)
    station.run(600)
    for number in {*range(1, 11)} - {4}:
        assert len(station.good(number)) >= 0.9 * 600
        assert station.slots(number) == 600
    assert not station.good(4)


def test_one_instrument_that_answers_every_other_time_leaves_the_others_nine_polls_of_ten(simulate):
    station = simulate(10)
    asked = []

    def moody(request):
        asked.append(request)
        return prompt(request) if len(asked) % 2 else None

    station.set(4, moody)
    station.run(600)
    for number in {*range(1, 11)} - {4}:
        assert len(station.good(number)) >= 0.9 * 600


def test_an_instrument_that_answers_again_is_back_within_one_back_off_step(simulate):
    station = simulate(10)
    station.set(4, silent)
    station.set(4, prompt, at_s=300)
    station.run(600)
    assert 300 <= station.good(4)[0]["t"] <= 300 + 60 + 2
    later = [record for record in station.of(4) if record["t"] > 370]
    assert len(later) == len([record for record in later if "error" not in record]) >= 225


def test_a_silence_of_one_poll_costs_that_poll_and_no_other(simulate):
    station = simulate(3)
    station.set(2, silent, at_s=9.5)
    station.set(2, prompt, at_s=10.7)
    station.run(60)
    assert [round(record["t"]) for record in station.of(2) if "error" in record] == [11]
    assert len(station.good(2)) >= 57
    assert station.slots(2) == 60


def test_a_poll_that_failed_is_stored_with_nulls_and_the_reason(simulate):
    station = simulate(1)
    station.set(1, silent)
    station.run(1)
    (record,) = station.of(1)
    assert record["values"] == {f"r{n}": None for n in range(10)}
    assert record["flags"] == {f"r{n}": "no_comm" for n in range(10)}
    assert record["error"] == "no_answer"


def test_a_damaged_answer_is_told_from_silence(simulate):
    station = simulate(1)
    station.set(1, damaged)
    station.run(1)
    assert station.of(1)[0]["error"] == "bad_answer"


@pytest.mark.parametrize("behaviour", [silent, damaged, refusing])
def test_every_slot_is_accounted_for_by_a_poll_or_by_an_outage(simulate, behaviour):
    station = simulate(3, interval_s=5.0)
    station.set(2, behaviour, at_s=100)
    station.set(2, prompt, at_s=700)
    station.run(1800)
    assert [station.slots(number) for number in (1, 2, 3)] == [360, 360, 360]


def test_an_outage_is_recorded_when_it_begins_and_when_it_ends(simulate):
    station = simulate(1, interval_s=5.0)
    station.set(1, silent)
    station.set(1, prompt, at_s=40)
    station.run(120)
    begun, ended = station.of(1, "outage")[:2]
    assert begun["reason"] == ended["reason"] == "back_off"
    assert begun["to"] is None
    assert begun["from"] == ended["from"]
    assert "span_s" not in begun
    assert ended["span_s"] == pytest.approx(5.0 * ended["slots"], abs=0.1)


def test_an_outage_is_not_dated_while_the_clock_is_not_trusted(simulate):
    station = simulate(1, is_dated=False)
    station.set(1, silent)
    station.run(60)
    assert station.of(1, "outage")
    assert all("from" not in record for record in station.of(1, "outage"))


def test_stopping_ends_an_outage_that_is_open(simulate):
    station = simulate(1)
    station.set(1, silent)
    station.run(15)
    assert "span_s" in station.of(1, "outage")[-1]


def test_slots_that_came_before_the_stop_are_accounted_for_though_nobody_asks_any_more(simulate):
    """Four instruments take half a second, and the stop comes in the middle of the second cycle."""
    station = simulate(4, interval_s=0.1)
    station.run(1.05)
    for number in range(1, 5):
        assert station.slots(number) == 11


def test_a_poll_that_the_end_does_not_wait_for_is_accounted_for_once(monkeypatch):
    """Its record would come too late; another thread says what became of its slots."""
    station = Simulation(monkeypatch, 2)
    begun, released = threading.Event(), threading.Event()

    class Stuck(TenRegisters):
        def read(self, line, address):
            begun.set()
            released.wait(10)
            return super().read(line, address)

    station.poller.instruments[0].driver = Stuck(100)
    thread = threading.Thread(target=station.run, args=(3,))
    thread.start()
    assert begun.wait(10)
    station.poller.give_up()
    assert [(r["reason"], r["slots"]) for r in station.of(1, "outage")] == [("line_busy", 1)]
    assert [(r["reason"], r["slots"]) for r in station.of(2, "outage")] == [("line_busy", 1)]
    released.set()
    thread.join(10)
    assert len(station.records) == 2


def test_a_dead_instrument_is_one_line_when_it_breaks_and_one_when_it_mends(simulate, lines):
    station = simulate(2)
    station.set(2, silent, at_s=60)
    station.set(2, prompt, at_s=600)
    station.run(1200)
    assert len(lines()) == 2
    assert lines()[0] == "i2 (line rs485, address 2): no answer within 1 s (nothing came)"
    assert lines()[1].startswith("i2: answers again after ")


def test_a_single_failed_poll_is_stored_but_not_logged(simulate, lines):
    station = simulate(1)
    station.set(1, damaged, at_s=9.5)
    station.set(1, prompt, at_s=10.5)
    station.run(60)
    assert [record["error"] for record in station.of(1) if "error" in record] == ["bad_answer"]
    assert lines() == []


def test_a_refusal_is_said_once_and_asked_less_and_less_but_never_given_up(simulate, lines):
    station = simulate(2)
    station.set(2, refusing)
    station.set(2, prompt, at_s=3000)
    station.run(3600)
    asked = [record["t"] for record in station.of(2) if record.get("error") == "refused"]
    assert 8 <= len(asked) <= 25
    assert station.good(2)[0]["t"] <= 3301
    assert len(station.good(1)) == 3600, "a refusal costs the line no time"
    assert len(lines()) == 2
    assert "Modbus exception 2 (illegal data address)" in lines()[0]


def test_what_was_answered_before_the_failure_is_kept(simulate):
    class Half(TenRegisters):
        def read(self, line, address):
            samples = super().read(line, address)
            raise BadAnswer("second block", [samples[0], samples[1]._replace(flags=(Flag.FAULT,))])

    station = simulate(1, drivers=[Half()]).run(1)
    record = station.of(1)[0]
    assert (record["values"]["r0"], record["values"]["r1"], record["values"]["r2"]) == (100, 101, None)
    assert (record["flags"].get("r0"), record["flags"]["r1"], record["flags"]["r2"]) == (None, "fault", "no_comm")


# ---- a line that is gone


def test_a_line_that_is_unplugged_is_used_again_without_help(simulate, lines):
    station = simulate(3)
    station.at(100, lambda: setattr(station.wire, "is_gone", True))
    station.at(400, lambda: setattr(station.wire, "is_gone", False))
    station.run(600)
    for number in (1, 2, 3):
        back = [record["t"] for record in station.good(number) if record["t"] > 100]
        assert 400 <= back[0] <= 400 + 30 + 1.5
        assert station.slots(number) == 600
        reasons = {r.get("error") or r.get("reason") for r in station.records if r.get("instrument") == f"i{number}"}
        assert reasons == {None, "line_down"}
    assert lines() == ["line rs485: simulated: unplugged", "line rs485: simulated is back"]


# ---- a line that is too busy


def test_slots_that_pass_while_the_line_is_busy_are_recorded_and_never_queued(simulate):
    class Slow(TenRegisters):
        def read(self, line, address):
            samples = super().read(line, address)
            station.clock.elapsed_s += 3.3
            return samples

    station = simulate(2, drivers=[Slow(), TenRegisters(200)])
    station.run(60)
    for number in (1, 2):
        assert station.slots(number) == pytest.approx(60, abs=4)
        assert len(station.good(number)) >= 60 / 3.4 - 2
        late = station.of(number, "outage")
        assert {record["reason"] for record in late} == {"line_busy"}
        assert all(record["span_s"] == record["slots"] for record in late)


def test_a_step_of_the_wall_clock_neither_stops_nor_hurries_the_polls(simulate):
    station = simulate(2)
    station.at(30, lambda: setattr(station.clock, "wall_offset_s", station.clock.wall_offset_s - 3600.3))
    station.at(60, lambda: setattr(station.clock, "wall_offset_s", station.clock.wall_offset_s + 86_400.6))
    station.run(90)
    for number in (1, 2):
        times = [record["t"] for record in station.good(number)]
        gaps = [after - before for before, after in pairwise(times)]
        assert 88 <= len(times) <= 91
        assert min(gaps) >= 0.45
        assert max(gaps) <= 1.55


def test_an_instrument_that_talks_unasked_has_the_time_of_its_message_s_end(simulate):
    class Talker:
        channels = (Channel("wind", "wind_speed", "m/s"),)
        unsolicited = True

        def read(self, line, address):
            station.clock.elapsed_s += 0.4
            return [Sample("wind", 2.7)]

    station = simulate(1, drivers=[Talker()])
    station.run(3)
    assert [record["t"] for record in station.of(1)] == pytest.approx([0.4, 1.4, 2.4], abs=0.01)


@pytest.mark.parametrize("count", [1, 2])
def test_one_that_talks_unasked_on_a_line_of_its_own_is_listened_to_without_back_off(simulate, count):
    """It was off for ten minutes; what it pushes each minute is heard at once again. Beside others it has its share."""

    class Pushing:
        channels = (Channel("cod", "COD", "mg/L"),)
        unsolicited = True

        def read(self, line, address):
            station.clock.elapsed_s += 50 / count
            if station.clock.elapsed_s - station.begin_s < 630:
                raise NoAnswer("nothing came")
            return [Sample("cod", 40.6)]

    station = simulate(count, interval_s=60, drivers=[Pushing()] * count)
    station.run(7200)
    late_s = station.good(1)[0]["t"] - 630
    assert late_s <= 110 if count == 1 else late_s > 300


def test_a_driver_s_patience_is_part_of_its_longest_poll(simulate):
    """The watchdog leaves a line alone that waits for an instrument's own time, two minutes here."""

    class Patient:
        channels = (Channel("cod", "COD", "mg/L"),)
        patience_s = 120.0

        def read(self, line, address):
            return []

    plain = simulate(1).poller.longest_poll_s
    assert simulate(1, drivers=[Patient()]).poller.longest_poll_s == plain + 120


# ---- real time, a real pty


def test_on_a_pty_at_9600_baud_one_dead_instrument_of_ten_costs_the_others_little(tmp_path):
    """The peer takes the time that its bytes would take on the wire."""
    dead = {4}

    def bus(request):
        unit, pdu, _ = unframed("rtu", request)
        answer = framed("rtu", unit, answer_pdu(pdu))
        return [] if unit in dead else [(0.002 + (len(request) + len(answer)) * SETTINGS.char_time_s, answer)]

    peer = PtyInstrument(tmp_path / "port", "rtu", bus)
    records = []
    settings = [
        InstrumentSettings(f"i{n}", "test", TenRegisters(100 * n), "rs485", n, 1.0, 0.3, 0.0, names)
        for n in range(1, 11)
        for names in [tuple(channel.name for channel in TenRegisters.channels)]
    ]
    timing = Timing(0.3, SETTINGS.silence_s)
    line = Line("rs485", SerialPort(str(peer.link)), framer="rtu", timing=timing)
    trusted = type("Trusted", (), {"is_trusted": True})()
    poller = Poller(line, SETTINGS, settings, lambda record, _: records.append(record), trusted, Say())
    thread = threading.Thread(target=poller.run)
    thread.start()
    good = {f'"instrument":"i{n}"' for n in range(1, 11)}

    def counted(name):
        return sum(name in record.shape and b"error" not in record.body for record in records)

    until(lambda: max(counted(name) for name in good) >= 5, 20)
    poller.stop()
    thread.join(10)
    peer.unplug()
    for name in good:
        assert counted(name) >= (0 if '"i4"' in name else 4)
    assert counted('"instrument":"i4"') == 0
