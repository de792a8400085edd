"""Wanted registers become few requests; what is refused costs only itself."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulated import Instrument

from drivers.blocks import LEFT_OUT, BlockReader, Limits, requests
from drivers.errors import BadAnswer, NoAnswer, Refused
from drivers.modbus import Block

wanted_blocks = st.lists(
    st.builds(Block, st.sampled_from(["holding", "input", "discrete"]), st.integers(0, 400), st.integers(1, 4)),
    min_size=1,
    max_size=40,
)


def holding(*places: tuple[int, int]) -> list[Block]:
    return [Block("holding", start, count) for start, count in places]


def ends(block: Block) -> int:
    return block.start + block.count


def given_registers(data: dict[Block, bytes]) -> set[int]:
    """List the registers that were answered, after checking that each holds its own address."""
    found = set()
    for block, answer in data.items():
        values = [int.from_bytes(answer[place : place + 2], "big") for place in range(0, len(answer), 2)]
        assert values == list(range(block.start, ends(block)))
        found.update(values)
    return found


@given(wanted_blocks, st.integers(4, 125), st.integers(0, 20))
def test_every_wanted_register_is_within_one_request_and_no_request_is_too_large(wanted, most, hole):
    """Values are never cut; limits count registers, and 16 coils as one of them."""
    parts = requests(wanted, Limits(most, hole))
    for block in wanted:
        inside = [
            p for p in parts if block in p.wanted and p.block.start <= block.start and ends(block) <= ends(p.block)
        ]
        assert len(inside) == 1
    for part in parts:
        unit = 16 if part.block.table == "discrete" else 1
        assert part.block.count <= most * unit
        assert all(
            b.start - max(ends(c) for c in part.wanted if c <= a) <= hole * unit for a, b in pairwise(part.wanted)
        )


def test_neighbours_across_a_small_hole_share_a_request():
    """A hole of at most `max_hole` registers is read along; a larger one is not."""
    wanted = holding((0, 2), (12, 2), (25, 1))
    assert [part.block for part in requests(wanted, Limits(125, 10))] == holding((0, 14), (25, 1))
    assert [part.block for part in requests(wanted, Limits(125, 0))] == wanted


def test_tables_do_not_mix_and_come_in_the_order_of_the_file():
    """Each table has its own addresses."""
    wanted = [Block("input", 3, 1), Block("discrete", 0, 8), Block("input", 4, 1)]
    assert [part.block for part in requests(wanted, Limits())] == [Block("input", 3, 2), Block("discrete", 0, 8)]


def test_two_thousand_coils_fit_into_one_request():
    """The bound of Modbus for coils is that of registers, times 16."""
    wanted = [Block("coil", 0, 1), Block("coil", 1999, 1)]
    assert [part.block.count for part in requests(wanted, Limits(125, 125))] == [2000]
    assert len(requests([*wanted, Block("coil", 2000, 1)], Limits(125, 125))) == 2


def test_a_refused_hole_splits_its_block_once_and_for_all():
    """The first read asks in pieces, the next ones ask for the pieces at once."""
    instrument = Instrument({5: 2})
    reader, line = BlockReader(holding((0, 4), (8, 2)), Limits()), instrument.line()
    data, error = reader.read(line, 1)
    assert error is None
    assert given_registers(data) == {0, 1, 2, 3, 8, 9}
    assert [ask[1:] for ask in instrument.asked] == [(0, 10), (0, 4), (8, 2)]
    reader.read(line, 1)
    assert [ask[1:] for ask in instrument.asked[3:]] == [(0, 4), (8, 2)]


def test_one_missing_register_costs_only_its_own_value():
    """A block without holes is cut between its values."""
    instrument = Instrument({2: 2})
    reader, line = BlockReader(holding((0, 2), (2, 2), (4, 2)), Limits()), instrument.line()
    assert given_registers(reader.read(line, 1).data) == {0, 1, 4, 5}


def test_a_refused_register_is_left_out_and_asked_again():
    """Nothing is given up for good: after `LEFT_OUT` reads it is asked for, and then it is there."""
    instrument = Instrument({8: 2})
    reader, line = BlockReader(holding((0, 2), (8, 2)), Limits()), instrument.line()
    reader.read(line, 1)
    instrument.refused.clear()
    reads = [given_registers(reader.read(line, 1).data) for _ in range(LEFT_OUT + 1)]
    assert reads[:LEFT_OUT] == [{0, 1}] * LEFT_OUT
    assert reads[LEFT_OUT] == {0, 1, 8, 9}


def test_what_once_was_answered_is_asked_for_in_every_read():
    """A refusal out of the blue (line noise, a busy instrument) does not leave anything out."""
    instrument = Instrument()
    reader, line = BlockReader(holding((0, 2), (50, 2)), Limits()), instrument.line()
    reader.read(line, 1)
    instrument.refused = {50: 2}
    assert given_registers(reader.read(line, 1).data) == {0, 1}
    instrument.refused = {}
    assert given_registers(reader.read(line, 1).data) == {0, 1, 50, 51}


def test_an_instrument_that_refuses_everything_is_still_asked():
    """All refused is Refused, the block stays whole, and the first answer after it counts."""
    instrument = Instrument(dict.fromkeys(range(20), 2))
    reader, line = BlockReader(holding((0, 2), (8, 2)), Limits()), instrument.line()
    for _ in range(3):
        data, error = reader.read(line, 1)
        assert (data, type(error)) == ({}, Refused)
    instrument.refused = {}
    data, error = reader.read(line, 1)
    assert error is None
    assert list(data) == holding((0, 10))


def test_a_refused_function_is_not_tried_in_pieces():
    """Illegal function is no question of which registers."""
    instrument = Instrument({0: 1})
    reader = BlockReader(holding((0, 2), (8, 2)), Limits())
    assert isinstance(reader.read(instrument.line(), 1).error, Refused)
    assert len(instrument.asked) == 1


@pytest.mark.parametrize(("code", "error"), [(0, NoAnswer), (6, BadAnswer)])
def test_silence_in_the_middle_ends_the_read_and_keeps_what_came(code, error):
    """The next request is not sent into a silence; the answers before it are given."""
    instrument = Instrument({50: code})
    reader = BlockReader(holding((0, 2), (50, 2), (100, 2)), Limits())
    data, found = reader.read(instrument.line(), 1)
    assert given_registers(data) == {0, 1}
    assert type(found) is error
    assert [ask[1] for ask in instrument.asked] == [0, 50]


def test_silence_while_cutting_forgets_the_cut_and_keeps_what_came():
    """A cut counts only once it was seen through; the block is cut again next time."""
    instrument = Instrument({5: 2, 9: 0})
    reader = BlockReader(holding((0, 4), (8, 2)), Limits())
    data, error = reader.read(instrument.line(), 1)
    assert given_registers(data) == {0, 1, 2, 3}
    assert isinstance(error, NoAnswer)
    assert [part.block for part in reader.parts] == holding((0, 10))
