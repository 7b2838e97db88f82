#!/usr/bin/env python3
"""Measure Leveret and an installed RabbitMQ with persistent messages in durable queues, and the disk they share.

Brokers are started, loaded and stopped as by compare.py. Every publish waits for its confirm within a window. Data lies
under the folder for temporary files: TMPDIR names another one, which has to be on a disk to tell anything.

    bench/durable.py [--seconds 10] [--warm-up 2] [--repeat 3] [--only NAME[+NAME]] [--leveret PATH] [--list]
                     [--fill 1000000] [--stored 1000000x1024,10000000x16]

Prints Markdown tables: the median of the repeats, and the range in brackets where there are several. "Written" is what
the broker's process had the kernel write to disks, for each byte of messages and their frames that it received.
"""

import argparse
import os
import signal
import socket
import statistics
import struct
import sys
import tempfile
import time

import compare
from compare import ROOT, median, micros, perf, seconds, spread

MIB = 1 << 20
STORED = "-s 1024 --persistent --durable"
CONSUMING = "-a 500 -q 1000"
WINDOWS = (1, 100, 2000)
QUEUES = {"1 queue": "", "100 queues": "--queues 100 --round-robin"}
SIDES = {"with a consumer": CONSUMING, "without consumers": "--publisher-only"}
LOADS = {
    f"window {window}, {queues}, {side}": f"{STORED} -c {window} {more} {flags}"
    for side, flags in SIDES.items()
    for queues, more in QUEUES.items()
    for window in WINDOWS
}
DISK = "the disk"
FILL = {f"publish, then drain, {queues}": f"{STORED} -c 2000 {CONSUMING} {more}" for queues, more in QUEUES.items()}
START = "start-up"
# Octets of a write before each fdatasync.
WRITES = {"1.2 KiB": 1229, "64 KiB": 64 << 10, "1 MiB": MIB}
# A start with many messages may take a while.
START_SECONDS = 900


def per_second(value):
    return f"{value:,.0f}"


def mib(kib):
    return f"{kib / 1024:,.0f}"


def times(value):
    return f"{value:.2f}"


def disk(o):
    """How long the disk takes to make overwrites of a file durable, and how much it writes a second."""
    print("| disk | a second | p50 | p99 |\n|---|---|---|---|")
    with tempfile.NamedTemporaryFile() as file:
        descriptor = file.fileno()
        size = 256 * MIB
        piece = os.urandom(MIB)
        for name in ("256 MiB of a new file", "256 MiB over a file"):
            begin = time.perf_counter()
            for at in range(0, size, MIB):
                os.pwrite(descriptor, piece, at)
            os.fdatasync(descriptor)
            print(f"| {name}, one fdatasync | {size / MIB / (time.perf_counter() - begin):,.0f} MiB | | |")
        for name, length in WRITES.items():
            spans, at, end = [], 0, time.perf_counter() + min(o.seconds, 3)
            while (begin := time.perf_counter()) < end:
                os.pwrite(descriptor, piece[:length], at)
                os.fdatasync(descriptor)
                spans.append(time.perf_counter() - begin)
                at = (at + length) % (size - MIB)
            spans.sort()
            p50, p99 = (micros(1e6 * spans[int(part * (len(spans) - 1))]) for part in (0.5, 0.99))
            print(f"| {name} over a file, then fdatasync | {len(spans) / sum(spans):,.0f} | {p50} | {p99} |", flush=True)


class Ratios:
    """A row that says how much better the first broker is than the second; for some figures less is better."""

    def __init__(self, results, *paths):
        self.results, self.paths = list(results.values()), paths

    def cells(self):
        if len(self.results) != 2 or not all(self.results):
            return None
        return [self.cell(sign, *path) for sign, *path in self.paths]

    def cell(self, sign, *path):
        values = [[value for value in median(runs, *path) if value is not None] for runs in self.results]
        if sign == "" or not all(values):
            return ""
        ours, theirs = map(statistics.median, values)
        one, two = (ours, theirs) if sign == ">" else (theirs, ours)
        return f"{one / two:.1f}" if two else ""


