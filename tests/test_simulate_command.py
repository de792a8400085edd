"""`stationd simulate` as a process of its own, with the other commands of stationd on what it wrote."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from simulated_lines import write
from waiting import until

from agent.simulate.files import HEAD

STATIOND = Path(sys.executable).with_name("stationd")
LINES = {
    "rack": {"tcp": "192.0.2.1:502"},
    "rs485": {"serial": "/dev/none", "framer": "rtu", "baud": 9600},
    "mast": {"serial": "/dev/none2", "framer": "none"},
}
INSTRUMENTS = {
    "o3": {"driver": "teledyne_t400", "line": "rack"},
    "so2": {"driver": "saimosen_sms8200", "line": "rs485", "address": 4},
    "wind": {"driver": "gill_windsonic", "line": "mast", "interval": "2s"},
}


class Simulator:
    """The command in the background. `said` is what it has printed so far."""

    def __init__(self, folder, *words):
        self.directory = write(folder / "etc", LINES, INSTRUMENTS)
        self.out, self.log = folder / "out", folder / "truth.jsonl"
        more = ["--out", self.out, "--log", self.log, *words]
        self._said = folder / "said.txt"
        with self._said.open("wb") as said:
            self.process = subprocess.Popen(
                [STATIOND, "simulate", self.directory, *more], stdin=subprocess.PIPE, stdout=said, stderr=said
            )
        until(lambda: "ready" in self.said or self.process.poll() is not None, 20)

    @property
    def said(self):
        return self._said.read_text()

    def type(self, text):
        self.process.stdin.write(f"{text}\n".encode())
        self.process.stdin.flush()

    def stationd(self, *words):
        return subprocess.run(
            [STATIOND, "--config", self.out, *words], capture_output=True, text=True, timeout=30, check=False
        )

    def truth(self):
        return [json.loads(line) for line in self.log.read_text().splitlines()]


@pytest.fixture
def simulate(tmp_path):
    """Give a function that starts it."""
    started = []

    def start(*words):
        started.append(Simulator(tmp_path, *words))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.wait()
        one.process.stdin.close()


def test_a_technician_checks_and_polls_a_station_that_is_not_there(simulate):
    """Every instrument answers `stationd poll`; what he types happens, and quit ends it."""
    simulator = simulate()
    assert simulator.stationd("check").returncode == 0
    for name in INSTRUMENTS:
        polled = simulator.stationd("poll", name)
        assert polled.returncode == 0, polled.stdout + simulator.said
    simulator.type("silent so2\nsilent nobody\n\nflag o3 fault")
    until(lambda: "flags fault" in simulator.said, 5)
    assert "so2 is silent" in simulator.said
    assert "no instrument 'nobody'" in simulator.said
    assert "! NoAnswer" in simulator.stationd("poll", "so2").stdout
    assert " fault" in simulator.stationd("poll", "o3").stdout
    simulator.type("quit")
    assert simulator.process.wait(10) == 0
    truth = simulator.truth()
    assert {line["instrument"] for line in truth if "instrument" in line} == set(INSTRUMENTS)
    assert [line["did"] for line in truth if "did" in line] == ["silent so2", "flag o3 fault", "quit"]


def test_the_daemon_runs_on_it_and_stores_what_the_instruments_said(simulate):
    """Run as it says itself; a line that is unplugged by the script comes back."""
    simulator = simulate("--script", "4:unplug rack,6:plug rack")
    log = (simulator.out / "daemon.log").open("wb")
    daemon = subprocess.Popen([STATIOND, "--config", simulator.out, "run"], stdout=log, stderr=log)
    try:
        until(lambda: "line rack is in" in simulator.said, 15)
        time.sleep(3)
    finally:
        daemon.terminate()
        assert daemon.wait(20) == 0
    log.close()
    shown = simulator.stationd("spool", "show").stdout
    records = [json.loads(line) for line in shown.splitlines()]
    raw = [record for record in records if record["kind"] == "raw" and record["instrument"] in INSTRUMENTS]
    said = {}
    for line in simulator.truth():
        for channel, value in line.get("values", {}).items():
            said.setdefault((line["instrument"], channel), []).append(pytest.approx(value, rel=1e-6))
    stored = [(one["instrument"], name, it) for one in raw for name, it in one["values"].items() if it is not None]
    assert len(stored) > 20
    assert [one for one in stored if one[2] not in said[one[:2]]] == []
    assert {record["error"] for record in raw if "error" in record} <= {"line_down"}
    assert [record for record in raw if record["instrument"] == "o3"][-1]["values"]["o3"] is not None


def test_it_ends_by_itself_and_when_it_is_terminated(simulate, tmp_path):
    """After its seconds, or as a service is ended; without a keyboard it goes on."""
    with Path(os.devnull).open() as nothing:
        done = subprocess.run(
            [
                STATIOND,
                "simulate",
                write(tmp_path / "b" / "etc", LINES, {}),
                "--seconds",
                "0.5",
                "--out",
                tmp_path / "b" / "out",
            ],
            stdin=nothing,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    assert (done.returncode, "ends" in done.stdout) == (0, True), done.stderr
    simulator = simulate()
    simulator.process.terminate()
    assert simulator.process.wait(10) == 0
    assert not (simulator.out / "lines" / "mast").is_symlink()


def test_ports_count_up_from_where_one_wants_and_the_broker_may_be_kept(simulate):
    """For a firewall, or a station whose broker is one for tests."""
    simulator = simulate("--port-base", "28540", "--broker", "keep", "--spool", "/tmp/elsewhere.db")
    text = (simulator.out / "station.toml").read_text()
    assert text.startswith(HEAD)
    assert "127.0.0.1:28540" in text
    assert "192.0.2.1:1883" in text
    assert "/tmp/elsewhere.db" in text


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        (("--script", "5:dance"), 2, "expected seconds"),
        (("--out", "{etc}"), 1, "choose another folder"),
        (("--out", "{etc}/station.toml/x"), 1, "Not a directory"),
        (("--log", "{etc}/none/x"), 1, "No such file or directory"),
        (("--port-base", "65536"), 1, "a port cannot be had"),
    ],
)
def test_mistakes_are_told_before_anything_starts(words, code, why, tmp_path):
    """A script that is none, a folder that is somebody's, files that cannot be, and ports that there are none."""
    etc = write(tmp_path / "etc", LINES, INSTRUMENTS)
    command = [STATIOND, "--config", etc, "simulate", *(word.format(etc=etc) for word in words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == code
    assert why in done.stderr
    assert "Traceback" not in done.stderr
