"""HJ 212 from an analyzer: what is passed over, what is received, what is new."""

from __future__ import annotations

import pytest

from drivers import registry
from drivers.errors import BadAnswer, ConfigError, NoAnswer
from drivers.hj_212 import framed
from drivers.line import Line
from drivers.transcript import Entry, TranscriptPort

COD = {"011-Rtd": {"name": "cod", "parameter": "COD", "unit": "mg/L"}}
HEAD = "QN=20261123093030500;ST=32;CN=2011;PW=123456;MN=0D21;"


def result(time="20261123093030", value="40.6", flag="Flag=4;", more=""):
    return framed(f"{HEAD}{flag}CP=&&DataTime={time};011-Rtd={value},011-Flag=N{more}&&")


def read(driver, *pieces):
    """Read once over what comes (bytes) and what must be sent (bytes behind ">"); give values."""
    entries = [Entry(">", each[1], 1) if isinstance(each, tuple) else Entry("<", each, 1) for each in pieces]
    port = TranscriptPort(entries)
    samples = driver.read(Line("played", port, now_s=port.now_s), 1)
    port.finish()
    return [sample.value for sample in samples]


def load(**options):
    return registry.load("hj_212", {"channels": COD, **options})


@pytest.mark.parametrize(
    ("segment", "crc"),
    [
        (
            "QN=20160801085857223;ST=32;CN=1062;PW=100000;MN=010000A8900016F000169DC0;Flag=5;CP=&&RtdInterval=30&&",
            b"1C80",
        ),
        ("QN=20160801085000001;ST=91;CN=9014;PW=123456;MN=010000A8900016F000169DC0;Flag=4;CP=&&&&", b"C241"),
        ("QN=20240601085857223;ST=32;CN=1011;PW=123456;MN=010000A8900016F000169DC0;Flag=9;CP=&&&&", b"2200"),
        ("QN=20201015123632010;ST=91;CN=9014;PW=123456;MN=410183160889201000212505;Flag=4;CP=&&&&", b"F001"),
    ],
)
def test_frames_are_those_of_the_standard(segment, crc):
    """Examples of the editions of 2017 and 2025, and a receipt from the field."""
    assert framed(segment) == b"##%04d%b%b\r\n" % (len(segment), segment.encode(), crc)


@pytest.mark.parametrize("crc", [b"1C08", b"0759"])
def test_the_misprint_of_the_standard_and_the_sum_of_modbus_are_refused(crc):
    """1C80 is right; 1C08 stands in the text of appendix A, 0759 is what boxes send that took Modbus for it."""
    good = framed(
        "QN=20160801085857223;ST=32;CN=1062;PW=100000;MN=010000A8900016F000169DC0;Flag=5;CP=&&RtdInterval=30&&"
    )
    assert good[-6:] == b"1C80\r\n"
    with pytest.raises(BadAnswer, match="wrong checksum"):
        read(load(), good[:-6] + crc + b"\r\n")


def test_the_sum_may_come_in_small_letters():
    """Some analyzers write it so."""
    frame = result(value="40.1")
    assert read(load(), frame[:-6] + frame[-6:].lower())[0] == 40.1


def test_a_result_counts_once():
    """What has the time of the result before is nothing new; what has another one is."""
    driver = load()
    assert read(driver, result()) == [40.6, "2026-11-23T09:30:30"]
    assert read(driver, result()) == []
    assert read(driver, result(time="20261123094030", value="40.7")) == [40.7, "2026-11-23T09:40:30"]


def test_a_damaged_result_does_not_count_as_read():
    """The next frame with the same time brings the values."""
    driver = load()
    with pytest.raises(BadAnswer):
        read(driver, result(value="4O.6"))
    assert read(driver, result())[0] == 40.6


@pytest.mark.parametrize(("flag", "edition"), [("Flag=1;", 0), ("Flag=5;", 4), ("Flag=9;", 8)])
def test_a_frame_that_asks_for_a_receipt_gets_one_each_time(flag, edition):
    """A receipt that was lost is asked for again, with a result that is not new."""
    driver = load()
    receipt = framed(f"QN=20261123093030500;ST=91;CN=9014;PW=123456;MN=0D21;Flag={edition};CP=&&&&")
    assert read(driver, result(flag=flag), (">", receipt))[0] == 40.6
    assert read(driver, result(flag=flag), (">", receipt)) == []


def test_frames_of_others_and_of_other_commands_are_passed_over():
    """A heartbeat, an hour's mean, another analyzer on the line, one sent again."""
    others = [
        framed(f"{HEAD.replace('2011', '9015')}Flag=4;CP=&&&&"),
        framed(f"{HEAD.replace('2011', '2061')}Flag=4;CP=&&DataTime=20261123090000;011-Avg=39,011-Flag=N&&"),
        framed(f"{HEAD.replace('0D21', '0D22')}Flag=4;CP=&&DataTime=20261123093030;011-Rtd=2,011-Flag=N&&"),
        result(value="3", flag="Flag=8;RF=1;"),
    ]
    driver = load(mn="0D21")
    assert read(driver, b"".join(others) + result())[0] == 40.6
    with pytest.raises(NoAnswer):
        read(driver, *others)


@pytest.mark.parametrize("length", range(1, 90))
def test_a_frame_in_two_pieces_is_put_together(length):
    """Wherever it is torn."""
    frame = result()
    assert read(load(), frame[:length], frame[length:])[0] == 40.6


def test_two_damaged_neighbours_can_hide_from_the_standard_s_sum():
    """A limit of HJ 212 that no receiver can mend: 40.6 and 71.6 have the same sum."""
    assert result(value="40.6")[-6:] == result(value="71.6")[-6:]
    assert result(value="40.6")[-6:] != result(value="40.7")[-6:]


@pytest.mark.parametrize("factor", ["011", "011-Flag", "011-EFlag", "-Rtd", "011_Rtd"])
def test_what_is_no_factor_with_attribute_is_refused(factor):
    """Marks are read with their values."""
    with pytest.raises(ConfigError, match="factor and attribute"):
        registry.load("hj_212", {"channels": {factor: COD["011-Rtd"]}})


def test_a_mark_can_mean_something_else_here():
    """The surface-water protocol has marks of its own."""
    driver = load(marks={"hd": "maintenance"})
    port = TranscriptPort([Entry("<", framed(f"{HEAD}CP=&&DataTime=20261123093030;011-Rtd=1,011-Flag=hd&&"), 1)])
    samples = driver.read(Line("played", port, now_s=port.now_s), 1)
    assert samples[0].flags == ("maintenance",)


def test_a_name_that_stands_twice_is_refused():
    """Also that of the time."""
    with pytest.raises(ConfigError, match="twice"):
        registry.load("hj_212", {"channels": {"011-Rtd": COD["011-Rtd"] | {"name": "result_time"}}})
