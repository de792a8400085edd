"""drivers/README.md: its table is complete and honest, and its example is a driver."""

import re
from pathlib import Path
from types import ModuleType

import played
import pytest

from drivers import registry, transcript
from drivers.line import Line
from drivers.transcript import EVIDENCE, Transcript, TranscriptPort

TEXT = (Path(registry.__file__).with_name("README.md")).read_text(encoding="utf-8")
TABLE = dict(re.findall(r"^\| `(\w+)` \|.*\| (\w+) \|$", TEXT, re.MULTILINE))


def block(language):
    return re.search(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)[1]


def test_the_table_has_every_driver():
    """In alphabetical order."""
    assert list(TABLE) == registry.names()


@pytest.mark.parametrize("name", registry.names())
def test_the_evidence_is_the_best_that_the_transcripts_have(name):
    """No driver is called better than the bytes that it is tested with."""
    found = [transcript.load(file).evidence for file in played.files(name)]
    assert TABLE[name] == min(found, key=EVIDENCE.index)


def test_the_example_is_a_driver_that_its_transcript_proves():
    """Run as it stands."""
    module = ModuleType("acme_200")
    exec(block("python"), module.__dict__)
    case = Transcript(block("text"))
    driver = module.driver({})
    for poll in case.polls:
        port = TranscriptPort(poll.entries)
        result = played.read(driver, Line("line", port, now_s=port.now_s), case.address)
        assert result.error == poll.error
        played.assert_same(result.samples, poll.samples)
    assert [poll.error for poll in case.polls] == ["", "", "NoAnswer"]
