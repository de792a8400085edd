"""The rarer words of profiles: starts, identities, values in two places, results with a time, masks."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from simulated import Instrument

from drivers import toml_file
from drivers.driver import Exchange
from drivers.errors import BadAnswer, ConfigError, LineDown, NoAnswer, Refused
from drivers.fields import Either, ListOf, MapOf, OneOrMore, Table
from drivers.line import Line
from drivers.profile import PROFILE, load
from drivers.sample import Flag, Sample
from drivers.transcript import Entry, Transcript, TranscriptPort

ROOT = Path(__file__).parent.parent
ACME = ROOT / "config/profiles/acme_100.toml"
HEAD = 'table = "holding"\n'


def driver(text):
    return load(toml_file.Document(Path("acme.toml"), text)).driver()


def channel(**keys):
    entry = {"parameter": '"X"', "unit": '""', "register": 0, "format": '"u16"'} | keys
    return "[channels]\nx = { " + ", ".join(f"{key} = {value}" for key, value in entry.items()) + " }\n"


def instrument(**registers):
    """Make an instrument whose registers (`r5` = register 5) hold what is said, else their own address."""
    made = Instrument()
    made.values = {int(name[1:]): value for name, value in registers.items()}
    return made


def value(text, **registers):
    """Read once and give the sample of x."""
    return next(iter(driver(text).read(instrument(**registers).line(), 1)))


def problems(text):
    with pytest.raises(ConfigError) as caught:
        driver(text)
    return [str(problem).removeprefix("acme.toml:") for problem in caught.value.problems]


# ---- the language and its example


def words(kind):
    """Give the keys of a definition that are not the author's to choose."""
    if isinstance(kind, Table):
        return {name for key in kind.keys.values() for name in {key.name} | words(key.kind)}
    inner = {MapOf: ["kind"], ListOf: ["kind"], OneOrMore: ["table"]}.get(type(kind), [])
    nested = [getattr(kind, name) for name in inner] + (list(kind.kinds.values()) if isinstance(kind, Either) else [])
    return {word for one in nested for word in words(one)}


def uncommented():
    """Give the example with everything that it shows in comments."""
    return re.sub(r"^#(?=[^# ]|  \{)", "", ACME.read_text(encoding="utf-8"), flags=re.MULTILINE)


def test_every_key_of_the_language_is_shown_in_the_example():
    """And the guide counts them, so that the language stays small."""
    shown = set(re.findall(r"(?:^|[{,.\[] *)(\w+)(?= *=|[.\]])", uncommented(), re.MULTILINE))
    assert words(PROFILE) - shown == set()
    guide = (ROOT / "drivers/README.md").read_text(encoding="utf-8")
    assert f"{len(words(PROFILE))} keys" in guide


def test_all_that_the_example_shows_in_comments_is_right():
    """Without the signs of comments it is a profile too."""
    made = driver(uncommented())
    assert [one.name for one in made.channels][-1] == "measured_at"
    assert [one.is_once for one in made.plan("rtu")][:3] == [True, True, False]


# ---- start


START = """
[start]
steps = [
  { function = 16, register = 128, values = [1, 4, 0] },
  { function = 6, register = 1, values = [1] },
  { function = 3, register = 9472 },
]
"""
STARTED = """
> 01 10 00 80 00 03 06 00 01 00 04 00 00 9D 69
< 01 10 00 80 00 03 81 E0
> 01 06 00 01 00 01 19 CA
< 01 06 00 01 00 01 19 CA
> 01 03 25 00 00 00 4E C6
< 01 03 00 20 F0
"""
READ = """
> 01 03 00 00 00 01 84 0A
< 01 03 02 00 07 F9 86
"""
SILENT = """
> 01 03 00 00 00 01 84 0A
"""


def over(conversation, framer="rtu"):
    port = TranscriptPort([entry for poll in Transcript(conversation).polls for entry in poll.entries])
    return Line("played", port, framer=framer, now_s=port.now_s), port


def reads(text, conversation, count):
    """Read so often, and give what each brought."""
    made = driver(text)
    line, port = over(conversation)
    found = []
    for _ in range(count):
        try:
            found.append([sample.value for sample in made.read(line, 1)])
        except (NoAnswer, BadAnswer, Refused) as error:
            found.append(type(error))
    port.finish()
    return found


def test_what_is_sent_at_the_start_is_sent_once():
    """Writes of both kinds and a request for nothing, each answered, then reads alone."""
    assert reads(HEAD + START + channel(), STARTED + READ + READ, 2) == [[7], [7]]


