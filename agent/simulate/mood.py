"""How a simulated instrument behaves: the faults that can be had on demand."""

from enum import StrEnum


class Mood(StrEnum):
    """How an instrument behaves."""

    WELL = "well"
    SILENT = "silent"
    SLOW = "slow"
    BABBLE = "babble"
    GARBLE = "garble"
    REFUSE = "refuse"
    FLAG = "flag"
