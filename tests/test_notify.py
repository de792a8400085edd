"""Words to systemd go to the socket it names, and nowhere else."""

import os
import socket

import pytest

from agent.notify import notify, watchdog_s


@pytest.mark.parametrize("kind", ["a path", "an abstract name"])
def test_a_word_reaches_the_socket_that_systemd_names(tmp_path, monkeypatch, kind):
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(path if kind == "a path" else f"\0{path}")
        monkeypatch.setenv("NOTIFY_SOCKET", path if kind == "a path" else f"@{path}")
        assert notify("READY=1")
        assert listener.recv(100) == b"READY=1"


def test_without_systemd_nothing_is_said(monkeypatch):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not notify("READY=1")


def test_a_socket_that_is_gone_is_no_reason_to_fail(tmp_path, monkeypatch):
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    assert not notify("WATCHDOG=1")


@pytest.mark.parametrize(
    ("limit", "pid", "expected"),
    [("60000000", "", 60.0), ("60000000", "own", 60.0), ("60000000", "1", None), ("", "", None), ("soon", "", None)],
)
def test_the_watchdog_is_ours_if_systemd_says_so(monkeypatch, limit, pid, expected):
    monkeypatch.setenv("WATCHDOG_USEC", limit)
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()) if pid == "own" else pid)
    assert watchdog_s() == expected
