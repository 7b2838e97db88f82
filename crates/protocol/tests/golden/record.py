"""Records what real clients and RabbitMQ say to each other, as fixtures for tests/golden.rs.

Usage: pip install pika==1.3.2; npm install amqplib; python record.py [host:port]

Each session runs through a proxy that keeps both directions: NAME.client.bin is what the client sent, NAME.server.bin
what the broker answered. The node name's host is overwritten with as many "x", so that a fixture does not tell where it
was made. Node looks for amqplib from the working directory. Needs a broker with user guest and vhost /.
"""

import datetime
import decimal
import os
import re
import socket
import subprocess
import sys
import threading

import pika

BROKER = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:5672"
HERE = os.path.dirname(os.path.abspath(__file__))


class Proxy:
    """Passes one connection on to the broker and keeps the octets of both directions."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.client, self.server = bytearray(), bytearray()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        client, _ = self.listener.accept()
        host, port = BROKER.rsplit(":", 1)
        server = socket.create_connection((host, int(port)))
        pumps = [
            threading.Thread(target=self.pump, args=(client, server, self.client)),
            threading.Thread(target=self.pump, args=(server, client, self.server)),
        ]
        for pump in pumps:
            pump.start()
        for pump in pumps:
            pump.join()
        self.listener.close()

    @staticmethod
    def pump(source, sink, kept):
        try:
            while octets := source.recv(65536):
                kept.extend(octets)
                sink.sendall(octets)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # The other side closed first: everything it sent is kept.

    def save(self, name):
        self.thread.join()
        for side, octets in (("client", self.client), ("server", self.server)):
            octets = re.sub(rb"rabbit@[\w.-]+", lambda m: b"rabbit@" + b"x" * (len(m[0]) - 7), bytes(octets))
            for secret in (socket.gethostname(), HERE):
                # A name of two or three letters stands by chance in any octets.
                assert len(secret) < 4 or secret.encode() not in octets, f"{name}.{side} names this machine"
            with open(os.path.join(HERE, f"{name}.{side}.bin"), "wb") as file:
                file.write(octets)
            print(f"{name}.{side}.bin: {len(octets)} octets")


HEADERS = {
    "bool": True,
    "int": -7,
    "long": 1 << 40,
    "decimal": decimal.Decimal("3.14"),
    "text": "caf\u00e9 \u2615",
    "bytes": b"\x00\xff\xce",
    "time": datetime.datetime(2020, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc),
    "void": None,
    "list": [1, "two", [3, None], {"four": 4}],
    "table": {"deep": {"deeper": {"deepest": False}}, "empty": {}, "none": []},
    "": "a name of no octets",
}


def pika_session(port):
    parameters = pika.ConnectionParameters(
        "127.0.0.1", port, "/", pika.PlainCredentials("guest", "guest"), frame_max=4096, heartbeat=30,
        client_properties={"connection_name": "golden"},
    )
    connection = pika.BlockingConnection(parameters)
    channel = connection.channel()
    channel.basic_qos(prefetch_count=10)
    channel.exchange_declare("golden.in", "fanout", auto_delete=True)
    channel.exchange_declare("golden", "topic", auto_delete=True, arguments={"alternate-exchange": "amq.fanout"})
    channel.exchange_bind("golden", "golden.in", "#", {"why": "fixture"})
    channel.queue_declare(
        "golden.q", exclusive=True,
        arguments={"x-max-length": 100, "x-message-ttl": 60000, "x-dead-letter-exchange": "amq.topic"},
    )
    channel.queue_bind("golden.q", "golden", "a.*", {"x": 1})
    channel.confirm_delivery()
    properties = pika.BasicProperties(
        "text/plain", "utf-8", HEADERS, 2, 5, "correlation", "amq.rabbitmq.reply-to.x", "60000", "message-1",
        1700000000, "kind", "guest", "golden", "cluster",
    )
    channel.basic_publish("golden", "a.b", b"hello", properties)
    channel.basic_publish("golden", "a.empty", b"")
    channel.basic_publish("golden", "a.large", bytes(i % 251 for i in range(5000)), pika.BasicProperties(delivery_mode=1))
    channel.basic_publish("golden.in", "a.c", b"through two exchanges")
    try:
        channel.basic_publish("", "golden.nobody", b"come back", mandatory=True)
    except pika.exceptions.UnroutableError:
        pass

    get, _, _ = channel.basic_get("golden.q")
    channel.basic_reject(get.delivery_tag, requeue=True)
    tags = []
    for method, _, _ in channel.consume("golden.q", inactivity_timeout=5, arguments={"x-priority": 3}):
        tags.append(method.delivery_tag)
        if len(tags) == 4:
            break
    channel.basic_ack(tags[0])
    channel.basic_nack(tags[1], requeue=False)
    channel.basic_recover(requeue=True)
    channel.cancel()
    channel.queue_purge("golden.q")
    channel.basic_get("golden.q", auto_ack=True)
    channel.queue_unbind("golden.q", "golden", "a.*", {"x": 1})
    channel.exchange_unbind("golden", "golden.in", "#", {"why": "fixture"})

    transaction = connection.channel()
    transaction.tx_select()
    transaction.basic_publish("", "golden.q", b"in a transaction")
    transaction.tx_commit()
    transaction.tx_rollback()
    try:
        transaction.queue_declare("golden.missing", passive=True)
    except pika.exceptions.ChannelClosedByBroker:
        pass

    channel.queue_delete("golden.q")
    channel.exchange_delete("golden.in")
    channel.exchange_delete("golden")
    channel.close()
    connection.close()


AMQPLIB = r"""
const amqp = require('amqplib');
const typed = (kind, value) => ({'!': kind, value});
(async () => {
  const connection = await amqp.connect(process.argv[1] + '?heartbeat=30&frameMax=4096');
  const channel = await connection.createConfirmChannel();
  await channel.prefetch(10);
  await channel.assertExchange('golden.node', 'headers', {durable: false, autoDelete: true});
  await channel.assertQueue('golden.node.q', {exclusive: true, maxLength: 100, messageTtl: 60000, expires: 600000});
  await channel.bindQueue('golden.node.q', 'golden.node', '', {'x-match': 'any', kind: 'fixture'});
  const headers = {
    kind: 'fixture', yes: true, small: 1, negative: -70000, large: 2 ** 40, fraction: 0.1,
    bytes: Buffer.from([0, 255, 206]), nothing: null, list: [1, 'two', [3.5], {four: 4}], table: {deep: {deeper: true}},
    int8: typed('int8', -8), uint8: typed('uint8', 200), uint16: typed('uint16', 60000), uint32: typed('uint32', 4e9), short: typed('short', -300), int: typed('int', -70000),
    long: typed('long', -(2 ** 40)), float: typed('float', 0.5), double: typed('double', 0.25),
    decimal: typed('decimal', {places: 2, digits: 314}), time: typed('timestamp', 1700000000),
  };
  await new Promise((done, failed) => channel.publish('golden.node', 'key', Buffer.from('hello'), {
    headers, contentType: 'text/plain', contentEncoding: 'utf-8', persistent: true, priority: 5, correlationId: 'c',
    replyTo: 'r', expiration: '60000', messageId: 'm', timestamp: 1700000000, type: 'kind', userId: 'guest', appId: 'a',
    CC: ['golden.cc'],
  }, error => error ? failed(error) : done()));
  channel.publish('golden.node', 'key', Buffer.alloc(5000, 'x'), {headers: {kind: 'fixture'}});
  channel.publish('', 'golden.nobody', Buffer.from('come back'), {mandatory: true});
  await channel.waitForConfirms();
  const got = await channel.get('golden.node.q');
  channel.nack(got, false, true);
  const tag = 'golden-consumer';
  await new Promise(async done => {
    let count = 0;
    await channel.consume('golden.node.q', message => {
      channel.ack(message, count === 1);
      if (++count === 2) done();
    }, {consumerTag: tag, priority: 1});
  });
  await channel.cancel(tag);
  await channel.purgeQueue('golden.node.q');
  await channel.get('golden.node.q', {noAck: true});
  await channel.recover();
  await channel.unbindQueue('golden.node.q', 'golden.node', '', {'x-match': 'any', kind: 'fixture'});
  await channel.deleteQueue('golden.node.q');
  await channel.close();
  await connection.close();
})().catch(error => { console.error(error); process.exit(1); });
"""


def amqplib_session(port):
    subprocess.run(["node", "-e", AMQPLIB, f"amqp://guest:guest@127.0.0.1:{port}/%2F"], check=True, timeout=60)


for name, session in (("pika", pika_session), ("amqplib", amqplib_session)):
    proxy = Proxy()
    session(proxy.port)
    proxy.save(name)
