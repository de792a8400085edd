"""stationd init: the configuration of a new station, from answers in a file or on a terminal."""

import io
import os
import pty
import subprocess
from pathlib import Path

import pytest
from daemons import COMMAND

from agent.cli import main
from agent.config import load
from agent.kit import init_questions, place
from agent.kit.init import ASIDE, EXAMPLE, init

ANSWERS = """id = "DL-007"
name = "Hafen"
broker = "mqtts://mqtt.example.org:8883"
username = "dl-007"
password_file = "secrets/mqtt.password"
[lines.rs485]
serial = "/dev/serial/by-id/x"
framer = "rtu"
baud = 19200
[lines.rack]
tcp = "192.0.2.10:502"
"""


@pytest.fixture
def write(tmp_path, capsys):
    """Give a function that writes a station of some answers and gives status and text."""

    def run(answers=ANSWERS, folder=tmp_path / "etc"):
        (tmp_path / "answers.toml").write_text(answers)
        status = main(["init", str(folder), "--answers", str(tmp_path / "answers.toml")])
        return status, capsys.readouterr().out

    return run


def test_the_shipped_example_is_the_one_of_the_package():
    assert EXAMPLE.read_text() == (Path(__file__).parent.parent / "config/station.toml").read_text()


def test_a_station_is_written_and_checked(write, tmp_path):
    status, text = write()
    assert status == 0
    config = load(tmp_path / "etc")
    assert (config.station.id, config.station.name, config.broker.username) == ("DL-007", "Hafen", "dl-007")
    assert config.broker.password_file == tmp_path / "etc/secrets/mqtt.password"
    assert {name: line.baud for name, line in config.lines.items()} == {"rs485": 19200, "rack": 9600}
    assert "station DL-007 (Hafen), 0 instruments" in text
    assert "stationd scan rs485" in text
    assert "sudo install -m 0640 -g stationd /dev/stdin" in text
    assert (tmp_path / "etc/secrets").stat().st_mode & 0o777 == 0o750


def test_every_other_key_is_still_explained(write, tmp_path):
    """And the first line has all the keys that a line may have, and nothing of the example's own lines."""
    write()
    text = (tmp_path / "etc/station.toml").read_text()
    assert '#commit_interval = "1s"' in text
    assert '## how long an instrument may take to answer\n#timeout = "1s"' in text
    assert "[lines.mast]" not in text
    assert text.count("#timeout") == 1


def test_without_lines_or_a_user_it_is_a_station_as_well(write, tmp_path):
    status, text = write('id = "A"\nbroker = "mqtt://127.0.0.1"\n')
    assert status == 0
    assert load(tmp_path / "etc").broker.username is None
    assert "password" not in text.partition("next:")[2]


def test_what_is_there_is_not_overwritten(write, tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/station.toml").write_text("# mine\n")
    status, text = write()
    assert status == 1
    assert "is there already, and nothing was changed" in text
    assert (tmp_path / "etc/station.toml").read_text() == "# mine\n"


def test_the_example_of_the_installation_is_put_aside(write, tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/station.toml").write_bytes(EXAMPLE.read_bytes())
    assert write()[0] == 0
    assert (tmp_path / "etc" / ASIDE).read_bytes() == EXAMPLE.read_bytes()
    assert load(tmp_path / "etc").station.id == "DL-007"


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        (ANSWERS.replace("DL-007", "DL 007"), 'answers.toml:1: id: found "DL 007"'),
        (ANSWERS.replace("broker", "brocker"), "did you mean broker?"),
        (ANSWERS.replace("mqtts://", "http://"), "broker: found"),
        (ANSWERS.replace("/dev/serial/by-id/x", "/dev/ttyUSB0"), 'lines.rs485.serial: found "/dev/ttyUSB0"'),
        (ANSWERS.replace('username = "dl-007"', ""), "broker.password_file"),
        (ANSWERS.replace("[lines.rack]", "[lines.rack"), "is not valid TOML"),
    ],
)
def test_mistakes_are_told_and_nothing_is_written(write, tmp_path, answers, said):
    status, text = write(answers)
    assert status == 1
    assert said in text
    assert text.endswith("nothing was written\n")
    assert not (tmp_path / "etc").exists()


