"""The schemas of docs/messages say what is right and what is wrong, and the agent agrees about what it is sent."""

import copy
import gzip
import json

import pytest

from agent.commands import NotValid, parse, parse_receipt
from bench.contract import validator, violations

SPOOL = "5d05e550e2c24d74a80201a3880d3d99"
SPAN = {"from": "2026-11-24T10:00:00.000Z", "to": "2026-11-24T11:00:00Z"}
AT = "2026-11-24T11:00:30.000Z"
GOOD_COMMANDS = [
    {"v": 1, "id": "r1", "command": "backfill", "seqs": [[5, 9], [12, 12]]},
    {"v": 1, "id": "r1", "command": "backfill", "spool": SPOOL, "seqs": [[1, 1 << 53]] * 1000},
    {"v": 1, "id": "r2", "command": "backfill", **SPAN},
    {"v": 1, "id": "r2", "command": "backfill", **SPAN, "instruments": [f"so{n}" for n in range(100)]},
    {"v": 1, "id": "a" * 64, "command": "ledger", **SPAN},
    {"v": 1, "id": "2026-11-24_r.1", "command": "cancel"},
]
BAD_COMMANDS = [
    {"v": 1, "id": "r", "command": "backfill"},
    {"v": 1, "id": "r", "command": "backfill", "seqs": [[1, 2]] * 1001},
    {"v": 1, "id": "r", "command": "backfill", "seqs": [[1, (1 << 53) + 1]]},
    {"v": 1, "id": "r", "command": "backfill", "seqs": [[0, 1]]},
    {"v": 1, "id": "r", "command": "backfill", "seqs": [[1]]},
    {"v": 1, "id": "r", "command": "backfill", "seqs": [[1, 2, 3]]},
    {"v": 1, "id": "r", "command": "backfill", "seqs": [["1", "2"]]},
    {"v": 1, "id": "r", "command": "backfill", "seqs": [[True, 2]]},
    {"v": 1, "id": "r", "command": "backfill", "seqs": [[1, 2]], **SPAN},
    {"v": 1, "id": "r", "command": "backfill", "seqs": [[1, 2]], "instruments": ["so2"]},
    {"v": 1, "id": "r", "command": "backfill", "from": SPAN["from"]},
    {"v": 1, "id": "r", "command": "backfill", **SPAN, "spool": SPOOL},
    {"v": 1, "id": "r", "command": "backfill", **SPAN, "instruments": []},
    {"v": 1, "id": "r", "command": "backfill", **SPAN, "instruments": ["so2", "so2"]},
    {"v": 1, "id": "r", "command": "backfill", **SPAN, "instruments": [f"so{n}" for n in range(101)]},
    {"v": 1, "id": "r", "command": "backfill", **SPAN, "instruments": ["so 2"]},
    {"v": 1, "id": "r", "command": "ledger", **SPAN, "instruments": ["so2"]},
    {"v": 1, "id": "r", "command": "cancel", "seqs": [[1, 2]]},
    {"v": 1, "id": "r", "command": "reboot"},
    {"v": 2, "id": "r", "command": "cancel"},
    {"v": True, "id": "r", "command": "cancel"},
    {"id": "r", "command": "cancel"},
    {"v": 1, "command": "cancel"},
    {"v": 1, "id": "r"},
    {"v": 1, "id": "", "command": "cancel"},
    {"v": 1, "id": "a" * 65, "command": "cancel"},
    {"v": 1, "id": "r/1", "command": "cancel"},
    {"v": 1, "id": "r\n", "command": "cancel"},
    {"v": 1, "id": "ä", "command": "cancel"},
    {"v": 1, "id": 7, "command": "cancel"},
    {"v": 1, "id": None, "command": "cancel"},
    [],
    "cancel",
    None,
    *(
        {"v": 1, "id": "r", "command": "ledger", "from": time, "to": SPAN["to"]}
        for time in (
            "2026-11-24 10:00:00Z", "2026-11-24T10:00:00", "2026-11-24T10:00:00+00:00", "2026-02-30T10:00:00Z",
            "2026-11-24T24:00:00Z", "2026-11-24T10:60:00Z", "2026-11-24T10:00:60Z", "2026-11-24T10:00:00.0000Z",
            "2026-11-24", "2026-11-24T10:00:00z", "2026-11-24T10:00:00Z\n", "٢٠٢٦-11-24T10:00:00Z", "now", 1795510800,
            None,
        )
    ),
]  # fmt: skip
ODD_VALUES = [
    "",
    "zz",
    -1,
    0,
    7,
    1 << 54,
    1.5,
    True,
    None,
    [],
    {},
    ["x"],
    [[1, 2]],
    {"x": 1},
    "2026-11-24T10:30:00Z",
    SPOOL,
]
GOOD_RECEIPT = {"v": 1, "spool": SPOOL, "stored": [[1, 1041], [1043, 1043]]}
HOUR = {
    "kind": "ledger", "ledger": "hour", "from": "2026-11-24T10:00:00.000Z", "to": "2026-11-24T11:00:00.000Z",
    "first": 1041, "last": 4640, "records": 3600, "acknowledged": 3598,
    "instruments": {"so2": {"expected": 720, "polled": 718, "not_asked": 2, "acknowledged": 717, "channels": {
        "so2": {"measured": 700, "valid": 690, "flags": {"ok": 690, "calibration": 10, "no_comm": 18}}}}},
}  # fmt: skip
POLL = {"kind": "raw", "instrument": "so2", "values": {"so2": 1.5}}
GOOD_RECORDS = {
    "poll": POLL | {"values": {"so2": 1.5, "text": "x", "flow": None}, "flags": {"flow": "fault"}},
    "failed poll": POLL | {"values": {"a": None}, "flags": {"a": "no_comm"}, "error": "no_answer"},
    "salvaged": {"was": {"spool": None, "seq": 17}} | POLL,
    "unsure": {"clock": "unsure", "between": [None, AT], "kind": "event", "event": "stop"},
    "outage begun": {"kind": "outage", "instrument": "o3", "reason": "back_off", "from": AT, "to": None, "slots": 1},
    "outage of unknown begin": {"kind": "outage", "reason": "crashed"},
    "hour": HOUR,
    "hours without records": HOUR | {"first": None, "last": None, "records": 0, "acknowledged": 0, "instruments": {}},
    "dropped": {"kind": "ledger", "ledger": "dropped", "first": 5, "last": 204, "records": 200, "begin": AT, "end": AT},
    "damaged": {"kind": "ledger", "ledger": "damaged", "first": 7, "last": 7, "records": 1},
    "spool damaged": {
        "kind": "event", "event": "spool_damaged", "kept_as": "spool.db.damaged-1", "spool": SPOOL, "newest": 1080,
    },
    "spool salvaged": {
        "kind": "event", "event": "spool_salvaged", "kept_as": "spool.db.damaged-1", "spool": None, "records": 1000,
        "lost": [[5, 9]], "lost_records": 5, "moved": [], "complete": True,
    },
}  # fmt: skip
BAD_RECORDS = {
    "an unknown kind": {"kind": "roh"},
    "an unknown flag": POLL | {"flags": {"so2": "bad"}},
    "a flag without its value": POLL | {"flags": {"o3": "fault"}},
    "a null without a flag": POLL | {"values": {"so2": None}},
    "a value of a channel that did not answer": POLL | {"flags": {"so2": "no_comm"}},
    "a value that is a list": POLL | {"values": {"so2": [1]}},
    "an outage of an instrument without slots": {"kind": "outage", "instrument": "o3", "reason": "back_off"},
    "a reason that only a station has": {"kind": "outage", "instrument": "o3", "reason": "crashed", "slots": 1},
    "bounds without a doubt": {"between": [None, None], "kind": "event", "event": "stop"},
    "an event without its keys": {"kind": "event", "event": "start"},
    "the old event of dropped records": {"kind": "event", "event": "dropped", "first": 1, "last": 2},
    "a ledger that ends before it begins": HOUR | {"to": "2026-11-24T09:00:00.000Z"},
    "more acknowledged than records": HOUR | {"acknowledged": 3601},
    "more records than seqs": HOUR | {"records": 3601},
    "a ledger of what comes after it": HOUR | {"last": 10_000},
    "flags that do not add up": HOUR | {"instruments": {"so2": HOUR["instruments"]["so2"] | {"polled": 700}}},
    "a first without a last": HOUR | {"last": None},
}  # fmt: skip


