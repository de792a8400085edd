"""The daemon stays small: what its process loads. Who may import whom stands in pyproject.toml, for import-linter."""

import json
import os
import subprocess
import sys

import pytest

LOADED = """
import json, re, sys
import logging, sqlite3, ssl, subprocess, tomllib
import paho.mqtt.client, pymodbus.framer, pymodbus.pdu, serial, tenacity
def rss_mb():
    return int(re.search(r"VmRSS:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024
packages_mb = rss_mb()
import agent.daemon
print(json.dumps({"modules": sorted(sys.modules), "own_mb": rss_mb() - packages_mb}))
"""
ONLY_FOR_OTHER_COMMANDS = {
    "agent.kit.add",
    "agent.kit.init",
    "agent.kit.probe",
    "agent.kit.reads",
    "agent.scan",
    "rich",
    "amqtt",
    "jsonschema",
    "agent.demo",
    "agent.simulate",
    "agent.kit.check",
    "agent.kit.look",
    "agent.kit.schemas",
    "agent.kit.poll",
    "agent.kit.by_hand",
    "agent.kit.recording",
    "agent.kit.playback",
    "agent.kit.masks",
    "agent.kit.maintenance",
    "agent.kit.control_client",
    "drivers.transcript",
}
OWN_MB = 5.5
"""What the interpreter and the packages named above take, 27 MB, differs by half a megabyte from machine to machine."""


@pytest.fixture(scope="module")
def daemon():
    """Load the daemon in a process of its own, which no coverage weighs down."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    ended = subprocess.run([sys.executable, "-c", LOADED], env=environment, capture_output=True, check=True)
    return json.loads(ended.stdout)


def test_the_daemon_loads_nothing_that_only_other_commands_need(daemon):
    """What is never loaded takes no memory on a station."""
    assert ONLY_FOR_OTHER_COMMANDS.isdisjoint(daemon["modules"])


def test_the_loaded_daemon_is_small(daemon):
    """Before it opens anything, and beyond its packages; the bench measures it at work."""
    assert daemon["own_mb"] < OWN_MB
