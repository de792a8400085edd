"""A message is strict JSON, joined from stored bytes; sending it again gives the same bytes."""

import gzip
import json

import pytest

from agent.delivery.message import Encoder, compressed
from agent.spool.spool import Dating, Stored

ENCODER = Encoder("DL-001", "9b1c")
AT_MS = 1_795_428_005_012
BODY = b'"kind":"raw","instrument":"so2","values":{"so2":12.31,"flow":0.71},"flags":{"flow":"fault"}'


def strict(message):
    return json.loads(message, parse_constant=pytest.fail)


def test_a_message_is_what_the_contract_says():
    assert strict(ENCODER.message([Stored(1041, AT_MS, None, BODY)])) == {
        "v": 1,
        "station": "DL-001",
        "spool": "9b1c",
        "records": [
            {
                "seq": 1041,
                "at": "2026-11-23T10:00:05.012Z",
                "kind": "raw",
                "instrument": "so2",
                "values": {"so2": 12.31, "flow": 0.71},
                "flags": {"flow": "fault"},
            }
        ],
    }


def test_a_record_has_the_same_bytes_in_whatever_message_it_is_sent():
    records = [Stored(seq, AT_MS + seq, None, BODY) for seq in range(1, 5)]
    alone = ENCODER.message(records[2:3])
    part = alone.partition(b"[")[2].rpartition(b"]")[0]
    assert part in ENCODER.message(records)
    assert part in ENCODER.message(records[1:])


def test_a_record_of_unsure_time_says_so_and_between_which_bounds():
    doubt = Dating(1, 9, None, unsure=True, earliest_ms=AT_MS - 60_000, latest_ms=None)
    (record,) = strict(ENCODER.message([Stored(3, 5_000, doubt, BODY)]))["records"]
    assert record["clock"] == "unsure"
    assert record["between"] == ["2026-11-23T09:59:05.012Z", None]
    assert record["at"] == "1970-01-01T00:00:05.000Z"


def test_a_compressed_message_is_gzip_and_the_same_bytes_each_time():
    message = ENCODER.message([Stored(seq, AT_MS, None, BODY) for seq in range(100)])
    assert gzip.decompress(compressed(message)) == message
    assert compressed(message) == compressed(message)
    assert len(compressed(message)) < len(message) / 5