def test_after_silence_the_instrument_is_started_again():
    """It may have been without power and lost what it was told."""
    conversation = STARTED + READ + SILENT + STARTED + READ
    assert reads(HEAD + START + channel(), conversation, 3) == [[7], NoAnswer, [7]]


def test_a_start_that_is_not_answered_is_tried_again_before_anything_is_read():
    """No value of an instrument that was not told what to do."""
    conversation = "> 01 10 00 80 00 03 06 00 01 00 04 00 00 9D 69\n" + STARTED + READ
    assert reads(HEAD + START + channel(), conversation, 2) == [NoAnswer, [7]]


def test_a_damaged_answer_does_not_start_the_instrument_again():
    """It is there, and wrote over nothing."""
    damaged = "> 01 03 00 00 00 01 84 0A\n< 01 03 02 00 06 F9 86\n"
    assert reads(HEAD + START + channel(), STARTED + damaged + READ, 2) == [BadAnswer, [7]]


def test_a_start_may_take_some_reads():
    """The read that sends it asks for nothing, those after it bring nothing, until the values count."""
    text = HEAD + START + "wait_reads = 3\n" + channel()
    assert reads(text, STARTED + READ * 4, 5) == [[], [], [], [7], [7]]
    text = HEAD + START + "wait_reads = 1\n" + channel()
    assert reads(text, STARTED + READ, 2) == [[], [7]]


def test_what_is_read_while_an_instrument_settles_does_not_count_when_another_request_fails():
    """A failed read gives what it has; what does not count yet is nothing."""
    text = HEAD + START + "wait_reads = 2\n" + channel()
    text += 'y = { parameter = "Y", unit = "", register = 60, format = "u16" }\n'
    other = "> 01 03 00 3C 00 01 44 06\n"
    busy = "< 01 83 06 C1 32\n"
    made = driver(text)
    line, port = over(STARTED + READ + other + busy + READ + other + busy)
    assert list(made.read(line, 1)) == []
    for expected in ((), (("x", 7, ()),)):
        with pytest.raises(BadAnswer) as caught:
            made.read(line, 1)
        assert caught.value.samples == expected
    port.finish()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ("01 06 00 01 00 02 59 CB", BadAnswer),  # another value
        ("01 06 00 02 00 01 E9 CA", BadAnswer),  # another register
        ("01 03 02 00 01 79 84", BadAnswer),  # another function
        ("01 06 00 01 00 01 19 CB", BadAnswer),  # a wrong sum
        ("02 06 00 01 00 01 19 F9", BadAnswer),  # another instrument
        ("01 06 00 01", NoAnswer),
        ("01 86 02 C3 A1", Refused),
    ],
)
def test_the_answer_to_a_write_is_checked(answer, error):
    """Function 6 is answered by its own request, and by nothing else."""
    text = HEAD + "[start]\nsteps = [{ function = 6, register = 1, values = [1] }]\n" + channel()
    line, port = over(f"> 01 06 00 01 00 01 19 CA\n< {answer}")
    with pytest.raises(error):
        driver(text).read(line, 1)
    port.finish()


@pytest.mark.parametrize("step", range(3))
def test_every_damage_of_the_answer_to_a_start_is_an_error(step):
    """Each prefix and each flipped bit: a start that is not answered as it should did not happen."""
    entries = Transcript(STARTED + READ).polls[0].entries
    whole = entries[2 * step + 1].data
    number = int.from_bytes(whole, "big")
    flipped = [(number ^ 1 << bit).to_bytes(len(whole), "big") for bit in range(8 * len(whole))]
    for answer in [*(whole[:length] for length in range(len(whole))), *flipped]:
        port = TranscriptPort([*entries[: 2 * step + 1], Entry("<", answer, 0)])
        line = Line("played", port, framer="rtu", now_s=port.now_s)
        with pytest.raises((NoAnswer, BadAnswer, Refused)):
            driver(HEAD + START + channel()).read(line, 1)


def test_a_published_command_and_its_answer_are_those_we_send_and_take():
    """The order to measure of the map of Jiangsu: function 16, register 40001 taken literally."""
    text = HEAD + "[start]\nwait_reads = 1\nsteps = [{ function = 16, register = 40001, values = [1] }]\n" + channel()
    line, port = over("> 01 10 9C 41 00 01 02 00 01 34 88\n< 01 10 9C 41 00 01 7F 8D")
    assert list(driver(text).read(line, 1)) == []
    port.finish()


