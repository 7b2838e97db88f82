"""Starts brokers as a service manager would, and asks them with their tools."""

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

# Far beyond what any step takes, also on a busy machine.
DEADLINE_SECONDS = 90
POLL_SECONDS = 0.05


class Failed(Exception):
    """What is not as it should be."""


def expect(truth, text):
    if not truth:
        raise Failed(text)


@contextlib.contextmanager
def section(name):
    begin = time.monotonic()
    yield
    print(f"packages: ok: {name}, {time.monotonic() - begin:.1f} s", flush=True)


def run(*command, env=None, ok=True):
    """Runs a program, and returns what it printed; it has to succeed, or with `ok` false, to fail."""
    done = subprocess.run(
        [str(word) for word in command],
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=DEADLINE_SECONDS,
    )
    words = " ".join(str(word) for word in command)
    if ok is not None:
        expect((done.returncode == 0) == ok, f"`{words}` ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


def until(what, condition):
    """Waits until something holds, and returns that."""
    end = time.monotonic() + DEADLINE_SECONDS
    while True:
        value = condition()
        if value:
            return value
        expect(time.monotonic() < end, f"{what}: not after {DEADLINE_SECONDS} s")
        time.sleep(POLL_SECONDS)


def speaks_amqp(port, host="127.0.0.1"):
    """Whether a broker is there: it answers the header with a frame on channel 0."""
    try:
        with socket.create_connection((host, port), timeout=DEADLINE_SECONDS) as stream:
            stream.sendall(b"AMQP\x00\x00\x09\x01")
            return stream.recv(3) == b"\x01\x00\x00"
    except ConnectionRefusedError:
        return False


class Node:
    """A broker's process, which says over a socket of ours when it is ready."""

    def __init__(self, command, env):
        # The path of a socket must be short.
        self.folder = tempfile.TemporaryDirectory(prefix="leveret-", dir="/tmp")
        path = f"{self.folder.name}/notify"
        self.log = Path(self.folder.name) / "log"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(path)
        # The broker may run as another user.
        os.chmod(self.folder.name, 0o755)
        os.chmod(path, 0o777)
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [str(word) for word in command],
                env={**env, "NOTIFY_SOCKET": path},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def wait_for(self, state):
        """Waits until it says this, such as READY=1."""
        end = time.monotonic() + DEADLINE_SECONDS
        self.socket.settimeout(POLL_SECONDS)
        while True:
            with contextlib.suppress(TimeoutError):
                if state in self.socket.recv(65536).decode().splitlines():
                    return
            expect(self.process.poll() is None, f"the broker ended instead of {state}:\n{self.log.read_text()}")
            expect(time.monotonic() < end, f"the broker did not say {state}:\n{self.log.read_text()}")

    def stop(self):
        """Asks it to end, as a service manager does; it has to do so cleanly."""
        self.process.send_signal(signal.SIGTERM)
        self.wait_for("STOPPING=1")
        status = self.process.wait(DEADLINE_SECONDS)
        expect(status == 0, f"the broker ended with {status}:\n{self.log.read_text()}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.socket.close()
        self.folder.cleanup()
