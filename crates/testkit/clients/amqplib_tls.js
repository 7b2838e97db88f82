'use strict';

// amqplib, the Node.js client, through TLS.
//
//     node amqplib_tls.js HOST PORT PORT-WITH-CLIENT-CERTIFICATES FOLDER
//
// FOLDER holds ca.pem, client.crt and client.key. Prints `ok NAME` or `FAIL NAME: reason` per scenario and
// `N passed, N failed` at the end; exits 1 when one failed.

const amqp = require('amqplib');
const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');

const [host, port, mutualPort, folder] = process.argv.slice(2);
const file = (name) => fs.readFileSync(path.join(folder, name));
const body = Buffer.alloc(500_000, 'leveret');

const trust = () => ({ ca: [file('ca.pem')] });
const certificate = () => ({ ...trust(), cert: file('client.crt'), key: file('client.key') });
const only = (version) => ({ minVersion: version, maxVersion: version });

async function connect(at, options) {
  const connection = await amqp.connect(`amqps://guest:guest@${host}:${at}/`, options);
  connection.on('error', () => {});
  return connection;
}

async function exchange(at, options) {
  const connection = await connect(at, options);
  const channel = await connection.createConfirmChannel();
  const { queue } = await channel.assertQueue('', { exclusive: true });
  for (const size of [0, 1, 20_000, body.length]) {
    channel.sendToQueue(queue, body.subarray(0, size));
    await channel.waitForConfirms();
    const message = await channel.get(queue, { noAck: true });
    assert.ok(message && message.content.equals(body.subarray(0, size)), `${size} octets`);
  }
  await connection.close();
}

async function refused(at, options) {
  await assert.rejects(connect(at, options).then((connection) => connection.close()));
}

const scenarios = {
  tls_1_2: () => exchange(port, { ...trust(), ...only('TLSv1.2') }),
  tls_1_3: () => exchange(port, { ...trust(), ...only('TLSv1.3') }),
  broker_is_not_trusted_without_its_authority: () => refused(port, {}),
  client_certificate_1_2: () => exchange(mutualPort, { ...certificate(), ...only('TLSv1.2') }),
  client_certificate_1_3: () => exchange(mutualPort, { ...certificate(), ...only('TLSv1.3') }),
  client_without_certificate_is_refused: () => refused(mutualPort, trust()),
};

async function main() {
  let failed = 0;
  for (const [name, run] of Object.entries(scenarios)) {
    try {
      await run();
      console.log(`ok ${name}`);
    } catch (error) {
      failed += 1;
      console.log(`FAIL ${name}: ${error.message}`);
      console.error(error);
    }
  }
  console.log(`${Object.keys(scenarios).length - failed} passed, ${failed} failed`);
  process.exit(failed === 0 ? 0 : 1);
}

main();
