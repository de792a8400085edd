"""The Advanced protocol of Serinus analyzers: frames that the manual prints, and what may not be configured."""

import pytest

from drivers import registry
from drivers.ecotech_advanced import frame, message_of
from drivers.errors import BadAnswer, ConfigError

PRINTED = "02 00 01 03 05 32 3F 80 00 00 {} 04"


def test_the_request_is_that_of_the_manual():
    """Primary gas of the instrument with id 0."""
    assert frame(0, 1, bytes([50])) == bytes.fromhex("02 00 01 03 01 32 32 04")


def test_the_answer_of_the_manual_is_one():
    """Parameter 50 is 1.00; the sum is the one that the manual's own calculation gives."""
    assert message_of(bytes.fromhex(PRINTED.format("89")), 0) == bytes.fromhex("32 3F 80 00 00")


def test_the_checksum_that_the_manual_misprints_is_refused():
    """Its last row has 50, against the row above."""
    with pytest.raises(BadAnswer, match="checksum"):
        message_of(bytes.fromhex(PRINTED.format("32")), 0)


@pytest.mark.parametrize("numbers", [[], [83], [50, 85], list(range(1, 32))])
def test_a_request_holds_what_fits_beside_status_and_mode(numbers):
    """Of 32 parameters two are always read."""
    one = {"parameter": "O3", "unit": "ppb"}
    channels = {str(number): one | {"name": f"channel_{number}"} for number in numbers}
    with pytest.raises(ConfigError, match="1 to 30"):
        registry.load("ecotech_advanced", {"channels": channels})
