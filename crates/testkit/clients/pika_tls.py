"""pika, the blocking Python client, through TLS.

    python pika_tls.py HOST PORT PORT-WITH-CLIENT-CERTIFICATES FOLDER

FOLDER holds ca.pem, client.crt and client.key. Prints `ok NAME` or `FAIL NAME: reason` per scenario and
`N passed, N failed` at the end; exits 1 when one failed.
"""

import ssl
import sys
import traceback

import pika
from pika.exceptions import AMQPConnectionError

HOST, PORT, MUTUAL_PORT, FOLDER = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
BODY = bytes(range(256)) * 2000


def context(trust=True, certificate=False, version=None):
    made = ssl.create_default_context(cafile=f"{FOLDER}/ca.pem" if trust else None)
    if certificate:
        made.load_cert_chain(f"{FOLDER}/client.crt", f"{FOLDER}/client.key")
    if version is not None:
        made.minimum_version = made.maximum_version = version
    return made


def connect(port, made):
    parameters = pika.ConnectionParameters(HOST, port, ssl_options=pika.SSLOptions(made, HOST))
    return pika.BlockingConnection(parameters)


def exchange(port, made):
    with connect(port, made) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        queue = channel.queue_declare("", exclusive=True).method.queue
        for size in (0, 1, 20_000, len(BODY)):
            channel.basic_publish("", queue, BODY[:size])
            _, _, body = channel.basic_get(queue, auto_ack=True)
            assert body == BODY[:size], f"{size} octets came back as {len(body)}"


def refused(port, made):
    try:
        connect(port, made).close()
    except (AMQPConnectionError, ssl.SSLError):
        return
    raise AssertionError("it was let in")


SCENARIOS = {
    "tls_1_2": lambda: exchange(PORT, context(version=ssl.TLSVersion.TLSv1_2)),
    "tls_1_3": lambda: exchange(PORT, context(version=ssl.TLSVersion.TLSv1_3)),
    "broker_is_not_trusted_without_its_authority": lambda: refused(PORT, context(trust=False)),
    "client_certificate_1_2": lambda: exchange(MUTUAL_PORT, context(certificate=True, version=ssl.TLSVersion.TLSv1_2)),
    "client_certificate_1_3": lambda: exchange(MUTUAL_PORT, context(certificate=True, version=ssl.TLSVersion.TLSv1_3)),
    "client_without_certificate_is_refused": lambda: refused(MUTUAL_PORT, context()),
}


def main():
    failed = 0
    for name, run in SCENARIOS.items():
        try:
            run()
            print(f"ok {name}", flush=True)
        except Exception as error:  # Whatever goes wrong in a scenario is its result, not the end of the others.
            failed += 1
            print(f"FAIL {name}: {error!r}", flush=True)
            traceback.print_exc()
    print(f"{len(SCENARIOS) - failed} passed, {failed} failed", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
