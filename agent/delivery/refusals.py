"""What is done when a broker will not have something: never block a lane, never forget a record.

Some refusals are about the lane (not authorised, quota): it is left alone for a minute, whatever sessions come and go,
since some brokers end the session with the refusal (mosquitto 2.0.11 after 0x87). Some are about the message (too
large, payload format): it is halved until the one record is found that is to blame, and that is set aside. And some
brokers say nothing but end the session each time (MQTT 3.1.1 has no word for it): then the backlog is sent in smaller
messages, one at a time, until the record is found.
"""

from __future__ import annotations

from drivers.clock import monotonic_s

ABOUT_THE_LANE = frozenset({0x87, 0x90, 0x97, 0x8A})
"""Not authorised, topic name invalid, quota exceeded, banned (MQTT 5.0, 3.4.2.1)."""
BARRED_S = 60.0
SET_ASIDE_AGAIN_S = 3600.0
STEP = 4
MOST_CAUTION = 12
LOST_BEFORE_CAUTION = 2
ACKNOWLEDGED_BEFORE_COURAGE = 20


class Refusals:
    """Knows which lanes are to be left alone, and how carefully the backlog must be sent."""

    def __init__(self, message_bytes: int) -> None:
        self._message_bytes = message_bytes
        self._barred_until_s: dict[str, float] = {}
        self._caution = self._lost = self._acknowledged = 0
        self._again_s = monotonic_s() + SET_ASIDE_AGAIN_S

    def is_barred(self, lane: str) -> bool:
        """Say whether a lane is to be left alone for now."""
        return self._barred_until_s.get(lane, 0.0) > monotonic_s()

    def bar(self, lane: str) -> None:
        """Leave a lane alone for a minute."""
        self._barred_until_s[lane] = monotonic_s() + BARRED_S

    @property
    def is_careful(self) -> bool:
        """Whether the backlog goes one message at a time."""
        return self._caution > 0

    @property
    def message_bytes(self) -> int:
        """Largest message of the backlog, for now; 0 for a single record."""
        return 0 if self._caution >= MOST_CAUTION else self._message_bytes // STEP**self._caution

    def acknowledged(self) -> None:
        """Note that a message of the backlog got through."""
        self._lost = 0
        self._acknowledged += 1
        if self._caution and self._acknowledged >= ACKNOWLEDGED_BEFORE_COURAGE:
            self._caution, self._acknowledged = self._caution - 1, 0

    def session_lost(self, records_on_the_way: int) -> bool:
        """Note a short session that worked, but ended with the backlog unacknowledged; says if a record is to blame."""
        self._lost += 1
        self._acknowledged = 0
        if self._lost < LOST_BEFORE_CAUTION:
            return False
        if self.is_careful and records_on_the_way == 1:
            self._lost = 0
            return True
        if records_on_the_way > 1 and self._caution < MOST_CAUTION:
            self._caution += 1
        return False

    def is_time_to_try_again(self) -> bool:
        """Say, once an hour, that what was set aside should be tried again."""
        if monotonic_s() < self._again_s:
            return False
        self._again_s = monotonic_s() + SET_ASIDE_AGAIN_S
        return True
