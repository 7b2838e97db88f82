#!/usr/bin/env python3
"""Run Leveret and an installed RabbitMQ in turn under the same load, and print how they compare.

Each broker is started afresh on a port of its own with a data folder of its own, loaded by `leveret perf` on the same
machine, and stopped. The runs of one load follow each other directly, so that what else the machine does meets both.
RabbitMQ is left out, with a word, where it is not installed (`apt-get install rabbitmq-server`).

    bench/compare.py [--seconds 10] [--warm-up 2] [--repeat 3] [--only NAME[,NAME]] [--leveret PATH] [--list]

Prints a Markdown table: the median of the repeats, and the range in brackets where there are several.
"""

import argparse
import glob
import json
import os
import pathlib
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
LOADS = {
    "1+1, 16 B": "-s 16",
    "1+1, 1 KiB": "-s 1024",
    "4+4 on one queue, 16 B": "-x 4 -y 4 -s 16",
    "4+4 on four queues, 16 B": "-x 4 -y 4 --queues 4 -s 16",
    "1+1, ack each, prefetch 200, 16 B": "-s 16 -a each -q 200",
    "1+1, ack each, prefetch 200, 1 KiB": "-s 1024 -a each -q 200",
    "fan-out 1 to 10, 16 B": "-t fanout --queues 10 -y 10 -s 16",
    "1+1, 16 B, at 20,000/s": "-s 16 -r 20000",
}
LATENCY = {"1+1, 1 KiB, at 5,000/s": "-s 1024 -r 5000"}
IDLE = {"10,000 idle connections": "--idle-connections 10000", "10,000 idle queues": "--idle-queues 10000"}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for_port(port, process, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        with socket.socket() as probe:
            probe.settimeout(2)
            try:
                probe.connect(("127.0.0.1", port))
                probe.sendall(b"AMQP\x00\x00\x09\x01")
                if probe.recv(1):
                    return
            except OSError:
                time.sleep(0.01)
    sys.exit(f"no broker answers on port {port}")


class Leveret:
    name = "Leveret"

    def __init__(self, binary):
        self.folder = tempfile.mkdtemp()
        self.port = free_port()
        listen = f"127.0.0.1:{self.port}"
        self.command = [binary, "--listen", listen, "--data-dir", self.folder, "--log-level", "warn"]
        self.start()

    def start(self, seconds=10):
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL)
        self.pid = self.process.pid
        wait_for_port(self.port, self.process, seconds)

    def end(self, how=signal.SIGTERM, seconds=60):
        """Ends the process; its data stays."""
        self.process.send_signal(how)
        self.process.wait(seconds)

    def stop(self):
        self.end()
        shutil.rmtree(self.folder, ignore_errors=True)


