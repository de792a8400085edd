"""A record is encoded once, in a shared and an own part, and joined again to the same bytes for ever."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.record import SEPARATOR, encode, event, joined, measured, outage, unanswered
from drivers.clock import Moment
from drivers.sample import Channel, Flag, Sample

MOMENT = Moment(1_795_428_005_012, 8_000)
AWKWARD = ['a,b:"c"', SEPARATOR, "}\x00{", "\\", "Grüße, 西岗", "\x7f\u2028", ""]
VALUES = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(codec="utf-8")),
    st.sampled_from(AWKWARD),
)
SAMPLES = st.lists(
    st.builds(Sample, st.text("abc,\":'\x1f", max_size=4), VALUES, st.lists(st.sampled_from(Flag)).map(tuple)),
    max_size=8,
    unique_by=lambda sample: sample.channel,
)


def json_of(record):
    whole = joined(record.shape.encode().split(SEPARATOR.encode()), record.body) if record.shape else record.body
    return json.loads(b"{" + whole + b"}", parse_constant=pytest.fail)


@given(SAMPLES)
def test_every_value_comes_back_as_it_was_measured(samples):
    document = json_of(measured("so2", samples, MOMENT))
    assert document["kind"] == "raw"
    assert document["instrument"] == "so2"
    assert document["values"] == {sample.channel: sample.value for sample in samples}
    assert list(document["values"]) == [sample.channel for sample in samples]


@given(SAMPLES)
def test_the_worst_flag_of_each_channel_is_published_and_ok_is_not_written(samples):
    flags = json_of(measured("so2", samples, MOMENT)).get("flags", {})
    for sample in samples:
        worst = next((flag for flag in Flag if flag in sample.flags), Flag.OK)
        assert flags.get(sample.channel, "ok") == worst


@given(SAMPLES)
def test_encoding_twice_gives_the_same_bytes(samples):
    assert measured("so2", samples, MOMENT) == measured("so2", samples, MOMENT)


@given(SAMPLES, st.data())
def test_a_failed_poll_keeps_what_was_answered_and_has_null_and_no_comm_for_the_rest(samples, data):
    channels = [Channel(sample.channel, "p", "u") for sample in samples]
    known = samples[: data.draw(st.integers(0, len(samples)))]
    document = json_of(unanswered("so2", channels, known, "no_answer", MOMENT))
    assert document["error"] == "no_answer"
    assert document["values"] == {c.name: None for c in channels} | {s.channel: s.value for s in known}
    silent = {c.name for c in channels} - {s.channel for s in known}
    assert {name for name in silent if document["flags"][name] == "no_comm"} == silent


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_never_becomes_a_record(value):
    with pytest.raises(ValueError):
        measured("so2", [Sample("so2", value)], MOMENT)


def test_records_of_one_instrument_share_their_shape_whether_answered_or_not():
    samples = [Sample("so2", 12.31), Sample("flow", 0.71, (Flag.FAULT,))]
    channels = [Channel("so2", "SO2", "ppb"), Channel("flow", "sample_flow", "L/min")]
    good = measured("so2", samples, MOMENT)
    assert good.shape == unanswered("so2", channels, (), "no_answer", MOMENT).shape
    assert good.body == b'12.31\x1f0.71\x1f,"flags":{"flow":"fault"}'


def test_an_instrument_name_with_quotes_cannot_break_out_of_the_json():
    assert json_of(measured('a","b":"c', [Sample("x", 1)], MOMENT))["instrument"] == 'a","b":"c'


def test_an_outage_tells_its_span_and_its_slots():
    end = Moment(MOMENT.wall_ms + 61_500, MOMENT.elapsed_ms + 61_500)
    document = json_of(outage("back_off", MOMENT, end, at=end, dated=True, instrument="so2", slots=12))
    assert document == {
        "kind": "outage",
        "instrument": "so2",
        "reason": "back_off",
        "from": "2026-11-23T10:00:05.012Z",
        "to": "2026-11-23T10:01:06.512Z",
        "span_s": 61.5,
        "slots": 12,
    }


def test_an_outage_measured_on_a_clock_that_is_not_trusted_tells_seconds_only():
    end = Moment(0, MOMENT.elapsed_ms + 1_000)
    document = json_of(outage("back_off", MOMENT, end, at=end, dated=False, instrument="so2", slots=1))
    assert document["span_s"] == 1.0
    assert not {"from", "to"} & document.keys()


def test_an_event_carries_its_details():
    assert json_of(event("start", MOMENT, version="1")) == {"kind": "event", "event": "start", "version": "1"}


def test_fields_that_are_not_finite_are_refused_everywhere():
    with pytest.raises(ValueError):
        encode({"kind": "event", "offset": math.nan})
