"""A scripted session of aio-pika, the asyncio Python client, against a running broker.

    python aio_pika_session.py amqp://guest:guest@127.0.0.1:5672/ [SCENARIO...]

Prints `ok NAME` or `FAIL NAME: reason` per scenario and `N passed, N failed` at the end; exits 1 when one failed.
It passes against RabbitMQ 3.10 and 4.x; where those two differ the scenario says so and takes both.
"""

import asyncio
import contextlib
import datetime
import decimal
import logging
import re
import sys
import traceback
import uuid

import aio_pika
import aiormq
from aio_pika import ExchangeType, Message
from aiormq import exceptions
from yarl import URL

WAIT_SECONDS = 10
SCENARIO_SECONDS = 30

SCENARIOS = []


def scenario(function):
    SCENARIOS.append(function)
    return function


class Session:
    """What one scenario works with: connections and names nobody else uses, both gone when it ends."""

    def __init__(self, url):
        self.url = URL(url)
        self.user = self.url.user or "guest"
        self.password = self.url.password or "guest"
        self.vhost = self.url.path[1:].replace("%2F", "/") or "/"
        self._connections = []
        self._exchanges = []

    async def connect(self, url=None, connect=aio_pika.connect, **options):
        connection = await connect(url or self.url, **options)
        self._connections.append(connection)
        return connection

    async def channel(self, **options):
        return await (await self.connect()).channel(**options)

    def name(self, kind="name"):
        return f"aio.{kind}.{uuid.uuid4().hex[:12]}"

    async def queue(self, channel, **options):
        """A queue that goes with its connection."""
        return await channel.declare_queue(self.name("queue"), exclusive=True, **options)

    async def exchange(self, channel, kind, **options):
        exchange = await channel.declare_exchange(self.name(f"exchange.{kind}"), kind, **options)
        self._exchanges.append(exchange.name)
        return exchange

    async def close(self):
        for connection in self._connections:
            if not connection.is_closed:
                await connection.close()
        if self._exchanges:
            async with await aio_pika.connect(self.url) as connection:
                channel = await connection.channel()
                for exchange in self._exchanges:
                    await channel.exchange_delete(exchange)


def equal(actual, expected, what="value"):
    if actual != expected:
        raise AssertionError(f"{what}: got {actual!r}, expected {expected!r}")


async def publish(channel, routing_key, body, exchange=None, mandatory=False, **properties):
    body = body if isinstance(body, bytes) else str(body).encode()
    exchange = exchange or channel.default_exchange
    return await exchange.publish(Message(body, **properties), routing_key, mandatory=mandatory)


async def drain(queue):
    bodies = []
    while (message := await queue.get(no_ack=True, fail=False)) is not None:
        bodies.append(message.body.decode())
    return bodies


async def wait_ready(channel, queue, count):
    """Waits until so many messages are ready in the queue; a count may overtake the publishes before it.

    The queue answers after the deliveries it has decided on, so a delivery that has not come by then, with all
    published messages accounted for, does not come.
    """
    found = None
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            while found != count:
                found = (await channel.declare_queue(queue.name, passive=True)).declaration_result.message_count
    except TimeoutError:
        raise AssertionError(f"{found} ready messages, expected {count}") from None


class Consumer:
    """Collects deliveries; acknowledging them is the scenario's business."""

    def __init__(self):
        self.messages = []
        self._arrived = asyncio.Condition()

    @classmethod
    async def on(cls, queue, **options):
        consumer = cls()
        consumer.tag = await queue.consume(consumer._deliver, **options)
        return consumer

    async def _deliver(self, message):
        async with self._arrived:
            self.messages.append(message)
            self._arrived.notify_all()

    @property
    def bodies(self):
        return [message.body.decode() for message in self.messages]

    async def wait(self, count, seconds=WAIT_SECONDS):
        try:
            async with asyncio.timeout(seconds), self._arrived:
                await self._arrived.wait_for(lambda: len(self.messages) >= count)
        except TimeoutError:
            raise AssertionError(f"{len(self.messages)} deliveries, expected {count}") from None
        return self.messages


def closing(closable):
    """The error the broker closes this channel or connection with."""
    reason = asyncio.get_running_loop().create_future()

    def closed(_, error=None):
        if not reason.done():
            reason.set_result(error)

    closable.close_callbacks.add(closed)
    return asyncio.wait_for(reason, WAIT_SECONDS)


@contextlib.asynccontextmanager
async def channel_error(connection, channel, error, text):
    """The block makes the broker close the channel with this error and text, and the connection stays usable."""
    reason = closing(channel)
    with contextlib.suppress(exceptions.AMQPError):
        yield
    closed = await reason
    equal((type(closed), closed.args), (error, (text,)), "channel.close")
    again = await connection.channel()
    queue = await again.declare_queue("", exclusive=True)
    await publish(again, queue.name, "still alive")
    equal(await drain(queue), ["still alive"], "message through a new channel")
    await again.close()


