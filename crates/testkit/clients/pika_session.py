"""A scripted session of pika, the blocking Python client, against a running broker.

    python pika_session.py amqp://guest:guest@127.0.0.1:5672/ [SCENARIO...]

Prints `ok NAME` or `FAIL NAME: reason` per scenario and `N passed, N failed` at the end; exits 1 when one failed.
It passes against RabbitMQ 3.10 and 4.x; where those two differ the scenario says so and takes both.
"""

import ast
import contextlib
import datetime
import decimal
import re
import select
import signal
import sys
import time
import traceback
import uuid

import pika
from pika.exceptions import (
    AMQPConnectionError,
    ChannelClosedByBroker,
    ConnectionClosedByBroker,
    NackError,
    UnroutableError,
)

WAIT_SECONDS = 10
SCENARIO_SECONDS = 30

SCENARIOS = []


def scenario(function):
    SCENARIOS.append(function)
    return function


class Session:
    """What one scenario works with: connections and names nobody else uses, both gone when it ends."""

    def __init__(self, url):
        self.url = url
        self.parameters = pika.URLParameters(url)
        self.vhost = self.parameters.virtual_host
        self.user = self.parameters.credentials.username
        self._connections = []
        self._exchanges = []
        self._queues = []

    def connect(self, **changes):
        parameters = pika.URLParameters(self.url)
        for name, value in changes.items():
            setattr(parameters, name, value)
        connection = pika.BlockingConnection(parameters)
        self._connections.append(connection)
        return connection

    def channel(self, **changes):
        return self.connect(**changes).channel()

    def name(self, kind="name"):
        return f"pika.{kind}.{uuid.uuid4().hex[:12]}"

    def queue(self, channel, **options):
        """A queue that goes with its connection."""
        return channel.queue_declare(self.name("queue"), exclusive=True, **options).method.queue

    def shared_queue(self, channel, **options):
        """A queue that other connections can use too."""
        name = self.name("queue")
        self._queues.append(name)
        return channel.queue_declare(name, durable=True, **options).method.queue

    def exchange(self, channel, kind, **options):
        name = self.name(f"exchange.{kind}")
        self._exchanges.append(name)
        channel.exchange_declare(name, kind, **options)
        return name

    def close(self):
        for connection in self._connections:
            if connection.is_open:
                connection.close()
        if self._exchanges or self._queues:
            with contextlib.closing(pika.BlockingConnection(self.parameters)) as connection:
                channel = connection.channel()
                for queue in self._queues:
                    channel.queue_delete(queue)
                for exchange in self._exchanges:
                    channel.exchange_delete(exchange)


def equal(actual, expected, what="value"):
    if actual != expected:
        raise AssertionError(f"{what}: got {actual!r}, expected {expected!r}")


def wait_until(connection, condition, what, seconds=WAIT_SECONDS):
    """Serves the connection until the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        left = deadline - time.monotonic()
        if left <= 0:
            raise AssertionError(f"no {what} within {seconds} s")
        connection.process_data_events(time_limit=min(left, 0.1))


def wait_ready(channel, queue, count):
    """Waits until so many messages are ready in the queue; a count may overtake the publishes before it.

    The queue answers after the deliveries it has decided on, so a delivery that has not come by then, with all
    published messages accounted for, does not come.
    """
    wait_until(
        channel.connection,
        lambda: channel.queue_declare(queue, passive=True).method.message_count == count,
        f"{count} ready messages in {queue}",
    )


def publish(channel, routing_key, body, exchange="", mandatory=False, **properties):
    body = body if isinstance(body, bytes) else str(body).encode()
    channel.basic_publish(exchange, routing_key, body, pika.BasicProperties(**properties), mandatory=mandatory)


def drain(channel, queue):
    bodies = []
    while True:
        method, _, body = channel.basic_get(queue, auto_ack=True)
        if method is None:
            return bodies
        bodies.append(body.decode())


class Consumer:
    """Collects deliveries; acknowledging them is the scenario's business."""

    def __init__(self, channel, queue, **options):
        self.channel = channel
        self.deliveries = []
        self.tag = channel.basic_consume(queue, self._deliver, **options)

    def _deliver(self, _channel, method, properties, body):
        self.deliveries.append((method, properties, body))

    @property
    def bodies(self):
        return [body.decode() for _, _, body in self.deliveries]

    def wait(self, count):
        wait_until(self.channel.connection, lambda: len(self.deliveries) >= count, f"{count} deliveries")
        return self.deliveries


@contextlib.contextmanager
def channel_error(channel, code, text):
    """The block makes the broker close the channel with this code and text, and the connection stays usable."""
    connection = channel.connection
    try:
        yield
        # A publish or an ack has no answer to carry the error: ask for one.
        channel.basic_qos(prefetch_count=0)
    except ChannelClosedByBroker as closed:
        equal((closed.reply_code, closed.reply_text), (code, text), "channel.close")
    else:
        raise AssertionError(f"channel was not closed with {code} {text}")
    equal(channel.is_open, False, "closed channel is open")
    again = connection.channel()
    queue = again.queue_declare("", exclusive=True).method.queue
    publish(again, queue, "still alive")
    equal(drain(again, queue), ["still alive"], "message through a new channel")
    again.close()


@contextlib.contextmanager
def connection_error(connection, code, text):
    """The block makes the broker close the whole connection with this code and text."""
    try:
        yield
        wait_until(connection, lambda: not connection.is_open, "connection.close")
    except ConnectionClosedByBroker as closed:
        equal((closed.reply_code, closed.reply_text), (code, text), "connection.close")
    else:
        raise AssertionError(f"connection was not closed with {code} {text}")


def refusal(session, **changes):
    """How the broker refuses a connection. pika wraps the broker's close frame in an exception of its own guess."""
    try:
        session.connect(**changes)
    except AMQPConnectionError as error:
        if isinstance(error, ConnectionClosedByBroker):
            return error.reply_code, error.reply_text
        match = re.fullmatch(r"ConnectionClosedByBroker: \((\d+)\) (.*)", str(error.args[0]))
        if match:
            return int(match[1]), ast.literal_eval(match[2])
        return None, repr(error)
    raise AssertionError("the connection was not refused")


# --- Handshake ---


@scenario
def server_properties_and_capabilities_are_announced(session):
    properties = session.connect()._impl.server_properties
    equal(properties["product"], "RabbitMQ", "product")
    if not re.fullmatch(r"\d+\.\d+\.\d+.*", properties["version"]):
        raise AssertionError(f"version {properties['version']!r}")
    for key in ("cluster_name", "copyright", "information", "platform"):
        if not isinstance(properties[key], str) or not properties[key]:
            raise AssertionError(f"{key}: {properties[key]!r}")
    for capability in (
        "authentication_failure_close",
        "basic.nack",
        "connection.blocked",
        "consumer_cancel_notify",
        "consumer_priorities",
        "direct_reply_to",
        "exchange_exchange_bindings",
        "per_consumer_qos",
        "publisher_confirms",
    ):
        equal(properties["capabilities"].get(capability), True, f"capability {capability}")


@scenario
def tuning_takes_the_lower_value(session):
    connection = session.connect(frame_max=8192, channel_max=5, heartbeat=30)
    tuned = connection._impl.params
    equal((tuned.frame_max, tuned.channel_max, tuned.heartbeat), (8192, 5, 30), "tuned")
    channels = [connection.channel() for _ in range(5)]
    queue = session.queue(channels[0])
    body = bytes(range(256)) * 4096
    channels[1].confirm_delivery()
    publish(channels[1], queue, body)
    _, _, got = channels[2].basic_get(queue, auto_ack=True)
    equal(got == body, True, "1 MiB in frames of 8 KiB arrives whole")


