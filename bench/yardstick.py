"""What the machine gives at this moment: the same reads by bare threads and sockets, and a bare paho.

Run just before a measurement, so that a miss which the machine's noise explains can be told from one of the
daemon. It stores nothing, knows no flags and recovers from nothing.
"""

from __future__ import annotations

import argparse
import json
import signal
import socket
import struct
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from paho.mqtt.client import CallbackAPIVersion, Client, MQTTv5
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from bench.drain import entries
from bench.process import Use, start, stop, use, wait_until

if TYPE_CHECKING:
    from bench.workload import Workload

_FORM = '{"seq":1,"at":"2026-11-23T10:00:00.000Z","kind":"raw","instrument":"sim000","values":%s}'


def poll(port: int, channels: int, found: list[bytes]) -> None:
    """Read one instrument on every whole second, for ever."""
    request = struct.pack(">HHHBBHH", 1, 0, 6, 1, 4, 0, 2 * channels)
    with socket.create_connection(("127.0.0.1", port)) as line:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while True:
            time.sleep(1 - time.time() % 1)
            line.sendall(request)
            found.append(line.recv(1024)[9:])


def publish(port: int, channels: int, found: list[bytes]) -> None:
    """Publish what was read in the past second as one message, a tenth after every whole second."""
    client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
    client.connect("127.0.0.1", port)
    client.loop_start()
    while True:
        time.sleep(1 - (time.time() - 0.1) % 1)
        polls, found[:] = found[:], []
        records = [_FORM % json.dumps(struct.unpack(f">{channels}f", data)) for data in polls]
        client.publish("yardstick", "[" + ",".join(records) + "]", 1)


def measure(workload: Workload, seconds: float) -> tuple[int, int, Use, Use]:
    """Run it on a workload; gives the wall-clock span in ns, and its use before and after."""
    options = workload.options
    counts = ["--instruments", str(options.instruments), "--channels", str(options.channels)]
    ports = ["--port", str(workload.first_port), "--broker", str(workload.broker.port)]
    command = [sys.executable, "-m", "bench.yardstick", *counts, *ports]
    child, _ = start(command, workload.directory / "yardstick.log", ready="ready")
    time.sleep(1)
    begin_ns, before = workload.between_slots(), use(child.pid)
    time.sleep(round(seconds))
    after, end_ns = use(child.pid), time.time_ns()
    stop(child)
    return begin_ns, end_ns, before, after


def flood(port: int, messages: list[bytes]) -> float:
    """Publish messages as fast as paho can with 20 in flight; gives the seconds until the last is acknowledged."""
    client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
    client.max_inflight_messages_set(20)
    client.connect("127.0.0.1", port)
    client.loop_start()
    wait_until(client.is_connected, 5)
    properties = Properties(PacketTypes.PUBLISH)
    properties.ContentType = "application/json"
    properties.UserProperty = ("content-encoding", "gzip")
    begin = time.monotonic()
    sent = [client.publish("stations/YARDSTICK/backfill", payload, 1, properties=properties) for payload in messages]
    for message in sent:
        message.wait_for_publish(30)
    took = time.monotonic() - begin
    client.disconnect()
    client.loop_stop()
    return took


def flood_apart(port: int, file: Path, directory: Path) -> float:
    """Publish the backfill that the counter wrote down, in a process of its own; gives the seconds."""
    command = [sys.executable, "-m", "bench.yardstick", "--broker", str(port), "--flood", str(file)]
    child, took = start(command, directory / "flood.log", ready="took")
    stop(child)
    return float(took)


def _captured(file: Path) -> list[bytes]:
    return [payload for _, _, topic, payload in entries(file) if topic == "stations/BENCH/backfill"]


def main() -> None:
    """Run as a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--broker", type=int, required=True, help="its port")
    for name in ("instruments", "channels", "port"):
        parser.add_argument(f"--{name}", type=int, default=0)
    parser.add_argument("--flood", type=Path, help="publish the backfill in this file of the counter instead")
    options = parser.parse_args()
    if options.flood:
        print("took", flood(options.broker, _captured(options.flood)), flush=True)
        return
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    found: list[bytes] = []
    for number in range(options.instruments):
        arguments = (options.port + number, options.channels, found)
        threading.Thread(target=poll, args=arguments, daemon=True).start()
    print("ready", flush=True)
    publish(options.broker, options.channels, found)


if __name__ == "__main__":
    main()
