"""The demo from outside: a scripted run with either broker loses nothing."""

import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from waiting import until

from agent.demo.keys import Script
from agent.demo.show import Show
from agent.demo.uplink import Uplink

STATIOND = Path(sys.executable).with_name("stationd")


def demo(*words):
    """Run the demo without a terminal; gives its exit code and what it printed."""
    done = subprocess.run(
        [STATIOND, "demo", *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.skipif(shutil.which("mosquitto", path="/usr/sbin:/usr/bin") is None, reason="mosquitto is not installed")
def test_demo_loses_nothing_when_broker_instrument_and_daemon_fail_in_turn():
    """Every key of the demo in one run, and every stored record reaches the platform."""
    code, said = demo("--seconds", "13", "--script", "2:i,3:b,6:b,8:k,9:i")
    assert code == 0, said
    assert "nothing was lost" in said
    assert "once more" not in said, "mosquitto passes on what it acknowledged"
    assert "daemon killed" in said


def test_demo_runs_with_a_broker_from_the_package_index():
    """Where no mosquitto is installed, amqtt does, over MQTT 3.1.1."""
    code, said = demo("--seconds", "9", "--script", "4:b,6:b", "--broker", "amqtt")
    assert code == 0, said
    assert "amqtt" in said
    assert "nothing was lost" in said


def test_what_a_broker_acknowledged_and_did_not_pass_on_is_asked_for_once_more(tmp_path):
    show = Show(tmp_path, wants_mosquitto=False)
    try:
        show.start()
        until(lambda: show.spool() and show.spool().newest() >= 10 and show.missing() == 0, 20)
        assert show.ask_again() == 0
        show.platform.read(lambda seen: seen.received[show.spool().id].remove(3, 7))
        until(lambda: 7 in show.spool().acknowledged())
        assert show.ask_again() >= 5
        until(lambda: show.missing() == 0)
    finally:
        show.close()


@pytest.mark.parametrize("text", ["5", "x:b", "5:z"])
def test_script_that_is_none_is_refused(text):
    """A mistake in a script is found before anything starts."""
    with pytest.raises(ValueError, match=text):
        Script(text)


def test_frozen_uplink_accepts_connections_and_passes_nothing():
    """Shut it refuses, open it forwards, frozen it is silent, reset it tells."""
    with socket.create_server(("127.0.0.1", 0)) as broker:
        uplink = Uplink(broker.getsockname()[1])
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", uplink.port), 1)
        uplink.open()
        with socket.create_connection(("127.0.0.1", uplink.port), 5) as near:
            far, _ = broker.accept()
            near.sendall(b"one")
            assert far.recv(10) == b"one"
            uplink.freeze()
            near.sendall(b"two")
            far.settimeout(0.3)
            with pytest.raises(TimeoutError):
                far.recv(10)
            with socket.create_connection(("127.0.0.1", uplink.port), 5):
                uplink.reset()
                with pytest.raises(ConnectionResetError):
                    near.recv(10)
            far.close()
        uplink.close()
