#!/usr/bin/env python3
"""Measure what it costs messages that somebody watches: latency at a fixed rate with many queues, without and with polling.

The queues are imported over the HTTP API, once, and stay as they are. Then `leveret perf` sends messages at a fixed rate through a queue of its own,
first undisturbed, then while a page of a web UI polls as RabbitMQ's does every five seconds (or as often as --every says):
the overview with samples, a page of a hundred queues sorted by their messages, connections, channels; and Prometheus its
/metrics where it is there. Undisturbed and watched runs take turns, so that what else the machine does meets both.

    bench/polling.py [--queues 100000] [--rate 5000] [--every 5] [--seconds 10] [--repeat 3] [--leveret PATH] [--only NAME]

Prints a Markdown table: the median of the repeats, and the range in brackets.
"""

import argparse
import base64
import json
import pathlib
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

import compare
from compare import ROOT, Leveret, RabbitMq, free_port, micros, spread

PAGES = [
    "overview?lengths_age=60&lengths_incr=5&msg_rates_age=60&msg_rates_incr=5",
    "nodes",
    "queues?page=1&page_size=100&name=&use_regex=false&pagination=true&sort=messages&sort_reverse=true",
    "connections?page=1&page_size=100",
    "channels?page=1&page_size=100",
]
LOGIN = "Basic " + base64.b64encode(b"guest:guest").decode()


class WatchedLeveret(Leveret):
    def __init__(self, binary):
        self.api, self.metrics = free_port(), free_port()
        super().__init__(binary)

    def start(self, seconds=10):
        configuration = tempfile.NamedTemporaryFile("w", suffix=".conf", delete=False)
        configuration.write(f"management.tcp.port = {self.api}\nmanagement.tcp.ip = 127.0.0.1\n")
        configuration.write("management.http.max_body_size = 100000000\n")
        configuration.write(f"prometheus.tcp.port = {self.metrics}\nprometheus.tcp.ip = 127.0.0.1\n")
        configuration.close()
        self.configuration = configuration.name
        self.command += ["--config", self.configuration]
        super().start(seconds)

    def stop(self):
        super().stop()
        pathlib.Path(self.configuration).unlink()


class WatchedRabbitMq(RabbitMq):
    plugins = "rabbitmq_management,rabbitmq_prometheus"

    def start(self, seconds=60):
        self.api, self.metrics = free_port(), free_port()
        configuration = pathlib.Path(self.folder, "rabbitmq.conf")
        configuration.write_text(
            f"management.tcp.port = {self.api}\nmanagement.tcp.ip = 127.0.0.1\nmanagement.http.max_body_size = 100000000\n"
            f"prometheus.tcp.port = {self.metrics}\n"
        )
        self.environment["RABBITMQ_CONFIG_FILE"] = str(configuration)
        super().start(seconds)
        # It accepts clients of AMQP before it answers here.
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                get(self.api, "/api/whoami")
                return
            except OSError:
                time.sleep(0.1)
        sys.exit(f"no API answers on port {self.api}")


def get(port, path, body=None):
    """The octets of an answer."""
    headers = {"Authorization": LOGIN, "Content-Type": "application/json"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data=body, headers=headers)
    with urllib.request.urlopen(request, timeout=600) as answer:
        return len(answer.read())


def make_queues(broker, count):
    queue = {"vhost": "/", "durable": False, "auto_delete": False, "arguments": {}}
    definitions = {"queues": [{"name": f"idle.{number:06}", **queue} for number in range(count)]}
    get(broker.api, "/api/definitions", json.dumps(definitions).encode())


class Watcher(threading.Thread):
    """Somebody who looks at the broker; `took` has the seconds of each look at the list of queues."""

    def __init__(self, broker, every):
        super().__init__(daemon=True)
        self.broker, self.every, self.took, self.failed = broker, every, [], None
        self.done = threading.Event()
        self.start()

    def run(self):
        try:
            while True:
                begin = time.monotonic()
                for page in PAGES:
                    start = time.monotonic()
                    get(self.broker.api, f"/api/{page}")
                    if page.startswith("queues"):
                        self.took.append(time.monotonic() - start)
                get(self.broker.metrics, "/metrics")
                if self.done.wait(max(0, begin + self.every - time.monotonic())):
                    return
        except (OSError, urllib.error.URLError) as error:
            self.failed = error

    def stop(self):
        self.done.set()
        self.join()
        if self.failed:
            raise RuntimeError(f"watching failed: {self.failed}")


def runs(o, broker):
    """Reports without and with somebody who watches, and how long the list of queues took."""
    flags = f"-s 1024 -r {o.rate}"
    plain, watched, took = [], [], []
    for _ in range(o.repeat):
        plain.append(compare.perf(o, broker, flags))
        watcher = Watcher(broker, o.every)
        try:
            watched.append(compare.perf(o, broker, flags))
        finally:
            watcher.stop()
        took += watcher.took
    return plain, watched, took


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--queues", type=int, default=100_000)
    ap.add_argument("--rate", type=int, default=5000, help="messages a second, of 1 KiB")
    ap.add_argument("--every", type=float, default=5, help="seconds between looks")
    ap.add_argument("--seconds", type=int, default=10)
    ap.add_argument("--warm-up", type=int, default=2)
    ap.add_argument("--repeat", type=int, default=3)
    ap.add_argument("--leveret", default=str(ROOT / "target/release/leveret"))
    ap.add_argument("--only", default="", help="the name of a broker")
    o = ap.parse_args()
    print(f"| {o.queues:,} queues, {o.rate:,} messages a second, looks every {o.every:g} s | p50 | p99 | CPU-seconds a million | the list of queues |")
    print("|---|---|---|---|---|")
    watched_classes = {Leveret: WatchedLeveret, RabbitMq: WatchedRabbitMq}
    for broker_class, argument in compare.brokers_at_hand(o.leveret):
        if o.only not in broker_class.name:
            continue
        broker = watched_classes[broker_class](argument)
        try:
            make_queues(broker, o.queues)
            plain, watched, took = runs(o, broker)
        except (RuntimeError, OSError) as error:
            print(f"{broker.name}: {error}", file=sys.stderr)
            continue
        finally:
            broker.stop()
        for what, reports, looks in (("alone", plain, []), ("watched", watched, took)):
            latency = [spread(compare.median(reports, "latency", part), micros) for part in ("p50_us", "p99_us")]
            cpu = spread(compare.median(reports, "broker", "cpu_seconds_per_million"), compare.seconds)
            listed = spread([look * 1000 for look in looks], lambda ms: f"{ms:,.0f} ms")
            print(f"| {broker.name}, {what} | {' | '.join(latency)} | {cpu} | {listed} |")


if __name__ == "__main__":
    main()
