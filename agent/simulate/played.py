"""An instrument that answers as one did in the transcripts of its driver: requests by their bytes, streams unasked."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from agent.simulate import frames
from agent.simulate.damage import Sum
from agent.simulate.instrument import Reply
from agent.simulate.mood import Mood
from drivers.clock import monotonic_s

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from agent.simulate.rehearsal import Scene, Step
    from drivers.sample import Flag

SCENE_S = 10.0
"""How long the same answers are given where the transcripts have others as well."""
_STREAM_EVERY_S, _OF_PATIENCE = 1.0, 0.4


class Cast(NamedTuple):
    """The scenes that an instrument can play: all is well, something is flagged, what is asked is refused."""

    well: Sequence[Scene]
    flagged: Sequence[Scene]
    refused: Sequence[Scene]

    def of(self, mood: Mood, flag: Flag | None) -> Sequence[Scene]:
        """Give those for a mood."""
        if mood is Mood.REFUSE:
            return self.refused
        if mood is not Mood.FLAG:
            return self.well
        return [scene for scene in self.flagged if flag is None or flag in _flags(scene)]


def cast(scenes: Iterable[Scene]) -> Cast:
    """Share scenes out; where no clean one is there, those with the fewest flags do.

    Where there are others, none in which something else, noise or half a message, came before an answer.
    """
    scenes = list(scenes)
    read = [scene for scene in scenes if scene.samples and not scene.error]
    fewest = min((_flagged(scene) for scene in read), default=0)
    refused = [scene for scene in scenes if scene.error == "Refused" and scene.steps]
    well = [one for one in read if _flagged(one) == fewest]
    whole = [one for one in well if all(len(step.answers) < 2 for step in one.steps)]
    return Cast(whole or well, [one for one in read if _flagged(one)], refused)


class Played:
    """The voice of one instrument; `about` says which transcripts it has."""

    def __init__(self, scenes: Cast, *, has_checksum: bool, about: str) -> None:
        self._cast = scenes
        self._steps = [step for kind in scenes for scene in kind for step in scene.steps]
        self._asked = sorted({step for step in self._steps if step.request}, key=_length, reverse=True)
        self._scene, self._place, self._until_s = scenes.well[0], 0, monotonic_s() + SCENE_S
        self.sum = Sum.CHECKSUM if has_checksum else Sum.FORM
        self.about = about
        patience_s = min(scene.patience_s for scene in scenes.well)
        talks = all(not scene.steps[0].request for scene in scenes.well)
        self.every_s = min(_STREAM_EVERY_S, _OF_PATIENCE * patience_s) if talks else None

    def request_in(self, data: bytes) -> int:
        """See Voice."""
        lengths = [_length(step) for step in self._asked if step.fits(data)]
        whole = next((length for length in lengths if length <= len(data)), frames.NONE)
        return whole or (frames.MAY_BECOME if lengths else frames.NONE)

    def can(self, mood: Mood, flag: Flag | None) -> bool:
        """See Voice."""
        return bool(self._cast.of(mood, flag))

    def reply(self, request: bytes, mood: Mood, flag: Flag | None) -> Reply | None:
        """See Voice."""
        self._turn(request, self._cast.of(mood, flag))
        step = self._step(request)
        return Reply(step.answers, self._scene.samples) if step else None

    def _turn(self, request: bytes, scenes: Sequence[Scene]) -> None:
        """Go on to the next scene when its time has come, and a read begins."""
        steps = self._scene.steps
        goes_on = 0 < self._place < len(steps) and _is_asked(steps[self._place], request)
        begins = _is_asked(steps[0], request) and not goes_on
        if self._scene in scenes and (monotonic_s() < self._until_s or not begins):
            return
        place = scenes.index(self._scene) + 1 if self._scene in scenes else 0
        self._scene, self._place = scenes[place % len(scenes)], 0
        self._until_s = monotonic_s() + SCENE_S

    def _step(self, request: bytes) -> Step | None:
        """Find what answers a request: the next in this scene, or what another has, for a request made once."""
        steps = self._scene.steps
        for place in range(len(steps)):
            index = (self._place + place) % len(steps)
            if _is_asked(steps[index], request):
                self._place = index + 1
                return steps[index]
        return next((step for step in self._steps if _is_asked(step, request)), None)


class Mute:
    """The voice of an instrument that nobody knows how to play: it says nothing, and `about` says why."""

    every_s: float | None = None
    sum = Sum.FORM

    def __init__(self, about: str) -> None:
        self.about = about

    def request_in(self, data: bytes) -> int:
        """See Voice."""
        del data
        return frames.NONE

    def can(self, mood: Mood, flag: Flag | None) -> bool:
        """See Voice."""
        del mood, flag
        return False

    def reply(self, request: bytes, mood: Mood, flag: Flag | None) -> Reply | None:
        """See Voice."""
        del request, mood, flag
        return None


def _length(step: Step) -> int:
    return len(step.request)


def _is_asked(step: Step, request: bytes) -> bool:
    return len(request) == len(step.request) and step.fits(request)


def _flags(scene: Scene) -> set[Flag]:
    return {flag for sample in scene.samples for flag in sample.flags}


def _flagged(scene: Scene) -> int:
    return sum(bool(sample.flags) for sample in scene.samples)