async def refusal(session, url):
    """How the broker refuses a connection."""
    try:
        await session.connect(url)
    except exceptions.AMQPError as error:
        return type(error), error.args
    raise AssertionError("the connection was not refused")


# --- Handshake ---


@scenario
async def server_properties_and_capabilities_are_announced(session):
    connection = await session.connect()
    properties = connection.transport.connection.server_properties
    equal(properties["product"], "RabbitMQ", "product")
    if not re.fullmatch(r"\d+\.\d+\.\d+.*", properties["version"]):
        raise AssertionError(f"version {properties['version']!r}")
    missing = {
        "authentication_failure_close",
        "basic.nack",
        "connection.blocked",
        "consumer_cancel_notify",
        "consumer_priorities",
        "direct_reply_to",
        "exchange_exchange_bindings",
        "per_consumer_qos",
        "publisher_confirms",
    } - {name for name, value in properties["capabilities"].items() if value is True}
    equal(missing, set(), "missing capabilities")


@scenario
async def wrong_password_is_403(session):
    text = (
        "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. "
        "For details see the broker logfile."
    )
    refused = await refusal(session, session.url.with_password("wrong"))
    equal(refused, (exceptions.ProbableAuthenticationError, (text,)), "refusal")


@scenario
async def unknown_vhost_is_530(session):
    error, arguments = await refusal(session, session.url.with_path(f"/{session.name('vhost')}"))
    # This client only says that it got connection.close in place of open-ok; the other sessions see code and text.
    if error is exceptions.InvalidFrameError and "got <Connection.Close object" in arguments[0]:
        return
    equal((error, arguments[0]), (exceptions.ConnectionClosed, 530), "refusal")


@scenario
async def secret_can_be_updated(session):
    connection = await session.connect()
    await connection.update_secret(session.password, reason="renewal")
    equal((await connection.channel()).is_closed, False, "channel after update-secret")


@scenario
async def heartbeats_keep_an_idle_connection_up(session):
    heartbeats = asyncio.Semaphore(0)
    # The client keeps the broker's heartbeats to itself, so listen where it handles them.
    handler = "_Connection__handle_heartbeat"
    original = getattr(aiormq.connection.Connection, handler)

    async def count(connection, frame):
        heartbeats.release()
        await original(connection, frame)

    setattr(aiormq.connection.Connection, handler, count)
    try:
        # This client sends every second at the earliest, so two seconds is the shortest interval it can keep.
        connection = await session.connect(session.url.update_query(heartbeat=2))
        channel = await connection.channel()
        queue = await session.queue(channel)
        async with asyncio.timeout(WAIT_SECONDS):
            for _ in range(4):
                await heartbeats.acquire()
    finally:
        setattr(aiormq.connection.Connection, handler, original)
    await publish(channel, queue.name, "after the silence")
    equal(await drain(queue), ["after the silence"], "message")


# --- Exchanges and routing ---


@scenario
async def direct_exchange_routes_by_equal_key(session):
    channel = await session.channel()
    exchange = await session.exchange(channel, ExchangeType.DIRECT)
    red, both = await session.queue(channel), await session.queue(channel)
    await red.bind(exchange, "red")
    await both.bind(exchange, "red")
    await both.bind(exchange, "blue")
    for key in ("red", "blue", "green"):
        await publish(channel, key, key, exchange)
    equal((await drain(red), await drain(both)), (["red"], ["red", "blue"]), "routed")
    await both.unbind(exchange, "red")
    await publish(channel, "red", "again", exchange)
    equal((await drain(red), await drain(both)), (["again"], []), "routed after unbind")


@scenario
async def fanout_exchange_routes_to_all(session):
    channel = await session.channel()
    exchange = await session.exchange(channel, ExchangeType.FANOUT)
    queues = [await session.queue(channel) for _ in range(3)]
    for queue in queues:
        await queue.bind(exchange)
    await publish(channel, "whatever", "m", exchange)
    equal([await drain(queue) for queue in queues], [["m"]] * 3, "routed")


@scenario
async def topic_exchange_matches_words(session):
    channel = await session.channel()
    exchange = await session.exchange(channel, ExchangeType.TOPIC)
    patterns = {"a.*.c": ["a.b.c"], "a.#": ["a", "a.b", "a.b.c"], "#": ["a", "a.b", "a.b.c", "x"], "*": ["a", "x"]}
    queues = {pattern: await session.queue(channel) for pattern in patterns}
    for pattern, queue in queues.items():
        await queue.bind(exchange, pattern)
    for key in ("a", "a.b", "a.b.c", "x"):
        await publish(channel, key, key, exchange)
    equal({pattern: await drain(queue) for pattern, queue in queues.items()}, patterns, "routed")


