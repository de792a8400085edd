"""README.md: its files are right, its message is the documented one, and it knows every command."""

import argparse
import json
import re
from pathlib import Path

from agent import cli
from agent.config import load
from drivers import registry, toml_file

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)


def blocks(text, language):
    return [body for found, body in BLOCKS.findall(text) if found == language]


def test_the_three_files_are_a_configuration(tmp_path):
    """Laid out as the text says, they load without a problem, and the instrument has its channels."""
    for name, body in zip(
        ["station.toml", "instruments/o3.toml", "profiles/acme_100.toml"], blocks(TEXT, "toml"), strict=True
    ):
        assert f"`{name}`" in TEXT
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(body, encoding="utf-8")
    config = load(tmp_path)
    assert not config.problems
    assert "o3" in config.instruments["o3"].channels


def test_the_message_is_the_one_of_the_contract():
    """Where tests hold it against the agent."""
    contract = (ROOT / "docs/mqtt.md").read_text(encoding="utf-8")
    shown = [json.loads(body) for body in blocks(contract, "json")]
    assert [json.loads(body) for body in blocks(TEXT, "json")] == [
        one for one in shown if isinstance(one.get("records"), list)
    ]


def test_every_command_is_in_the_table():
    """And no other."""
    parser = cli._parser()
    known = next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction)).choices
    table = TEXT.partition("## Commands")[2].partition("\n## ")[0]
    told = {name for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)", row)}
    assert told - {"stationd"} == set(known)


def test_the_profiles_that_write_are_those_that_it_names():
    """YSI EXO and three probes of Yosemitech; `test_check` has the code drivers."""
    writing = [file.stem for file in registry.files(registry.SHIPPED) if "start" in toml_file.load(file).data]
    assert writing == ["yosemitech_y504", "yosemitech_y511", "yosemitech_y520", "ysi_exo"]


def test_every_file_that_is_named_is_there():
    """Links of all documents."""
    for document in [*ROOT.glob("*.md"), *ROOT.glob("*/README.md"), *ROOT.glob("docs/*.md")]:
        for link in re.findall(r"\]\(([^)#:]+)\)", document.read_text(encoding="utf-8")):
            assert (document.parent / link).exists(), f"{document.name}: {link}"