@pytest.mark.parametrize(
    "answer", ["01 10 00 80 00 02 40 20", "01 10 00 81 00 03 D0 20", "01 10 00 80 00 03 81 E1", "01 03 00 20 F0"]
)
def test_the_answer_to_several_writes_repeats_register_and_count(answer):
    """Anything else is a bad answer."""
    line, port = over(f"> 01 10 00 80 00 03 06 00 01 00 04 00 00 9D 69\n< {answer}")
    with pytest.raises(BadAnswer):
        driver(HEAD + START + channel()).read(line, 1)
    port.finish()


@pytest.mark.parametrize("framer", ["tcp", "ascii"])
def test_writes_go_over_the_other_framers_too(framer):
    """TCP by its transaction, ASCII by its own sum; an answer to function 6 is no echo."""
    text = HEAD + "[start]\nsteps = [{ function = 6, register = 1, values = [1] }]\n" + channel()
    talk = {
        "tcp": "> 00 01 00 00 00 06 01 06 00 01 00 01\n< 00 01 00 00 00 06 01 06 00 01 00 01\n"
        "> 00 02 00 00 00 06 01 03 00 00 00 01\n< 00 02 00 00 00 05 01 03 02 00 07",
        "ascii": '> ":010600010001F7\\r\\n"\n< ":010600010001F7\\r\\n"\n'
        '> ":010300000001FB\\r\\n"\n< ":0103020007F3\\r\\n"',
    }
    line, port = over(talk[framer], framer)
    assert [sample.value for sample in driver(text).read(line, 1)] == [7]
    port.finish()


class Gone:
    """A line whose port goes away at the second request."""

    framer = "rtu"
    transaction = 0

    def __init__(self):
        self.sent = []

    def ask(self, request, complete, **_):
        self.sent.append(request.hex(" "))
        if len(self.sent) == 2:
            raise LineDown("gone")
        answer = bytes.fromhex("01 06 00 01 00 01 19 CA" if request[1] == 6 else "01 03 02 00 07 F9 86")
        assert complete(answer) == len(answer)
        return answer


def test_when_the_line_comes_back_the_instrument_is_started_again():
    """Whoever pulled the plug may have pulled that of the instrument."""
    made = driver(HEAD + "[start]\nsteps = [{ function = 6, register = 1, values = [1] }]\n" + channel())
    line = Gone()
    with pytest.raises(LineDown):
        made.read(line, 1)
    assert [sample.value for sample in made.read(line, 1)] == [7]
    assert [one[:5] for one in line.sent] == ["01 06", "01 03", "01 06", "01 03"]


def test_the_plan_names_the_writes_and_does_not_count_them_in_a_cycle():
    """`stationd check` shows them first."""
    plan = driver(HEAD + START + channel()).plan("rtu")
    assert plan == [
        Exchange("at start: WRITE holding 128 to 130", 15, 8, is_once=True, is_order=True),
        Exchange("at start: WRITE holding 1", 8, 8, is_once=True, is_order=True),
        Exchange("at start: READ none from 9472", 8, 5, is_once=True, is_order=True),
        Exchange("holding 0 to 0", 8, 7),
    ]


# ---- values in two places


def test_a_whole_number_and_its_fraction_make_one_value():
    """Added as decimals, whatever the binary fractions are."""
    text = HEAD + channel(format='"u32"', plus='{ register = 2, format = "float32" }')
    assert value(text, r0=1, r1=0xE240, r2=0x3F49, r3=0xFBE7) == Sample("x", 123456.789)
    text = HEAD + channel(format='"u32"', plus='{ register = 2, format = "u16", scale = 0.0001 }')
    assert value(text, r0=0, r1=12, r2=3456) == Sample("x", 12.3456)


def test_higher_digits_may_stand_in_another_register():
    """Total = high x 100 + low, and a whole number stays one."""
    text = HEAD + channel(scale=100, plus='{ register = 2, format = "u16" }')
    found = value(text, r0=123, r2=45)
    assert (found, type(found.value)) == (Sample("x", 12345), int)


def test_a_fraction_that_is_no_number_makes_no_value():
    """Half a value is none."""
    text = HEAD + channel(format='"u32"', plus='{ register = 2, format = "float32" }')
    assert value(text, r2=0x7FC0) == Sample("x", None, (Flag.FAULT,))