@scenario
def frame_max_below_the_minimum_is_served_or_refused(session):
    # The minimum is 4096 in 3.x (and in the specification) and 8192 in 4.x.
    try:
        channel = session.channel(frame_max=4096)
    except AMQPConnectionError as error:
        text = "NOT_ALLOWED - negotiated frame_max = 4096 is lower than the minimum allowed value (8192)"
        if "(530)" not in repr(error) or text not in repr(error):
            raise AssertionError(f"refused with {error!r}") from error
    else:
        queue = session.queue(channel)
        publish(channel, queue, b"x" * 10_000)
        _, _, body = channel.basic_get(queue, auto_ack=True)
        equal(len(body), 10_000, "body length")


@scenario
def wrong_password_is_403(session):
    equal(
        refusal(session, credentials=pika.PlainCredentials(session.user, "wrong")),
        (
            403,
            "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. "
            "For details see the broker logfile.",
        ),
        "refusal",
    )


@scenario
def unknown_user_is_403(session):
    code, text = refusal(session, credentials=pika.PlainCredentials(session.name("user"), "guest"))
    equal(code, 403, "code")
    # Nothing in the text may tell an unknown user from a wrong password.
    equal(
        text,
        "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile.",
        "text",
    )


@scenario
def unknown_vhost_is_530(session):
    vhost = session.name("vhost")
    equal(refusal(session, virtual_host=vhost), (530, f"NOT_ALLOWED - vhost {vhost} not found"), "refusal")


@scenario
def secret_can_be_updated(session):
    connection = session.connect()
    connection.update_secret(session.parameters.credentials.password, "renewal")
    equal(connection.channel().is_open, True, "channel after update-secret")


@scenario
def heartbeats_keep_an_idle_connection_up(session):
    connection = session.connect(heartbeat=1)
    channel = connection.channel()
    queue = session.queue(channel)
    checker = connection._impl._heartbeat_checker
    equal(connection._impl.params.heartbeat, 1, "negotiated heartbeat")
    # The broker sends every half interval; four of them are two intervals without any other traffic.
    wait_until(connection, lambda: checker._heartbeat_frames_received >= 4, "4 heartbeats of the broker", 5)
    publish(channel, queue, "after the silence")
    equal(drain(channel, queue), ["after the silence"], "message")


@scenario
def silent_connection_is_dropped(session):
    silent = session.connect(heartbeat=1)
    queue = session.queue(silent.channel())
    socket = silent._impl._transport._sock
    # Not serving the connection means not sending heartbeats. The broker's own heartbeats arrive all the while, so
    # read until it hangs up: after two to three intervals.
    started = time.monotonic()
    with contextlib.suppress(ConnectionResetError):
        while True:
            left = started + WAIT_SECONDS - time.monotonic()
            if left <= 0:
                raise AssertionError(f"the silent connection was still up after {WAIT_SECONDS} s")
            if select.select([socket], [], [], left)[0] and not socket.recv(4096):
                break
    if time.monotonic() - started < 1:
        raise AssertionError("dropped before one heartbeat interval had passed")
    connection = session.connect()

    def queue_is_gone():
        try:
            connection.channel().queue_declare(queue, passive=True)
        except ChannelClosedByBroker as closed:
            return closed.reply_code == 404
        return False

    wait_until(connection, queue_is_gone, "end of the dropped connection's exclusive queue")
    # The socket is dead; a close handshake on it would only wait for its timeout.
    silent._impl._transport.abort()
    session._connections.remove(silent)


# --- Exchanges and routing ---


@scenario
def default_exchange_routes_by_queue_name(session):
    channel = session.channel()
    one, two = session.queue(channel), session.queue(channel)
    publish(channel, one, "1")
    publish(channel, two, "2")
    equal((drain(channel, one), drain(channel, two)), (["1"], ["2"]), "routed")


@scenario
def direct_exchange_routes_by_equal_key(session):
    channel = session.channel()
    exchange = session.exchange(channel, "direct")
    red, both = session.queue(channel), session.queue(channel)
    channel.queue_bind(red, exchange, "red")
    channel.queue_bind(both, exchange, "red")
    channel.queue_bind(both, exchange, "blue")
    for key in ("red", "blue", "re", "red.", ""):
        publish(channel, key, key, exchange=exchange)
    equal((drain(channel, red), drain(channel, both)), (["red"], ["red", "blue"]), "routed")
    channel.queue_unbind(both, exchange, "red")
    publish(channel, "red", "again", exchange=exchange)
    equal((drain(channel, red), drain(channel, both)), (["again"], []), "routed after unbind")


@scenario
def fanout_exchange_routes_to_all(session):
    channel = session.channel()
    exchange = session.exchange(channel, "fanout")
    queues = [session.queue(channel) for _ in range(3)]
    for queue in queues:
        channel.queue_bind(queue, exchange, "ignored")
    # A second binding does not make a second copy.
    channel.queue_bind(queues[0], exchange, "other")
    publish(channel, "whatever", "m", exchange=exchange)
    equal([drain(channel, queue) for queue in queues], [["m"]] * 3, "routed")


@scenario
def topic_exchange_matches_words(session):
    channel = session.channel()
    exchange = session.exchange(channel, "topic")
    patterns = {
        "a.b.c": ["a.b.c"],
        "a.*.c": ["a.b.c", "a..c"],
        "a.#": ["a", "a.b", "a.b.c", "a..c", "a.b.c.d"],
        "#.c": ["a.b.c", "a..c", "c"],
        "*": ["a", "c"],
        "#": ["a", "a.b", "a.b.c", "a..c", "a.b.c.d", "c", "", "*"],
        "*.b.#": ["a.b", "a.b.c", "a.b.c.d"],
    }
    # In a key "*" is a word like any other. The empty key has no words, though "a..c" has three.
    patterns["*"].append("*")
    queues = {}
    for pattern in patterns:
        queues[pattern] = session.queue(channel)
        channel.queue_bind(queues[pattern], exchange, pattern)
    for key in ("a", "a.b", "a.b.c", "a..c", "a.b.c.d", "c", "", "*"):
        publish(channel, key, key, exchange=exchange)
    for pattern, keys in patterns.items():
        equal(drain(channel, queues[pattern]), keys, f"routed by {pattern!r}")


@scenario
def headers_exchange_matches_all_or_any(session):
    channel = session.channel()
    exchange = session.exchange(channel, "headers")
    bindings = {
        "all": {"x-match": "all", "colour": "red", "size": 3},
        "any": {"x-match": "any", "colour": "red", "size": 3},
        # The default is "all"; a binding without value asks for the header to be there at all.
        "present": {"colour": None},
    }
    queues = {}
    for name, arguments in bindings.items():
        queues[name] = session.queue(channel)
        channel.queue_bind(queues[name], exchange, arguments=arguments)
    for body, headers in {
        "both": {"colour": "red", "size": 3, "more": True},
        "colour": {"colour": "red"},
        "size": {"size": 3},
        "other": {"colour": "blue", "size": 4},
        "none": {},
    }.items():
        publish(channel, "", body, exchange=exchange, headers=headers)
    publish(channel, "", "no headers", exchange=exchange)
    equal(drain(channel, queues["all"]), ["both"], "all")
    equal(drain(channel, queues["any"]), ["both", "colour", "size"], "any")
    equal(drain(channel, queues["present"]), ["both", "colour", "other"], "present")


