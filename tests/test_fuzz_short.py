"""A short form of `bench.fuzz`: a few thousand mutated answers, and proof that it can say no."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT))  # bench is no part of what is installed

from bench.fuzz import Place, Replay, Target, places  # noqa: E402  found by the line above
from drivers import registry  # noqa: E402
from drivers.sample import Sample  # noqa: E402


@pytest.mark.parametrize("name", registry.names())
def test_recorded_answers_are_read_and_their_sums_are_found(name):
    """The inputs that the fuzzer begins with are the answers themselves, and repairing a sum changes none of them."""
    target = Target(name, 1000)
    for number, place in enumerate(places(name)):
        answer = place.answers[place.index]
        assert place.repair(answer) == answer or place.framer == "tcp"
        target(number.to_bytes(2, "big") + b"\x00" + answer)


@pytest.mark.no_cover
def test_a_driver_of_each_kind_survives_a_few_thousand_answers():
    """As the long run does it, in processes of their own."""
    names = ["--driver", "bayern_hessen", "--driver", "saimosen_sms8500"]
    command = [sys.executable, "-m", "bench.fuzz", "--runs", "4000", *names]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all bounds met" in done.stdout


class Careless:
    """A driver with a defect."""

    def __init__(self, read):
        self.channels = registry.load("teledyne_t400").channels[:1]
        self._read = read

    def read(self, line, address):
        return self._read(line.ask(b"?", len))


@pytest.mark.parametrize(
    ("read", "error"),
    [
        (int, ValueError),
        (lambda answer: [Sample("other", 1.0)], AssertionError),
        (lambda answer: [Sample("o3", float("nan"))], ValueError),
        (lambda answer: [Sample("o3", None)], AssertionError),
    ],
    ids=["another exception", "another channel", "not a number", "null without a reason"],
)
def test_a_defect_of_a_driver_is_found(read, error):
    target = Target("teledyne_t400", 1000)
    target._places = [Place((b"x",), 0, json.dumps({}), "none", 1, True, lambda data: data)]
    target._drivers = {json.dumps({}): (Careless(read), 0)}
    with pytest.raises(error):
        target(b"\0\0\0noise")


def test_a_replayed_answer_waits_for_its_question():
    port = Replay([b"one", b"two"], is_asked=True)
    assert port.read(1) == b""
    port.write(b"?")
    assert [port.read(1), port.read(1)] == [b"one", b""]
    assert port.now_s() > 2