@scenario
async def headers_exchange_matches_all_or_any(session):
    channel = await session.channel()
    exchange = await session.exchange(channel, ExchangeType.HEADERS)
    every, some = await session.queue(channel), await session.queue(channel)
    await every.bind(exchange, arguments={"x-match": "all", "colour": "red", "size": 3})
    await some.bind(exchange, arguments={"x-match": "any", "colour": "red", "size": 3})
    for body, headers in {
        "both": {"colour": "red", "size": 3},
        "one": {"colour": "red", "size": 4},
        "none": {"colour": "blue"},
    }.items():
        await publish(channel, "", body, exchange, headers=headers)
    equal((await drain(every), await drain(some)), (["both"], ["both", "one"]), "routed")


@scenario
async def default_exchange_routes_by_queue_name(session):
    channel = await session.channel()
    one, two = await session.queue(channel), await session.queue(channel)
    await publish(channel, one.name, "1")
    await publish(channel, two.name, "2")
    equal((await drain(one), await drain(two)), (["1"], ["2"]), "routed")


@scenario
async def exchange_to_exchange_binding_routes_on(session):
    channel = await session.channel()
    source = await session.exchange(channel, ExchangeType.TOPIC)
    middle = await session.exchange(channel, ExchangeType.FANOUT)
    queue = await session.queue(channel)
    await middle.bind(source, "log.#")
    await queue.bind(middle)
    for key in ("log.once", "other"):
        await publish(channel, key, key, source)
    equal(await drain(queue), ["log.once"], "routed")
    await middle.unbind(source, "log.#")
    await publish(channel, "log.once", "gone", source)
    equal(await drain(queue), [], "routed after unbind")


@scenario
async def alternate_exchange_takes_what_is_not_routed(session):
    channel = await session.channel(on_return_raises=True)
    alternate = await session.exchange(channel, ExchangeType.FANOUT)
    arguments = {"alternate-exchange": alternate.name}
    exchange = await session.exchange(channel, ExchangeType.DIRECT, arguments=arguments)
    queue = await session.queue(channel)
    await queue.bind(alternate)
    await publish(channel, "unknown", "m", exchange, mandatory=True)
    equal(await drain(queue), ["m"], "routed")


@scenario
async def cc_and_bcc_add_routing_keys(session):
    channel = await session.channel()
    queues = [await session.queue(channel) for _ in range(3)]
    to, cc, bcc = (queue.name for queue in queues)
    await publish(channel, to, "m", headers={"CC": [cc], "BCC": [bcc]})
    for queue in queues:
        message = await queue.get(no_ack=True)
        equal((message.body, message.routing_key, message.headers), (b"m", to, {"CC": [cc]}), "copy")


# --- Queues ---


@scenario
async def server_names_queues(session):
    channel = await session.channel()
    names = {(await channel.declare_queue(exclusive=True)).name for _ in range(2)}
    equal(len(names), 2, "names")
    for name in names:
        if not re.fullmatch(r"amq\.gen-[A-Za-z0-9_-]{22}", name):
            raise AssertionError(f"name {name!r}")


@scenario
async def exclusive_queue_is_locked_for_others(session):
    owner, other = await session.connect(), await session.connect()
    queue = await session.queue(await owner.channel())
    channel = await other.channel()
    text = (
        f"RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '{queue.name}' in vhost '{session.vhost}'. "
        "It could be originally declared on another connection or the exclusive property value does not match that of "
        "the original declaration."
    )
    async with channel_error(other, channel, exceptions.ChannelLockedResource, text):
        await channel.declare_queue(queue.name, passive=True)
    await owner.close()
    # The broker answers close only after the connection's queues are gone.
    channel = await other.channel()
    text = f"NOT_FOUND - no queue '{queue.name}' in vhost '{session.vhost}'"
    async with channel_error(other, channel, exceptions.ChannelNotFoundEntity, text):
        await channel.declare_queue(queue.name, passive=True)


@scenario
async def declare_purge_and_delete_count_messages(session):
    channel = await session.channel()
    queue = await session.queue(channel)
    for number in range(5):
        await publish(channel, queue.name, number)
    equal((await channel.declare_queue(queue.name, passive=True)).declaration_result.message_count, 5, "ready")
    equal((await queue.purge()).message_count, 5, "purged")
    for number in range(3):
        await publish(channel, queue.name, number)
    equal((await queue.delete(if_unused=False, if_empty=False)).message_count, 3, "deleted")


@scenario
async def passive_declares_report_or_404(session):
    connection = await session.connect()
    channel = await connection.channel()
    exchange, queue = await session.exchange(channel, ExchangeType.FANOUT), await session.queue(channel)
    equal((await channel.get_queue(queue.name)).declaration_result.queue, queue.name, "queue")
    await channel.get_exchange(exchange.name)
    missing = session.name("missing")
    text = f"NOT_FOUND - no queue '{missing}' in vhost '{session.vhost}'"
    async with channel_error(connection, channel, exceptions.ChannelNotFoundEntity, text):
        await channel.get_queue(missing)
    channel = await connection.channel()
    text = f"NOT_FOUND - no exchange '{missing}' in vhost '{session.vhost}'"
    async with channel_error(connection, channel, exceptions.ChannelNotFoundEntity, text):
        await channel.get_exchange(missing)


