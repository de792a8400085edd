"""Holds messages against the schemas of docs/messages: of the tests, of the bench, of a recorded stream.

Stricter than a receiver has to be: a key or a word that the schemas do not know is a mistake of the station.
"""

from __future__ import annotations

import gzip
import json
import zlib
from functools import cache
from itertools import islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema_rs

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(__file__).parent.parent / "docs/messages"
SCHEMAS = {
    "data": "message",
    "backfill": "message",
    "state": "state",
    "catalog": "catalog",
    "command": "command",
    "reply": "reply",
    "receipt": "receipt",
}
"""The schema of each topic, by its last level."""
SHOWN_MOST = 5


def violations(topic: str, payload: bytes) -> list[str]:
    """Say what is wrong with a message; [] if nothing is. A compressed one is known by its first bytes."""
    if topic.count("/") < 2 or topic.rpartition("/")[2] not in SCHEMAS:
        return [f"{topic}: no topic of the contract"]
    station, lane = topic.split("/")[-2:]
    try:
        document = _decoded(payload)
    except (ValueError, OSError, EOFError, zlib.error) as error:
        return [f"{topic}: {error}"]
    found = list(islice(_against_schema(SCHEMAS[lane], document), SHOWN_MOST))
    if not found:
        found = list(islice(_beyond_schema(lane, station, document), SHOWN_MOST))
    return [f"{topic}: {one}" for one in found]


@cache
def validator(name: str, *, is_strict: bool = True) -> jsonschema_rs.Draft7Validator:
    """Give the validator of a schema as published, or of this version alone."""
    schema = json.loads((FOLDER / f"{name}.schema.json").read_text(encoding="utf-8"))
    return jsonschema_rs.Draft7Validator(_closed(schema) if is_strict else schema, validate_formats=True)


def _closed(schema: Any) -> Any:
    """Allow only the keys that an open object names, and only the words under `x-known`."""
    if isinstance(schema, list):
        return [_closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed(value) for key, value in schema.items()}
    if "properties" in closed and closed.get("additionalProperties") is True:
        closed["additionalProperties"] = False
    return closed | ({"enum": closed["x-known"]} if "x-known" in closed else {})


def _decoded(payload: bytes) -> Any:
    text = gzip.decompress(payload) if payload.startswith(b"\x1f\x8b") else payload
    return json.loads(text, object_pairs_hook=_object, parse_constant=_no_number)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    read = dict(pairs)
    if len(read) != len(pairs):
        raise ValueError("a key stands twice")
    return read


def _no_number(word: str) -> Any:
    raise ValueError(f"{word} is no JSON")


def _against_schema(name: str, document: Any) -> Iterator[str]:
    compiled = validator(name)
    if compiled.is_valid(document):
        return
    for error in compiled.iter_errors(document):
        place = "/".join(map(str, error.instance_path))
        yield f"{place or 'the message'}: {error.message[:300]}"


def _beyond_schema(lane: str, station: str, document: dict[str, Any]) -> Iterator[str]:
    """Say what a schema cannot."""
    if document.get("station", station) != station:
        yield "names another station than its topic"
    for first, last in document.get("seqs", document.get("stored", document.get("absent", ()))):
        if first > last:
            yield f"range [{first}, {last}]"
    if lane in ("data", "backfill"):
        seqs = [record["seq"] for record in document["records"]]
        if lane == "data" and any(one >= other for one, other in pairwise(seqs)):
            yield "records are not in the order of seq"
        if len(set(seqs)) < len(seqs):
            yield "a seq stands twice in one message"
        for record in document["records"]:
            yield from _of_record(record)


def _of_record(record: dict[str, Any]) -> Iterator[str]:
    judge = {"raw": _of_raw, "ledger": _of_ledger}.get(record["kind"])
    for found in judge(record) if judge else ():
        yield f"seq {record['seq']}: {found}"
    if record.get("from") and record.get("to") and record["from"] > record["to"]:
        yield f"seq {record['seq']}: ends before it begins"


def _of_raw(record: dict[str, Any]) -> Iterator[str]:
    values, flags = record["values"], record.get("flags", {})
    if unknown := flags.keys() - values.keys():
        yield f"flags of channels without values: {sorted(unknown)}"
    for channel, value in values.items():
        if value is None and flags.get(channel, "ok") == "ok":
            yield f"{channel} is null and nothing says why"
        if value is not None and flags.get(channel) == "no_comm":
            yield f"{channel} has a value although it did not answer"


def _of_ledger(record: dict[str, Any]) -> Iterator[str]:
    first, last, records = record["first"], record["last"], record["records"]
    if (first is None) != (last is None) or (first is None) != (records == 0):
        yield "first, last and records are at odds"
    elif records and not first <= last < record["seq"]:
        yield f"seqs {first} to {last}"
    elif records and records > last - first + 1:
        yield f"{records} records in {first} to {last}"
    if record["ledger"] == "hour":
        yield from _of_hour(record)


def _of_hour(record: dict[str, Any]) -> Iterator[str]:
    if record["acknowledged"] > record["records"]:
        yield "more acknowledged than there are"
    for name, instrument in record["instruments"].items():
        if instrument["acknowledged"] > instrument["polled"]:
            yield f"{name}: more acknowledged than polled"
        for channel, counts in instrument["channels"].items():
            total = sum(counts["flags"].values())
            valid = counts["flags"].get("ok", 0) + counts["flags"].get("manual", 0)
            if counts["valid"] != valid or counts["measured"] > total or total > instrument["polled"]:
                yield f"{name}.{channel}: {counts} of {instrument['polled']} polls"
