"""What the platform and other clients do: the same client id, refusals, commands in the middle of it all."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from paho.mqtt.client import CallbackAPIVersion, Client, MQTTv5

from bench.chaos.faults import fault
from bench.chaos.gate import PUBLISH, kind, refusal, topic
from bench.chaos.platform import STATION

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.chaos.gate import Connection
    from bench.chaos.world import World

NOT_AUTHORISED, QUOTA, BAD_FORMAT = 0x87, 0x97, 0x99
RARE = 0.15


@fault("another client with the same id", "broker")
def _twin(world: World) -> Iterator[list[str]]:
    twin = Client(CallbackAPIVersion.VERSION2, client_id=STATION, protocol=MQTTv5)
    twin.reconnect_delay_set(1, 1)
    twin.connect_async("127.0.0.1", world.broker.port, 20)
    twin.loop_start()
    yield []
    twin.disconnect()
    twin.loop_stop()


def _refuse(world: World, reason: int, most: int) -> Iterator[list[str]]:
    """Refuse some messages of records in the broker's name."""
    left = [most]

    def rule(connection: Connection, to_broker: bool, packet: bytes) -> bool:  # noqa: FBT001  the form of a rule
        if not to_broker or kind(packet) != PUBLISH or topic(packet).rpartition("/")[2] not in {"data", "backfill"}:
            return True
        left[0] -= 1
        if left[0] < 0:
            return True
        connection.answer(refusal(packet, reason))
        return False

    world.gate.rule = rule
    yield []
    world.gate.calm()


@fault("broker refuses messages: not authorised", "gate", weight=RARE)
def _not_authorised(world: World) -> Iterator[list[str]]:
    yield from _refuse(world, NOT_AUTHORISED, 2)


@fault("broker refuses messages: quota exceeded", "gate", weight=RARE)
def _quota(world: World) -> Iterator[list[str]]:
    yield from _refuse(world, QUOTA, 2)


@fault("broker refuses messages: payload format", "gate")
def _bad_format(world: World) -> Iterator[list[str]]:
    yield from _refuse(world, BAD_FORMAT, 5)


@fault("broker takes small packets only", "broker")
def _small_packets(world: World) -> Iterator[list[str]]:
    world.broker.stop()
    world.broker.start(more="max_packet_size 1500\n")
    yield []
    world.broker.stop()
    world.broker.start()


@fault("broker lets nobody publish records", "broker", weight=RARE)
def _denied(world: World) -> Iterator[list[str]]:
    acl = world.folder / "acl"
    acl.write_text("topic read #\ntopic write stations/+/command\ntopic write stations/+/receipt\n")
    world.broker.stop()
    world.broker.start(more=f"acl_file {acl}\n")
    yield []
    world.broker.stop()
    world.broker.start()


@fault("ranges asked for, by number, time and instrument, and one taken back", "platform")
def _asked(world: World) -> Iterator[list[str]]:
    chance, platform = world.chance, world.platform
    newest = max(world.observer.seen().values(), default=1)
    first = chance.randint(1, max(newest, 1))
    platform.command(command="backfill", seqs=[[first, first + chance.randint(0, 500)]])
    end = datetime.now(UTC)
    span = {"from": _iso(end - timedelta(seconds=chance.randint(5, 300))), "to": _iso(end)}
    platform.command(command="backfill", **span, instruments=chance.sample(sorted(world.instruments), 2))
    platform.command(command="ledger", **span)
    taken_back = platform.command(command="backfill", **span)
    time.sleep(0.3)
    platform.command(id=taken_back, command="cancel")
    yield []


@fault("nonsense on the topics that the station reads", "platform")
def _nonsense(world: World) -> Iterator[list[str]]:
    for place in range(60):
        lane = ("command", "receipt")[place % 2]
        world.platform.send_raw(lane, (os.urandom(200), b'{"v":1,"id":', b"[" * 5000, b"\xff" * 70_000)[place // 2 % 4])
    yield []


def _iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.000Z")
