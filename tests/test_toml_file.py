"""Where keys stand in a TOML file, and what is said of a file that is none."""

import os
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers import toml_file
from drivers.errors import ConfigError
from drivers.toml_places import places

EXAMPLE = '''\
# a comment with [brackets] and key = "value"
top = 1
text = """
[not.a.table]
key = 2
"""  # the text ends here
dotted.key = [ 1,
  { a = 1, b = { "c d" = 2 } },   # an item
  """x
]""", 4 ]

[table]
"quo\\u0074ed" = 1
'lit.eral' = 2979-05-27 07:32:00
[table.inner]
deep = "a # no comment [ { "

[[list]]
name = "first"
[list.sub]
key = true
[[list]]
name = "second"
'''


def test_every_kind_of_key_has_the_line_it_stands_on():
    """Tables, dotted and quoted keys, inline tables, list items and texts of several lines are told apart."""
    found = places(EXAMPLE)
    expected = {
        "top": 2,
        "text": 3,
        "dotted.key": 7,
        "dotted.key.1": 8,
        "dotted.key.1.b.c d": 8,
        "dotted.key.2": 9,
        "dotted.key.3": 10,
        "table": 12,
        "table.quoted": 13,
        "table.inner.deep": 16,
        "list.0": 18,
        "list.0.name": 19,
        "list.0.sub.key": 21,
        "list.1": 22,
        "list.1.name": 23,
    }
    assert {key: found[tuple(key.split("."))] for key in expected} == expected
    assert found["table", "lit.eral"] == 14
    assert set(found) == set(key_paths(tomllib.loads(EXAMPLE)))


def key_paths(value, path=()):
    """Name every key and list item of parsed data."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        here = (*path, str(key))
        yield here
        yield from key_paths(item, here)


BARE = st.text("abcXYZ019_-", min_size=1, max_size=5)
ODD = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=6)
KEYS = st.one_of(BARE, BARE, ODD)
SCALARS = st.one_of(
    st.integers(-9, 9), st.booleans(), ODD, st.text('"#[]{}=,\n\\ ab', max_size=12), st.dates(), st.floats()
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3))
)


def quoted(text):
    """Write text as a basic string of TOML."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def key_text(key):
    """Write a key, in quotes where it needs them."""
    return key if key and all(char in "abcXYZ019_-" for char in key) else quoted(key)


def literal(value, *, block):
    """Write a value; lists go over several lines, and texts too if `block` says so."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        plain = block and "\\" not in value and '"""' not in value and not value.endswith('"')
        return f'"""\n{value}"""' if plain else quoted(value)
    if isinstance(value, list):
        return "[  # [list\n" + "".join(literal(item, block=block) + " ,\n" for item in value) + "]"
    if isinstance(value, dict):
        pairs = ", ".join(f"{key_text(key)} = {literal(item, block=block)}" for key, item in value.items())
        return f"{{ {pairs} }}"
    return str(value)


@given(st.dictionaries(KEYS, st.dictionaries(KEYS, VALUES, max_size=4), max_size=4), st.booleans())
def test_every_key_of_any_document_has_a_line(data, block):
    """Whatever a document holds, the walk finds the keys that tomllib finds, on lines that hold them."""
    text = ""
    for table, content in data.items():
        pairs = (f"{key_text(key)} = {literal(value, block=block)}  # =\n" for key, value in content.items())
        text += f"\n[ {key_text(table)} ]\n" + "".join(pairs)
    found = places(text)
    assert set(found) == set(key_paths(tomllib.loads(text)))
    lines = text.split("\n")
    for path, line in found.items():
        is_item = isinstance(_at(data, path[:-1]), list)
        assert is_item or key_text(path[-1]) in lines[line - 1]
    assert list(found.values()) == sorted(found.values())


def _at(value, path):
    for key in path:
        value = value[int(key) if isinstance(value, list) else key]
    return value


@pytest.mark.parametrize(
    ("content", "line", "words"),
    [
        (b"a = 1\nb = \n", 2, "not valid TOML: Invalid value"),
        (b'a = 1\nb = "x\n', 2, "not valid TOML"),
        (b'a = 1\nb = "\\x02"\n', 2, "stands in single quotes"),
        (b"a = 1\na = 2\n", 2, "not valid TOML: Cannot overwrite a value"),
        (b"a = 1\nb = [1,\n", 2, "not valid TOML"),
        (b"a = 1\n# \xe9t\xe9\n", 2, "UTF-8"),
        (b"a = 1\nb = 2020-02-30\n", 2, "not valid TOML"),
        (b"a = " + b"9" * 3900 + b"0" * 1000, 1, "at most 4000"),
        (b"x" * 300_000, 0, "at most 256 KiB"),
        (b"a = 1\n" + b".".join([b"a"] * 3000), 2, "at most 4000"),
        (b"a = " + b"[" * 3000 + b"]" * 900, 0, "nested too deeply"),
        (b"a = \0", 1, "not valid TOML"),
    ],
)
def test_a_file_that_is_not_toml_is_refused_with_its_line(tmp_path, content, line, words):
    """Each becomes one problem; none becomes a traceback or minutes of work."""
    file = tmp_path / "x.toml"
    file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        toml_file.load(file)
    (problem,) = caught.value.problems
    assert problem.file == file
    assert words in str(problem)
    assert problem.line == line


def test_what_is_no_regular_file_is_refused_unread(tmp_path):
    """A folder, a pipe that would block, and nothing at all."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder", "none"):
        with pytest.raises(ConfigError, match="cannot be read"):
            toml_file.load(tmp_path / name)


def test_files_of_windows_editors_are_read(tmp_path):
    """A byte order mark and CR LF change neither values nor lines."""
    (tmp_path / "x.toml").write_bytes(b"\xef\xbb\xbfa = 1\r\n[t]\r\nb = [\r\n 2]\r\n")
    document = toml_file.load(tmp_path / "x.toml")
    assert document.data == {"a": 1, "t": {"b": [2]}}
    assert [document.line(path) for path in [("a",), ("t", "b"), ("t", "b", "0")]] == [1, 3, 4]


def test_a_missing_key_has_the_line_of_the_table_it_is_missing_from(tmp_path):
    """So that the technician looks at the right table."""
    (tmp_path / "x.toml").write_text("\n[t]\na = 1\n")
    document = toml_file.load(tmp_path / "x.toml")
    assert document.line(("t", "missing", "deep")) == 2
    assert document.line(("missing",)) == 0
