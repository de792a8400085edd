"""What docs/mqtt.md shows is what the agent writes."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from agent.config import load
from agent.delivery.message import Encoder
from agent.polled import Polled
from agent.record import event, measured, outage, unanswered
from agent.spool.stored import Dating, Stored
from agent.state import Portrait
from agent.times import milliseconds
from bench.contract import SCHEMAS, violations
from drivers import registry
from drivers.clock import Moment
from drivers.sample import Flag, Sample

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs/mqtt.md").read_text(encoding="utf-8")
SHOWN = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)]
SPOOL = "5d05e550e2c24d74a80201a3880d3d99"
WIND = registry.load("gill_windsonic").channels


def moment(text):
    """Take a time as both clocks show it."""
    wall_ms = milliseconds(text)
    return Moment(wall_ms, wall_ms)


def stored(seq, record, doubt=None):
    """Lay a record's parts together as the spool does."""
    shape, body = record.shape.encode().split(b"\x1f"), record.body.split(b"\x1f")
    whole = b"".join(part for pair in zip(shape, body, strict=True) for part in pair) if record.shape else record.body
    return Stored(seq, record.moment.wall_ms, doubt, whole)


def written(seq, record, doubt=None):
    return json.loads(Encoder.record(stored(seq, record, doubt)))


def test_the_message():
    """One poll that was answered, and one that was not."""
    samples = [Sample("o3", 41.7), Sample("sample_flow", 702.5, (Flag.FAULT,))]
    records = [
        stored(1041, measured("o3", samples, moment("2026-11-23T10:00:05.012Z"))),
        stored(1042, unanswered("wind", WIND, (), "no_answer", moment("2026-11-23T10:00:06.004Z"))),
    ]
    assert json.loads(Encoder("DL-001", SPOOL).message(records)) in SHOWN


def test_the_outage_of_an_instrument():
    """A record for its begin, and one for its end."""
    begin, end = moment("2026-11-23T10:00:10.000Z"), moment("2026-11-23T10:00:30.000Z")
    begun = outage("back_off", begin, None, at=begin, dated=True, instrument="o3", slots=1)
    ended = outage("back_off", begin, end, at=end, dated=True, instrument="o3", slots=4)
    assert written(1050, begun) in SHOWN
    assert written(1071, ended) in SHOWN


def test_the_outage_of_the_station_and_its_start():
    """As the next start writes them."""
    begin, end = moment("2026-11-23T10:05:00.000Z"), moment("2026-11-23T10:05:04.500Z")
    assert written(1080, outage("crashed", begin, end, at=end, dated=True)) in SHOWN
    assert written(1081, event("start", end, version="0.1.0", config="7c49c7255c31")) in SHOWN


def test_the_record_of_an_untrusted_clock():
    """With a bound on one side."""
    record = measured("o3", [Sample("o3", 41.7)], moment("2026-11-23T10:00:05.012Z"))
    doubt = Dating(1, 9, None, True, milliseconds("2026-11-22T18:00:00Z"), None)
    assert written(7, record, doubt) in SHOWN


@pytest.fixture
def portrait():
    """Draw the shipped example, with one instrument that does not answer."""
    config = load(ROOT / "config")
    portrait = Portrait(config, SPOOL, SimpleNamespace(is_trusted=True))
    instrument = config.instruments["o3"]
    failing = Polled(instrument, config.lines[instrument.line], 0.0, 0.0)
    failing.failing_since, failing.failures, failing.last_error = moment("2026-11-23T10:06:01.000Z"), 2, "no_answer"
    portrait.pollers = [SimpleNamespace(instruments=[failing])]
    return portrait


def test_the_state_has_these_keys(portrait):
    """And its outages have these."""
    shown = next(one for one in SHOWN if topic(one) == "state")
    state = json.loads(portrait.state(True, shown["delivery"]))
    assert list(state) == list(shown)
    assert state["outages"] == shown["outages"]


