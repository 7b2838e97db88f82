#!/usr/bin/env python3
"""Measure what the features of queues cost: Leveret and an installed RabbitMQ, each beside its own plain queue.

Brokers are started, loaded and stopped as by compare.py. The plain queue and the queue with a feature are measured in turn,
so that what else the machine does meets both. RabbitMQ is left out where it does not have the feature without a plugin from
elsewhere.

    bench/features.py [--seconds 10] [--warm-up 2] [--repeat 3] [--only NAME[+NAME]] [--leveret PATH] [--list]
                      [--delayed 1000000]

Prints Markdown tables: the median of the repeats, and the range in brackets where there are several. "Of plain" is the share
of the plain queue's rate that is left, and how many times its CPU time a message takes; 1.00 is the same. What is counted is
messages consumed, or published where nobody consumes.
"""

import argparse
import statistics
import sys

import compare
from compare import ROOT, Leveret, RabbitMq, median, micros, perf, rate, ratio, seconds, spread
from durable import mib, row

SIZE = "-s 16"
FULL = "x-max-length=10000"
# What the others are measured against. The plain load of a feature differs from it in nothing but the feature.
PLAIN = {
    "plain queue": SIZE,
    "plain queue, 2 consumers": f"{SIZE} -y 2",
    "plain queue, confirms": f"{SIZE} -c 2000",
    "plain queues, 4, in turn": f"{SIZE} --queues 4 -y 4 --round-robin",
}
HASH = "--type x-consistent-hash --queues 4 -y 4 --routing-keys 1000"
UNIQUE = "--unique-header x-deduplication-header"
# Name: flags, plain load, whether RabbitMQ has it.
FEATURES = {
    "message TTL by queue argument": (f"{SIZE} --queue-args x-message-ttl=60000", "plain queue", True),
    "expiration of each message": (f"{SIZE} --message-properties expiration=60000", "plain queue", True),
    "max-length, not reached": (f"{SIZE} --queue-args x-max-length=100000000", "plain queue", True),
    "max-length, reached, drop-head": (f"{SIZE} --publisher-only --queue-args {FULL}", "plain queue", True),
    "max-length, reached, reject-publish": (
        f"{SIZE} -c 2000 --publisher-only --queue-args {FULL},x-overflow=reject-publish",
        "plain queue, confirms",
        True,
    ),
    "x-max-priority 10, random priorities": (
        f"{SIZE} --queue-args x-max-priority=10 --random-priority 10",
        "plain queue",
        True,
    ),
    "single active consumer, 2 consumers": (
        f"{SIZE} -y 2 --queue-args x-single-active-consumer=true",
        "plain queue, 2 consumers",
        True,
    ),
    "dead-letter chain of 3": (f"{SIZE} --dead-letter-chain 3", "plain queue", True),
    "x-message-deduplication, no duplicates": (
        f"{SIZE} --queue-args x-message-deduplication=true {UNIQUE}",
        "plain queue",
        False,
    ),
    "consistent hash to 4 queues": (f"{SIZE} {HASH}", "plain queues, 4, in turn", True),
}
DELAYED = "delayed messages"
DELAY = "--type x-delayed-message --exchange-args x-delayed-type=direct"
PENDING = {"transient": "", "persistent, durable": "--persistent --durable"}
DUE_RATE = 50_000


class RabbitMqWithHash(RabbitMq):
    plugins = "rabbitmq_consistent_hash_exchange"


def per_second(run):
    """Messages that went the way of the load: to its end if there is one."""
    flow = "consumed" if run["consumed"]["messages"] else "published"
    return run[flow]["per_second"]


def measure(o, brokers, flags, plain_flags, name):
    """The runs of each broker with the feature and without it, all in turn."""
    runs = {broker.name: ([], []) for broker, _ in brokers}
    for _ in range(o.repeat):
        for broker_class, argument in brokers:
            for place, load in enumerate((plain_flags, flags)):
                broker = broker_class(argument)
                try:
                    runs[broker.name][place].append(perf(o, broker, load))
                except RuntimeError as error:
                    print(f"{name}: {broker.name}: {error}", file=sys.stderr)
                finally:
                    broker.stop()
    return runs


