"""How the scripts in this folder say what passed: `ok NAME` or `FAIL NAME: reason`, and `N passed, N failed` at the end."""

import sys
import time
import traceback

import pika

WAIT_SECONDS = 20


class Scenarios:
    """The scenarios of one script, in order."""

    def __init__(self):
        self._scenarios = []

    def __call__(self, function):
        self._scenarios.append(function)
        return function

    def run(self):
        failed = 0
        for scenario in self._scenarios:
            try:
                scenario()
                print(f"ok {scenario.__name__}")
            except Exception:
                failed += 1
                print(f"FAIL {scenario.__name__}: {traceback.format_exc()}")
        print(f"{len(self._scenarios) - failed} passed, {failed} failed")
        sys.exit(1 if failed else 0)


def eventually(holds, what):
    """RabbitMQ's statistics lag behind, and closing takes a moment everywhere."""
    until = time.monotonic() + WAIT_SECONDS
    while not holds():
        assert time.monotonic() < until, f"this never holds: {what}"
        time.sleep(0.05)


def close_reason(client):
    """Code and text with which the broker closes a connection of pika."""
    until = time.monotonic() + WAIT_SECONDS
    try:
        while True:
            client.process_data_events(0.1)
            assert time.monotonic() < until, "the connection is not closed"
    except pika.exceptions.ConnectionClosedByBroker as closed:
        return closed.reply_code, closed.reply_text