@scenario
async def inequivalent_redeclare_is_406(session):
    connection = await session.connect()
    channel = await connection.channel()
    exchange, queue = await session.exchange(channel, ExchangeType.DIRECT), await session.queue(channel)
    text = (
        f"PRECONDITION_FAILED - inequivalent arg 'auto_delete' for queue '{queue.name}' in vhost '{session.vhost}': "
        "received 'true' but current is 'false'"
    )
    async with channel_error(connection, channel, exceptions.ChannelPreconditionFailed, text):
        await channel.declare_queue(queue.name, exclusive=True, auto_delete=True)
    channel = await connection.channel()
    text = (
        f"PRECONDITION_FAILED - inequivalent arg 'type' for exchange '{exchange.name}' in vhost '{session.vhost}': "
        "received 'topic' but current is 'direct'"
    )
    async with channel_error(connection, channel, exceptions.ChannelPreconditionFailed, text):
        await channel.declare_exchange(exchange.name, ExchangeType.TOPIC)


# --- Channel and connection errors ---


@scenario
async def publish_to_a_missing_exchange_is_404(session):
    connection = await session.connect()
    channel = await connection.channel()
    missing = await channel.get_exchange(session.name("missing"), ensure=False)
    text = f"NOT_FOUND - no exchange '{missing.name}' in vhost '{session.vhost}'"
    async with channel_error(connection, channel, exceptions.ChannelNotFoundEntity, text):
        await publish(channel, "key", "m", missing)


@scenario
async def reserved_name_is_403(session):
    connection = await session.connect()
    channel = await connection.channel()
    text = "ACCESS_REFUSED - queue name 'amq.mine' contains reserved prefix 'amq.*'"
    async with channel_error(connection, channel, exceptions.ChannelAccessRefused, text):
        await channel.declare_queue("amq.mine", exclusive=True)


@scenario
async def exclusive_consumer_refuses_others(session):
    connection = await session.connect()
    channel, other = await connection.channel(), await connection.channel()
    queue = await session.queue(channel)
    await Consumer.on(queue, exclusive=True)
    text = f"ACCESS_REFUSED - queue '{queue.name}' in vhost '{session.vhost}' in exclusive use"
    async with channel_error(connection, other, exceptions.ChannelAccessRefused, text):
        await Consumer.on(await other.get_queue(queue.name))


@scenario
async def unknown_delivery_tag_is_406(session):
    connection = await session.connect()
    channel = await connection.channel()
    below = await channel.get_underlay_channel()
    text = "PRECONDITION_FAILED - unknown delivery tag 42"
    async with channel_error(connection, channel, exceptions.ChannelPreconditionFailed, text):
        await below.basic_ack(42)


@scenario
async def unknown_exchange_type_is_refused(session):
    connection = await session.connect()
    channel = await connection.channel()
    try:
        await channel.declare_exchange(session.name("exchange"), "no-such-type")
    except exceptions.ConnectionCommandInvalid as error:
        # 3.x takes the whole connection down.
        equal(error.args, ("COMMAND_INVALID - unknown exchange type 'no-such-type'",), "connection.close")
    except exceptions.ChannelPreconditionFailed as error:
        # 4.x closes the channel only.
        equal(error.args, ("PRECONDITION_FAILED - unknown exchange type 'no-such-type'",), "channel.close")
        equal(connection.is_closed, False, "connection closed")
    else:
        raise AssertionError("an exchange of an unknown type was declared")


@scenario
async def duplicate_consumer_tag_is_530(session):
    connection = await session.connect()
    channel = await connection.channel()
    queue = await session.queue(channel)
    consumer = await Consumer.on(queue, consumer_tag="twice")
    reason = closing(connection)
    # The client refuses this itself while it knows the tag.
    (await channel.get_underlay_channel()).consumers.pop(consumer.tag)
    with contextlib.suppress(exceptions.AMQPError):
        await Consumer.on(queue, consumer_tag="twice")
    error = await reason
    text = "NOT_ALLOWED - attempt to reuse consumer tag 'twice'"
    equal((type(error), error.args), (exceptions.ConnectionNotAllowed, (text,)), "connection.close")


@scenario
async def immediate_publish_is_540(session):
    connection = await session.connect()
    channel = await connection.channel()
    reason = closing(connection)
    with contextlib.suppress(exceptions.AMQPError):
        await channel.default_exchange.publish(Message(b"m"), "key", mandatory=False, immediate=True)
    error = await reason
    text = "NOT_IMPLEMENTED - immediate=true"
    equal((type(error), error.args), (exceptions.ConnectionNotImplemented, (text,)), "connection.close")


