"""The counter: stores every message of a station's data and backfill topics with its arrival time.

    python -m bench.subscriber --port 1883 --file received.bin

prints `ready` once it is subscribed. Its MQTT session outlives its connections, so that nothing passes it by
while a broker that was started again waits for it. `bench.received` reads the file.
"""

from __future__ import annotations

import argparse
import os
import signal
import struct
import time
from pathlib import Path
from typing import Any

from paho.mqtt.client import CallbackAPIVersion, Client, MQTTMessage, MQTTv5
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

ENTRY = struct.Struct("<qHI")
"""Arrival in wall-clock ns, length of the topic, length of the payload; both follow."""


class Counter:
    """An MQTT 5 client that writes down what arrives."""

    def __init__(self, port: int, topics: list[str], file: Path) -> None:
        self._topics = topics
        self._file = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._is_subscribed = False
        self._client = Client(CallbackAPIVersion.VERSION2, client_id="bench-counter", protocol=MQTTv5)
        self._client.on_connect = self._on_connect
        self._client.on_message = self._on_message
        self._client.reconnect_delay_set(0.05, 0.05)  # type: ignore[arg-type]
        session = Properties(PacketTypes.CONNECT)
        session.SessionExpiryInterval = 24 * 3600
        self._client.connect("127.0.0.1", port, clean_start=False, properties=session)

    def run(self) -> None:
        """Receive for ever, through any number of lost connections."""
        self._client.loop_forever()

    def _on_connect(self, client: Client, *_: Any) -> None:
        client.subscribe([(topic, 1) for topic in self._topics])
        if not self._is_subscribed:
            print("ready", flush=True)
            self._is_subscribed = True

    def _on_message(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        topic = message.topic.encode()
        os.write(self._file, ENTRY.pack(time.time_ns(), len(topic), len(message.payload)) + topic + message.payload)


def main() -> None:
    """Run as a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--file", type=Path, required=True)
    parser.add_argument("--topic", action="append", help="may be given several times; default: data and backfill")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    Counter(options.port, options.topic or ["stations/+/data", "stations/+/backfill"], options.file).run()


if __name__ == "__main__":
    main()
