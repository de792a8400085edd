"""The JSON Schemas: up to date, right for the shipped files, and of one mind with our own reader."""

import copy
import json
import tomllib
from functools import cache
from importlib import import_module
from pathlib import Path

import jsonschema
import pytest

from agent.cli import main
from agent.config_definitions import INSTRUMENT, STATION
from agent.kit import schemas
from drivers import registry
from drivers.fields import Report
from drivers.profile_kinds import ANY_PROFILE
from drivers.toml_file import Document

ROOT = Path(__file__).parent.parent
FILES = {
    "station": [ROOT / "config/station.toml"],
    "instrument": sorted((ROOT / "config/instruments").glob("*.toml")),
    "profile": [*sorted((ROOT / "config/profiles").glob("*.toml")), *sorted(registry.SHIPPED.glob("*.toml"))],
}
WHOLE = {"acme_100", "eh_cm44x", "acme_200", "tsi_dusttrak_drx"}
CASES = [(kind, file) for kind, files in FILES.items() for file in files]
MUTATED = [(kind, file) for kind, file in CASES if kind != "profile" or file.stem in WHOLE]
DEFINITIONS = {"station": STATION, "instrument": INSTRUMENT, "profile": ANY_PROFILE}
ODD_VALUES = ["", "zz", -1, 7, 10**9, 1.5, True, [], {}, ["x"], {"x": 1}, "1s", "1 parsec"]


@cache
def validator(kind):
    return jsonschema.Draft202012Validator(schemas.schemas()[kind])


@pytest.mark.parametrize("kind", FILES)
def test_the_files_are_what_the_definitions_give(kind):
    """Stale? Then `stationd schemas docs/schemas` was not run."""
    file = ROOT / "docs/schemas" / f"{kind}.schema.json"
    assert file.read_text(encoding="utf-8") == schemas.text(schemas.schemas()[kind])


def test_writing_makes_the_three_files(tmp_path):
    """The folder is made too."""
    schemas.write(tmp_path / "new")
    assert sorted(file.name for file in (tmp_path / "new").iterdir()) == [
        "instrument.schema.json", "profile.schema.json", "station.schema.json",
    ]  # fmt: skip


@pytest.mark.parametrize("kind", FILES)
def test_each_schema_is_a_schema(kind):
    """Of the dialect that it names."""
    jsonschema.Draft202012Validator.check_schema(schemas.schemas()[kind])


@pytest.mark.parametrize(("kind", "file"), CASES, ids=lambda value: getattr(value, "stem", value))
def test_every_shipped_file_is_right_by_its_schema(kind, file):
    """Examples and profiles alike."""
    validator(kind).validate(tomllib.loads(file.read_text(encoding="utf-8")))


@pytest.mark.parametrize(("kind", "file"), MUTATED, ids=lambda value: getattr(value, "stem", value))
@pytest.mark.no_cover
def test_schema_and_reader_agree_on_every_mutation(kind, file):
    """What the schema refuses, the reader refuses; what the reader refuses for its form, the schema refuses.

    The reader alone knows the bounds of durations and sizes, whole numbers from 1.0, and what keys mean together.
    """
    for mutated in mutations(tomllib.loads(file.read_text(encoding="utf-8"))):
        ours = complaints(kind, mutated)
        theirs = [error.message for error in validator(kind).iter_errors(mutated)]
        assert bool(ours) == bool(theirs), (mutated, ours, theirs)


def mutations(data):
    """Give the document with each key removed, misspelt, and set to each odd value in turn."""
    for path in paths(data):
        for change in (None, "misspelt", *ODD_VALUES):
            mutated = copy.deepcopy(data)
            table = mutated
            for key in path[:-1]:
                table = table[key]
            value = table.pop(path[-1])
            if change == "misspelt":
                table[path[-1] + " "] = value
            elif change is not None:
                table[path[-1]] = change
            yield mutated


def paths(data, path=()):
    for key, value in data.items():
        yield (*path, key)
        if isinstance(value, dict):
            yield from paths(value, (*path, key))


def complaints(kind, data):
    """Give what our reader finds wrong with the form of the document."""
    report = Report(Document(Path("x.toml"), ""))
    DEFINITIONS[kind].read(json.loads(json.dumps(data)), (), report)
    options = data.get("options", {})
    if kind == "instrument" and isinstance(options, dict) and data.get("driver") in registry.CODE_DRIVERS:
        import_module(f"drivers.{data['driver']}").OPTIONS.read(options, ("options",), report)
    return [one for one in report.problems if not (one.found == '"1s"' and "written like" in one.allowed)]


def test_a_folder_that_cannot_be_is_told(tmp_path, capsys):
    """As of every command: the name of the file, and why."""
    (tmp_path / "file").touch()
    assert main(["schemas", str(tmp_path / "file" / "x")]) == 1
    assert capsys.readouterr().err == f"{tmp_path}/file/x: Not a directory\n"