@scenario
async def robust_connection_restores_its_consumers(session):
    connection = await session.connect(connect=aio_pika.connect_robust, reconnect_interval=0.1)
    channel = await connection.channel()
    # Auto-delete, not exclusive: the queue outlives the lost connection only by being declared again.
    queue = await channel.declare_queue(session.name("queue"), auto_delete=True, durable=True)
    consumer = await Consumer.on(queue)
    restored = asyncio.Event()
    connection.reconnect_callbacks.add(lambda *_: restored.set())
    # A publish the broker does not implement makes it drop the connection.
    with contextlib.suppress(exceptions.AMQPError):
        await channel.default_exchange.publish(Message(b"m"), "key", mandatory=False, immediate=True)
    await asyncio.wait_for(restored.wait(), WAIT_SECONDS)
    await publish(await session.channel(), queue.name, "after the loss")
    await consumer.wait(1)
    equal(consumer.bodies, ["after the loss"], "bodies")
    await consumer.messages[0].ack()


@scenario
async def many_channels_work_side_by_side(session):
    connection = await session.connect()
    channels = [await connection.channel() for _ in range(100)]
    exchange = await session.exchange(channels[0], ExchangeType.FANOUT)
    consumers = []
    for channel in channels:
        queue = await session.queue(channel)
        await queue.bind(exchange)
        consumers.append(await Consumer.on(queue, no_ack=True))
    await publish(channels[0], "", "to all", exchange)
    for consumer in consumers:
        await consumer.wait(1)
    await asyncio.gather(*(channel.close() for channel in channels))


# --- Publishing ---


@scenario
async def mandatory_unroutable_message_is_returned_before_its_confirm(session):
    channel = await session.channel()
    returned = asyncio.Queue()
    channel.return_callbacks.add(lambda _, message: returned.put_nowait(message))
    nowhere = session.name("nowhere")
    result = await publish(channel, nowhere, "back", mandatory=True, headers={"k": 1})
    equal((result.delivery.reply_code, result.delivery.reply_text), (312, "NO_ROUTE"), "return")
    message = await asyncio.wait_for(returned.get(), WAIT_SECONDS)
    equal((message.body, message.routing_key, message.headers), (b"back", nowhere, {"k": 1}), "returned message")
    # Without mandatory it is dropped, and confirmed all the same.
    ack = await publish(channel, nowhere, "dropped")
    equal((type(ack), ack.delivery_tag), (aiormq.spec.Basic.Ack, 2), "confirm")
    raising = await session.channel(on_return_raises=True)
    try:
        await publish(raising, nowhere, "raised", mandatory=True)
    except exceptions.PublishError as error:
        equal(error.message.body, b"raised", "body in the error")
    else:
        raise AssertionError("the returned message raised nothing")


@scenario
async def concurrent_publishes_are_all_confirmed(session):
    channel = await session.channel()
    queue = await session.queue(channel)
    acks = await asyncio.gather(
        *(publish(channel, queue.name, number, delivery_mode=number % 2 + 1) for number in range(500))
    )
    equal({type(ack) for ack in acks}, {aiormq.spec.Basic.Ack}, "confirms")
    equal(await drain(queue), [str(number) for number in range(500)], "messages")


@scenario
async def every_property_survives(session):
    channel = await session.channel()
    queue = await session.queue(channel)
    sent = {
        "headers": {"key": "value"},
        "content_type": "application/json",
        "content_encoding": "gzip",
        "delivery_mode": aio_pika.DeliveryMode.PERSISTENT,
        "priority": 5,
        "correlation_id": "correlation ü",
        "reply_to": "reply.queue",
        "expiration": 600.0,
        "message_id": "message",
        "timestamp": datetime.datetime(2024, 2, 29, 12, 30, 15, tzinfo=datetime.UTC),
        "type": "kind",
        # The broker checks this one: it must be the user who is logged in.
        "user_id": session.user,
        "app_id": "app",
    }
    await publish(channel, queue.name, "m", **sent)
    message = await queue.get(no_ack=True)
    equal({name: getattr(message, name) for name in sent}, sent, "properties")


@scenario
async def every_header_type_survives(session):
    channel = await session.channel()
    queue = await session.queue(channel)
    headers = {
        "string": "žluťoučký 🐇",
        "empty": "",
        "bytes": bytearray(b"\x00\xff\x00"),
        "true": True,
        "false": False,
        # One per width this client picks: b, s, u, I, i, l.
        "byte": -128,
        "short": -32768,
        "unsigned_short": 65535,
        "int": -(2**31),
        "unsigned_int": 2**32 - 1,
        "long": -(2**63),
        "long_max": 2**63 - 1,
        "float": 1.5,
        "decimal": decimal.Decimal("12.345"),
        "timestamp": datetime.datetime(2024, 2, 29, 12, 30, 15, tzinfo=datetime.UTC),
        "void": None,
        "list": [1, "two", None, [True, {"deep": []}], {}],
        "table": {"nested": {"more": {"k": [1, 2, 3]}}},
    }
    await publish(channel, queue.name, "m", headers=headers)
    equal((await queue.get(no_ack=True)).headers, headers, "headers")


