"""The brokers that a city may run, each a child process with a configuration of its own; what they cannot do is said.

All of them take no message above `LIMIT` bytes where they can be told so, and refuse `strict/…/backfill` where they can
tell one topic from another. Each keeps its files and its port over stop() and start(); stop() kills it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess

from brokers import Mosquitto, accepts, free_port
from waiting import until

from agent.demo.broker import Broker as DemoBroker

PLACES = "/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin"
NATS = shutil.which("nats-server", path=PLACES)
RABBITMQ = shutil.which("rabbitmq-server", path="/usr/lib/rabbitmq/bin:/opt/rabbitmq/sbin")
LIMIT = 20_000
START_S = 40.0


class MosquittoBroker(Mosquitto):
    """mosquitto, as the other tests run it. MQTT 5 says what 3.1.1 has no words for."""

    name = "mosquitto"
    protocols = ("5", "3.1.1")
    has_limit = tells_topics_apart = True
    keeps_what_it_acknowledged = False

    def __init__(self, folder):
        folder.mkdir()
        acl = folder / "acl"
        acl.write_text("topic readwrite #\ntopic deny strict/DL-001/backfill\n")
        super().__init__(folder, f"max_packet_size {LIMIT}", f"acl_file {acl}")

    def start(self):
        return self if self._process else super().start()


class Amqtt:
    """The broker inside the demo: MQTT 3.1.1, everything in memory, everybody may do everything."""

    name = "amqtt"
    protocols = ("3.1.1",)
    has_limit = tells_topics_apart = False
    keeps_what_it_acknowledged = False

    def __init__(self, folder):
        folder.mkdir()
        self._broker = DemoBroker(folder, wants_mosquitto=False)
        self.port = self._broker.port

    def start(self):
        if not self._broker.is_running:
            self._broker.start()
        return self

    def stop(self):
        if self._broker.is_running:
            self._broker._process.kill()
            self._broker.stop()


class _Child:
    """A broker process, started with `_command` and `_surroundings`."""

    protocols = ("3.1.1",)
    has_limit = tells_topics_apart = True
    keeps_what_it_acknowledged = True

    def __init__(self, folder):
        folder.mkdir()
        self._folder, self.port, self._process = folder, free_port(), None

    def begin(self):
        """Start it and wait for nothing; for brokers that take their time."""
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command(), env=self._surroundings(), cwd=self._folder, stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, start_new_session=True,
            )  # fmt: skip

    def start(self):
        if self._process is None:
            self.begin()
        until(lambda: accepts(self.port) or self._process.poll() is not None, START_S)
        assert self._process.poll() is None, self.log()[-500:]
        return self

    def stop(self):
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def log(self):
        return (self._folder / "log").read_text()

    def _surroundings(self):
        return None


class Nats(_Child):
    """NATS with JetStream, without which it has no MQTT. Its `max_payload` is not for MQTT."""

    name = "nats"
    has_limit = False

    def _command(self):
        deny = 'permissions { publish: { deny: "strict.*.backfill" } }'
        (self._folder / "nats.conf").write_text(
            f'server_name: test\nlisten: "127.0.0.1:-1"\n'
            f'jetstream {{ store_dir: "{self._folder}/js" }}\n'
            f'mqtt {{ listen: "127.0.0.1:{self.port}", no_auth_user: station }}\n'
            f"authorization {{ users: [ {{ user: station, password: station, {deny} }} ] }}\n"
        )
        return [NATS, "-c", self._folder / "nats.conf"]


class RabbitMQ(_Child):
    """RabbitMQ with its MQTT plugin and nothing else; a node that listens for no other.

    Erlang starts a daemon of node names (epmd) if it finds none, and that one would stay: so it finds its own.
    """

    name = "rabbitmq"

    def __init__(self, folder):
        super().__init__(folder)
        self._names, self._names_port = None, free_port()

    def begin(self):
        self._write()
        if self._names is None:
            self._names = subprocess.Popen(
                ["epmd"], env=self._surroundings(), stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            until(lambda: accepts(self._names_port))
        super().begin()

    def close(self):
        self.stop()
        if self._names:
            self._names.kill()
            self._names.wait()

    def _command(self):
        return [RABBITMQ, "-noinput"]

    def _surroundings(self):
        node, folder = f"stationd-{self.port}@localhost", self._folder
        return {
            "PATH": os.environ["PATH"] + ":" + PLACES,
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "ERL_EPMD_PORT": str(self._names_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_ALLOW_INPUT": "1",  # else a shell stands between us and the process
            "RABBITMQ_NODENAME": node,
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": f"-sname {node} -dist_listen false -setcookie {node}",
        }

    def _write(self):
        (self._folder / "plugins").write_text("[rabbitmq_mqtt].\n")
        (self._folder / "rabbitmq.conf").write_text(
            f"listeners.tcp = none\nmqtt.listeners.tcp.default = 127.0.0.1:{self.port}\nlog.console = true\n"
            f"max_message_size = {LIMIT}\nload_definitions = {self._folder}/definitions.json\n"
        )
        everything = {"configure": ".*", "write": ".*", "read": ".*"}
        guest = {"user": "guest", "vhost": "/"}
        strict = {"exchange": "amq.topic", "write": r"^(?!strict\.DL-001\.backfill)", "read": ".*"}
        definitions = {
            "vhosts": [{"name": "/"}],
            "users": [{"name": "guest", "password": "guest", "tags": "administrator"}],
            "permissions": [guest | everything],
            "topic_permissions": [guest | strict],
        }
        (self._folder / "definitions.json").write_text(json.dumps(definitions))


BROKERS = {"mosquitto": MosquittoBroker, "amqtt": Amqtt, "nats": Nats, "rabbitmq": RabbitMQ}


def missing(name):
    """Say why a broker cannot be run here, or give an empty text."""
    found = {"nats": NATS, "rabbitmq": RABBITMQ and shutil.which("epmd", path=PLACES)}
    return "" if found.get(name, True) else f"{name}-server is not installed (a Debian package)"


@contextlib.contextmanager
def running(folder):
    """Give a function that gives a broker by its name; each is made once, started by who uses it, and killed here.

    RabbitMQ takes many seconds, so it is begun at once, beside the tests of the others.
    """
    made = {}
    if not missing("rabbitmq"):
        made["rabbitmq"] = RabbitMQ(folder / "rabbitmq")
        made["rabbitmq"].begin()

    def broker(name):
        if name not in made:
            made[name] = BROKERS[name](folder / name)
        return made[name]

    try:
        yield broker
    finally:
        for one in made.values():
            getattr(one, "close", one.stop)()