@pytest.mark.parametrize("name", GOOD_RECORDS)
def test_a_record_that_is_right_is_taken(name):
    assert complaints(GOOD_RECORDS[name]) == []


@pytest.mark.parametrize("name", BAD_RECORDS)
def test_a_record_that_is_wrong_is_found(name):
    assert complaints(BAD_RECORDS[name]) != []


@pytest.mark.parametrize("name", GOOD_RECORDS)
def test_a_record_that_lacks_a_key_it_must_have_or_has_a_wrong_one_is_found(name):
    """Keys that may be absent are few."""
    optional = {"was", "flags", "error", "from", "to", "instrument", "slots", "clock", "between"}
    for key in GOOD_RECORDS[name].keys() - optional:
        assert complaints({k: v for k, v in GOOD_RECORDS[name].items() if k != key}), key
    for key in GOOD_RECORDS[name]:
        assert complaints(GOOD_RECORDS[name] | {key: {"x": []}}), key
        assert complaints(GOOD_RECORDS[name] | {f"{key} ": 1}), key


def complaints(record):
    """Give what is wrong with a message of this one record."""
    message = {"v": 1, "station": "DL-001", "spool": SPOOL, "records": [{"seq": 5000, "at": AT} | record]}
    return violations("stations/DL-001/data", json.dumps(message).encode())


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        ("stations/DL-001/data", b""),
        ("stations/DL-001/data", b"{"),
        ("stations/DL-001/data", b"\xff"),
        ("stations/DL-001/backfill", b"\x1f\x8b\x08"),
        ("stations/DL-001/backfill", gzip.compress(b"{}", mtime=0)[:-3]),
        ("stations/DL-001/backfill", gzip.compress(b"{}", mtime=0)),
        ("stations/DL-001/receipt", b'{"v":1,"v":1,"spool":"%s","stored":[[1,1]]}' % SPOOL.encode()),
        ("stations/DL-001/receipt", b'{"v":NaN,"spool":"%s","stored":[[1,1]]}' % SPOOL.encode()),
        ("stations/DL-001/other", b"{}"),
        ("DL-001/data", b"{}"),
    ],
)
def test_what_is_no_message_at_all_is_said_and_breaks_nothing(topic, payload):
    assert violations(topic, payload)