@scenario
async def bodies_of_every_size_arrive_whole(session):
    connection = await session.connect()
    channel = await connection.channel()
    queue = await session.queue(channel)
    payload = connection.transport.connection.connection_tune.frame_max - 8
    pattern = bytes(range(251)) * (2**20 // 251 + 1)
    for size in (0, 1, payload, payload + 1, 2 * payload, 2**20):
        await publish(channel, queue.name, pattern[:size])
        body = (await queue.get(no_ack=True)).body
        equal((len(body), body == pattern[:size]), (size, True), "length and sameness")


@scenario
async def ten_thousand_messages_arrive_in_order_on_one_connection(session):
    connection = await session.connect()
    publisher, channel = await connection.channel(publisher_confirms=False), await connection.channel()
    queue = await session.queue(channel)
    count = 10_000
    await channel.set_qos(prefetch_count=200)
    got = []
    done = asyncio.Event()

    async def deliver(message):
        got.append(int(message.body))
        if len(got) % 50 == 0:
            await message.ack(multiple=True)
        if len(got) == count:
            done.set()

    await queue.consume(deliver)
    for number in range(count):
        await publish(publisher, queue.name, number)
    await asyncio.wait_for(done.wait(), SCENARIO_SECONDS)
    equal(got == list(range(count)), True, "in order, each once")


# --- Getting, consuming and settling ---


@scenario
async def get_returns_a_message_or_empty(session):
    channel = await session.channel()
    queue = await session.queue(channel)
    equal(await queue.get(fail=False), None, "get from an empty queue")
    for number in range(2):
        await publish(channel, queue.name, number)
    message = await queue.get()
    equal(
        (message.body, message.message_count, message.redelivered, message.routing_key),
        (b"0", 1, False, queue.name),
        "get",
    )
    await message.ack()


@scenario
async def ack_multiple_covers_all_up_to_the_tag(session):
    connection = await session.connect()
    channel, other = await connection.channel(), await connection.channel()
    queue = await session.queue(channel)
    for number in range(5):
        await publish(channel, queue.name, number)
    messages = await (await Consumer.on(queue)).wait(5)
    await messages[2].ack(multiple=True)
    await messages[4].ack()
    await channel.close()
    await wait_ready(other, queue, 1)
    message = await (await other.get_queue(queue.name)).get(no_ack=True)
    equal((message.body, message.redelivered), (b"3", True), "left")


@scenario
async def nack_and_reject_requeue_or_drop(session):
    channel = await session.channel()
    queue = await session.queue(channel)
    for settle, kept in (
        (lambda message: message.nack(requeue=True), True),
        (lambda message: message.nack(requeue=False), False),
        (lambda message: message.reject(requeue=True), True),
        (lambda message: message.reject(requeue=False), False),
    ):
        await publish(channel, queue.name, "m")
        message = await queue.get()
        equal(message.redelivered, False, "redelivered at first")
        await settle(message)
        message = await queue.get(no_ack=True, fail=False)
        equal(message is not None, kept, "kept")
        if kept:
            equal(message.redelivered, True, "redelivered")


@scenario
async def requeued_messages_go_back_to_their_place(session):
    channel = await session.channel()
    queue = await session.queue(channel)
    for number in range(5):
        await publish(channel, queue.name, number)
    messages = [await queue.get() for _ in range(3)]
    await messages[1].ack()
    await messages[2].nack(multiple=True, requeue=True)
    equal(await drain(queue), ["0", "2", "3", "4"], "order")


@scenario
async def failing_handler_requeues_its_message(session):
    channel = await session.channel()
    queue = await session.queue(channel)
    await publish(channel, queue.name, "m")
    with contextlib.suppress(ZeroDivisionError):
        async with (await queue.get()).process(requeue=True):
            raise ZeroDivisionError
    async with (await queue.get()).process() as message:
        equal((message.body, message.redelivered), (b"m", True), "second try")
    equal(await drain(queue), [], "left")


@scenario
async def iterator_consumes_and_cancels(session):
    channel = await session.channel()
    queue = await session.queue(channel)
    for number in range(5):
        await publish(channel, queue.name, number)
    got = []
    async with queue.iterator(timeout=WAIT_SECONDS) as messages:
        async for message in messages:
            got.append(message.body.decode())
            await message.ack()
            if len(got) == 3:
                break
    equal(got, ["0", "1", "2"], "got")
    # Leaving the iterator cancels the consumer and gives back what it had not taken.
    await wait_ready(channel, queue, 2)
    result = (await channel.declare_queue(queue.name, passive=True)).declaration_result
    equal(result.consumer_count, 0, "consumers")


@scenario
async def prefetch_one_shares_between_two_consumers(session):
    connection = await session.connect()
    publisher = await connection.channel()
    queue = await session.queue(publisher)
    consumers = []
    for _ in range(2):
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=1)
        consumers.append(await Consumer.on(await channel.get_queue(queue.name)))
    for number in range(6):
        await publish(publisher, queue.name, number)
    for consumer in consumers:
        await consumer.wait(1)
    await wait_ready(publisher, queue, 4)
    for count in (2, 3):
        await consumers[0].messages[-1].ack()
        await consumers[0].wait(count)
    await wait_ready(publisher, queue, 2)
    equal(len(consumers[1].messages), 1, "deliveries to the one that is still busy")