def test_answers_may_come_from_standard_input(tmp_path):
    done = subprocess.run(
        [COMMAND, "init", tmp_path / "etc"], input=ANSWERS, capture_output=True, text=True, check=False, timeout=30
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert load(tmp_path / "etc").station.id == "DL-007"


def test_a_place_where_nothing_can_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    out = io.StringIO()
    assert init(tmp_path / "file" / "etc", "-", io.StringIO(ANSWERS), out) == 1
    assert "cannot be written" in out.getvalue() or "cannot be read" in out.getvalue()


# ---- on a terminal


def asked(tmp_path, monkeypatch, *lines, ports=("/dev/serial/by-id/usb-A", "/dev/serial/by-id/usb-B")):
    """Answer questions as somebody at a terminal does."""
    monkeypatch.setattr(init_questions, "serial_ports", lambda: list(ports))
    source = io.StringIO("".join(f"{line}\n" for line in lines))
    monkeypatch.setattr(source, "isatty", lambda: True)
    out = io.StringIO()
    return init(tmp_path / "etc", None, source, out), out.getvalue()


def test_questions_are_asked_until_the_answers_can_be_used(tmp_path, monkeypatch):
    """Serial ports are offered by the names that last."""
    status, text = asked(
        tmp_path,
        monkeypatch,
        *("no blanks please", "DL-007", ""),  # id, name
        *("mqtt.example.org", "mqtt://mqtt.example.org"),  # broker
        *("dl-007", ""),  # user, password file
        *("pair", "3", "2", "rtu", "9601", "19200", "even"),  # a line
        *("rack", "192.0.2.1", "192.0.2.1:502", ""),  # another
        "",
    )
    assert status == 0
    assert "expected letters, digits" in text
    assert "2  /dev/serial/by-id/usb-B" in text
    assert "there are the numbers 1 to 2" in text
    config = load(tmp_path / "etc")
    assert (config.station.name, config.broker.host) == ("DL-007", "mqtt.example.org")
    pair = config.lines["pair"]
    assert (pair.where, pair.framer, pair.baud, pair.parity) == ("/dev/serial/by-id/usb-B", "rtu", 19200, "even")
    assert (config.lines["rack"].kind, config.lines["rack"].framer) == ("tcp", "tcp")


def test_who_goes_away_leaves_nothing_behind(tmp_path, monkeypatch):
    status, text = asked(tmp_path, monkeypatch, "DL-007")
    assert status == 130
    assert "stopped; nothing was written" in text
    assert not (tmp_path / "etc").exists()


def test_it_asks_on_a_real_terminal(tmp_path):
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [COMMAND, "init", tmp_path / "etc"], stdin=slave, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    os.write(master, b"DL-007\n\nmqtt://127.0.0.1\n\n\n")
    text, _ = process.communicate(timeout=30)
    os.close(master)
    os.close(slave)
    assert process.returncode == 0, text
    assert load(tmp_path / "etc").station.id == "DL-007"


def test_serial_ports_are_known_by_the_names_that_last(tmp_path, monkeypatch):
    """One name for each port; by-id before by-path."""
    for name in ("tty0", "tty1", "by-id", "by-path"):
        (tmp_path / name).mkdir() if name.startswith("by") else (tmp_path / name).touch()
    for link, port in (("by-id/A", "tty0"), ("by-path/1", "tty0"), ("by-path/2", "tty1")):
        (tmp_path / link).symlink_to(tmp_path / port)
    monkeypatch.setattr(place, "_BY_NAME", (str(tmp_path / "by-id"), str(tmp_path / "by-path")))
    assert place.serial_ports() == [str(tmp_path / "by-id/A"), str(tmp_path / "by-path/2")]
    assert place.lasting_names(str(tmp_path / "tty0")) == [str(tmp_path / "by-id/A"), str(tmp_path / "by-path/1")]