def test_a_message_must_be_of_the_station_in_its_topic_and_in_the_order_of_seq():
    records = [{"seq": seq, "at": AT, "kind": "event", "event": "stop"} for seq in (1, 2)]
    message = {"v": 1, "station": "DL-001", "spool": SPOOL, "records": records}
    assert violations("a/b/DL-001/data", json.dumps(message).encode()) == []
    assert violations("a/b/DL-002/data", json.dumps(message).encode())
    message["records"] = records[::-1]
    assert violations("a/b/DL-001/data", json.dumps(message).encode())


@pytest.mark.parametrize("command", GOOD_COMMANDS)
def test_schema_and_agent_take_every_good_command(command):
    assert validator("command").is_valid(command)
    assert parse(json.dumps(command).encode()).id == command["id"]


@pytest.mark.parametrize("command", BAD_COMMANDS, ids=lambda one: json.dumps(one)[:60])
def test_schema_and_agent_refuse_every_bad_command(command):
    assert not validator("command").is_valid(command)
    assert not is_taken(parse, command)


@pytest.mark.parametrize("command", GOOD_COMMANDS, ids=lambda one: json.dumps(one)[:60])
def test_schema_and_agent_agree_on_every_mutation_of_a_command(command):
    for mutated in mutations(command):
        assert validator("command").is_valid(mutated) == is_taken(parse, mutated), mutated


def test_schema_and_agent_agree_on_every_mutation_of_a_receipt():
    assert is_taken(parse_receipt, GOOD_RECEIPT)
    for mutated in (GOOD_RECEIPT, *mutations(GOOD_RECEIPT)):
        assert validator("receipt").is_valid(mutated) == is_taken(parse_receipt, mutated), mutated


@pytest.mark.parametrize(
    "command",
    [
        {"v": 1, "id": "r", "command": "backfill", "seqs": [[9, 5]]},
        {"v": 1, "id": "r", "command": "ledger", "from": SPAN["to"], "to": SPAN["from"]},
        {"v": 1, "id": "r", "command": "ledger", "from": SPAN["to"], "to": SPAN["to"]},
    ],
)
def test_what_a_schema_cannot_say_only_the_agent_refuses(command):
    assert validator("command").is_valid(command)
    assert not is_taken(parse, command)


def is_taken(read, document):
    """Say whether the agent takes a document."""
    try:
        read(json.dumps(document).encode())
    except NotValid:
        return False
    return True


def mutations(document):
    """Give the document without each key, with it misspelt, and with each odd value in its place."""
    for key in document:
        rest = {name: value for name, value in copy.deepcopy(document).items() if name != key}
        yield rest
        yield rest | {f"{key}s": document[key]}
        yield from (rest | {key: odd} for odd in ODD_VALUES)
