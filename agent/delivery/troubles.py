"""What is said about a broker: each trouble once when it begins and once when it is over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from drivers.clock import monotonic_s

if TYPE_CHECKING:
    from agent.delivery.session_lost import SessionLost
    from agent.say import Say

STEADY_SESSION_S = 60.0
"""A session that lived this long begins the back-off anew."""
MENDED_AFTER_S = 10.0
"""A session that lived this long and delivered ends a trouble; shorter ones come and go untold."""
SHORT_SESSIONS_BEFORE_A_WORD = 3


class Troubles:
    """Hears how sessions begin, fare and end, and logs what a technician can act on."""

    def __init__(self, broker: str, say: Say, meanwhile: str) -> None:
        self._broker, self._say, self._meanwhile = broker, say, meanwhile
        self._began_s = monotonic_s()
        self._has_delivered = self._was_refused = False
        self._short_sessions = 0
        self._refusing: set[str] = set()
        self._ignored, self._ignored_told_s = 0, -60.0

    @property
    def is_steady(self) -> bool:
        """Whether the session that began last has lived for long."""
        return monotonic_s() - self._began_s >= STEADY_SESSION_S

    def began(self) -> None:
        """Note the attempt at a new session."""
        self._began_s = monotonic_s()
        self._has_delivered = self._was_refused = False

    def accepted(self, topic: str) -> None:
        """Note an acknowledgement: only now the session is known to work."""
        self._has_delivered = True
        if topic in self._refusing:
            self._refusing.discard(topic)
            self._say.mended(f"refused {topic}", f"{self._broker}: accepts messages on {topic} again")

    def refused(self, topic: str, why: str) -> None:
        """Note that the broker will not have messages on a topic."""
        self._was_refused = True
        self._refusing.add(topic)
        text = f"{self._broker}: refuses messages on {topic}: {why}; records are kept and tried again"
        self._say.broke(f"refused {topic}", text)

    def set_aside(self, topic: str, seq: int, limit_bytes: int) -> None:
        """Note a record that this broker will not have in any message; a limit of 0 is not known."""
        why = f"takes no more than {limit_bytes} bytes at once" if limit_bytes else "refuses it"
        text = f"{self._broker}: seq {seq} is set aside ({why}), kept, and tried again each hour"
        self._say.broke(f"set aside {topic}", text)

    def not_understood(self, why: str) -> None:
        """Note a message for us that is none; a flood of them is one line a minute."""
        self._ignored += 1
        if monotonic_s() >= self._ignored_told_s + 60:
            text = f"{self._broker}: {self._ignored} messages for this station were ignored; the last: {why}"
            self._ignored, self._ignored_told_s = 0, monotonic_s()
            self._say.once(text)

    def goes_on(self) -> None:
        """Note that the session is still there."""
        if self._has_delivered and monotonic_s() - self._began_s >= MENDED_AFTER_S:
            self._say.mended("broker", f"{self._broker}: connected again")
        if self.is_steady:
            self._short_sessions = 0
            self._say.mended("client id", f"{self._broker}: sessions last again")

    def lost(self, error: SessionLost) -> None:
        """Note the end of a session, or that there could be none."""
        if self._was_refused:
            return  # that was said; mosquitto 2.0.11 ends the session after a refusal
        if error.is_taken_over:
            self._say.broke("client id", f"{error}; another client uses this client id: give each station its own")
            return
        self._say.broke("broker", f"{error}; {self._meanwhile}")
        self._short_sessions += self._has_delivered
        if self._short_sessions >= SHORT_SESSIONS_BEFORE_A_WORD:
            text = "every session ends soon after its begin; perhaps another client uses this client id"
            self._say.broke("client id", f"{self._broker}: {text}")
