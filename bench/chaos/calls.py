"""Faults put into the system calls of the running daemon, by strace."""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING

from bench.process import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.chaos.world import World


def is_traceable(_world: World) -> bool:
    """Whether strace is here and may look into another process."""
    if shutil.which("strace") is None:
        return False
    with subprocess.Popen(["sleep", "10"]) as child:
        words = ["timeout", "--signal=INT", "1", "strace", "-qq", "-e", "trace=none", "-p", str(child.pid)]
        tried = subprocess.run(words, capture_output=True, text=True, check=False)
        child.kill()
    return "not permitted" not in tried.stderr


@contextlib.contextmanager
def spoilt(world: World, calls: str, *injections: str) -> Iterator[subprocess.Popen[bytes] | None]:
    """Change what these system calls of the daemon do, such as `error=EIO:when=1+`; gives strace itself.

    Gives None if the daemon is not there at this moment.
    """
    wait_until(lambda: world.station.pid, 5)
    if not (pid := world.station.pid):
        yield None
        return
    injected = [word for one in injections for word in ("-e", f"inject={one}")]
    log = world.folder / "strace.log"
    with world.stalls.span(), contextlib.ExitStack() as stack, log.open("wb") as file:
        command = ["strace", "-f", "-p", str(pid), "-e", f"trace={calls}", *injected]
        tracer = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file)
        stack.callback(_end, tracer)
        wait_until(lambda: b"attached" in log.read_bytes() or tracer.poll() is not None, 3)
        yield tracer


def _end(tracer: subprocess.Popen[bytes]) -> None:
    """Let the daemon go on."""
    if tracer.poll() is None:
        tracer.send_signal(signal.SIGINT)
        try:
            tracer.wait(5)
        except subprocess.TimeoutExpired:
            tracer.kill()
            tracer.wait()
