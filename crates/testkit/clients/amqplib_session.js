'use strict';

// A scripted session of amqplib, the Node.js client, against a running broker.
//
//     node amqplib_session.js amqp://guest:guest@127.0.0.1:5672/ [SCENARIO...]
//
// Prints `ok NAME` or `FAIL NAME: reason` per scenario and `N passed, N failed` at the end; exits 1 when one failed.
// It passes against RabbitMQ 3.10 and 4.x; where those two differ the scenario says so and takes both.

const amqp = require('amqplib');
const assert = require('node:assert/strict');
const { randomUUID } = require('node:crypto');

const WAIT_MS = 10_000;
const SCENARIO_MS = 30_000;

const scenarios = {};

async function within(promise, what, milliseconds = WAIT_MS) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no ${what} within ${milliseconds} ms`)), milliseconds);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

// What one scenario works with: connections and names nobody else uses, both gone when it ends.
class Session {
  constructor(url) {
    this.url = new URL(url);
    this.user = decodeURIComponent(this.url.username) || 'guest';
    this.password = decodeURIComponent(this.url.password) || 'guest';
    this.vhost = decodeURIComponent(this.url.pathname.slice(1)) || '/';
    this.connections = new Set();
    this.exchanges = [];
  }

  async connect({ query = {}, url = this.url, ...options } = {}) {
    const target = new URL(url);
    for (const [key, value] of Object.entries(query)) target.searchParams.set(key, value);
    const connection = await amqp.connect(target.toString(), options);
    this.connections.add(connection);
    // How it was closed, for the scenarios that expect it; unheard, an error event would end the process.
    connection.closed = new Promise((resolve) => {
      let reason = null;
      connection.on('error', (error) => {
        reason = error;
      });
      connection.on('close', () => {
        this.connections.delete(connection);
        resolve(reason);
      });
    });
    return connection;
  }

  async channel(connection, create = 'createChannel') {
    const channel = await (connection ?? (await this.connect()))[create]();
    channel.closed = new Promise((resolve) => {
      channel.on('error', resolve);
      channel.on('close', () => resolve(null));
    });
    return channel;
  }

  name(kind = 'name') {
    return `amqplib.${kind}.${randomUUID().replaceAll('-', '').slice(0, 12)}`;
  }

  // A queue that goes with its connection.
  async queue(channel, options = {}) {
    return (await channel.assertQueue(this.name('queue'), { exclusive: true, durable: false, ...options })).queue;
  }

  async exchange(channel, type, options = {}) {
    const name = this.name(`exchange.${type}`);
    this.exchanges.push(name);
    await channel.assertExchange(name, type, { durable: false, ...options });
    return name;
  }

  async close() {
    for (const connection of this.connections) await connection.close();
    if (this.exchanges.length === 0) return;
    const connection = await amqp.connect(this.url.toString());
    const channel = await connection.createChannel();
    for (const exchange of this.exchanges) await channel.deleteExchange(exchange);
    await connection.close();
  }
}

// Collects deliveries; acknowledging them is the scenario's business.
class Consumer {
  messages = [];
  #waiting = [];

  static async on(channel, queue, options) {
    const consumer = new Consumer();
    const { consumerTag } = await channel.consume(queue, (message) => consumer.#deliver(message), options);
    consumer.tag = consumerTag;
    return consumer;
  }

  #deliver(message) {
    this.messages.push(message);
    this.#waiting = this.#waiting.filter(({ count, resolve }) => {
      if (this.messages.length < count) return true;
      resolve();
      return false;
    });
  }

  get bodies() {
    return this.messages.map((message) => message.content.toString());
  }

  async wait(count, milliseconds) {
    if (this.messages.length < count) {
      const enough = new Promise((resolve) => {
        this.#waiting.push({ count, resolve });
      });
      await within(enough, `${count} deliveries`, milliseconds);
    }
    return this.messages;
  }
}

async function drain(channel, queue) {
  const bodies = [];
  for (;;) {
    const message = await channel.get(queue, { noAck: true });
    if (message === false) return bodies;
    bodies.push(message.content.toString());
  }
}

// Waits until so many messages are ready in the queue; a count may overtake the publishes before it. The queue answers
// after the deliveries it has decided on, so a delivery that has not come by then, with all published messages
// accounted for, does not come.
async function waitReady(channel, queue, count) {
  const deadline = Date.now() + WAIT_MS;
  for (;;) {
    const { messageCount } = await channel.checkQueue(queue);
    if (messageCount === count) return;
    assert.ok(Date.now() < deadline, `${messageCount} ready messages, expected ${count}`);
  }
}

function codeAndText(error) {
  assert.ok(error instanceof Error, `closed without an error: ${error}`);
  return [error.code, /with message "(.*)"/s.exec(error.message)?.[1] ?? error.message];
}

// The action makes the broker close the channel with this code and text, and the connection stays usable.
async function channelError(session, connection, code, text, action) {
  const channel = await session.channel(connection);
  const answer = Promise.resolve(action(channel)).then(
    () => null,
    (error) => error,
  );
  const closed = await within(channel.closed, `channel.close with ${code}`);
  assert.deepEqual(codeAndText(closed), [code, text]);
  // A request that was waiting fails with the same code.
  const failed = await answer;
  if (failed?.code !== undefined) assert.equal(failed.code, code);
  const again = await session.channel(connection);
  const queue = await session.queue(again);
  again.sendToQueue(queue, Buffer.from('still alive'));
  assert.deepEqual(await drain(again, queue), ['still alive']);
  await again.close();
}

async function refusal(session, url, options) {
  try {
    await session.connect({ url, ...options });
  } catch (error) {
    return /(\d{3}) \([A-Z-]+\) with message "(.*)"/s.exec(error.message)?.slice(1) ?? [error.message];
  }
  throw new Error('the connection was not refused');
}

// --- Handshake ---

scenarios.server_properties_and_capabilities_are_announced = async (session) => {
  const { serverProperties } = (await session.connect()).connection;
  assert.equal(serverProperties.product, 'RabbitMQ');
  assert.match(serverProperties.version, /^\d+\.\d+\.\d+/);
  for (const capability of [
    'authentication_failure_close',
    'basic.nack',
    'connection.blocked',
    'consumer_cancel_notify',
    'consumer_priorities',
    'direct_reply_to',
    'exchange_exchange_bindings',
    'per_consumer_qos',
    'publisher_confirms',
  ]) {
    assert.equal(serverProperties.capabilities[capability], true, capability);
  }
};

scenarios.amqplain_logs_in_too = async (session) => {
  const credentials = amqp.credentials.amqplain(session.user, session.password);
  const channel = await session.channel(await session.connect({ credentials }));
  await session.queue(channel);
  const wrong = amqp.credentials.amqplain(session.user, 'wrong');
  assert.deepEqual(await refusal(session, session.url, { credentials: wrong }), [
    '403',
    'ACCESS_REFUSED - Login was refused using authentication mechanism AMQPLAIN. For details see the broker logfile.',
  ]);
};

scenarios.wrong_password_is_403 = async (session) => {
  const url = new URL(session.url);
  url.username = session.user;
  url.password = 'wrong';
  assert.deepEqual(await refusal(session, url), [
    '403',
    'ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile.',
  ]);
};

scenarios.unknown_vhost_is_530 = async (session) => {
  const url = new URL(session.url);
  url.pathname = `/${session.name('vhost')}`;
  // This client only says that it got connection.close in place of open-ok; the pika session sees code and text.
  assert.deepEqual(await refusal(session, url), ['Expected ConnectionOpenOk; got <ConnectionClose channel:0>']);
};

scenarios.secret_can_be_updated = async (session) => {
  const connection = await session.connect();
  const updated = new Promise((resolve) => {
    connection.on('update-secret-ok', resolve);
  });
  await connection.updateSecret(Buffer.from(session.password), 'renewal');
  await within(updated, 'update-secret-ok');
  await session.queue(await session.channel(connection));
};

scenarios.heartbeats_keep_an_idle_connection_up = async (session) => {
  const connection = await session.connect({ query: { heartbeat: 1 } });
  const channel = await session.channel(connection);
  const queue = await session.queue(channel);
  assert.equal(connection.connection.heartbeat, 1);
  // The client shows nothing of the broker's heartbeats, so count what its socket receives while nothing is asked.
  const beats = new Promise((resolve) => {
    const { stream } = connection.connection;
    let seen = 0;
    let bytes = stream.bytesRead;
    stream.on('readable', () => {
      if (stream.bytesRead === bytes) return;
      bytes = stream.bytesRead;
      seen += 1;
      if (seen === 4) resolve();
    });
  });
  const first = await within(Promise.race([beats.then(() => 'beats'), connection.closed]), 'heartbeats', 5_000);
  assert.equal(first, 'beats');
  channel.sendToQueue(queue, Buffer.from('after the silence'));
  assert.deepEqual(await drain(channel, queue), ['after the silence']);
};

scenarios.small_frames_carry_large_messages = async (session) => {
  const connection = await session.connect({ query: { frameMax: 8192, channelMax: 3 } });
  assert.deepEqual([connection.connection.frameMax, connection.connection.channelMax], [8192, 3]);
  const channel = await session.channel(connection);
  const queue = await session.queue(channel);
  const body = Buffer.alloc(2 ** 20, 'abc');
  channel.sendToQueue(queue, body);
  const message = await channel.get(queue, { noAck: true });
  assert.ok(message.content.equals(body));
};

// --- Exchanges and routing ---

scenarios.direct_exchange_routes_by_equal_key = async (session) => {
  const channel = await session.channel();
  const exchange = await session.exchange(channel, 'direct');
  const [red, both] = [await session.queue(channel), await session.queue(channel)];
  await channel.bindQueue(red, exchange, 'red');
  await channel.bindQueue(both, exchange, 'red');
  await channel.bindQueue(both, exchange, 'blue');
  for (const key of ['red', 'blue', 'green']) channel.publish(exchange, key, Buffer.from(key));
  assert.deepEqual([await drain(channel, red), await drain(channel, both)], [['red'], ['red', 'blue']]);
  await channel.unbindQueue(both, exchange, 'red');
  channel.publish(exchange, 'red', Buffer.from('again'));
  assert.deepEqual([await drain(channel, red), await drain(channel, both)], [['again'], []]);
};

scenarios.fanout_exchange_routes_to_all = async (session) => {
  const channel = await session.channel();
  const exchange = await session.exchange(channel, 'fanout');
  const queues = [];
  for (let i = 0; i < 3; i++) {
    queues.push(await session.queue(channel));
    await channel.bindQueue(queues[i], exchange, '');
  }
  channel.publish(exchange, 'whatever', Buffer.from('m'));
  for (const queue of queues) assert.deepEqual(await drain(channel, queue), ['m']);
};

scenarios.topic_exchange_matches_words = async (session) => {
  const channel = await session.channel();
  const exchange = await session.exchange(channel, 'topic');
  const patterns = {
    'a.*.c': ['a.b.c'],
    'a.#': ['a', 'a.b', 'a.b.c'],
    '#': ['a', 'a.b', 'a.b.c', 'x'],
    '*': ['a', 'x'],
  };
  const queues = {};
  for (const pattern of Object.keys(patterns)) {
    queues[pattern] = await session.queue(channel);
    await channel.bindQueue(queues[pattern], exchange, pattern);
  }
  for (const key of ['a', 'a.b', 'a.b.c', 'x']) channel.publish(exchange, key, Buffer.from(key));
  for (const [pattern, keys] of Object.entries(patterns)) {
    assert.deepEqual(await drain(channel, queues[pattern]), keys, pattern);
  }
};

scenarios.headers_exchange_matches_all_or_any = async (session) => {
  const channel = await session.channel();
  const exchange = await session.exchange(channel, 'headers');
  const [all, any] = [await session.queue(channel), await session.queue(channel)];
  await channel.bindQueue(all, exchange, '', { 'x-match': 'all', colour: 'red', size: 3 });
  await channel.bindQueue(any, exchange, '', { 'x-match': 'any', colour: 'red', size: 3 });
  channel.publish(exchange, '', Buffer.from('both'), { headers: { colour: 'red', size: 3 } });
  channel.publish(exchange, '', Buffer.from('one'), { headers: { colour: 'red', size: 4 } });
  channel.publish(exchange, '', Buffer.from('none'), { headers: { colour: 'blue' } });
  assert.deepEqual([await drain(channel, all), await drain(channel, any)], [['both'], ['both', 'one']]);
};

scenarios.default_exchange_routes_by_queue_name = async (session) => {
  const channel = await session.channel();
  const [one, two] = [await session.queue(channel), await session.queue(channel)];
  channel.sendToQueue(one, Buffer.from('1'));
  channel.sendToQueue(two, Buffer.from('2'));
  assert.deepEqual([await drain(channel, one), await drain(channel, two)], [['1'], ['2']]);
};

scenarios.exchange_to_exchange_binding_routes_on = async (session) => {
  const channel = await session.channel();
  const [source, middle] = [await session.exchange(channel, 'topic'), await session.exchange(channel, 'fanout')];
  const queue = await session.queue(channel);
  await channel.bindExchange(middle, source, 'log.#');
  await channel.bindQueue(queue, middle, '');
  for (const key of ['log.once', 'other']) channel.publish(source, key, Buffer.from(key));
  assert.deepEqual(await drain(channel, queue), ['log.once']);
  await channel.unbindExchange(middle, source, 'log.#');
  channel.publish(source, 'log.once', Buffer.from('gone'));
  assert.deepEqual(await drain(channel, queue), []);
};

scenarios.alternate_exchange_takes_what_is_not_routed = async (session) => {
  const channel = await session.channel();
  const alternateExchange = await session.exchange(channel, 'fanout');
  const exchange = await session.exchange(channel, 'direct', { alternateExchange });
  const queue = await session.queue(channel);
  await channel.bindQueue(queue, alternateExchange, '');
  const returned = [];
  channel.on('return', (message) => returned.push(message));
  channel.publish(exchange, 'unknown', Buffer.from('m'), { mandatory: true });
  assert.deepEqual(await drain(channel, queue), ['m']);
  assert.deepEqual(returned, []);
};

scenarios.cc_and_bcc_add_routing_keys = async (session) => {
  const channel = await session.channel();
  const [to, cc, bcc] = [await session.queue(channel), await session.queue(channel), await session.queue(channel)];
  channel.sendToQueue(to, Buffer.from('m'), { CC: cc, BCC: [bcc] });
  for (const queue of [to, cc, bcc]) {
    const { content, fields, properties } = await channel.get(queue, { noAck: true });
    assert.deepEqual([content.toString(), fields.routingKey, { ...properties.headers }], ['m', to, { CC: [cc] }]);
  }
};

// --- Queues ---

scenarios.server_names_queues_and_consumers = async (session) => {
  const channel = await session.channel();
  const { queue } = await channel.assertQueue('', { exclusive: true });
  assert.match(queue, /^amq\.gen-[A-Za-z0-9_-]{22}$/);
  const tags = [(await Consumer.on(channel, queue)).tag, (await Consumer.on(channel, queue)).tag];
  for (const tag of tags) assert.match(tag, /^amq\.ctag-[A-Za-z0-9_-]{22}$/);
  assert.notEqual(tags[0], tags[1]);
};

scenarios.exclusive_queue_is_locked_for_others = async (session) => {
  const [owner, other] = [await session.connect(), await session.connect()];
  const queue = await session.queue(await session.channel(owner));
  const text =
    `RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '${queue}' in vhost '${session.vhost}'. ` +
    'It could be originally declared on another connection or the exclusive property value does not match that of ' +
    'the original declaration.';
  await channelError(session, other, 405, text, (channel) => channel.checkQueue(queue));
  await channelError(session, other, 405, text, (channel) => channel.consume(queue, () => {}));
  await owner.close();
  const missing = `NOT_FOUND - no queue '${queue}' in vhost '${session.vhost}'`;
  await channelError(session, other, 404, missing, (channel) => channel.checkQueue(queue));
};

scenarios.declare_purge_and_delete_count_messages = async (session) => {
  const channel = await session.channel();
  const queue = await session.queue(channel);
  for (let i = 0; i < 5; i++) channel.sendToQueue(queue, Buffer.from('m'));
  await waitReady(channel, queue, 5);
  assert.deepEqual(await channel.checkQueue(queue), { queue, messageCount: 5, consumerCount: 0 });
  assert.deepEqual(await channel.purgeQueue(queue), { messageCount: 5 });
  for (let i = 0; i < 3; i++) channel.sendToQueue(queue, Buffer.from('m'));
  assert.deepEqual(await channel.deleteQueue(queue), { messageCount: 3 });
};

scenarios.inequivalent_redeclare_is_406 = async (session) => {
  const connection = await session.connect();
  const channel = await session.channel(connection);
  const queue = await session.queue(channel, { messageTtl: 60_000 });
  const exchange = await session.exchange(channel, 'direct');
  await channel.assertQueue(queue, { exclusive: true, durable: false, messageTtl: 60_000 });
  await channelError(
    session,
    connection,
    406,
    `PRECONDITION_FAILED - inequivalent arg 'x-message-ttl' for queue '${queue}' in vhost '${session.vhost}': ` +
      "received '1000' but current is '60000'",
    (other) => other.assertQueue(queue, { exclusive: true, durable: false, messageTtl: 1000 }),
  );
  await channelError(
    session,
    connection,
    406,
    `PRECONDITION_FAILED - inequivalent arg 'type' for exchange '${exchange}' in vhost '${session.vhost}': ` +
      "received 'topic' but current is 'direct'",
    (other) => other.assertExchange(exchange, 'topic', { durable: false }),
  );
};

// --- Channel and connection errors ---

scenarios.use_of_what_is_missing_is_404 = async (session) => {
  const connection = await session.connect();
  const missing = session.name('missing');
  const queue = `NOT_FOUND - no queue '${missing}' in vhost '${session.vhost}'`;
  const exchange = `NOT_FOUND - no exchange '${missing}' in vhost '${session.vhost}'`;
  await channelError(session, connection, 404, queue, (channel) => channel.checkQueue(missing));
  await channelError(session, connection, 404, queue, (channel) => channel.get(missing));
  await channelError(session, connection, 404, queue, (channel) => channel.consume(missing, () => {}));
  await channelError(session, connection, 404, exchange, (channel) => channel.checkExchange(missing));
  await channelError(session, connection, 404, exchange, (channel) => {
    channel.publish(missing, 'key', Buffer.from('m'));
  });
};

scenarios.reserved_name_is_403 = async (session) => {
  const text = "ACCESS_REFUSED - exchange name 'amq.mine' contains reserved prefix 'amq.*'";
  const connection = await session.connect();
  await channelError(session, connection, 403, text, (channel) => channel.assertExchange('amq.mine', 'direct'));
};

scenarios.exclusive_consumer_refuses_others = async (session) => {
  const connection = await session.connect();
  const channel = await session.channel(connection);
  const queue = await session.queue(channel);
  await Consumer.on(channel, queue, { exclusive: true });
  const text = `ACCESS_REFUSED - queue '${queue}' in vhost '${session.vhost}' in exclusive use`;
  await channelError(session, connection, 403, text, (other) => other.consume(queue, () => {}));
};

scenarios.unknown_delivery_tag_is_406 = async (session) => {
  const text = 'PRECONDITION_FAILED - unknown delivery tag 42';
  await channelError(session, await session.connect(), 406, text, (channel) => {
    channel.ack({ fields: { deliveryTag: 42 } });
  });
};

scenarios.unknown_exchange_type_is_refused = async (session) => {
  const connection = await session.connect();
  const channel = await session.channel(connection);
  const declared = channel.assertExchange(session.name('exchange'), 'no-such-type').catch(() => {});
  const closed = await within(Promise.race([channel.closed, connection.closed]), 'close');
  const text = "unknown exchange type 'no-such-type'";
  if (closed?.code === 406) {
    // 4.x closes the channel only.
    assert.deepEqual(codeAndText(closed), [406, `PRECONDITION_FAILED - ${text}`]);
    await session.queue(await session.channel(connection));
  } else {
    // 3.x takes the whole connection down.
    const reason = await within(connection.closed, 'connection.close');
    assert.deepEqual(codeAndText(reason), [503, `COMMAND_INVALID - ${text}`]);
  }
  await declared;
};

scenarios.duplicate_consumer_tag_is_530 = async (session) => {
  const connection = await session.connect();
  const channel = await session.channel(connection);
  const queue = await session.queue(channel);
  await Consumer.on(channel, queue, { consumerTag: 'twice' });
  await assert.rejects(Consumer.on(channel, queue, { consumerTag: 'twice' }));
  const closed = await within(connection.closed, 'connection.close');
  assert.deepEqual(codeAndText(closed), [530, "NOT_ALLOWED - attempt to reuse consumer tag 'twice'"]);
};

scenarios.recovering_connection_comes_back = async (session) => {
  const connection = await session.connect({ recovery: { initialDelay: 10, maxDelay: 100 } });
  const channel = await session.channel(connection);
  const queue = await session.queue(channel);
  await Consumer.on(channel, queue, { consumerTag: 'twice' });
  const again = new Promise((resolve) => {
    connection.on('connect', resolve);
  });
  // Reusing a consumer tag makes the broker drop the connection.
  await assert.rejects(Consumer.on(channel, queue, { consumerTag: 'twice' }));
  await within(again, 'reconnection');
  const fresh = await session.channel(connection);
  // The exclusive queue went with the lost connection, so its name is free for the new one.
  await fresh.assertQueue(queue, { exclusive: true, durable: false });
  fresh.sendToQueue(queue, Buffer.from('after the loss'));
  assert.deepEqual(await drain(fresh, queue), ['after the loss']);
};

scenarios.many_channels_work_side_by_side = async (session) => {
  const connection = await session.connect();
  const channels = await Promise.all(Array.from({ length: 100 }, () => session.channel(connection)));
  const exchange = await session.exchange(channels[0], 'fanout');
  const consumers = await Promise.all(
    channels.map(async (channel) => {
      const queue = await session.queue(channel);
      await channel.bindQueue(queue, exchange, '');
      return Consumer.on(channel, queue, { noAck: true });
    }),
  );
  channels[0].publish(exchange, '', Buffer.from('to all'));
  await Promise.all(consumers.map((consumer) => consumer.wait(1)));
  await Promise.all(channels.map((channel) => channel.close()));
};

// --- Publishing ---

scenarios.mandatory_unroutable_message_is_returned_before_its_confirm = async (session) => {
  const channel = await session.channel(undefined, 'createConfirmChannel');
  const nowhere = session.name('nowhere');
  const events = [];
  const returned = new Promise((resolve) => {
    channel.on('return', (message) => {
      events.push('return');
      resolve(message);
    });
  });
  const confirm = () => events.push('confirm');
  channel.publish('', nowhere, Buffer.from('back'), { mandatory: true, headers: { k: 1 } }, confirm);
  // Without mandatory it is dropped, and confirmed all the same.
  channel.publish('', nowhere, Buffer.from('dropped'), {}, confirm);
  await within(channel.waitForConfirms(), 'confirms');
  assert.deepEqual(events, ['return', 'confirm', 'confirm']);
  const { content, fields, properties } = await returned;
  assert.deepEqual(
    [fields.replyCode, fields.replyText, fields.routingKey, content.toString(), properties.headers.k],
    [312, 'NO_ROUTE', nowhere, 'back', 1],
  );
};

scenarios.concurrent_publishes_are_all_confirmed = async (session) => {
  const channel = await session.channel(undefined, 'createConfirmChannel');
  const queue = await session.queue(channel);
  const errors = [];
  for (let i = 0; i < 500; i++) {
    channel.sendToQueue(queue, Buffer.from(String(i)), { persistent: i % 2 === 0 }, (error) => errors.push(error));
  }
  await within(channel.waitForConfirms(), 'confirms');
  assert.deepEqual(errors, new Array(500).fill(null));
  assert.deepEqual(
    await drain(channel, queue),
    Array.from({ length: 500 }, (_, i) => String(i)),
  );
};

scenarios.every_property_survives = async (session) => {
  const channel = await session.channel();
  const queue = await session.queue(channel);
  const sent = {
    contentType: 'application/json',
    contentEncoding: 'gzip',
    deliveryMode: 2,
    priority: 5,
    correlationId: 'correlation ü',
    replyTo: 'reply.queue',
    expiration: '600000',
    messageId: 'message',
    timestamp: 1_700_000_000,
    type: 'kind',
    // The broker checks this one: it must be the user who is logged in.
    userId: session.user,
    appId: 'app',
  };
  channel.sendToQueue(queue, Buffer.from('m'), { ...sent, headers: { key: 'value' } });
  const { properties } = await channel.get(queue, { noAck: true });
  assert.deepEqual({ ...properties }, { ...sent, headers: { key: 'value' }, clusterId: undefined });
};

scenarios.every_header_type_survives = async (session) => {
  const channel = await session.channel();
  const queue = await session.queue(channel);
  const plain = {
    string: 'žluťoučký 🐇',
    empty: '',
    buffer: Buffer.from([0, 255, 0]),
    yes: true,
    no: false,
    // One per width this client picks: b, s, I, l, and d for fractions.
    byte: -128,
    short: -32768,
    int: -(2 ** 31),
    long: -Number.MAX_SAFE_INTEGER,
    double: 1.1,
    nothing: null,
    list: [1, 'two', null, [true, { deep: [] }], {}],
    table: { nested: { more: { k: [1, 2, 3] } } },
    timestamp: { '!': 'timestamp', value: 1_700_000_000 },
    decimal: { '!': 'decimal', value: { places: 3, digits: 12345 } },
  };
  // Types the client has to be told come back as bare numbers.
  const told = {
    uint8: { '!': 'uint8', value: 255 },
    uint16: { '!': 'uint16', value: 65535 },
    uint32: { '!': 'uint32', value: 2 ** 32 - 1 },
    float: { '!': 'float', value: 1.5 },
  };
  channel.sendToQueue(queue, Buffer.from('m'), { headers: { ...plain, ...told } });
  const { properties } = await channel.get(queue, { noAck: true });
  const numbers = Object.fromEntries(Object.entries(told).map(([name, { value }]) => [name, value]));
  assert.deepEqual({ ...properties.headers }, { ...plain, ...numbers });
};

scenarios.bodies_of_every_size_arrive_whole = async (session) => {
  const connection = await session.connect();
  const channel = await session.channel(connection);
  const queue = await session.queue(channel);
  const payload = connection.connection.frameMax - 8;
  const pattern = Buffer.alloc(2 ** 20, 'abcdefghijk');
  for (const size of [0, 1, payload, payload + 1, 2 * payload, 2 ** 20]) {
    channel.sendToQueue(queue, pattern.subarray(0, size));
    const { content } = await channel.get(queue, { noAck: true });
    assert.equal(content.length, size);
    assert.ok(content.equals(pattern.subarray(0, size)));
  }
};

scenarios.ten_thousand_messages_arrive_in_order_on_one_connection = async (session) => {
  const connection = await session.connect();
  const [publisher, channel] = [await session.channel(connection), await session.channel(connection)];
  const queue = await session.queue(channel);
  const count = 10_000;
  const got = [];
  await channel.prefetch(200);
  const done = new Promise((resolve) => {
    channel.consume(queue, (message) => {
      got.push(Number(message.content.toString()));
      if (got.length % 50 === 0) channel.ack(message, true);
      if (got.length === count) resolve();
    });
  });
  for (let i = 0; i < count; i++) {
    if (!publisher.sendToQueue(queue, Buffer.from(String(i)))) {
      await within(new Promise((resolve) => publisher.once('drain', resolve)), 'drain');
    }
  }
  await within(done, `${count} messages`, SCENARIO_MS);
  assert.ok(
    got.every((number, index) => number === index),
    'in order, each once',
  );
};

// --- Getting, consuming and settling ---

scenarios.get_returns_a_message_or_empty = async (session) => {
  const channel = await session.channel();
  const queue = await session.queue(channel);
  assert.equal(await channel.get(queue), false);
  for (const body of ['0', '1']) channel.sendToQueue(queue, Buffer.from(body));
  const { content, fields } = await channel.get(queue);
  assert.equal(content.toString(), '0');
  assert.deepEqual(
    { ...fields },
    { deliveryTag: 1, redelivered: false, exchange: '', routingKey: queue, messageCount: 1 },
  );
};

scenarios.ack_multiple_covers_all_up_to_the_tag = async (session) => {
  const connection = await session.connect();
  const [channel, other] = [await session.channel(connection), await session.channel(connection)];
  const queue = await session.queue(channel);
  for (let i = 0; i < 5; i++) channel.sendToQueue(queue, Buffer.from(String(i)));
  const messages = await (await Consumer.on(channel, queue)).wait(5);
  channel.ack(messages[2], true);
  channel.ack(messages[4]);
  await channel.close();
  await waitReady(other, queue, 1);
  const { content, fields } = await other.get(queue);
  assert.deepEqual([content.toString(), fields.redelivered], ['3', true]);
  other.ackAll();
  assert.deepEqual(await drain(other, queue), []);
};

scenarios.nack_and_reject_requeue_or_drop = async (session) => {
  const channel = await session.channel();
  const queue = await session.queue(channel);
  for (const [settle, kept] of [
    [(message) => channel.nack(message, false, true), true],
    [(message) => channel.nack(message, false, false), false],
    [(message) => channel.reject(message, true), true],
    [(message) => channel.reject(message, false), false],
    [() => channel.nackAll(true), true],
  ]) {
    channel.sendToQueue(queue, Buffer.from('m'));
    const message = await channel.get(queue);
    assert.equal(message.fields.redelivered, false);
    settle(message);
    const again = await channel.get(queue, { noAck: true });
    assert.equal(again !== false, kept);
    if (kept) assert.equal(again.fields.redelivered, true);
  }
};

scenarios.requeued_messages_go_back_to_their_place = async (session) => {
  const channel = await session.channel();
  const queue = await session.queue(channel);
  for (let i = 0; i < 5; i++) channel.sendToQueue(queue, Buffer.from(String(i)));
  const messages = [await channel.get(queue), await channel.get(queue), await channel.get(queue)];
  channel.ack(messages[1]);
  channel.nack(messages[2], true, true);
  assert.deepEqual(await drain(channel, queue), ['0', '2', '3', '4']);
};

scenarios.prefetch_one_shares_between_two_consumers = async (session) => {
  const connection = await session.connect();
  const publisher = await session.channel(connection);
  const queue = await session.queue(publisher);
  const channels = [await session.channel(connection), await session.channel(connection)];
  const consumers = [];
  for (const channel of channels) {
    await channel.prefetch(1);
    consumers.push(await Consumer.on(channel, queue));
  }
  for (let i = 0; i < 6; i++) publisher.sendToQueue(queue, Buffer.from(String(i)));
  for (const consumer of consumers) await consumer.wait(1);
  await waitReady(publisher, queue, 4);
  for (const count of [2, 3]) {
    channels[0].ack(consumers[0].messages.at(-1));
    await consumers[0].wait(count);
  }
  await waitReady(publisher, queue, 2);
  assert.equal(consumers[1].messages.length, 1);
};

scenarios.high_priority_consumer_is_served_first = async (session) => {
  const connection = await session.connect();
  const publisher = await session.channel(connection);
  const queue = await session.queue(publisher);
  const consumers = {};
  for (const priority of [0, 10]) {
    const channel = await session.channel(connection);
    await channel.prefetch(2);
    consumers[priority] = await Consumer.on(channel, queue, { priority });
  }
  for (let i = 0; i < 3; i++) publisher.sendToQueue(queue, Buffer.from(String(i)));
  await consumers[10].wait(2);
  await consumers[0].wait(1);
  assert.deepEqual([consumers[10].bodies, consumers[0].bodies], [['0', '1'], ['2']]);
};

function deadLettersTo(queue, options = {}) {
  return { deadLetterExchange: '', deadLetterRoutingKey: queue, ...options };
}

scenarios.rejected_messages_are_retried_after_a_while = async (session) => {
  const channel = await session.channel();
  const work = session.name('work');
  const wait = session.name('wait');
  await channel.assertQueue(work, { exclusive: true, ...deadLettersTo(wait) });
  await channel.assertQueue(wait, { exclusive: true, ...deadLettersTo(work, { messageTtl: 20 }) });
  channel.sendToQueue(work, Buffer.from('job'), { headers: { color: 'red' } });
  const consumer = await Consumer.on(channel, work);
  for (let attempt = 1; attempt <= 3; attempt++) {
    const message = (await consumer.wait(attempt)).at(-1);
    const { headers } = message.properties;
    assert.deepEqual([message.content.toString(), headers.color], ['job', 'red']);
    const deaths = (headers['x-death'] ?? []).map(({ queue, reason, count }) => [queue, reason, count]);
    const expected = [
      [wait, 'expired', attempt - 1],
      [work, 'rejected', attempt - 1],
    ];
    assert.deepEqual(deaths, attempt === 1 ? [] : expected);
    if (attempt > 1) assert.deepEqual([headers['x-first-death-queue'], headers['x-death'][0].exchange], [work, '']);
    if (attempt < 3) channel.reject(message, false);
    else channel.ack(message);
  }
};

scenarios.messages_expire = async (session) => {
  const channel = await session.channel();
  const dead = await session.queue(channel);
  const byQueue = await session.queue(channel, deadLettersTo(dead, { messageTtl: 20 }));
  const byMessage = await session.queue(channel, deadLettersTo(dead));
  channel.sendToQueue(byQueue, Buffer.from('queue'));
  await waitReady(channel, dead, 1);
  channel.sendToQueue(byMessage, Buffer.from('message'), { expiration: 20 });
  channel.sendToQueue(byMessage, Buffer.from('stays'));
  await waitReady(channel, dead, 2);
  assert.deepEqual([await drain(channel, byQueue), await drain(channel, byMessage)], [[], ['stays']]);
  for (const [body, original] of [
    ['queue', undefined],
    ['message', '20'],
  ]) {
    const { content, properties } = await channel.get(dead, { noAck: true });
    assert.deepEqual([content.toString(), properties.expiration], [body, undefined]);
    assert.equal(properties.headers['x-death'][0]['original-expiration'], original);
  }
};

scenarios.full_queue_drops_or_refuses_messages = async (session) => {
  const channel = await session.channel(await session.connect(), 'createConfirmChannel');
  for (const [overflow, kept, refusals] of [
    ['drop-head', ['3', '4'], []],
    ['reject-publish', ['1', '2'], ['3', '4']],
  ]) {
    const queue = await session.queue(channel, { maxLength: 2, overflow });
    const refused = [];
    for (const body of ['1', '2', '3', '4']) {
      channel.sendToQueue(queue, Buffer.from(body), {}, (error) => {
        if (error !== null) refused.push(body);
      });
    }
    // It rejects when a message was refused.
    await channel.waitForConfirms().catch(() => null);
    assert.deepEqual([await drain(channel, queue), refused], [kept, refusals]);
  }
};

scenarios.higher_priorities_come_first = async (session) => {
  const channel = await session.channel(await session.connect(), 'createConfirmChannel');
  const queue = await session.queue(channel, { maxPriority: 5 });
  for (const [body, priority] of [
    ['a', undefined],
    ['b', 1],
    ['c', 5],
    ['d', 200],
    ['e', 0],
    ['f', 1],
  ]) {
    channel.sendToQueue(queue, Buffer.from(body), { priority });
  }
  await channel.waitForConfirms();
  assert.deepEqual(await drain(channel, queue), ['c', 'd', 'b', 'f', 'a', 'e']);
};

scenarios.cancel_ends_deliveries = async (session) => {
  const channel = await session.channel();
  const queue = await session.queue(channel);
  const consumer = await Consumer.on(channel, queue);
  channel.sendToQueue(queue, Buffer.from('held'));
  const [held] = await consumer.wait(1);
  assert.deepEqual(await channel.cancel(consumer.tag), { consumerTag: consumer.tag });
  channel.sendToQueue(queue, Buffer.from('later'));
  await waitReady(channel, queue, 1);
  assert.deepEqual(consumer.bodies, ['held']);
  // What was delivered before can still be settled.
  channel.ack(held);
  assert.deepEqual(await drain(channel, queue), ['later']);
};

scenarios.deleting_the_queue_cancels_its_consumers = async (session) => {
  const connection = await session.connect();
  const [channel, other] = [await session.channel(connection), await session.channel(connection)];
  const queue = await session.queue(channel);
  const consumer = await Consumer.on(channel, queue);
  await other.deleteQueue(queue);
  // The client hands the broker's cancel to the consumer as a null message.
  assert.deepEqual(await consumer.wait(1), [null]);
};

scenarios.recover_requeues_what_is_unacked = async (session) => {
  const channel = await session.channel();
  const queue = await session.queue(channel);
  for (let i = 0; i < 3; i++) channel.sendToQueue(queue, Buffer.from(String(i)));
  const messages = [await channel.get(queue), await channel.get(queue), await channel.get(queue)];
  channel.ack(messages[1]);
  await channel.recover();
  for (const body of ['0', '2']) {
    const { content, fields } = await channel.get(queue);
    assert.deepEqual([content.toString(), fields.redelivered], [body, true]);
  }
};

scenarios.direct_reply_to_answers_without_a_queue = async (session) => {
  const [client, server] = [await session.channel(), await session.channel()];
  const requests = await session.queue(server);
  await server.consume(
    requests,
    ({ content, properties: { replyTo, correlationId } }) =>
      server.sendToQueue(replyTo, Buffer.from(content.toString().toUpperCase()), { correlationId }),
    { noAck: true },
  );
  const replies = await Consumer.on(client, 'amq.rabbitmq.reply-to', { noAck: true });
  for (const correlationId of ['0', '1', '2']) {
    client.sendToQueue(requests, Buffer.from(`request ${correlationId}`), {
      replyTo: 'amq.rabbitmq.reply-to',
      correlationId,
    });
  }
  await replies.wait(3);
  assert.deepEqual(
    replies.messages.map(({ content, properties }) => [properties.correlationId, content.toString()]),
    [
      ['0', 'REQUEST 0'],
      ['1', 'REQUEST 1'],
      ['2', 'REQUEST 2'],
    ],
  );
};

async function main() {
  const [url, ...names] = process.argv.slice(2);
  let passed = 0;
  let failed = 0;
  for (const name of names.length > 0 ? names : Object.keys(scenarios)) {
    const session = new Session(url);
    try {
      const run = async () => {
        try {
          await scenarios[name](session);
        } finally {
          await session.close();
        }
      };
      await within(run(), 'end of the scenario', SCENARIO_MS);
      passed += 1;
      console.log(`ok ${name}`);
    } catch (error) {
      // Whatever goes wrong in a scenario is its result, not the end of the session.
      failed += 1;
      console.log(`FAIL ${name}: ${error.message}`);
      console.error(error);
    }
  }
  console.log(`${passed} passed, ${failed} failed`);
  // A connection that a failed scenario left behind must not keep the process alive.
  process.exit(failed === 0 ? 0 : 1);
}

main();