class RabbitMq:
    name = "RabbitMQ"
    # Those to enable of its own, with commas.
    plugins = ""

    def __init__(self, server):
        self.folder = tempfile.mkdtemp()
        self.port = free_port()
        self.node = f"bench{os.getpid()}@localhost"
        self.environment = {
            **os.environ,
            "HOME": self.folder,
            "RABBITMQ_NODENAME": self.node,
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": f"{self.folder}/data",
            "RABBITMQ_LOG_BASE": f"{self.folder}/log",
            "RABBITMQ_PID_FILE": f"{self.folder}/pid",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{self.folder}/enabled_plugins",
        }
        pathlib.Path(self.folder, "enabled_plugins").write_text(f"[{self.plugins}].\n")
        self.server = server
        self.start()

    def start(self, seconds=60):
        self.process = subprocess.Popen(
            [self.server],
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        wait_for_port(self.port, self.process, seconds)
        self.pid = int(pathlib.Path(self.folder, "pid").read_text())

    def end(self, how=signal.SIGTERM, seconds=60):
        """Ends the processes; their data stays."""
        os.killpg(self.process.pid, how)
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(seconds)

    def stop(self):
        self.end()
        shutil.rmtree(self.folder, ignore_errors=True)


def rabbitmq_server():
    """The start script itself: Debian's wrapper changes the user and the limits."""
    found = sorted(glob.glob("/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server"))
    return found[-1] if found else shutil.which("rabbitmq-server")


def perf(o, broker, flags, timed=True):
    command = [o.leveret, "perf", "--url", f"amqp://guest:guest@127.0.0.1:{broker.port}/", "--json", "--quiet"]
    command += ["--broker-pid", str(broker.pid), *flags.split()]
    if timed:
        command += ["--duration", str(o.seconds), "--warm-up", str(o.warm_up)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    return json.loads(done.stdout)


def measure(o, brokers, name, flags):
    """The figures of each broker for one load, the brokers in turn."""
    results = {broker.name: [] for broker, _ in brokers}
    for _ in range(o.repeat):
        for broker_class, argument in brokers:
            broker = broker_class(argument)
            try:
                results[broker.name].append(perf(o, broker, flags))
            except RuntimeError as error:
                print(f"{name}: {broker.name}: {error}", file=sys.stderr)
            finally:
                broker.stop()
    return results


def spread(values, show):
    values = sorted(values)
    if not values:
        return "–"
    text = show(statistics.median(values))
    return text if len(values) == 1 else f"{text} ({show(values[0])}–{show(values[-1])})"


def rate(value):
    return f"{value / 1e6:.2f} M" if value >= 1e6 else f"{value / 1e3:.0f} k"


def seconds(value):
    return f"{value:.2f}"


def micros(value):
    return f"{value:,.0f} µs"


def median(runs, *path):
    values = []
    for run in runs:
        for key in path:
            run = run[key]
        values.append(run)
    return values


def brokers_at_hand(binary):
    """The brokers to compare, each with what it is started from."""
    if not pathlib.Path(binary).exists():
        sys.exit(f"{binary} is not there: run `cargo build --release` first, or say where it is with --leveret")
    brokers = [(Leveret, binary)]
    if server := rabbitmq_server():
        brokers.append((RabbitMq, server))
    else:
        print("RabbitMQ is not installed, so there is nothing to compare with", file=sys.stderr)
    return brokers


def ratio(one, two):
    return f"{statistics.median(one) / statistics.median(two):.1f}" if one and two else "–"


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--seconds", type=float, default=10)
    ap.add_argument("--warm-up", type=float, default=2)
    ap.add_argument("--repeat", type=int, default=3)
    ap.add_argument("--only", default="", help="loads whose name contains one of these, with commas")
    ap.add_argument("--leveret", default=str(ROOT / "target/release/leveret"))
    ap.add_argument("--list", action="store_true", help="the names of the loads")
    o = ap.parse_args()
    if o.list:
        print("\n".join([*LOADS, *LATENCY, *IDLE]))
        return
    brokers = brokers_at_hand(o.leveret)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    wanted = [part for part in o.only.split(",") if part]
    chosen = lambda loads: {k: v for k, v in loads.items() if not wanted or any(part in k for part in wanted)}

    if loads := chosen(LOADS):
        print("| load | broker | consumed a second | CPU-seconds a million | resident, MiB |")
        print("|---|---|---|---|---|")
    for name, flags in loads.items():
        results = measure(o, brokers, name, flags)
        for broker, runs in results.items():
            consumed = spread(median(runs, "consumed", "per_second"), rate)
            cpu = spread(median(runs, "broker", "cpu_seconds_per_million"), seconds)
            memory = spread(median(runs, "broker", "rss_peak_kib"), lambda kib: f"{kib / 1024:.0f}")
            print(f"| {name} | {broker} | {consumed} | {cpu} | {memory} |")
        if len(results) == 2:
            ours, theirs = results.values()
            faster = ratio(median(ours, "consumed", "per_second"), median(theirs, "consumed", "per_second"))
            cheaper = ratio(*(median(r, "broker", "cpu_seconds_per_million") for r in (theirs, ours)))
            print(f"| | *ratio* | {faster} times | {cheaper} times less | |", flush=True)

    if loads := chosen(LATENCY):
        print("\n| load | broker | p50 | p99 | p99.9 | max | CPU-seconds a million |\n|---|---|---|---|---|---|---|")
    for name, flags in loads.items():
        for broker, runs in measure(o, brokers, name, flags).items():
            cells = [spread(median(runs, "latency", key), micros) for key in ("p50_us", "p99_us", "p999_us", "max_us")]
            cpu = spread(median(runs, "broker", "cpu_seconds_per_million"), seconds)
            print(f"| {name} | {broker} | {' | '.join(cells)} | {cpu} |", flush=True)

    if loads := chosen(IDLE):
        print("\n| idle | broker | KiB each | opened a second |\n|---|---|---|---|")
    for name, flags in loads.items():
        for broker_class, argument in brokers:
            broker = broker_class(argument)
            try:
                figures = perf(o, broker, flags, timed=False)
                each, opened = figures["rss_each_bytes"] / 1024, figures["count"] / figures["make_seconds"]
                print(f"| {name} | {broker.name} | {each:.1f} | {opened:,.0f} |", flush=True)
            except RuntimeError as error:
                print(f"| {name} | {broker.name} | {error} | |", flush=True)
            finally:
                broker.stop()


if __name__ == "__main__":
    main()