@pytest.mark.parametrize(("raw", "decimals", "expected"), [(712, 2, 7.12), (712, 0, 712), (0xFFFF, 1, -0.1)])
def test_the_decimal_point_may_stand_in_another_register(raw, decimals, expected):
    """The exact decimal number, also below zero."""
    text = HEAD + channel(format='"i16"', decimals="{ register = 1 }")
    assert value(text, r0=raw, r1=decimals) == Sample("x", expected)


@pytest.mark.parametrize(("raw", "decimals", "expected"), [(100, 0xFFFF, 1000), (0xFFFF, 0xFFFE, -100), (244, 1, 24.4)])
def test_a_negative_number_of_decimals_means_tens_where_the_profile_says_so(raw, decimals, expected):
    """A whole number stays whole."""
    text = HEAD + channel(format='"i16"', decimals='{ register = 1, format = "i16" }')
    found = value(text, r0=raw, r1=decimals)
    assert (found, type(found.value)) == (Sample("x", expected), type(expected))


@pytest.mark.parametrize(("form", "decimals"), [("u16", 0xFFFF), ("u16", 10), ("i16", 10), ("i16", 0xFFF6)])
def test_a_number_of_decimals_that_cannot_be_makes_no_value(form, decimals):
    """Rather none than one that is off by powers of ten."""
    text = HEAD + channel(decimals=f'{{ register = 1, format = "{form}" }}')
    assert value(text, r1=decimals) == Sample("x", None, (Flag.FAULT,))


def test_a_half_that_was_refused_is_no_comm():
    """The other half alone is not a value."""
    unit = Instrument({90: 2})
    text = HEAD + channel(plus='{ register = 90, format = "u16" }') + ONE_MORE
    assert next(iter(driver(text).read(unit.line(), 1))) == Sample("x", None, (Flag.NO_COMM,))


ONE_MORE = 'y = { parameter = "Y", unit = "", register = 7, format = "u16" }\n'


# ---- masks and good values


def test_of_a_masked_register_only_some_bits_count():
    """A byte or a nibble, moved down."""
    assert value(HEAD + channel(mask="0xFF00"), r0=0x1234) == Sample("x", 0x12)
    assert value(HEAD + channel(mask="0x0F0", scale=0.1, sentinels="[15]"), r0=0x1234) == Sample("x", 0.3)
    assert value(HEAD + channel(mask="0x0F0", sentinels="[15]"), r0=0xF) == Sample("x", 0)
    assert value(HEAD + channel(mask="0x0F0", sentinels="[15]"), r0=0xF0) == Sample("x", None, (Flag.FAULT,))


@pytest.mark.parametrize(
    ("raw", "flags"),
    [(0x10, ()), (0x1F, ()), (0x20, (Flag.MAINTENANCE,)), (0x30, (Flag.FAULT,)), (0x00, (Flag.FAULT,))],
)
def test_a_value_that_is_neither_good_nor_known_is_a_fault(raw, flags):
    """What a manual does not list is not taken for well."""
    status = '{ register = 1, mask = 0xF0, good = [1], values = { 2 = "maintenance" } }'
    assert value(HEAD + channel(status=status), r0=5, r1=raw) == Sample("x", 5, flags)


@pytest.mark.parametrize(
    ("state", "expected"),
    [(1, Sample("x", 0)), (4, Sample("x", None, (Flag.STOPPED,))), (7, Sample("x", None, (Flag.FAULT,)))],
)
def test_a_state_may_say_that_there_is_no_value(state, expected):
    """Some instruments put 0 in the place of a value that is missing."""
    status = '{ register = 1, values = { 4 = "stopped" }, absent = [4, 7] }'
    assert value(HEAD + channel(status=status), r0=0, r1=state) == expected


def test_a_float_status_has_good_values_too():
    """0.0 is 0."""
    text = HEAD + channel(status='{ register = 1, format = "float32", good = [0] }')
    assert value(text, r1=0, r2=0).flags == ()
    assert value(text, r1=0x3F80, r2=0).flags == (Flag.FAULT,)


# ---- identity


WHO = "{ register = 1, mask = 0xFF00, value = 2 }"


def test_a_value_counts_only_beside_its_identity():
    """The block of another sensor is a bad answer that says what stands there."""
    text = HEAD + channel(identity=WHO) + ONE_MORE
    assert value(text, r0=5, r1=0x0207) == Sample("x", 5)
    with pytest.raises(BadAnswer, match="x: holding 1 holds 3, expected 2") as caught:
        value(text, r0=5, r1=0x0307)
    assert caught.value.samples == (Sample("y", 7),)