@scenario
def predeclared_exchanges_exist(session):
    channel = session.channel()
    for kind, name in (
        ("direct", "amq.direct"),
        ("fanout", "amq.fanout"),
        ("topic", "amq.topic"),
        ("headers", "amq.headers"),
        ("headers", "amq.match"),
    ):
        channel.exchange_declare(name, passive=True)
        channel.exchange_declare(name, kind, durable=True)


@scenario
def exchange_to_exchange_binding_routes_on(session):
    channel = session.channel()
    source, middle = session.exchange(channel, "topic"), session.exchange(channel, "fanout")
    queue = session.queue(channel)
    channel.exchange_bind(middle, source, "log.#")
    channel.queue_bind(queue, middle)
    # A queue reached on two ways gets one copy.
    channel.queue_bind(queue, source, "log.twice")
    for key in ("log.once", "log.twice", "other"):
        publish(channel, key, key, exchange=source)
    equal(drain(channel, queue), ["log.once", "log.twice"], "routed")
    channel.exchange_unbind(middle, source, "log.#")
    publish(channel, "log.once", "gone", exchange=source)
    equal(drain(channel, queue), [], "routed after unbind")


@scenario
def alternate_exchange_takes_what_is_not_routed(session):
    channel = session.channel()
    alternate = session.exchange(channel, "fanout")
    exchange = session.exchange(channel, "direct", arguments={"alternate-exchange": alternate})
    known, unknown = session.queue(channel), session.queue(channel)
    channel.queue_bind(known, exchange, "known")
    channel.queue_bind(unknown, alternate)
    returned = []
    channel.add_on_return_callback(lambda _, method, __, body: returned.append(body))
    publish(channel, "known", "k", exchange=exchange, mandatory=True)
    publish(channel, "unknown", "u", exchange=exchange, mandatory=True)
    equal((drain(channel, known), drain(channel, unknown)), (["k"], ["u"]), "routed")
    equal(returned, [], "returned, though the alternate exchange routed it")


@scenario
def cc_and_bcc_add_routing_keys(session):
    channel = session.channel()
    exchange = session.exchange(channel, "direct")
    queues = {key: session.queue(channel) for key in ("to", "cc", "bcc", "other")}
    for key, queue in queues.items():
        channel.queue_bind(queue, exchange, key)
    publish(channel, "to", "m", exchange=exchange, headers={"CC": ["cc", "to"], "BCC": ["bcc"], "kept": 1})
    for key in ("to", "cc", "bcc"):
        method, properties, body = channel.basic_get(queues[key], auto_ack=True)
        equal((method.routing_key, body), ("to", b"m"), f"delivery through {key}")
        equal(properties.headers, {"CC": ["cc", "to"], "kept": 1}, f"headers through {key}")
    equal([drain(channel, queue) for queue in queues.values()], [[], [], [], []], "further copies")


@scenario
def internal_exchange_takes_no_publishes(session):
    channel = session.channel()
    exchange = session.exchange(channel, "fanout", internal=True)
    with channel_error(
        channel, 403, f"ACCESS_REFUSED - cannot publish to internal exchange '{exchange}' in vhost '{session.vhost}'"
    ):
        publish(channel, "", "m", exchange=exchange)


@scenario
def auto_delete_exchange_goes_with_its_last_binding(session):
    channel = session.channel()
    exchange = session.exchange(channel, "fanout", auto_delete=True)
    queue = session.queue(channel)
    channel.queue_bind(queue, exchange)
    channel.queue_unbind(queue, exchange)
    with channel_error(channel, 404, f"NOT_FOUND - no exchange '{exchange}' in vhost '{session.vhost}'"):
        channel.exchange_declare(exchange, passive=True)


# --- Queues ---


@scenario
def server_names_queues(session):
    channel = session.channel()
    first = channel.queue_declare("", exclusive=True).method.queue
    second = channel.queue_declare("", exclusive=True).method.queue
    for name in (first, second):
        if not re.fullmatch(r"amq\.gen-[A-Za-z0-9_-]{22}", name):
            raise AssertionError(f"name {name!r}")
    if first == second:
        raise AssertionError("the same name twice")
    # An empty name means the queue this channel declared last.
    channel.queue_bind("", "amq.fanout")
    publish(channel, second, "m")
    method, _, body = channel.basic_get("", auto_ack=True)
    equal(body, b"m", "message of the current queue")
    channel.queue_unbind("", "amq.fanout")


@scenario
def exclusive_queue_is_locked_for_others_and_goes_with_its_connection(session):
    owner = session.connect()
    queue = session.queue(owner.channel())
    other = session.connect()
    locked = (
        f"RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '{queue}' in vhost '{session.vhost}'. It "
        "could be originally declared on another connection or the exclusive property value does not match that of "
        "the original declaration."
    )
    for use in (
        lambda channel: channel.queue_declare(queue, passive=True),
        lambda channel: channel.queue_declare(queue, exclusive=True),
        lambda channel: channel.basic_get(queue),
        lambda channel: channel.basic_consume(queue, print),
        lambda channel: channel.queue_purge(queue),
        lambda channel: channel.queue_delete(queue),
        lambda channel: channel.queue_bind(queue, "amq.fanout"),
    ):
        channel = other.channel()
        with channel_error(channel, 405, locked):
            use(channel)
    # Anybody may publish to it.
    publish(other.channel(), queue, "m")
    owner.close()
    channel = other.channel()
    with channel_error(channel, 404, f"NOT_FOUND - no queue '{queue}' in vhost '{session.vhost}'"):
        channel.queue_declare(queue, passive=True)


@scenario
def auto_delete_queue_goes_with_its_last_consumer(session):
    channel = session.channel()
    queue = session.queue(channel, auto_delete=True)
    # A queue that never had a consumer stays.
    equal(drain(channel, queue), [], "ready messages")
    one, two = Consumer(channel, queue), Consumer(channel, queue)
    channel.basic_cancel(one.tag)
    equal(channel.queue_declare(queue, passive=True).method.consumer_count, 1, "consumers")
    channel.basic_cancel(two.tag)
    with channel_error(channel, 404, f"NOT_FOUND - no queue '{queue}' in vhost '{session.vhost}'"):
        channel.queue_declare(queue, passive=True)


@scenario
def declare_purge_and_delete_count_messages(session):
    channel = session.channel()
    queue = session.queue(channel)
    equal(channel.queue_declare(queue, exclusive=True).method.message_count, 0, "empty")
    for number in range(7):
        publish(channel, queue, number)
    wait_ready(channel, queue, 7)
    # What a consumer holds is neither ready nor purged.
    held, _, _ = channel.basic_get(queue)
    wait_ready(channel, queue, 6)
    equal(channel.queue_purge(queue).method.message_count, 6, "purged")
    equal(channel.queue_purge(queue).method.message_count, 0, "purged again")
    channel.basic_nack(held.delivery_tag, requeue=True)
    for number in range(3):
        publish(channel, queue, number)
    equal(channel.queue_delete(queue).method.message_count, 4, "deleted")
    equal(channel.queue_delete(queue).method.message_count, 0, "deleted again")


