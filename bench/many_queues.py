#!/usr/bin/env python3
"""Measure Leveret and an installed RabbitMQ with many queues: declared one after another, idle, under policies, deleted.

Brokers are started and stopped as by compare.py, and the queues are declared by `leveret perf --idle-queues`. There is no
tool yet that sets policies in Leveret, so that they are set in RabbitMQ only; what they cost Leveret says
`cargo bench -p leveret-broker --bench policies`.

    bench/many_queues.py [--queues 100000] [--policies 10] [--durable] [--leveret PATH] [--only Leveret|RabbitMQ]

Prints a Markdown table. RabbitMQ takes minutes for 100,000 queues.
"""

import argparse
import json
import pathlib
import signal
import subprocess
import sys
import time

import compare
from compare import ROOT, RabbitMq
from durable import row

# Until the policies have changed; the queues are idle as long.
IDLE_SECONDS = 3600
MADE = "now idle"


def rabbitmqctl(broker, *command):
    """Runs the tool against the broker; returns the seconds it took, its own start with them."""
    tool = pathlib.Path(broker.server).with_name("rabbitmqctl")
    begin = time.monotonic()
    command = [str(tool), "-n", broker.node, "--timeout", str(IDLE_SECONDS), *command]
    done = subprocess.run(command, env=broker.environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError((done.stderr or done.stdout).strip())
    return time.monotonic() - begin


def set_policy(broker, name, pattern, max_length, priority):
    definition = json.dumps({"max-length": max_length})
    return rabbitmqctl(
        broker, "set_policy", "--priority", str(priority), "--apply-to", "queues", name, pattern, definition
    )


def queues(o, broker):
    """The report of the idle queues, and how long policies took while they were there."""
    policies = {}
    has_policies = isinstance(broker, RabbitMq)
    for number in range(o.policies if has_policies else 0):
        set_policy(broker, f"other-{number}", rf"^other\.{number}\.", 1, number)
    command = [o.leveret, "perf", "--url", f"amqp://guest:guest@127.0.0.1:{broker.port}/", "--json"]
    command += ["--broker-pid", str(broker.pid), "--idle-queues", str(o.queues)]
    command += ["--duration", str(IDLE_SECONDS if has_policies else 5), *(["--durable"] if o.durable else [])]
    perf = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    said = ""
    for said in perf.stderr:
        if MADE in said:
            break
    if has_policies and MADE in said:
        # The tool takes a while to start: what it takes to change a policy that concerns nothing is taken off.
        nothing = set_policy(broker, "other-0", r"^other\.0\.", 2, 0)
        policies["set"] = max(0, set_policy(broker, "limit", "", 1000, 1000) - nothing)
        policies["changed"] = max(0, set_policy(broker, "limit", "", 2000, 1000) - nothing)
        policies["cleared"] = max(0, rabbitmqctl(broker, "clear_policy", "limit") - nothing)
        perf.send_signal(signal.SIGINT)
    out, error = perf.communicate()
    if perf.returncode != 0:
        raise RuntimeError((error or said).strip().splitlines()[-1])
    return json.loads(out), policies


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--queues", type=int, default=100_000)
    ap.add_argument("--policies", type=int, default=10, help="policies that match none of the queues")
    ap.add_argument("--durable", action="store_true", help="durable queues")
    ap.add_argument("--leveret", default=str(ROOT / "target/release/leveret"))
    ap.add_argument("--only", default="", help="the name of a broker")
    o = ap.parse_args()
    print(
        f"| {o.queues:,} queues | declared a second | KiB each | deleted a second |"
        " policy set, s | changed, s | cleared, s |"
    )
    print("|---|---|---|---|---|---|---|")
    for broker_class, argument in compare.brokers_at_hand(o.leveret):
        if o.only not in broker_class.name:
            continue
        broker = broker_class(argument)
        try:
            report, policies = queues(o, broker)
            count = report["count"]
            row(
                broker.name,
                f"{count / report['make_seconds']:,.0f}",
                f"{report['rss_each_bytes'] / 1024:.1f}",
                f"{count / report['remove_seconds']:,.0f}",
                *(f"{policies[step]:.2f}" if step in policies else "–" for step in ("set", "changed", "cleared")),
            )
        except RuntimeError as error:
            print(f"{broker.name}: {error}", file=sys.stderr)
        finally:
            broker.stop()


if __name__ == "__main__":
    main()
