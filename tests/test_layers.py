"""The daemon stays small: what its process loads. Who may import whom stands in pyproject.toml, for import-linter."""

import json
import os
import subprocess
import sys

import pytest

LOADED = """
import json, re, sys
import agent.daemon
status = open("/proc/self/status").read()
print(json.dumps({"modules": sorted(sys.modules), "rss_mb": int(re.search(r"VmRSS:\\s+(\\d+)", status)[1]) / 1024}))
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
RSS_LIMIT_MB = 32


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
    """Before it opens anything; the bench measures it at work."""
    print(f"RSS of the loaded daemon: {daemon['rss_mb']:.1f} MB")
    assert daemon["rss_mb"] < RSS_LIMIT_MB