def row(*cells):
    print(f"| {' | '.join(cells)} |", flush=True)


def known(runs, *path):
    return [value for value in median(runs, *path) if value is not None]


def loads(o, brokers, chosen):
    print("\n| load | broker | confirmed a second | confirm p50 | p99 | CPU-seconds a million | resident, MiB | written |")
    print("|---|---|---|---|---|---|---|---|")
    for name, flags in chosen.items():
        results = compare.measure(o, brokers, name, flags)
        for broker, runs in results.items():
            row(
                name,
                broker,
                spread(median(runs, "confirmed", "per_second"), per_second),
                spread(median(runs, "confirm_latency", "p50_us"), micros),
                spread(median(runs, "confirm_latency", "p99_us"), micros),
                spread(median(runs, "broker", "cpu_seconds_per_million"), seconds),
                spread(median(runs, "broker", "rss_peak_kib"), mib),
                spread(known(runs, "broker", "written_per_received"), times),
            )
        ratios = Ratios(
            results,
            (">", "confirmed", "per_second"),
            ("<", "confirm_latency", "p50_us"),
            ("<", "confirm_latency", "p99_us"),
            ("<", "broker", "cpu_seconds_per_million"),
            ("<", "broker", "rss_peak_kib"),
            ("<", "broker", "written_per_received"),
        ).cells()
        if ratios:
            row("", "*times better*", *ratios)


def fill(o, brokers, chosen):
    head = "published a second | drained a second | CPU-seconds publishing | draining | resident after, MiB | written"
    print(f"\n| {o.fill:,} messages of 1 KiB | broker | {head} |\n|---|---|---|---|---|---|---|---|")
    for name, flags in chosen.items():
        results = {broker.name: [] for broker, _ in brokers}
        for _ in range(o.repeat):
            for broker_class, argument in brokers:
                broker = broker_class(argument)
                try:
                    report = perf(o, broker, f"--fill {o.fill} {flags}", timed=False)
                    results[broker.name].append(report)
                    if (drained := report["drain"]["consumed"]["messages"]) != o.fill:
                        print(f"{name}: {broker.name}: {drained:,} messages came back", file=sys.stderr)
                except RuntimeError as error:
                    print(f"{name}: {broker.name}: {error}", file=sys.stderr)
                finally:
                    broker.stop()
        for broker, runs in results.items():
            row(
                name,
                broker,
                spread(median(runs, "fill", "confirmed", "per_second"), per_second),
                spread(median(runs, "drain", "consumed", "per_second"), per_second),
                spread(median(runs, "fill", "broker", "cpu_seconds"), seconds),
                spread(median(runs, "drain", "broker", "cpu_seconds"), seconds),
                spread(median(runs, "fill", "broker", "rss_after_kib"), mib),
                spread(known(runs, "fill", "broker", "written_per_received"), times),
            )
        ratios = Ratios(
            results,
            (">", "fill", "confirmed", "per_second"),
            (">", "drain", "consumed", "per_second"),
            ("<", "fill", "broker", "cpu_seconds"),
            ("<", "drain", "broker", "cpu_seconds"),
            ("<", "fill", "broker", "rss_after_kib"),
            ("<", "fill", "broker", "written_per_received"),
        ).cells()
        if ratios:
            row("", "*times better*", *ratios)