def test_the_catalog_looks_like_this(portrait):
    """For the wind of the shipped example."""
    shown = next(one for one in SHOWN if topic(one) == "catalog")
    catalog = json.loads(portrait.catalog())
    assert catalog["instruments"]["wind"] == shown["instruments"]["wind"]
    assert [catalog[key] for key in ("v", "station", "name")] == [shown[key] for key in ("v", "station", "name")]


def test_every_flag_is_explained():
    """In the order in which they win."""
    assert explained("### `raw`", "### ") == [flag.value for flag in Flag]


def test_every_event_is_explained():
    """Those that the agent's source names."""
    source = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "agent").rglob("*.py"))
    named = set(re.findall(r'\bevent\(\s*"(\w+)"', source))
    assert named == set(explained("### `event`", "### "))


def topic(shown):
    """Give the last level of the topic on which an example of the document is sent."""
    keys = {"command": "command", "stored": "receipt", "reply": "reply", "status": "state", "name": "catalog"}
    return next((name for key, name in keys.items() if key in shown), "data")


def explained(begin, end):
    """Give the words at the begin of each row of the tables between two headings."""
    return re.findall(r"^\| `([a-z_]+)`", TEXT.partition(begin)[2].partition(end)[0], re.MULTILINE)


@pytest.mark.parametrize("shown", SHOWN, ids=lambda one: f"{topic(one)} {one.get('kind', one.get('id', ''))}")
def test_every_example_is_what_its_schema_allows(shown):
    """Records stand in a message for that."""
    message = {"v": 1, "station": "DL-001", "spool": SPOOL, "records": [shown]} if "seq" in shown else shown
    assert violations(f"stations/DL-001/{topic(shown)}", json.dumps(message).encode()) == []


def test_every_topic_is_in_the_first_table():
    """And has an example."""
    listed = re.findall(r"^\| `<prefix>/<station>/(\w+)` \|", TEXT, re.MULTILINE)
    assert listed == list(SCHEMAS)[:2] + [name for name in listed if name in list(SCHEMAS)[2:]]
    assert set(listed) == set(SCHEMAS)
    assert {topic(one) for one in SHOWN} == set(SCHEMAS) - {"backfill"}


def test_every_reply_and_every_reason_is_explained():
    """Those that the schema knows."""
    schema = published("reply")["properties"]
    assert explained("### Replies", "## Receipts") == [*schema["reply"]["enum"], *schema["reason"]["enum"]]


def test_every_reason_to_refuse_is_one_that_the_agent_gives():
    """In the agent's source."""
    source = (ROOT / "agent/delivery/requests.py").read_text(encoding="utf-8")
    given = set(re.findall(r'_refuse\(\s*[^,]+,\s*"(\w+)"', source))
    assert given == set(published("reply")["properties"]["reason"]["enum"])


def test_every_number_of_the_state_is_explained():
    """Of delivery and of storage."""
    shapes = published("state")["definitions"]
    words = re.findall(r"`([a-z_]+)`", "".join(re.findall(r"^\|(.*?)\|", section("## State"), re.MULTILINE)))
    assert words == ["delivery", *shapes["delivery"]["required"], "storage", *shapes["storage"]["required"]]


def test_the_schemas_know_every_kind_event_and_ledger_of_the_document():
    """And no other."""
    shapes = published("message")["definitions"]
    records = [one for one in SHOWN if "seq" in one]
    assert {one["kind"] for one in records} | {"raw"} == set(shapes["record"]["properties"]["kind"]["x-known"])
    assert {one["ledger"] for one in records if "ledger" in one} == set(
        shapes["ledger"]["properties"]["ledger"]["x-known"]
    )
    assert explained("### `event`", "### ") == shapes["event"]["properties"]["event"]["x-known"]


def section(heading):
    """Give the text below a heading."""
    return TEXT.partition(f"{heading}\n")[2].partition("\n## ")[0]


def published(name):
    return json.loads((ROOT / f"docs/messages/{name}.schema.json").read_text(encoding="utf-8"))
