'use strict';

// amqplib, whose certificate says who it is.
//
//     node external_amqplib.js HOST PORT... FOLDER
//
// Each port is one of a broker that knows hazel and nobody else. Exits 1 if something is not as it should be.

const amqp = require('amqplib');
const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');

const [host, ...ports] = process.argv.slice(2);
const folder = ports.pop();
const file = (name) => fs.readFileSync(path.join(folder, name));

async function connect(port, name) {
  const options = {
    ca: [file('ca.pem')],
    cert: file(`${name}.crt`),
    key: file(`${name}.key`),
    credentials: amqp.credentials.external(),
  };
  const connection = await amqp.connect({ protocol: 'amqps', hostname: host, port: Number(port) }, options);
  connection.on('error', () => {});
  return connection;
}

async function main() {
  for (const port of ports) {
    const connection = await connect(port, 'hazel');
    const channel = await connection.createConfirmChannel();
    const { queue } = await channel.assertQueue('', { exclusive: true });
    channel.sendToQueue(queue, Buffer.from('hare'));
    await channel.waitForConfirms();
    const message = await channel.get(queue, { noAck: true });
    assert.equal(message.content.toString(), 'hare');
    await connection.close();
    await assert.rejects(connect(port, 'stranger'), /403|ACCESS.REFUSED/);
    await assert.rejects(connect(port, 'forged'));
  }
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