@scenario
def passive_declare_reports_or_404s(session):
    channel = session.channel()
    queue, exchange = session.queue(channel), session.exchange(channel, "fanout")
    Consumer(channel, queue)
    method = channel.queue_declare(queue, passive=True, durable=True).method
    equal((method.queue, method.message_count, method.consumer_count), (queue, 0, 1), "passive declare")
    channel.exchange_declare(exchange, "topic", passive=True)
    missing = session.name("missing")
    with channel_error(channel, 404, f"NOT_FOUND - no queue '{missing}' in vhost '{session.vhost}'"):
        channel.queue_declare(missing, passive=True)
    channel = channel.connection.channel()
    with channel_error(channel, 404, f"NOT_FOUND - no exchange '{missing}' in vhost '{session.vhost}'"):
        channel.exchange_declare(missing, passive=True)


@scenario
def inequivalent_queue_redeclare_is_406(session):
    connection = session.connect()
    queue = session.shared_queue(connection.channel(), arguments={"x-max-length": 10})
    connection.channel().queue_declare(queue, durable=True, arguments={"x-max-length": 10})
    for changes, difference in (
        ({"durable": False}, "arg 'durable' for queue '{}' in vhost '{}': received 'false' but current is 'true'"),
        (
            {"auto_delete": True},
            "arg 'auto_delete' for queue '{}' in vhost '{}': received 'true' but current is 'false'",
        ),
        (
            {"arguments": {"x-max-length": 11}},
            "arg 'x-max-length' for queue '{}' in vhost '{}': received '11' but current is '10'",
        ),
        (
            {"arguments": {}},
            "arg 'x-max-length' for queue '{}' in vhost '{}': received none but current is the value '10' of type "
            "'signedint'",
        ),
    ):
        channel = connection.channel()
        text = "PRECONDITION_FAILED - inequivalent " + difference.format(queue, session.vhost)
        with channel_error(channel, 406, text):
            channel.queue_declare(queue, **{"durable": True, "arguments": {"x-max-length": 10}, **changes})


@scenario
def inequivalent_exchange_redeclare_is_406(session):
    connection = session.connect()
    exchange = session.exchange(connection.channel(), "direct")
    for kind, changes, difference in (
        ("fanout", {}, "'type' for exchange '{}' in vhost '{}': received 'fanout' but current is 'direct'"),
        (
            "direct",
            {"durable": True},
            "'durable' for exchange '{}' in vhost '{}': received 'true' but current is 'false'",
        ),
        (
            "direct",
            {"auto_delete": True},
            "'auto_delete' for exchange '{}' in vhost '{}': received 'true' but current is 'false'",
        ),
    ):
        channel = connection.channel()
        text = "PRECONDITION_FAILED - inequivalent arg " + difference.format(exchange, session.vhost)
        with channel_error(channel, 406, text):
            channel.exchange_declare(exchange, kind, **changes)


@scenario
def delete_if_unused_or_empty_is_406_otherwise(session):
    connection = session.connect()
    channel = connection.channel()
    queue, exchange = session.queue(channel), session.exchange(channel, "fanout")
    channel.queue_bind(queue, exchange)
    Consumer(channel, queue)
    other = connection.channel()
    with channel_error(other, 406, f"PRECONDITION_FAILED - queue '{queue}' in vhost '{session.vhost}' in use"):
        other.queue_delete(queue, if_unused=True)
    other = connection.channel()
    with channel_error(other, 406, f"PRECONDITION_FAILED - exchange '{exchange}' in vhost '{session.vhost}' in use"):
        other.exchange_delete(exchange, if_unused=True)
    other = connection.channel()
    full = session.queue(other)
    publish(other, full, "m")
    with channel_error(other, 406, f"PRECONDITION_FAILED - queue '{full}' in vhost '{session.vhost}' not empty"):
        other.queue_delete(full, if_empty=True)


# --- Channel and connection errors ---


@scenario
def use_of_what_is_missing_is_404(session):
    connection = session.connect()
    queue = session.queue(connection.channel())
    missing = session.name("missing")
    no_queue = f"NOT_FOUND - no queue '{missing}' in vhost '{session.vhost}'"
    no_exchange = f"NOT_FOUND - no exchange '{missing}' in vhost '{session.vhost}'"
    for text, use in (
        (no_queue, lambda channel: channel.basic_get(missing)),
        (no_queue, lambda channel: channel.basic_consume(missing, print)),
        (no_queue, lambda channel: channel.queue_purge(missing)),
        (no_queue, lambda channel: channel.queue_bind(missing, "amq.direct", "key")),
        (no_exchange, lambda channel: channel.queue_bind(queue, missing, "key")),
        (no_exchange, lambda channel: channel.exchange_bind("amq.fanout", missing)),
        (no_exchange, lambda channel: publish(channel, "key", "m", exchange=missing)),
    ):
        channel = connection.channel()
        with channel_error(channel, 404, text):
            use(channel)


@scenario
def reply_text_is_cut_at_255_bytes(session):
    channel = session.channel()
    missing = "q" * 255
    with channel_error(channel, 404, f"NOT_FOUND - no queue '{missing}"[:252] + "..."):
        channel.queue_declare(missing, passive=True)


@scenario
def reserved_names_and_the_default_exchange_are_403(session):
    connection = session.connect()
    queue = session.queue(connection.channel())
    default = "ACCESS_REFUSED - operation not permitted on the default exchange"
    for text, use in (
        (
            "ACCESS_REFUSED - queue name 'amq.mine' contains reserved prefix 'amq.*'",
            lambda channel: channel.queue_declare("amq.mine", exclusive=True),
        ),
        (
            "ACCESS_REFUSED - exchange name 'amq.mine' contains reserved prefix 'amq.*'",
            lambda channel: channel.exchange_declare("amq.mine", "direct"),
        ),
        (default, lambda channel: channel.queue_bind(queue, "", "key")),
        (default, lambda channel: channel.exchange_delete("")),
        (
            f"ACCESS_REFUSED - deletion of system exchange 'amq.topic' in vhost '{session.vhost}' not allowed",
            lambda channel: channel.exchange_delete("amq.topic"),
        ),
    ):
        channel = connection.channel()
        with channel_error(channel, 403, text):
            use(channel)


@scenario
def unknown_exchange_type_is_refused(session):
    channel = session.channel()
    connection = channel.connection
    try:
        channel.exchange_declare(session.name("exchange"), "no-such-type")
    except ConnectionClosedByBroker as closed:
        # 3.x takes the whole connection down.
        equal(
            (closed.reply_code, closed.reply_text),
            (503, "COMMAND_INVALID - unknown exchange type 'no-such-type'"),
            "connection.close",
        )
    except ChannelClosedByBroker as closed:
        # 4.x closes the channel only.
        equal(
            (closed.reply_code, closed.reply_text),
            (406, "PRECONDITION_FAILED - unknown exchange type 'no-such-type'"),
            "channel.close",
        )
        equal(connection.is_open, True, "connection open")
    else:
        raise AssertionError("an exchange of an unknown type was declared")


@scenario
def unknown_delivery_tag_is_406(session):
    connection = session.connect()
    queue = session.queue(connection.channel())
    for settle in (
        lambda channel: channel.basic_ack(42),
        lambda channel: channel.basic_nack(42),
        lambda channel: channel.basic_reject(42),
    ):
        channel = connection.channel()
        with channel_error(channel, 406, "PRECONDITION_FAILED - unknown delivery tag 42"):
            settle(channel)
    channel = connection.channel()
    publish(channel, queue, "m")
    tag = channel.basic_get(queue)[0].delivery_tag
    with channel_error(channel, 406, f"PRECONDITION_FAILED - unknown delivery tag {tag}"):
        channel.basic_ack(tag)
        channel.basic_ack(tag)
    equal(drain(connection.channel(), queue), [], "ready messages")


