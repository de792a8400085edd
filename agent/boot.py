"""Which boot of the machine this is: what was true before the power went may not be true after it."""

import os
from pathlib import Path


def boot_id() -> str:
    """Name this boot of the machine; inside the unit's sandbox it comes from the unit (`%b`)."""
    from_unit = os.environ.get("STATIOND_BOOT_ID", "")
    if from_unit:
        return from_unit
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return "unknown"