def test_an_identity_may_be_a_text_and_there_may_be_several():
    """Number of the sensor and unit, say."""
    unit = '{ register = 2, format = "string", registers = 2, value = "ppb" }'
    text = HEAD + channel(identity=f"{{ sensor = {{ register = 1, value = 9 }}, unit = {unit} }}")
    assert value(text, r1=9, r2=0x7070, r3=0x6200) == Sample("x", 0)
    with pytest.raises(BadAnswer, match="holding 2 holds 'ppm', expected 'ppb'"):
        value(text, r1=9, r2=0x7070, r3=0x6D00)


def test_an_identity_that_was_refused_is_a_bad_answer():
    """The value is there, but nobody knows what it is."""
    with pytest.raises(BadAnswer, match="holds nothing that could be read"):
        driver(HEAD + channel(identity="{ register = 90, value = 90 }")).read(Instrument({90: 2}).line(), 1)


def test_silence_before_the_identity_was_read_leaves_the_value_out():
    """The error carries what is certain."""
    text = HEAD + channel(identity="{ register = 90, value = 90 }") + ONE_MORE
    with pytest.raises(NoAnswer) as caught:
        driver(text).read(Instrument({90: 0}).line(), 1)
    assert caught.value.samples == (Sample("y", 7),)


def test_another_identity_starts_the_instrument_again():
    """A list of parameters that was lost is written anew."""
    text = HEAD + "[start]\nsteps = [{ function = 6, register = 1, values = [1] }]\n"
    text += channel(identity="{ register = 1, value = 1 }")
    wrote = "> 01 06 00 01 00 01 19 CA\n< 01 06 00 01 00 01 19 CA\n"
    lost = "> 01 03 00 00 00 02 C4 0B\n< 01 03 04 00 07 00 00 4B F2\n"
    there = "> 01 03 00 00 00 02 C4 0B\n< 01 03 04 00 07 00 01 8A 32\n"
    assert reads(text, wrote + there + lost + wrote + there, 3) == [[7], BadAnswer, [7]]


# ---- results with a time


TIMED = """result_time = "at"
table = "holding"
[channels]
cod = { parameter = "COD", unit = "mg/L", register = 1, format = "u16" }
at = { parameter = "result_time", unit = "", register = 10, format = "datetime" }
state = { parameter = "state", unit = "", register = 90, format = "u16" }
"""
AT = {"r10": 2017, "r11": 8, "r12": 26, "r13": 13, "r14": 44, "r15": 10}


def test_a_result_counts_once():
    """While its time stays the same, a read brings nothing; a new one brings all channels."""
    unit = instrument(**AT)
    made, line = driver(TIMED), unit.line()
    assert [sample.value for sample in made.read(line, 1)] == [1, "2017-08-26 13:44:10", 90]
    assert list(made.read(line, 1)) == []
    unit.values |= {1: 55, 13: 14}
    assert [sample.value for sample in made.read(line, 1)] == [55, "2017-08-26 14:44:10", 90]
    assert list(made.read(line, 1)) == []


def test_a_result_of_which_only_a_part_came_is_read_again_as_a_whole():
    """The failed read carries nothing of it, so that it is not stored twice."""
    unit = instrument(**AT)
    unit.refused = {90: 0}
    made, line = driver(TIMED), unit.line()
    with pytest.raises(NoAnswer) as caught:
        made.read(line, 1)
    assert caught.value.samples == ()
    unit.refused = {}
    assert len(made.read(line, 1)) == 3


def test_a_time_that_was_refused_refuses_the_read():
    """Nobody could tell one result from the next."""
    unit = instrument(**AT)
    unit.refused = {10: 2}
    with pytest.raises(Refused):
        driver(TIMED).read(unit.line(), 1)


@pytest.mark.parametrize("wrong", [{"r11": 13}, {"r10": 0}, {"r12": 31, "r11": 2}, {"r13": 24}, {"r15": 60}])
def test_a_time_that_cannot_be_is_no_value_and_counts_once(wrong):
    """Before its first result an instrument may say month 0."""
    made, line = driver(TIMED), instrument(**AT | wrong).line()
    assert made.read(line, 1)[1] == Sample("at", None, (Flag.FAULT,))
    assert list(made.read(line, 1)) == []


