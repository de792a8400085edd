"""A result that an instrument shows until the next one is stored once, whatever happens to the daemon in between."""

import json

import played
import pytest
from daemons import Daemon
from instrument_peers import TcpInstrument, framed, unframed
from waiting import until

from drivers.transcript import Poll, TranscriptPort

PROFILE = """\
# Invented: a result, and the number that it has.
table = "holding"
result_time = "number"
[channels]
result = { parameter = "COD", unit = "mg/L", register = 0, format = "u16" }
number = { parameter = "result_time", unit = "", register = 1, format = "u16" }
"""


class Whatever(TranscriptPort):
    """Gives the recorded answers whatever the requests are: some have numbers of their own."""

    def write(self, data):
        while self._entries[0].mark == "<":
            del self._entries[0]
        super().write(self._entries[0].data)


def read_up_to(case, number):
    """Give a driver that has read what comes before a read of a transcript."""
    poll = Poll()
    poll.before = case.polls[:number]
    return played.driver_before(case, poll)


def repeats():
    """List the reads of all transcripts that find a result which was there already."""
    for path in played.files():
        case = played.load(path)
        for number, poll in enumerate(case.polls):
            if poll.is_unchanged and getattr(read_up_to(case, number), "newest_result", ""):
                yield pytest.param(case, number, id=f"{path.parent.name}-{path.stem}-{number + 1}")


REPEATS = list(repeats())


class Analyzer:
    """Shows its newest result until there is another one."""

    def __init__(self):
        self.result = 1

    def answer(self, request):
        unit, _, transaction = unframed("tcp", request)
        registers = (100 + self.result).to_bytes(2, "big") + self.result.to_bytes(2, "big")
        return [(0, framed("tcp", unit, bytes([3, 4]) + registers, transaction))]


@pytest.fixture
def analyzer():
    return Analyzer()


@pytest.fixture
def instrument(analyzer):
    instrument = TcpInstrument("tcp", analyzer.answer)
    yield instrument
    instrument.stop()


@pytest.fixture
def daemon(tmp_path, instrument):
    daemon = Daemon(tmp_path, 1, {"cod": f'tcp = "127.0.0.1:{instrument.port}"'})
    (daemon.folder / "profiles" / "peer.toml").write_text(PROFILE)
    yield daemon
    daemon.close()


def polls(daemon):
    """Give the values of each poll of the analyzer that is on disk."""
    shown = [json.loads(line) for line in daemon.command("spool", "show").stdout.splitlines()]
    return [record["values"] for record in shown if record.get("instrument") == "cod" and "values" in record]


def results(daemon):
    return [values["number"] for values in polls(daemon) if values]


def test_no_result_is_taken_twice_after_the_daemon_was_killed(daemon, analyzer):
    daemon.start()
    until(lambda: results(daemon) == [1])
    daemon.kill()
    stored = len(polls(daemon))
    daemon.start()
    until(lambda: len(polls(daemon)) > stored + 2)
    assert results(daemon) == [1]
    analyzer.result = 2
    until(lambda: len(results(daemon)) > 1)
    daemon.stop()
    daemon.start()
    stored = len(polls(daemon))
    until(lambda: len(polls(daemon)) > stored + 2)
    assert results(daemon) == [1, 2]


def test_a_result_of_another_driver_under_the_same_name_is_not_taken_for_the_last_one(daemon):
    """The instrument was exchanged for another make."""
    daemon.start()
    until(lambda: results(daemon) == [1])
    daemon.stop()
    (daemon.folder / "profiles" / "other.toml").write_text(PROFILE)
    instrument = daemon.folder / "instruments" / "cod.toml"
    instrument.write_text(instrument.read_text().replace('"peer"', '"other"'))
    daemon.start()
    until(lambda: results(daemon) == [1, 1])


def test_a_result_that_was_not_on_disk_when_the_daemon_was_killed_is_taken_again(daemon, analyzer, instrument):
    """Result 2 is read, and waits for its commit, when the power fails."""
    station = daemon.folder / "station.toml"
    daemon.start()
    until(lambda: results(daemon) == [1])
    daemon.stop()
    words = station.read_text()
    station.write_text(words.replace('"200ms"', '"60s"'))
    daemon.start()
    until(lambda: daemon.command("spool", "show").stdout.count('"event":"start"') == 2)  # the next commit is in 60 s
    stored, asked = len(polls(daemon)), sum(len(peer.requests) for peer in instrument.peers)
    analyzer.result = 2
    until(lambda: sum(len(peer.requests) for peer in instrument.peers) > asked + 3)
    assert len(polls(daemon)) == stored
    daemon.kill()
    assert results(daemon) == [1]
    station.write_text(words)
    daemon.start()
    until(lambda: results(daemon) == [1, 2])


@pytest.mark.parametrize(("case", "number"), REPEATS)
def test_a_driver_that_is_told_which_result_was_the_newest_takes_it_for_an_old_one(case, number):
    driver = played.driver_of(case)
    driver.newest_result = read_up_to(case, number).newest_result
    line, _ = played.line_over(case, case.polls[number].entries, Whatever)
    assert not driver.read(line, case.address)


def test_all_drivers_whose_results_count_once_are_among_them():
    """One that forgets its newest result at a restart would double it unnoticed."""
    names = {param.id.partition("-")[0] for param in REPEATS}
    assert names == {"ak", "hj_212", "jiangsu_cod", "magee_ae33", "met_one"}