@scenario
async def high_priority_consumer_is_served_first(session):
    connection = await session.connect()
    publisher = await connection.channel()
    queue = await session.queue(publisher)
    consumers = {}
    for priority in (0, 10):
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=2)
        consumers[priority] = await Consumer.on(
            await channel.get_queue(queue.name), arguments={"x-priority": priority}
        )
    for number in range(3):
        await publish(publisher, queue.name, number)
    await consumers[10].wait(2)
    await consumers[0].wait(1)
    equal((consumers[10].bodies, consumers[0].bodies), (["0", "1"], ["2"]), "deliveries by priority")


@scenario
async def cancel_ends_deliveries(session):
    channel = await session.channel()
    queue = await session.queue(channel)
    consumer = await Consumer.on(queue)
    await publish(channel, queue.name, "held")
    await consumer.wait(1)
    equal((await queue.cancel(consumer.tag)).consumer_tag, consumer.tag, "cancel-ok")
    await publish(channel, queue.name, "later")
    await wait_ready(channel, queue, 1)
    equal(consumer.bodies, ["held"], "bodies")
    # What was delivered before can still be settled.
    await consumer.messages[0].ack()
    equal(await drain(queue), ["later"], "left")


@scenario
async def deleting_the_queue_cancels_its_consumers(session):
    connection = await session.connect()
    channel = await connection.channel()
    queue = await session.queue(channel)
    consumer = await Consumer.on(queue)
    cancelled = asyncio.Queue()
    (await channel.get_underlay_channel()).on_consumer_cancel_callbacks.add(
        lambda frame: cancelled.put_nowait(frame.consumer_tag)
    )
    await (await connection.channel()).queue_delete(queue.name)
    equal(await asyncio.wait_for(cancelled.get(), WAIT_SECONDS), consumer.tag, "cancelled")
    # The channel goes on: a client may answer the cancel, and that answer is no error.
    other = await session.queue(channel)
    await publish(channel, other.name, "m")
    equal(await drain(other), ["m"], "message")


@scenario
async def recover_requeues_what_is_unacked(session):
    channel = await session.channel()
    queue = await session.queue(channel)
    for number in range(3):
        await publish(channel, queue.name, number)
    messages = [await queue.get() for _ in range(3)]
    await messages[1].ack()
    await (await channel.get_underlay_channel()).basic_recover(requeue=True)
    again = [await queue.get() for _ in range(2)]
    equal([(m.body, m.redelivered) for m in again], [(b"0", True), (b"2", True)], "recovered")