# ---- mistakes


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (channel(mask=256, format='"i16"'), "channels.x.mask: found 256; has no meaning for the format i16"),
        (channel(mask="0x10000"), 'channels.x.mask: found "0x10000"; is wider than u16'),
        (channel(decimals="{ register = 1 }", scale=2), "channels.x.decimals: are for a whole number"),
        (channel(decimals="{ register = 1 }", format='"float32"'), "channels.x.decimals: are for a whole number"),
        (channel(decimals='{ register = 1, format = "u32" }'), 'decimals.format: found "u32"; allowed: u16, i16'),
        (channel(decimals='{ register = 1, table = "coil" }'), 'decimals.table: found "coil"; allowed: input, holding'),
        (channel(plus='{ register = 1, format = "u16", scale = 0 }'), "channels.x.plus.scale: found 0"),
        (channel(plus='{ register = 70000, format = "u16" }'), "channels.x.plus.register: found 70000; allowed"),
        (channel(plus='{ register = 1, format = "string" }'), 'channels.x.plus.format: found "string"; allowed'),
        (channel(plus='{ register = 1, format = "u16" }', format='"datetime"'), "channels.x.plus: has no meaning"),
        (channel(identity='{ register = 1, value = "a" }'), 'identity.value: found "a"; is not of the format u16'),
        (
            channel(identity='{ register = 1, value = 1, format = "string", registers = 1 }'),
            "value: found 1; is not of",
        ),
        (channel(identity='{ register = 1, value = "a", format = "string" }'), "identity.registers: is missing"),
        (channel(identity="{ one = { register = 1 } }"), "channels.x.identity.one.value: is missing"),
        (channel(identity="{ register = 1, value = 1.5 }"), "identity.value: found 1.5; expected a number or a text"),
        (
            channel(status='{ register = 1, values = { 1 = "ok" } }'),
            'status.values.1: found "ok"; no flag; write good = [...]',
        ),
        (
            channel(status="{ register = 1, good = [] }"),
            "channels.x.status: flags nothing",
        ),
        (
            channel(status='{ register = 1, good = [1], values = { 1 = "fault" } }'),
            "good: found 1; stands in values as",
        ),
        (
            channel(status="{ register = 1, good = [1], absent = [1] }"),
            "status.good: found 1; stands in absent as well",
        ),
        (channel(status='{ table = "coil", register = 1, good = [1] }'), "good: has no meaning for a coil"),
        ('result_time = "y"\n' + channel(), 'result_time: found "y"; expected a channel of this file'),
        ("[start]\nsteps = []\n" + channel(), "start.steps: found a list of 0; expected a list of at least 1"),
        (
            "[start]\nsteps = [{ function = 5, register = 1 }]\n" + channel(),
            "steps.0.function: found 5; allowed: 3, 6, 16",
        ),
        ("[start]\nsteps = [{ function = 6, register = 1 }]\n" + channel(), "function 6 writes one value"),
        (
            "[start]\nsteps = [{ function = 3, register = 1, values = [1] }]\n" + channel(),
            "start.steps.0.values: found a list of 1; has no meaning for function 3",
        ),
        (
            f"[start]\nsteps = [{{ function = 16, register = 1, values = {[0] * 124} }}]\n" + channel(),
            "allowed: up to 123 values",
        ),
        (
            "first_register = 1\n[start]\nsteps = [{ function = 6, register = 0, values = [1] }]\n"
            + channel(register=1),
            "start.steps.0.register: found 0; allowed: 1 to 65536",
        ),
        ("[start]\nsteps = [{ function = 6, register = 1, values = [70000] }]\n" + channel(), "values.0: found 70000"),
    ],
)
def test_a_mistake_in_the_rarer_keys_is_told_in_words_that_help(text, expected):
    """One mistake, one problem."""
    found = problems(HEAD + text)
    assert len(found) == 1, found
    assert expected in found[0]


def test_literal_numbers_of_30001_and_more_go_over_the_wire_as_they_are():
    """The map of Jiangsu means 30001 as 7531 hex; so does a profile without first_register."""
    line, port = over("> 01 03 75 31 00 01 CF C9")
    with pytest.raises(NoAnswer):
        driver(HEAD + channel(register=30001)).read(line, 1)
    port.finish()


def test_the_example_can_be_parsed_as_it_stands():
    """Comments and all."""
    assert tomllib.loads(ACME.read_text(encoding="utf-8"))["table"] == "input"
