"""The unit, held against systemd itself and against what the daemon does."""

import os
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from agent import station

FOLDER = Path(__file__).parent.parent / "systemd"
UNIT = FOLDER / "stationd.service"
EXPOSURE_LIMIT_TENTHS = 13

needs_systemd = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")


@pytest.fixture
def unit():
    """Read the unit: all words given for each key."""
    words = defaultdict(list)
    for line in UNIT.read_text(encoding="utf-8").splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            words[key] += value.split()
    return words


def run(*words):
    return subprocess.run(words, capture_output=True, text=True, check=False)


@needs_systemd
def test_systemd_finds_no_mistake_in_the_unit(tmp_path):
    """Only the command is replaced, by one that is installed here."""
    copy = tmp_path / UNIT.name
    text = UNIT.read_text(encoding="utf-8")
    copy.write_text(text.replace("/opt/stationd/bin/stationd", sys.executable), encoding="utf-8")
    ended = run("systemd-analyze", "verify", "--man=no", str(copy))
    assert UNIT.name not in ended.stderr


@needs_systemd
def test_the_exposure_is_as_low_as_the_unit_says():
    """13 tenths; a service that says nothing about it has 96."""
    ended = run("systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE_LIMIT_TENTHS}", str(UNIT))
    assert ended.returncode == 0, ended.stdout
    assert "exposure at 1.3" in UNIT.read_text(encoding="utf-8")


@needs_systemd
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give folders away")
def test_systemd_makes_the_user_and_the_folders(tmp_path):
    """Below an empty root: the user first, then the folders, secrets for its group alone."""
    (tmp_path / "etc").mkdir()
    for command in (["systemd-sysusers"], ["systemd-tmpfiles", "--create"]):
        kind = command[0].removeprefix("systemd-")
        ended = run(*command, f"--root={tmp_path}", str(FOLDER / f"stationd.{kind}.conf"))
        assert ended.returncode == 0, ended.stderr
    assert "stationd:" in (tmp_path / "etc/passwd").read_text(encoding="utf-8")
    assert (tmp_path / "etc/stationd/secrets").stat().st_mode & 0o777 == 0o750


def test_the_watchdog_waits_longer_than_the_daemon_takes_to_notice(unit):
    """Feeding ends when a thread is stuck; the daemon must have had the time to see that."""
    assert int(unit["WatchdogSec"][0]) > station.STUCK_S + station.WATCH_S


def test_systemd_never_gives_up(unit):
    """Without these a daemon that failed five times in ten seconds stays down."""
    assert unit["StartLimitIntervalSec"] == ["0"]
    assert unit["Restart"] == ["always"]


def test_the_start_does_not_wait_for_the_clock(unit):
    """A station without network would never measure."""
    assert "time-sync.target" not in unit["After"]