def dead_letters_to(queue, **arguments):
    return {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": queue, **arguments}


@scenario
async def rejected_messages_are_retried_after_a_while(session):
    channel = await session.channel()
    work, wait = session.name("work"), session.name("wait")
    queue = await channel.declare_queue(work, exclusive=True, arguments=dead_letters_to(wait))
    await channel.declare_queue(
        wait, exclusive=True, arguments=dead_letters_to(work, **{"x-message-ttl": 20})
    )
    await publish(channel, work, "job", headers={"color": "red"})
    consumer = await Consumer.on(queue)
    for attempt in range(1, 4):
        message = (await consumer.wait(attempt))[-1]
        equal((message.body, message.headers["color"], message.redelivered), (b"job", "red", False), "message")
        deaths = message.headers.get("x-death", [])
        equal(
            [(death["queue"], death["reason"], death["count"]) for death in deaths],
            [(wait, "expired", attempt - 1), (work, "rejected", attempt - 1)][: 2 * (attempt - 1)],
            "deaths",
        )
        for death in deaths:
            equal(type(death["time"]), datetime.datetime, "type of the time")
        if attempt < 3:
            await message.reject(requeue=False)
    await message.ack()


@scenario
async def messages_expire(session):
    channel = await session.channel()
    dead = await session.queue(channel)
    by_queue = await session.queue(channel, arguments=dead_letters_to(dead.name, **{"x-message-ttl": 20}))
    by_message = await session.queue(channel, arguments=dead_letters_to(dead.name))
    await publish(channel, by_queue.name, "queue")
    await wait_ready(channel, dead, 1)
    # The client counts in seconds.
    await publish(channel, by_message.name, "message", expiration=0.02)
    await publish(channel, by_message.name, "stays")
    await wait_ready(channel, dead, 2)
    equal((await drain(by_queue), await drain(by_message)), ([], ["stays"]), "what is left")
    for body, original in (("queue", None), ("message", "20")):
        message = await dead.get(no_ack=True)
        equal((message.body.decode(), message.expiration), (body, None), "dead letter")
        equal(message.headers["x-death"][0].get("original-expiration"), original, "original expiration")


@scenario
async def full_queue_drops_or_refuses_messages(session):
    channel = await session.channel()
    for overflow, kept in (("drop-head", ["3", "4"]), ("reject-publish", ["1", "2"])):
        queue = await session.queue(channel, arguments={"x-max-length": 2, "x-overflow": overflow})
        refused = []
        for body in ("1", "2", "3", "4"):
            try:
                await publish(channel, queue.name, body)
            except exceptions.DeliveryError:
                refused.append(body)
        equal(refused, ["3", "4"] if overflow == "reject-publish" else [], f"refused by {overflow}")
        equal(await drain(queue), kept, f"kept by {overflow}")


@scenario
async def higher_priorities_come_first(session):
    channel = await session.channel()
    queue = await session.queue(channel, arguments={"x-max-priority": 5})
    for body, priority in (("a", None), ("b", 1), ("c", 5), ("d", 200), ("e", 0), ("f", 1)):
        await publish(channel, queue.name, body, priority=priority)
    equal(await drain(queue), ["c", "d", "b", "f", "a", "e"], "order")


@scenario
async def transactions_commit_and_roll_back(session):
    connection = await session.connect()
    channel = await connection.channel(publisher_confirms=False)
    watched = await session.queue(await connection.channel())
    transaction = channel.transaction()
    await transaction.select()
    await publish(channel, watched.name, "rolled back")
    await transaction.rollback()
    await publish(channel, watched.name, "committed")
    # An answer on the channel proves that the publish was read, and held back.
    await channel.set_qos(prefetch_count=1)
    equal(await drain(watched), [], "before commit")
    await transaction.commit()
    equal(await drain(watched), ["committed"], "after commit")
    with contextlib.suppress(ZeroDivisionError):
        async with channel.transaction():
            await publish(channel, watched.name, "rolled back")
            raise ZeroDivisionError
    async with channel.transaction():
        await publish(channel, watched.name, "committed")
    equal(await drain(watched), ["committed"], "after the context managers")


@scenario
async def direct_reply_to_answers_without_a_queue(session):
    client, server = await session.channel(), await session.channel()
    requests = await session.queue(server)

    async def answer(request):
        await publish(server, request.reply_to, request.body.upper(), correlation_id=request.correlation_id)

    await requests.consume(answer, no_ack=True)
    replies = await Consumer.on(await client.get_queue("amq.rabbitmq.reply-to", ensure=False), no_ack=True)
    for number in range(3):
        await publish(
            client, requests.name, f"request {number}", reply_to="amq.rabbitmq.reply-to", correlation_id=str(number)
        )
    await replies.wait(3)
    equal(
        [(reply.correlation_id, reply.body) for reply in replies.messages],
        [("0", b"REQUEST 0"), ("1", b"REQUEST 1"), ("2", b"REQUEST 2")],
        "replies",
    )


@scenario
async def rpc_pattern_calls_across_connections(session):
    server = await aio_pika.patterns.RPC.create(await session.channel())
    client = await aio_pika.patterns.RPC.create(await session.channel())

    async def multiply(*, x, y):
        return x * y

    name = session.name("rpc")
    await server.register(name, multiply, auto_delete=True)
    equal(await asyncio.wait_for(client.call(name, {"x": 6, "y": 7}), WAIT_SECONDS), 42, "result")
    await client.close()
    await server.close()


async def run():
    url, *names = sys.argv[1:]
    known = {function.__name__: function for function in SCENARIOS}
    passed = failed = 0
    for name in names or known:
        session = Session(url)
        try:
            async with asyncio.timeout(SCENARIO_SECONDS):
                try:
                    await known[name](session)
                finally:
                    await session.close()
        except Exception as error:  # Whatever goes wrong in a scenario is its result, not the end of the session.
            failed += 1
            print(f"FAIL {name}: {error!r}", flush=True)
            traceback.print_exc()
        else:
            passed += 1
            print(f"ok {name}", flush=True)
    print(f"{passed} passed, {failed} failed", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    # The errors these scenarios provoke are logged by the client too.
    logging.disable(logging.CRITICAL)
    sys.exit(asyncio.run(run()))
