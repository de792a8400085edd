"""The words of file definitions: what each kind takes, refuses and says."""

import re
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers import fields
from drivers.fields import Key, Report, Table
from drivers.report import shown
from drivers.toml_file import Document


def read(kind, toml):
    """Read the value of `x` and give it with the problems found."""
    document = Document(Path("file.toml"), toml)
    report = Report(document)
    return kind.read(document.data["x"], ("x",), report), report.problems


DURATION = fields.duration(0.1, 86400)
TABLE = Table(
    Key("name", fields.Text(), doc="who it is"),
    Key("wait", DURATION, "1.5s", doc="how long"),
    Key("many", fields.Integer(1, 5), 2, doc="how many"),
    Key("note", fields.Text(), None, doc="anything"),
    advice={"password": "put it in a file"},
)
MAP = fields.MapOf(re.compile("[0-9]+"), "a bit number", fields.Choice("a", "b"), int)


@pytest.mark.parametrize(
    ("kind", "toml", "value"),
    [
        (fields.Text(), 'x = "a"', "a"),
        (fields.Choice("rtu", "tcp"), 'x = "rtu"', "rtu"),
        (fields.Integer(1, 3), "x = 0x3", 3),
        (fields.OneOf(7, 8), "x = 7", 7),
        (fields.Number(0, 2), "x = 1.5", 1.5),
        (DURATION, 'x = "100ms"', 0.1),
        (DURATION, 'x = "1.5 min"', 90),
        (DURATION, 'x = "1d"', 86400),
        (fields.size(), 'x = "64kB"', 64000),
        (fields.ListOf(fields.Integer(0, 9)), "x = [1, 1]", [1, 1]),
        (MAP, 'x = { 0 = "a", 7 = "b" }', {0: "a", 7: "b"}),
        (fields.Either("text or number", str=fields.Text(), int=fields.Integer(0, 9)), "x = 4", 4),
        (fields.TableOfAny(), "x = { y = [1] }", {"y": [1]}),
        (TABLE, 'x = { name = "n" }', {"name": "n", "wait": 1.5, "many": 2, "note": None}),
    ],
)
def test_a_right_value_is_converted(kind, toml, value):
    """Each kind takes what its schema takes, and gives it in base units."""
    assert read(kind, toml) == (value, [])
    jsonschema.validate(Document(Path("x"), toml).data["x"], kind.schema())


@pytest.mark.parametrize(
    ("kind", "toml", "words"),
    [
        (fields.Text(), "x = 1", "found 1; expected text in quotes"),
        (fields.Text(fields.NAME, "a name"), 'x = "../etc"', 'found "../etc"; expected a name'),
        (fields.Choice("rtu", "tcp"), 'x = "RTU"', "allowed: rtu, tcp; did you mean rtu?"),
        (fields.Choice("rtu"), "x = [1]", "found a list of 1; allowed: rtu"),
        (fields.Integer(1, 3), 'x = "2"', 'found "2"; allowed: a whole number from 1 to 3, without quotes'),
        (fields.Integer(1, 3), "x = true", "found true"),
        (fields.Integer(1, 3), "x = 4", "from 1 to 3"),
        (fields.Integer(0, 1), f"x = 0x{'f' * 3900}", "found a huge number"),
        (fields.OneOf(7, 8), "x = 9", "found 9; allowed: 7, 8, without quotes"),
        (fields.OneOf(0, 1), "x = true", "allowed: 0, 1"),
        (fields.Number(0, 2), "x = nan", "found nan; allowed: a number from 0 to 2"),
        (fields.Number(), "x = inf", "allowed: a number"),
        (DURATION, "x = 60", 'found 60; allowed: 100ms to 1d, written like "500ms"'),
        (DURATION, 'x = "60"', 'found "60"'),
        (DURATION, 'x = "\u0663s"', "allowed"),
        (DURATION, 'x = "2d"', "100ms to 1d"),
        (DURATION, f'x = "{"9" * 400}s"', "allowed"),
        (fields.ListOf(fields.Integer(0, 1)), "x = 1", "expected a list"),
        (fields.ListOf(fields.Integer(0, 1), least=1), "x = []", "at least 1"),
        (fields.ListOf(fields.Integer(0, 1), is_set=True), "x = [1, 1]", "x.1: found 1; stands twice"),
        (MAP, "x = 1", "expected a table"),
        (MAP, 'x = { y = "a" }', 'x.y: found "y"; expected as key a bit number'),
        (MAP, 'x = { 1 = "a", 01 = "b" }', "means the same as a key before it (1)"),
        (fields.Either("text", str=fields.Text()), "x = 1", "expected text"),
        (fields.TableOfAny(), "x = 1", "expected a table"),
        (TABLE, "x = 1", "expected a table"),
        (TABLE, "x = {}", "x.name: is missing; who it is"),
        (TABLE, 'x = { nmae = "n" }', "did you mean name?"),
        (TABLE, 'x = { name = "n", password = "n" }', "x.password: put it in a file"),
        (TABLE, 'x = { name = "n", wait = 1 }', "x.wait: found 1"),
    ],
)
def test_a_wrong_value_is_one_problem_that_says_what_is_allowed(kind, toml, words):
    """One mistake is one problem: a misspelt key is not reported as missing as well."""
    _, (problem,) = read(kind, toml)
    assert words in str(problem)
    assert problem.line == 1


def test_a_problem_names_its_line_and_its_key_as_written():
    """A quoted key is shown with its quotes."""
    document = Document(Path("f.toml"), '[x]\nname = "n"\n"a b" = 1\n')
    report = Report(document)
    TABLE.read(document.data["x"], ("x",), report)
    (problem,) = report.problems
    assert (problem.line, problem.key) == (3, 'x."a b"')


@pytest.mark.no_cover
@given(st.recursive(st.text() | st.integers() | st.floats() | st.booleans(), st.lists))
def test_a_wrong_value_is_shown_short_and_harmless(value):
    """No control character reaches a terminal or a log."""
    text = shown(value)
    assert len(text) <= 60
    assert text.isprintable()


@pytest.mark.no_cover
@given(st.recursive(st.none() | st.text() | st.integers() | st.floats() | st.booleans(), st.lists))
def test_no_value_makes_a_kind_raise(value):
    """Each mistake is collected; nothing is thrown."""
    for kind in (TABLE, MAP, DURATION, fields.Choice("a"), fields.OneOf(1), fields.Integer(0, 1)):
        report = Report(Document(Path("f"), ""))
        assert kind.read(value, ("x",), report) is not None or report.problems


def test_the_schema_tells_an_editor_defaults_and_meanings():
    """Required keys, descriptions and defaults as one would write them."""
    schema = TABLE.schema()
    assert schema["required"] == ["name"]
    assert schema["properties"]["wait"]["default"] == "1.5s"
    assert schema["properties"]["many"] == {
        "type": "integer", "minimum": 1, "maximum": 5, "description": "how many", "default": 2,
    }  # fmt: skip
    assert "default" not in schema["properties"]["note"]