@scenario
def exclusive_consumer_is_alone_or_refused(session):
    connection = session.connect()
    channel = connection.channel()
    queue, second = session.queue(channel), session.queue(channel)
    Consumer(channel, queue, exclusive=True)
    other = connection.channel()
    text = "ACCESS_REFUSED - queue '{}' in vhost '{}' in exclusive use"
    with channel_error(other, 403, text.format(queue, session.vhost)):
        other.basic_consume(queue, print)
    Consumer(channel, second)
    other = connection.channel()
    with channel_error(other, 403, text.format(second, session.vhost)):
        other.basic_consume(second, print, exclusive=True)


@scenario
def duplicate_consumer_tag_is_530(session):
    connection = session.connect()
    channel = connection.channel()
    queue = session.queue(channel)
    Consumer(channel, queue, consumer_tag="twice")
    with connection_error(connection, 530, "NOT_ALLOWED - attempt to reuse consumer tag 'twice'"):
        # pika refuses this itself, so go below its check.
        channel._impl._send_method(pika.spec.Basic.Consume(queue=queue, consumer_tag="twice"))


@scenario
def what_is_not_implemented_is_540(session):
    for text, use in (
        (
            "NOT_IMPLEMENTED - immediate=true",
            lambda channel: channel._impl._send_method(
                pika.spec.Basic.Publish(routing_key="key", immediate=True), (pika.BasicProperties(), b"m")
            ),
        ),
        (
            "NOT_IMPLEMENTED - requeue=false",
            lambda channel: channel._impl._send_method(pika.spec.Basic.Recover(requeue=False)),
        ),
        (
            "NOT_IMPLEMENTED - prefetch_size!=0 (1)",
            lambda channel: channel._impl._send_method(pika.spec.Basic.Qos(prefetch_size=1)),
        ),
        (
            "NOT_IMPLEMENTED - active=false",
            lambda channel: channel._impl._send_method(pika.spec.Channel.Flow(active=False)),
        ),
    ):
        connection = session.connect()
        with connection_error(connection, 540, text):
            use(connection.channel())


@scenario
def many_channels_work_side_by_side(session):
    connection = session.connect()
    channels = [connection.channel() for _ in range(200)]
    consumers = []
    for channel in channels:
        consumers.append(Consumer(channel, session.queue(channel), auto_ack=True))
    exchange = session.exchange(channels[0], "fanout")
    for channel in channels:
        channel.queue_bind("", exchange)
    publish(channels[-1], "", "to all", exchange=exchange)
    wait_until(connection, lambda: all(consumer.deliveries for consumer in consumers), "delivery on every channel")
    equal({body for consumer in consumers for body in consumer.bodies}, {"to all"}, "bodies")
    # A closed channel's number is free for another, up to the highest that was negotiated.
    channels[7].close()
    equal(connection.channel(channels[7].channel_number).is_open, True, "reused channel number")
    highest = connection._impl.params.channel_max
    equal(connection.channel(highest).is_open, True, f"channel {highest}")


# --- Publishing ---


@scenario
def mandatory_unroutable_message_is_returned(session):
    channel = session.channel()
    exchange = session.exchange(channel, "direct")
    returned = []
    channel.add_on_return_callback(lambda _, method, properties, body: returned.append((method, properties, body)))
    publish(channel, "nowhere", "dropped", exchange=exchange)
    publish(channel, "nowhere", "back", exchange=exchange, mandatory=True, message_id="7", headers={"a": [1, "b"]})
    publish(channel, "nowhere", b"", exchange=exchange, mandatory=True)
    wait_until(channel.connection, lambda: len(returned) >= 2, "two returns")
    method, properties, body = returned[0]
    equal(
        (method.reply_code, method.reply_text, method.exchange, method.routing_key, body),
        (312, "NO_ROUTE", exchange, "nowhere", b"back"),
        "return",
    )
    equal((properties.message_id, properties.headers), ("7", {"a": [1, "b"]}), "properties")
    equal(returned[1][2], b"", "second return")


@scenario
def confirms_come_for_routed_and_unroutable_messages(session):
    channel = session.channel()
    queue = session.shared_queue(channel)
    channel.confirm_delivery()
    # With confirms, pika's publish returns when the ack has come.
    for number in range(50):
        publish(channel, queue, number, delivery_mode=number % 2 + 1)
    publish(channel, session.name("nowhere"), "dropped")
    wait_ready(channel, queue, 50)


@scenario
def confirm_comes_after_the_return(session):
    channel = session.channel()
    frames = []
    channel._impl.add_on_return_callback(lambda *_: frames.append("return"))
    channel.confirm_delivery()
    channel._impl.callbacks.add(
        channel.channel_number, pika.spec.Basic.Ack, lambda frame: frames.append(frame.method.delivery_tag), False
    )
    for number in (1, 2):
        try:
            publish(channel, session.name("nowhere"), number, mandatory=True)
        except UnroutableError as error:
            equal([message.body for message in error.messages], [str(number).encode()], "returned")
        else:
            raise AssertionError("the message was not returned")
    equal(frames, ["return", 1, "return", 2], "order of frames")
    # The channel goes on after it.
    queue = session.queue(channel)
    publish(channel, queue, "routed", mandatory=True)
    equal(drain(channel, queue), ["routed"], "message")


@scenario
def every_property_survives(session):
    channel = session.channel()
    queue = session.queue(channel)
    sent = {
        "content_type": "text/plain; charset=utf-8",
        "content_encoding": "identity",
        "headers": {"key": "value"},
        "delivery_mode": 2,
        "priority": 9,
        "correlation_id": "correlation ü",
        "reply_to": "reply.queue",
        "expiration": "600000",
        "message_id": "m" * 255,
        "timestamp": 1_700_000_000,
        "type": "kind",
        # The broker checks this one: it must be the user who is logged in.
        "user_id": session.user,
        "app_id": "app",
        "cluster_id": "cluster",
    }
    publish(channel, queue, "m", **sent)
    _, properties, _ = channel.basic_get(queue, auto_ack=True)
    equal({name: getattr(properties, name) for name in sent}, sent, "properties")
    publish(channel, queue, "m")
    _, properties, _ = channel.basic_get(queue, auto_ack=True)
    equal({name: getattr(properties, name) for name in sent}, dict.fromkeys(sent), "absent properties")


@scenario
def foreign_user_id_is_406(session):
    channel = session.channel()
    text = f"PRECONDITION_FAILED - user_id property set to 'mallory' but authenticated user was '{session.user}'"
    with channel_error(channel, 406, text):
        publish(channel, "key", "m", user_id="mallory")


@scenario
def every_header_type_survives(session):
    channel = session.channel()
    queue = session.queue(channel)
    headers = {
        "string": "text",
        "empty": "",
        "unicode": "žluťoučký 🐇",
        "long": "x" * 5000,
        "bytes": b"\x00\xff\x00",
        "true": True,
        "false": False,
        "zero": 0,
        "int_max": 2**31 - 1,
        "int_min": -(2**31),
        "over_int": 2**31,
        "long_max": 2**63 - 1,
        "decimal": decimal.Decimal("-12.345"),
        "timestamp": datetime.datetime(2024, 2, 29, 12, 30, 15),
        "void": None,
        "list": [1, "two", None, [True, {"deep": []}], {}],
        "table": {"nested": {"more": {"k": [1, 2, 3]}}, "empty": {}},
        "k" * 128: "long key",
    }
    publish(channel, queue, "m", headers=headers)
    _, properties, _ = channel.basic_get(queue, auto_ack=True)
    equal(properties.headers, headers, "headers")