def message_count(port, queue):
    """Logs in and asks how many messages are ready in a queue."""
    short = lambda text: bytes([len(text)]) + text.encode()
    long = lambda octets: struct.pack(">I", len(octets)) + octets
    with socket.create_connection(("127.0.0.1", port), START_SECONDS) as connection:
        stream = connection.makefile("rb")

        def send(channel, class_id, method_id, arguments):
            payload = struct.pack(">HH", class_id, method_id) + arguments
            connection.sendall(struct.pack(">BHI", 1, channel, len(payload)) + payload + b"\xce")

        def expect(class_id, method_id):
            while True:
                kind, _, size = struct.unpack(">BHI", stream.read(7))
                payload = stream.read(size + 1)[:-1]
                if kind == 1 and struct.unpack(">HH", payload[:4]) == (class_id, method_id):
                    return payload[4:]
                if kind == 1:
                    sys.exit(f"the broker answered {payload!r}")

        connection.sendall(b"AMQP\x00\x00\x09\x01")
        expect(10, 10)
        send(0, 10, 11, long(b"") + short("PLAIN") + long(b"\0guest\0guest") + short("en_US"))
        channel_max, frame_max, heartbeat = struct.unpack(">HIH", expect(10, 30))
        send(0, 10, 31, struct.pack(">HIH", channel_max, frame_max, 0))
        send(0, 10, 40, short("/") + short("") + b"\0")
        expect(10, 41)
        send(1, 20, 10, short(""))
        expect(20, 11)
        send(1, 50, 10, b"\0\0" + short(queue) + b"\x01" + long(b""))
        answer = expect(50, 11)
        count = struct.unpack(">I", answer[1 + answer[0] : 5 + answer[0]])[0]
        send(0, 10, 50, struct.pack(">H", 200) + short("") + b"\0\0\0\0")
        expect(10, 51)
        return count


def start_up(o, brokers):
    """The time from the start of the process until it has answered how many messages are in the queue."""
    print("\n| stored messages | broker | after a clean stop, s | after kill -9, s | resident, MiB |\n|---|---|---|---|---|")
    for messages, size in o.stored:
        taken = []
        for broker_class, argument in brokers:
            name = f"{messages:,} of {size:,} B"
            broker = broker_class(argument)
            try:
                flags = f"--publisher-only --queue stored -s {size} -C {messages} -c 2000 --persistent --durable"
                perf(o, broker, flags, timed=False)
                spans = []
                for how in (signal.SIGTERM, signal.SIGKILL):
                    broker.end(how, START_SECONDS)
                    begin = time.perf_counter()
                    broker.start(START_SECONDS)
                    count = message_count(broker.port, "stored")
                    spans.append(time.perf_counter() - begin)
                    if count != messages:
                        print(f"{name}: {broker.name}: {count:,} messages are there after {how.name}", file=sys.stderr)
                with open(f"/proc/{broker.pid}/status") as status:
                    resident = next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))
                taken.append((*spans, resident))
                row(name, broker.name, *map(seconds, spans), mib(resident))
            except RuntimeError as error:
                row(name, broker.name, str(error), "", "")
            finally:
                broker.stop()
        if len(taken) == 2:
            row("", "*times better*", *(f"{theirs / ours:.1f}" for ours, theirs in zip(*taken)))


def stored(text):
    return [tuple(map(int, one.split("x"))) for one in text.split(",")]


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--seconds", type=float, default=10)
    ap.add_argument("--warm-up", type=float, default=2)
    ap.add_argument("--repeat", type=int, default=3)
    ap.add_argument("--fill", type=int, default=1_000_000, help="messages to publish, then drain")
    ap.add_argument(
        "--stored", type=stored, default="1000000x1024,10000000x16", help="messages and their sizes for the start-up"
    )
    ap.add_argument("--only", default="", help="measurements whose name contains one of these, with + between")
    ap.add_argument("--leveret", default=str(ROOT / "target/release/leveret"))
    ap.add_argument("--list", action="store_true", help="the names of the measurements")
    o = ap.parse_args()
    if o.list:
        print("\n".join([DISK, *LOADS, *FILL, START]))
        return
    brokers = compare.brokers_at_hand(o.leveret)
    wanted = [part.strip() for part in o.only.split("+")]
    chosen = lambda names: {name: flags for name, flags in names.items() if any(part in name for part in wanted)}
    if chosen({DISK: ""}):
        disk(o)
    if chosen(LOADS):
        loads(o, brokers, chosen(LOADS))
    if chosen(FILL):
        fill(o, brokers, chosen(FILL))
    if chosen({START: ""}):
        start_up(o, brokers)


if __name__ == "__main__":
    main()
