"""docs/cookbook.md: what it names is there, its pieces of files are right, and its conversations are read so."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import played
import pytest

from agent.config import load as load_config
from drivers import profile_kinds, registry, toml_file
from drivers.transcript import Transcript

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs/cookbook.md"
ENTRIES = {
    title: body for title, _, body in (one.partition("\n") for one in PAGE.read_text("utf-8").split("\n### ")[1:])
}
BLOCKS = [
    pytest.param(kind, of, body, id=f"{title}: {kind}")
    for title, entry in ENTRIES.items()
    for kind, of, body in re.findall(r"^```(\w+) ?([\w-]*)\n(.*?)^```", entry, re.DOTALL | re.MULTILINE)
]
HEAD = '[station]\nid = "DL-001"\n[broker]\nurl = "mqtt://127.0.0.1:1883"\n'
RS485 = '[lines.rs485]\nserial = "/dev/serial/by-id/usb-1"\nframer = "rtu"\n'
SOURCES = "".join(
    file.read_text(encoding="utf-8") for folder in ("drivers", "agent") for file in (ROOT / folder).rglob("*.py")
)


def blocks(kind, of):
    """Give the blocks of a kind; each must be read by exactly one of the tests below."""
    return [block for block in BLOCKS if block.values[:2] == (kind, of) or (of is None and block.values[0] == kind)]


every_entry = pytest.mark.parametrize("title", ENTRIES)


@every_entry
def test_every_entry_points_at_what_solved_it(title):
    """A driver, a profile, a transcript or a test that is there; `test_readme` follows all other links."""
    solved = ENTRIES[title].partition("Solved in: ")[2].partition("\n## ")[0]
    links = re.findall(r"\[([^\]]+)\]\(([^)]+)\)", solved)
    assert links or "`config/" in solved
    for text, link in links:
        file = (PAGE.parent / link).resolve()
        assert file.is_file(), link
        if text.startswith("test_"):
            assert f"def {text}(" in file.read_text(encoding="utf-8"), text


@every_entry
def test_a_link_that_is_called_by_a_driver_leads_to_it(title):
    """To its code, its profile or its transcripts."""
    for text, link in re.findall(r"\[([a-z0-9_]+)\]\(([^)]+)\)", ENTRIES[title]):
        if not text.startswith("test_"):
            file = (PAGE.parent / link).resolve()
            assert text in registry.names()
            assert text in {file.stem, file.parent.name}


@every_entry
def test_files_that_are_named_without_a_link_are_there(title):
    """Examples of configuration."""
    for name in re.findall(r"`(\w+/[\w./]+\.\w+)`", ENTRIES[title]):
        assert (ROOT / name).is_file(), name


@every_entry
def test_what_stationd_is_said_to_say_it_says(title):
    """In italics, as it stands in the source, without what is filled in."""
    prose = re.sub(r"```.*?```|`[^`\n]*`", "", ENTRIES[title], flags=re.DOTALL)
    for words in re.findall(r"\*([^*]+)\*", prose):
        assert " ".join(words.split()) in SOURCES, words


def test_every_block_is_of_a_kind_that_is_read_here():
    """So that none rots unseen."""
    kinds = {("toml", "profile"), ("toml", "text-profile"), ("toml", "line"), ("toml", "instrument")}
    for block in BLOCKS:
        kind, of, _ = block.values
        assert (kind, of) in kinds or (kind == "transcript" and of in registry.names())
    assert len(BLOCKS) == PAGE.read_text(encoding="utf-8").count("```") / 2


def completed(body, of):
    """Add to a piece of a profile what it leaves to the others of its kind: the protocol or table, a channel."""
    keys = tomllib.loads(body)
    if of == "profile":
        before = {} if "table" in keys else {"table": "holding"}
        channel = 'register = 0, format = "u16"'
    else:
        before, channel = {"protocol": "text"}, "field = 1"
    head = "".join(f'{key} = "{value}"\n' for key, value in before.items())
    tail = "" if "channels" in keys else f'[channels]\nx = {{ parameter = "x", unit = "", {channel} }}\n'
    return head + body + tail


@pytest.mark.parametrize(("kind", "of", "body"), blocks("toml", "profile") + blocks("toml", "text-profile"))
def test_a_piece_of_a_profile_is_right(kind, of, body):
    """Completed, it loads."""
    loaded = profile_kinds.load(toml_file.Document(Path("acme.toml"), completed(body, of)))
    assert loaded.driver().channels


@pytest.mark.parametrize(("kind", "of", "body"), blocks("toml", "line"))
def test_a_line_is_right(tmp_path, kind, of, body):
    """In a station.toml."""
    (tmp_path / "station.toml").write_text(HEAD + body, encoding="utf-8")
    config = load_config(tmp_path)
    assert not config.problems
    assert list(config.lines) == list(tomllib.loads(body)["lines"])


@pytest.mark.parametrize(("kind", "of", "body"), blocks("toml", "instrument"))
def test_a_piece_of_an_instrument_s_file_is_right(tmp_path, kind, of, body):
    """With a line, an interval, and options that it does not show."""
    (tmp_path / "station.toml").write_text(HEAD + RS485, encoding="utf-8")
    (tmp_path / "instruments").mkdir()
    usual = {"line": "rs485", "interval": "1min"}
    missing = "".join(f'{key} = "{value}"\n' for key, value in usual.items() if key not in tomllib.loads(body))
    (tmp_path / "instruments/one.toml").write_text(missing + body, encoding="utf-8")
    config = load_config(tmp_path)
    assert not config.problems
    assert config.instruments["one"].channels


@pytest.mark.parametrize(("kind", "of", "body"), blocks("transcript", None))
def test_a_conversation_is_read_so_by_its_driver(kind, of, body):
    """Bytes and samples."""
    case = Transcript(body, f"{of}/cookbook")
    driver = played.driver_of(case)
    for poll in case.polls:
        line, port = played.line_over(case, poll.entries)
        result = played.read(driver, line, case.address)
        assert result.error == poll.error
        played.assert_same(result.samples, poll.samples)
        port.finish()