@scenario
def bodies_of_every_size_arrive_whole(session):
    channel = session.channel()
    queue = session.queue(channel)
    payload = channel.connection._impl.params.frame_max - 8
    pattern = bytes(range(251)) * (2**20 // 251 + 1)
    # Empty (no body frame), around one full frame and two, and 1 MiB.
    sizes = [0, 1, payload - 1, payload, payload + 1, 2 * payload, 2 * payload + 1, 2**20]
    for size in sizes:
        publish(channel, queue, pattern[:size])
    for size in sizes:
        _, _, body = channel.basic_get(queue, auto_ack=True)
        equal(len(body), size, "length")
        equal(body == pattern[:size], True, f"{size} bytes are the same")
    consumer = Consumer(channel, queue, auto_ack=True)
    for size in sizes:
        publish(channel, queue, pattern[:size])
    equal([len(body) for _, _, body in consumer.wait(len(sizes))], sizes, "delivered lengths")


@scenario
def ten_thousand_messages_arrive_in_order_on_one_connection(session):
    connection = session.connect()
    publisher, channel = connection.channel(), connection.channel()
    queue = session.queue(channel)
    count, batch = 10_000, 50
    channel.basic_qos(prefetch_count=4 * batch)
    got = []

    def deliver(_, method, __, body):
        got.append(int(body))
        if len(got) % batch == 0:
            channel.basic_ack(method.delivery_tag, multiple=True)

    channel.basic_consume(queue, deliver)
    for number in range(count):
        publish(publisher, queue, number)
        if number % 100 == 0:
            connection.process_data_events(time_limit=0)
    wait_until(connection, lambda: len(got) >= count, f"{count} messages", SCENARIO_SECONDS)
    equal(got == list(range(count)), True, "in order, each once")
    equal(drain(channel, queue), [], "ready messages")


# --- Getting, consuming and settling ---


@scenario
def get_returns_a_message_or_empty(session):
    channel = session.channel()
    queue = session.queue(channel)
    equal(channel.basic_get(queue), (None, None, None), "get from an empty queue")
    for number in range(3):
        publish(channel, queue, number)
    method, _, body = channel.basic_get(queue)
    equal(
        (method.delivery_tag, method.exchange, method.routing_key, method.redelivered, method.message_count, body),
        (1, "", queue, False, 2, b"0"),
        "get",
    )
    method, _, body = channel.basic_get(queue, auto_ack=True)
    equal((method.delivery_tag, method.message_count, body), (2, 1, b"1"), "get without ack")


@scenario
def consume_delivers_what_is_there_and_what_comes(session):
    channel = session.channel()
    queue = session.queue(channel)
    publish(channel, queue, "before")
    consumer = Consumer(channel, queue)
    publish(channel, queue, "after")
    deliveries = consumer.wait(2)
    equal(consumer.bodies, ["before", "after"], "bodies")
    for number, (method, _, _) in enumerate(deliveries, 1):
        equal(
            (method.consumer_tag, method.delivery_tag, method.redelivered, method.exchange, method.routing_key),
            (consumer.tag, number, False, "", queue),
            "deliver",
        )


@scenario
def server_names_consumers(session):
    channel = session.channel()
    queue = session.queue(channel)
    names = []
    # pika fills in a tag of its own, so ask with an empty one below it.
    for count in (1, 2):
        with channel._basic_consume_ok_result:
            channel._impl._rpc(
                pika.spec.Basic.Consume(queue=queue),
                lambda frame: names.append(frame.method.consumer_tag),
                [pika.spec.Basic.ConsumeOk],
            )
            wait_until(channel.connection, lambda: len(names) == count, "consume-ok")
    for name in names:
        if not re.fullmatch(r"amq\.ctag-[A-Za-z0-9_-]{22}", name):
            raise AssertionError(f"consumer tag {name!r}")


@scenario
def ack_removes_and_closing_the_channel_requeues_the_rest(session):
    connection = session.connect()
    channel = connection.channel()
    queue = session.queue(channel)
    for number in range(5):
        publish(channel, queue, number)
    consumer = Consumer(channel, queue)
    consumer.wait(5)
    channel.basic_ack(2)
    channel.basic_ack(4)
    channel.close()
    other = connection.channel()
    wait_ready(other, queue, 3)
    equal(drain(other, queue), ["0", "2", "4"], "left")


@scenario
def ack_multiple_covers_all_up_to_the_tag(session):
    connection = session.connect()
    channel = connection.channel()
    queue = session.queue(channel)
    for number in range(6):
        publish(channel, queue, number)
    Consumer(channel, queue).wait(6)
    channel.basic_ack(3, multiple=True)
    channel.basic_ack(5)
    channel.close()
    channel = connection.channel()
    wait_ready(channel, queue, 2)
    equal([channel.basic_get(queue)[2] for _ in range(2)], [b"3", b"5"], "left")
    # Tag 0 stands for everything outstanding.
    channel.basic_ack(0, multiple=True)
    channel.close()
    equal(drain(connection.channel(), queue), [], "ready messages")


@scenario
def nack_and_reject_requeue_or_drop(session):
    channel = session.channel()
    queue = session.queue(channel)
    for settle, kept in (
        (lambda tag: channel.basic_nack(tag, requeue=True), True),
        (lambda tag: channel.basic_nack(tag, requeue=False), False),
        (lambda tag: channel.basic_reject(tag, requeue=True), True),
        (lambda tag: channel.basic_reject(tag, requeue=False), False),
    ):
        publish(channel, queue, "m")
        method, _, _ = channel.basic_get(queue)
        equal(method.redelivered, False, "redelivered at first")
        settle(method.delivery_tag)
        method, _, _ = channel.basic_get(queue, auto_ack=True)
        equal(method is not None, kept, "kept")
        if kept:
            equal(method.redelivered, True, "redelivered")


@scenario
def requeued_messages_go_back_to_their_place(session):
    channel = session.channel()
    queue = session.queue(channel)
    for number in range(6):
        publish(channel, queue, number)
    tags = [channel.basic_get(queue)[0].delivery_tag for _ in range(4)]
    channel.basic_ack(tags[1])
    channel.basic_nack(tags[2], requeue=True)
    channel.basic_nack(tags[3], multiple=True, requeue=True)
    got = []
    for _ in range(5):
        method, _, body = channel.basic_get(queue, auto_ack=True)
        got.append((body, method.redelivered))
    equal(got, [(b"0", True), (b"2", True), (b"3", True), (b"4", False), (b"5", False)], "order")


@scenario
def requeue_goes_to_a_consumer_again(session):
    channel = session.channel()
    queue = session.queue(channel)
    channel.basic_qos(prefetch_count=1)
    consumer = Consumer(channel, queue)
    publish(channel, queue, "m")
    for round_number in range(3):
        method, _, body = consumer.wait(round_number + 1)[-1]
        equal((body, method.redelivered), (b"m", round_number > 0), f"delivery {round_number}")
        channel.basic_nack(method.delivery_tag, requeue=True)


@scenario
def prefetch_one_shares_between_two_consumers(session):
    connection = session.connect()
    publisher = connection.channel()
    queue = session.queue(publisher)
    consumers = []
    for _ in range(2):
        channel = connection.channel()
        channel.basic_qos(prefetch_count=1)
        consumers.append(Consumer(channel, queue))
    for number in range(6):
        publish(publisher, queue, number)
    for consumer in consumers:
        consumer.wait(1)
    wait_ready(publisher, queue, 4)
    equal(sorted(consumers[0].bodies + consumers[1].bodies), ["0", "1"], "first deliveries")
    # Only the one that acknowledges gets more.
    for count in (2, 3):
        consumers[0].channel.basic_ack(consumers[0].deliveries[-1][0].delivery_tag)
        consumers[0].wait(count)
    wait_ready(publisher, queue, 2)
    equal(len(consumers[1].deliveries), 1, "deliveries to the one that is still busy")


@scenario
def prefetch_counts_per_consumer(session):
    channel = session.channel()
    queue = session.queue(channel)
    channel.basic_qos(prefetch_count=2)
    first = Consumer(channel, queue)
    # A new limit is for the consumers that come after it.
    channel.basic_qos(prefetch_count=3)
    second = Consumer(channel, queue)
    for number in range(10):
        publish(channel, queue, number)
    first.wait(2)
    second.wait(3)
    wait_ready(channel, queue, 5)
    equal((len(first.deliveries), len(second.deliveries)), (2, 3), "deliveries")


@scenario
def global_prefetch_is_shared_by_the_channel(session):
    # 4.3 counts per consumer unless told otherwise; programs written for 3.x rely on this.
    channel = session.channel()
    queue = session.queue(channel)
    channel.basic_qos(prefetch_count=3, global_qos=True)
    consumers = [Consumer(channel, queue) for _ in range(2)]
    for number in range(10):
        publish(channel, queue, number)
    deliveries = lambda: sum(len(consumer.deliveries) for consumer in consumers)
    wait_until(channel.connection, lambda: deliveries() >= 3, "three deliveries")
    wait_ready(channel, queue, 7)
    equal(deliveries(), 3, "deliveries")
    channel.basic_ack(0, multiple=True)
    wait_until(channel.connection, lambda: deliveries() >= 6, "three more deliveries")
    wait_ready(channel, queue, 4)


@scenario
def cancel_ends_deliveries_and_keeps_what_is_unacked(session):
    channel = session.channel()
    queue = session.queue(channel)
    consumer = Consumer(channel, queue)
    publish(channel, queue, "held")
    consumer.wait(1)
    channel.basic_cancel(consumer.tag)
    publish(channel, queue, "later")
    wait_ready(channel, queue, 1)
    equal(consumer.bodies, ["held"], "bodies")
    channel.basic_ack(1)
    equal(drain(channel, queue), ["later"], "left")
    # The tag is free again.
    again = Consumer(channel, queue, consumer_tag=consumer.tag)
    publish(channel, queue, "again")
    again.wait(1)
    equal(again.bodies, ["again"], "bodies of the second consumer")


@scenario
def cancel_of_an_unknown_consumer_is_answered(session):
    channel = session.channel()
    answers = []
    channel._impl._rpc(
        pika.spec.Basic.Cancel(consumer_tag="nobody"),
        lambda frame: answers.append(frame.method.consumer_tag),
        [pika.spec.Basic.CancelOk],
    )
    wait_until(channel.connection, lambda: answers, "cancel-ok")
    equal(answers, ["nobody"], "cancel-ok")


@scenario
def deleting_the_queue_cancels_its_consumers(session):
    connection = session.connect()
    channel, other = connection.channel(), connection.channel()
    queue, kept = session.queue(channel), session.queue(channel)
    cancelled = []
    channel.add_on_cancel_callback(lambda frame: cancelled.append(frame.method.consumer_tag))
    consumers = [Consumer(channel, queue) for _ in range(2)]
    survivor = Consumer(channel, kept)
    other.queue_delete(queue)
    wait_until(connection, lambda: len(cancelled) >= 2, "two cancels")
    equal(sorted(cancelled), sorted(consumer.tag for consumer in consumers), "cancelled")
    publish(channel, kept, "m")
    survivor.wait(1)


@scenario
def recover_requeues_what_is_unacked(session):
    channel = session.channel()
    queue = session.queue(channel)
    for number in range(3):
        publish(channel, queue, number)
    tags = [channel.basic_get(queue)[0].delivery_tag for _ in range(3)]
    channel.basic_ack(tags[1])
    channel.basic_recover(requeue=True)
    for body in (b"0", b"2"):
        method, _, got = channel.basic_get(queue)
        equal((got, method.redelivered), (body, True), "recovered")
    equal(channel.basic_get(queue), (None, None, None), "further messages")


@scenario
def high_priority_consumer_is_served_first(session):
    connection = session.connect()
    publisher = connection.channel()
    queue = session.queue(publisher)
    consumers = {}
    for priority in (0, 10, -5):
        channel = connection.channel()
        channel.basic_qos(prefetch_count=2)
        consumers[priority] = Consumer(channel, queue, arguments={"x-priority": priority})
    for number in range(5):
        publish(publisher, queue, number)
    wait_until(connection, lambda: sum(len(c.deliveries) for c in consumers.values()) >= 5, "five deliveries")
    equal(
        {priority: consumer.bodies for priority, consumer in consumers.items()},
        {10: ["0", "1"], 0: ["2", "3"], -5: ["4"]},
        "deliveries by priority",
    )


# --- What queues do with messages of their own accord ---


def dead_letters_to(queue, **arguments):
    return {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": queue, **arguments}


@scenario
def rejected_messages_are_retried_after_a_while(session):
    channel = session.channel()
    work, wait = session.name("work"), session.name("wait")
    channel.queue_declare(work, exclusive=True, arguments=dead_letters_to(wait))
    channel.queue_declare(wait, exclusive=True, arguments=dead_letters_to(work, **{"x-message-ttl": 20}))
    publish(channel, work, "job", headers={"color": "red"}, message_id="id", delivery_mode=2)
    consumer = Consumer(channel, work)
    for attempt in range(1, 4):
        method, properties, body = consumer.wait(attempt)[-1]
        equal((body, properties.message_id, properties.headers["color"]), (b"job", "id", "red"), "message")
        equal((properties.delivery_mode, method.redelivered), (2, False), "mode and flag")
        deaths = properties.headers.get("x-death", [])
        equal(
            [(death["queue"], death["reason"], death["count"]) for death in deaths],
            [(wait, "expired", attempt - 1), (work, "rejected", attempt - 1)][: 2 * (attempt - 1)],
            "deaths",
        )
        for death in deaths:
            equal((death["exchange"], death["routing-keys"]), ("", [death["queue"]]), "way to the death")
            equal(type(death["time"]), datetime.datetime, "type of the time")
        if deaths:
            first = [properties.headers[f"x-first-death-{what}"] for what in ("queue", "reason", "exchange")]
            equal(first, [work, "rejected", ""], "first death")
        if attempt < 3:
            channel.basic_reject(method.delivery_tag, requeue=False)
    channel.basic_ack(consumer.deliveries[-1][0].delivery_tag)


@scenario
def messages_expire(session):
    channel = session.channel()
    dead = session.queue(channel)
    by_queue = session.queue(channel, arguments=dead_letters_to(dead, **{"x-message-ttl": 20}))
    by_message = session.queue(channel, arguments=dead_letters_to(dead))
    publish(channel, by_queue, "queue")
    wait_ready(channel, dead, 1)
    publish(channel, by_message, "message", expiration="20")
    publish(channel, by_message, "stays")
    wait_ready(channel, dead, 2)
    equal(drain(channel, by_queue), [], "messages of the queue with a time to live")
    equal(drain(channel, by_message), ["stays"], "messages of the queue without")
    for body, original in (("queue", None), ("message", "20")):
        _, properties, got = channel.basic_get(dead, auto_ack=True)
        equal((got.decode(), properties.expiration), (body, None), "dead letter")
        equal(properties.headers["x-death"][0].get("original-expiration"), original, "original expiration")


@scenario
def unused_queue_is_deleted(session):
    connection = session.connect()
    channel = connection.channel()
    queue = session.queue(channel, arguments={"x-expires": 100})
    channel.confirm_delivery()

    def is_gone():
        try:
            publish(channel, queue, "probe", mandatory=True)
        except UnroutableError:
            return True
        return False

    wait_until(connection, is_gone, "end of the queue")
    with channel_error(channel, 404, f"NOT_FOUND - no queue '{queue}' in vhost '{session.vhost}'"):
        channel.queue_declare(queue, passive=True)


@scenario
def full_queue_drops_its_oldest_messages(session):
    channel = session.channel()
    dead = session.queue(channel)
    channel.confirm_delivery()
    for limit in ({"x-max-length": 2}, {"x-max-length-bytes": 5}):
        queue = session.queue(channel, arguments=dead_letters_to(dead, **limit))
        for body in ("11", "22", "33"):
            publish(channel, queue, body)
        equal(drain(channel, queue), ["22", "33"], f"messages with {limit}")
        wait_ready(channel, dead, 1)
        _, properties, body = channel.basic_get(dead, auto_ack=True)
        equal((body, properties.headers["x-death"][0]["reason"]), (b"11", "maxlen"), "dead letter")


@scenario
def full_queue_refuses_messages(session):
    channel = session.channel()
    queue = session.queue(channel, arguments={"x-max-length": 2, "x-overflow": "reject-publish"})
    channel.confirm_delivery()
    for body, is_refused in (("1", False), ("2", False), ("3", True), ("4", True)):
        try:
            publish(channel, queue, body, mandatory=True)
        except NackError:
            equal(is_refused, True, f"refusal of {body}")
        else:
            equal(is_refused, False, f"refusal of {body}")
    equal(drain(channel, queue), ["1", "2"], "messages")
    publish(channel, queue, "5")
    equal(drain(channel, queue), ["5"], "messages")


@scenario
def higher_priorities_come_first(session):
    channel = session.channel()
    queue = session.queue(channel, arguments={"x-max-priority": 5})
    channel.confirm_delivery()
    for body, priority in (("a", None), ("b", 1), ("c", 5), ("d", 200), ("e", 0), ("f", 1)):
        publish(channel, queue, body, priority=priority)
    consumer = Consumer(channel, queue)
    consumer.wait(6)
    equal(consumer.bodies, ["c", "d", "b", "f", "a", "e"], "order")
    equal([properties.priority for _, properties, _ in consumer.deliveries], [5, 200, 1, 1, None, 0], "priorities")


@scenario
def tx_commit_publishes_and_acks_together(session):
    connection = session.connect()
    channel, watcher = connection.channel(), connection.channel()
    source, target = session.queue(watcher), session.queue(watcher)
    publish(watcher, source, "in")
    wait_ready(watcher, source, 1)
    channel.tx_select()
    method, _, _ = channel.basic_get(source)
    publish(channel, target, "out 1")
    publish(channel, target, "out 2")
    channel.basic_ack(method.delivery_tag)
    # An answered request on the channel proves that the publishes were read, and held back.
    equal(drain(channel, target), [], "ready messages")
    channel.tx_commit()
    wait_ready(watcher, target, 2)
    equal(drain(watcher, target), ["out 1", "out 2"], "published")
    channel.close()
    equal(drain(watcher, source), [], "ready messages")


@scenario
def tx_rollback_forgets_publishes_and_acks(session):
    connection = session.connect()
    channel, watcher = connection.channel(), connection.channel()
    source, target = session.queue(watcher), session.queue(watcher)
    publish(watcher, source, "in")
    wait_ready(watcher, source, 1)
    channel.tx_select()
    method, _, _ = channel.basic_get(source)
    publish(channel, target, "out")
    channel.basic_ack(method.delivery_tag)
    channel.tx_rollback()
    channel.tx_commit()
    equal(drain(watcher, target), [], "ready messages")
    # The ack is undone, the message still held.
    equal(drain(watcher, source), [], "ready messages")
    channel.close()
    wait_ready(watcher, source, 1)
    method, _, body = watcher.basic_get(source, auto_ack=True)
    equal((body, method.redelivered), (b"in", True), "back again")


@scenario
def tx_and_confirm_exclude_each_other(session):
    connection = session.connect()
    channel = connection.channel()
    with channel_error(channel, 406, "PRECONDITION_FAILED - channel is not transactional"):
        channel.tx_commit()
    channel = connection.channel()
    channel.confirm_delivery()
    with channel_error(channel, 406, "PRECONDITION_FAILED - cannot switch from confirm to tx mode"):
        channel.tx_select()
    channel = connection.channel()
    channel.tx_select()
    with channel_error(channel, 406, "PRECONDITION_FAILED - cannot switch from tx to confirm mode"):
        channel.confirm_delivery()


@scenario
def direct_reply_to_answers_without_a_queue(session):
    client, server = session.channel(), session.channel()
    requests = session.queue(server)

    def answer(channel, method, properties, body):
        publish(channel, properties.reply_to, body.upper(), correlation_id=properties.correlation_id)

    server.basic_consume(requests, answer, auto_ack=True)
    replies = Consumer(client, "amq.rabbitmq.reply-to", auto_ack=True)
    for number in range(3):
        publish(
            client, requests, f"request {number}", reply_to="amq.rabbitmq.reply-to", correlation_id=str(number)
        )
    deadline = time.monotonic() + WAIT_SECONDS
    while len(replies.deliveries) < 3:
        if time.monotonic() > deadline:
            raise AssertionError(f"{len(replies.deliveries)} of 3 replies")
        server.connection.process_data_events(time_limit=0.01)
        client.connection.process_data_events(time_limit=0.01)
    equal(
        [(properties.correlation_id, body) for _, properties, body in replies.deliveries],
        [("0", b"REQUEST 0"), ("1", b"REQUEST 1"), ("2", b"REQUEST 2")],
        "replies",
    )


@scenario
def direct_reply_to_needs_an_automatic_consumer(session):
    connection = session.connect()
    channel = connection.channel()
    with channel_error(channel, 406, "PRECONDITION_FAILED - fast reply consumer does not exist"):
        publish(channel, "key", "m", reply_to="amq.rabbitmq.reply-to")
    channel = connection.channel()
    with channel_error(channel, 406, "PRECONDITION_FAILED - reply consumer cannot acknowledge"):
        channel.basic_consume("amq.rabbitmq.reply-to", print, auto_ack=False)


def main():
    url, *names = sys.argv[1:]
    known = {function.__name__: function for function in SCENARIOS}
    passed = failed = 0

    def on_alarm(_signal, _frame):
        raise TimeoutError(f"not done within {SCENARIO_SECONDS} s")

    signal.signal(signal.SIGALRM, on_alarm)
    for name in names or known:
        session = Session(url)
        signal.alarm(SCENARIO_SECONDS)
        try:
            try:
                known[name](session)
            finally:
                session.close()
        except Exception as error:  # Whatever goes wrong in a scenario is its result, not the end of the session.
            signal.alarm(0)
            failed += 1
            print(f"FAIL {name}: {error!r}", flush=True)
            traceback.print_exc()
        else:
            signal.alarm(0)
            passed += 1
            print(f"ok {name}", flush=True)
    print(f"{passed} passed, {failed} failed", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
