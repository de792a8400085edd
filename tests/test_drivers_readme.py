"""drivers/README.md: its table is complete and honest, and its example is a driver."""

import io
import re
from pathlib import Path
from types import ModuleType

import played
import pytest

from agent.kit import look
from drivers import catalogue, registry, transcript
from drivers.line import Line
from drivers.transcript import EVIDENCE, Transcript, TranscriptPort

TEXT = (Path(registry.__file__).with_name("README.md")).read_text(encoding="utf-8")


def block(language):
    return re.search(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)[1]


def test_the_table_is_the_one_that_the_heads_make():
    """`python -m drivers.catalogue` makes it anew."""
    assert catalogue.write_readme(TEXT) == TEXT


@pytest.mark.parametrize("entry", catalogue.entries(), ids=lambda entry: entry.name)
def test_the_evidence_is_the_best_that_the_transcripts_have(entry):
    """No driver is called better than the bytes that it is tested with, and none worse."""
    found = {file.name: transcript.load(file).evidence for file in played.files(entry.name)}
    best = min(found.values(), key=EVIDENCE.index)
    assert entry.evidence == best, f"write Evidence: {best} into the head; the transcripts say {found}"


@pytest.mark.parametrize("entry", catalogue.entries(), ids=lambda entry: entry.name)
def test_the_first_line_of_a_head_names_the_instruments(entry):
    """It fits into a line of a terminal and a row of a table."""
    assert 5 < len(entry.instruments) <= 120
    assert "|" not in entry.instruments


def test_a_technician_sees_every_driver_with_its_evidence_and_that_of_his_own_profiles(tmp_path):
    """A site's profile that says nothing of evidence has none."""
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "acme_1.toml").write_text('# ACME 1, from its display\ntable = "input"\n')
    out = io.StringIO()
    assert look.drivers(tmp_path, None, out) == 0
    listed = out.getvalue().splitlines()
    assert [line.split()[0] for line in listed] == registry.names(tmp_path / "profiles")
    assert listed[0].split(maxsplit=3) == ["acme_1", "site", "-", "ACME 1, from its display"]


def test_the_head_of_a_driver_can_be_read_where_no_source_is_at_hand(tmp_path):
    """An unknown name is met with the nearest."""
    out = io.StringIO()
    assert look.drivers(tmp_path, "teledyne_t400", out) == 0
    assert "Evidence: built" in out.getvalue()
    assert look.drivers(tmp_path, "teledine_t400", out) == 1
    assert "did you mean teledyne_t400?" in out.getvalue()


def play(driver, case):
    for poll in case.polls:
        port = TranscriptPort(poll.entries)
        result = played.read(driver, Line("line", port, framer=case.framer, now_s=port.now_s), case.address)
        assert result.error == poll.error
        played.assert_same(result.samples, poll.samples)
    return [poll.error for poll in case.polls]


def test_the_example_is_a_driver_that_its_transcript_proves():
    """Run as it stands."""
    module = ModuleType("acme_300")
    exec(block("python"), module.__dict__)
    assert play(module.driver({}), Transcript(block("text"))) == ["", "", "NoAnswer"]


def test_the_transcript_of_the_guide_proves_the_example_of_a_register_profile():
    """Played against the file that a technician copies."""
    driver = registry.load("acme_100", site=Path(__file__).parents[1] / "config/profiles")
    assert play(driver, Transcript(block("modbus"))) == ["", "", "NoAnswer"]
