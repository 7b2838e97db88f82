"""A broker of the test's own, and what it must not tell anybody.

Scripts beside this one are called as `python SCRIPT LEVERET FOLDER [MORE...]`. FOLDER has keys and certificates, see
`files.rs`. Each prints `ok NAME` or `FAIL NAME: reason` per scenario and `N passed, N failed` at the end.
"""

import array
import base64
import itertools
import json
import mmap
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time
import traceback
import urllib.error
import urllib.request

import pika
from pika.exceptions import AMQPConnectionError, ChannelClosedByBroker, ConnectionClosedByBroker

LEVERET, FOLDER = sys.argv[1], pathlib.Path(sys.argv[2])
WAIT_SECONDS = 20
STARTED = re.compile(r" addresses=\[([^\]]*)\] tls_addresses=\[([^\]]*)\] management=\[([^\]]*)\]")


class Broker:
    """Started with a configuration file; `secrets` are what nobody may be told, of which `kept` may be in its memory."""

    def __init__(self, name, configuration, secrets, kept=(), **environment):
        self.folder = FOLDER / name
        self.folder.mkdir()
        self.data = self.folder / "data"
        self.file = self.folder / "rabbitmq.conf"
        self.file.touch(mode=0o600)
        self.file.write_text(configuration)
        self.secrets, self.kept = set(secrets), set(kept)
        self.environment = {**os.environ, "LEVERET_MANAGEMENT_LISTEN": "none", "LEVERET_PROMETHEUS_LISTEN": "none", **environment}
        command = [LEVERET, "--config", self.file, "--data-dir", self.data, "--log-level", "debug"]
        self.process = subprocess.Popen(
            command, env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        self._lines = []
        self._more = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        addresses = STARTED.search(self.logged("started", "addresses=")).groups()
        ports = (int(at.rsplit(":", 1)[1]) if at else None for at in addresses)
        self.port, self.tls_port, self.api_port = ports

    def _read(self):
        for line in self.process.stdout:
            with self._more:
                self._lines.append(line.decode())
                self._more.notify_all()
        with self._more:
            self._lines.append(None)
            self._more.notify_all()

    def logged(self, *words):
        """The first line with all of these words, as soon as it is there."""

        def found():
            for line in self._lines:
                if line is None:
                    raise AssertionError(f"the broker ended:\n{self.output()}")
                if all(word in line for word in words):
                    return line
            return None

        with self._more:
            line = self._more.wait_for(found, WAIT_SECONDS)
            assert line, f"no line has {words}:\n{self.output()}"
            return line

    def output(self):
        return "".join(line for line in self._lines if line is not None)

    def connect(self, user, password, **changes):
        self.secrets.add(password)
        parameters = pika.ConnectionParameters(
            "127.0.0.1",
            self.port,
            credentials=pika.PlainCredentials(user, password),
            socket_timeout=WAIT_SECONDS,
            blocked_connection_timeout=WAIT_SECONDS,
            **changes,
        )
        return pika.BlockingConnection(parameters)

    def get(self, path, authorization):
        """The status and the JSON of an answer of the HTTP API."""
        headers = {"Authorization": authorization}
        request = urllib.request.Request(f"http://127.0.0.1:{self.api_port}{path}", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=WAIT_SECONDS) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def stop(self):
        """Ends the broker and looks for secrets wherever it may have left them."""
        self.forgets()
        command_line = pathlib.Path(f"/proc/{self.process.pid}/cmdline")
        places = {"the command line": command_line.read_bytes() if command_line.exists() else b""}
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(WAIT_SECONDS) == 0, self.output()
        self._reader.join(WAIT_SECONDS)
        places["the log"] = self.output().encode()
        for name, command in {"the dump": ["storage", "dump", self.data], "the help": ["--help"]}.items():
            environment = {**self.environment, "LEVERET_CONFIG_FILE": str(self.file)}
            done = subprocess.run([LEVERET, *command], env=environment, capture_output=True, timeout=WAIT_SECONDS)
            assert done.returncode == 0, done.stderr
            assert done.stdout
            places[name] = done.stdout + done.stderr
        for name, text in places.items():
            for secret in filter(None, self.secrets):
                for shown in spellings(secret):
                    assert shown not in text, f"{name} has the secret {shown}:\n{text.decode()}"

    def forgets(self):
        """Looks for secrets in the memory of the broker, which another fault could send to anybody."""
        try:
            for octets in memory_of(pathlib.Path(f"/proc/{self.process.pid}")):
                for secret in filter(None, self.secrets - self.kept):
                    at = octets.find(secret.encode())
                    assert at < 0, f"memory has a secret: {octets[max(0, at - 100) : at + 100]}"
        except PermissionError as error:
            print(f"SKIPPED: the memory of the broker cannot be read: {error}")

    def kill(self):
        self.process.kill()
        self.process.wait()


def memory_of(process):
    """The contents of what a process may write to, as far as it has been used: much more is set aside."""
    page = mmap.PAGESIZE
    areas = [line.split()[:2] for line in (process / "maps").read_text().splitlines()]
    with open(process / "mem", "rb", buffering=0) as memory, open(process / "pagemap", "rb", buffering=0) as pages:
        for begin, end in (area.split("-") for area, rights in areas if "w" in rights):
            first, last = int(begin, 16) // page, int(end, 16) // page
            pages.seek(first * 8)
            states = array.array("Q", pages.read((last - first) * 8))
            # The upper two bits: swapped, present.
            for is_used, run in itertools.groupby(range(len(states)), lambda at: states[at] >> 62 != 0):
                if is_used:
                    run = list(run)
                    memory.seek((first + run[0]) * page)
                    yield memory.read(len(run) * page)


def spellings(secret):
    """How a secret might show: as it is, a part of a token, in base64, and as numbers."""
    octets = secret.encode()
    yield octets
    for part in octets.split(b".") if octets.count(b".") == 2 else []:
        yield part
    yield base64.b64encode(octets).rstrip(b"=")
    yield ", ".join(map(str, octets)).encode()
    yield octets.hex().encode()


def login_refused(connect, mechanism="PLAIN"):
    """Whether a login is refused as RabbitMQ does it."""
    text = f"Login was refused using authentication mechanism {mechanism}. For details see the broker logfile."
    connection_refused(connect, 403, f"ACCESS_REFUSED - {text}")


def connection_refused(connect, code, text):
    try:
        connect().close()
    except AMQPConnectionError as error:
        # pika has its own words for what it guesses, and only the text of the error that was there.
        assert error.args == (f"ConnectionClosedByBroker: ({code}) {text!r}",), error
        return
    raise AssertionError("it was let in")


def channel_refused(connection, text, operation):
    """Whether an operation on a channel of its own is refused with 403 and this text."""
    refusal = channel_refusal(connection, operation)
    assert refusal == f"ACCESS_REFUSED - {text}", refusal


def channel_refusal(connection, operation):
    """The text that an operation on a channel of its own is refused with."""
    try:
        operation(connection.channel())
    except ChannelClosedByBroker as error:
        assert error.reply_code == 403, error
        return error.reply_text
    raise AssertionError("it was allowed")


def publish(channel, exchange, routing_key, body=b"hare"):
    """Publishes, and waits until the broker has it or refuses it."""
    channel.confirm_delivery()
    channel.basic_publish(exchange, routing_key, body)


def publish_and_consume(connection, queue):
    channel = connection.channel()
    channel.queue_declare(queue, exclusive=True)
    publish(channel, "", queue)
    for method, _, body in channel.consume(queue, inactivity_timeout=WAIT_SECONDS):
        assert body == b"hare", body
        channel.basic_ack(method.delivery_tag)
        break
    channel.cancel()
    channel.close()


def wait_until(what, condition, connection):
    """Works for the connection until the condition holds."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"not in time: {what}"
        connection.process_data_events(0.05)


def run(brokers, scenarios):
    """Runs scenarios, each given the brokers; then the brokers have to end without having told a secret."""
    failed = 0
    stops = {f"{broker.folder.name}_tells_no_secret": broker.stop for broker in brokers}
    both = {scenario.__name__: lambda scenario=scenario: scenario(*brokers) for scenario in scenarios} | stops
    for name, scenario in both.items():
        try:
            scenario()
            print(f"ok {name}", flush=True)
        except Exception as error:  # Whatever goes wrong in a scenario is its result, not the end of the others.
            failed += 1
            print(f"FAIL {name}: {error!r}", flush=True)
            traceback.print_exc()
    for broker in brokers:
        broker.kill()
        if failed:
            print(f"log of {broker.folder.name}:\n{broker.output()}")
    print(f"{len(both) - failed} passed, {failed} failed", flush=True)
    return 1 if failed else 0