def features(o, brokers, chosen):
    print("| queue | broker | messages a second | of plain | CPU-seconds a million | of plain | resident, MiB |")
    print("|---|---|---|---|---|---|---|")
    brokers = [(RabbitMqWithHash if broker is RabbitMq else broker, argument) for broker, argument in brokers]
    for name, (flags, plain, everywhere) in chosen.items():
        able = [pair for pair in brokers if everywhere or pair[0] is Leveret]
        results = measure(o, able, flags, PLAIN[plain], name)
        figures = {}
        for broker, (before, runs) in results.items():
            rates, rates_before = ([per_second(run) for run in some] for some in (runs, before))
            cpu, cpu_before = (median(some, "broker", "cpu_seconds_per_million") for some in (runs, before))
            figures[broker] = rates, cpu
            peak = spread(median(runs, "broker", "rss_peak_kib"), mib)
            cells = [spread(rates, rate), share(rates, rates_before), spread(cpu, seconds), share(cpu, cpu_before)]
            row(name, broker, *cells, peak)
        if len(figures) == 2:
            (rates, cpu), (their_rates, their_cpu) = figures.values()
            row("", "*times better*", ratio(rates, their_rates), "", ratio(their_cpu, cpu), "", "")


def share(one, two):
    return f"{statistics.median(one) / statistics.median(two):.2f}" if one and two else "–"


def delayed(o, brokers):
    """Many messages that wait for their time, and how late they come at a given rate."""
    leveret = [pair for pair in brokers if pair[0] is Leveret]
    count = o.delayed
    print(f"\n| {count:,} messages put off for an hour | put off a second | CPU-seconds a million | grown by, MiB | B each |")
    print("|---|---|---|---|---|")
    for name, more in PENDING.items():
        flags = f"{SIZE} -c 2000 --publisher-only --messages {count} --delay-ms 3600000 {DELAY} {more}"
        runs = once_each(o, leveret, f"{DELAYED}, {name}", flags)
        growth = [run["broker"]["rss_after_kib"] - run["broker"]["rss_before_kib"] for run in runs]
        row(
            name,
            spread(median(runs, "published", "per_second"), rate),
            spread(median(runs, "broker", "cpu_seconds_per_million"), seconds),
            spread(growth, mib),
            spread([kib * 1024 / count for kib in growth], lambda octets: f"{octets:,.0f}"),
        )
    delay = 1000 * count // DUE_RATE
    print(
        f"\n| {DUE_RATE:,} due a second, {count:,} waiting | late by p50 | p99 | p99.9 | max | early |"
        " CPU-seconds a million | resident, MiB |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for name, more in PENDING.items():
        # Measured from when the first ones are due, so that as many go as come.
        flags = f"{SIZE} -r {DUE_RATE} --delay-ms {delay} {DELAY} {more}"
        flags += f" --duration {o.seconds} --warm-up {delay / 1000 + o.warm_up}"
        runs = once_each(o, leveret, f"{DELAYED}, {name}", flags)
        cells = [spread(median(runs, "lateness", key), micros) for key in ("p50_us", "p99_us", "p999_us", "max_us")]
        early = spread(median(runs, "early"), lambda count: f"{count:,.0f}")
        cpu = spread(median(runs, "broker", "cpu_seconds_per_million"), seconds)
        row(name, *cells, early, cpu, spread(median(runs, "broker", "rss_peak_kib"), mib))


def once_each(o, brokers, name, flags):
    """The runs of a load that says itself how long it takes."""
    runs = []
    for _ in range(o.repeat):
        for broker_class, argument in brokers:
            broker = broker_class(argument)
            try:
                runs.append(perf(o, broker, flags, timed=False))
            except RuntimeError as error:
                print(f"{name}: {broker.name}: {error}", file=sys.stderr)
            finally:
                broker.stop()
    return runs


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--seconds", type=float, default=10)
    ap.add_argument("--warm-up", type=float, default=2)
    ap.add_argument("--repeat", type=int, default=3)
    ap.add_argument("--delayed", type=int, default=1_000_000, help="delayed messages that wait")
    ap.add_argument("--only", default="", help="features whose name contains one of these, with + between")
    ap.add_argument("--leveret", default=str(ROOT / "target/release/leveret"))
    ap.add_argument("--list", action="store_true", help="the names of the features")
    o = ap.parse_args()
    if o.list:
        print("\n".join([*FEATURES, DELAYED]))
        return
    brokers = compare.brokers_at_hand(o.leveret)
    wanted = [part.strip() for part in o.only.split("+")]
    chosen = {name: what for name, what in FEATURES.items() if any(part in name for part in wanted)}
    if chosen:
        features(o, brokers, chosen)
    if any(part in DELAYED for part in wanted):
        delayed(o, brokers)


if __name__ == "__main__":
    main()
