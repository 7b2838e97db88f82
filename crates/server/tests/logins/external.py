"""pika and amqplib, whose certificates say who they are.

    python external.py LEVERET FOLDER [AMQPLIB-COMMAND...]

FOLDER has certificates of three clients: hazel, stranger, whom no broker knows, and forged, whose certificate names hazel
and was signed by somebody else.
"""

import ssl
import subprocess
import sys

import broker
import pika
from pika.exceptions import AMQPConnectionError, AMQPError
from service import Service

PASSWORD = "Warren1sDeep"
TLS = f"""
listeners.tcp = none
listeners.ssl.1 = 127.0.0.1:0
ssl_options.certfile = {broker.FOLDER}/broker.crt
ssl_options.keyfile = {broker.FOLDER}/broker.key
ssl_options.cacertfile = {broker.FOLDER}/ca.pem
ssl_options.verify = verify_peer
auth_mechanisms.1 = EXTERNAL
auth_mechanisms.2 = PLAIN
default_pass = {PASSWORD}
"""
COMMON_NAME = f"{TLS}ssl_cert_login_from = common_name\nssl_options.fail_if_no_peer_cert = true\ndefault_user = hazel\n"
SERVICE = Service({"hazel": None})
ASKED = f"{TLS}ssl_cert_login_from = common_name\nauth_backends.1 = http\n{SERVICE.configuration()}"
DISTINGUISHED_NAME = f"{TLS}default_user = CN=hazel,O=Warren\n"


def connect(ours, name, credentials=None):
    made = ssl.create_default_context(cafile=broker.FOLDER / "ca.pem")
    if name:
        made.load_cert_chain(broker.FOLDER / f"{name}.crt", broker.FOLDER / f"{name}.key")
    credentials = credentials or pika.credentials.ExternalCredentials()
    options = pika.SSLOptions(made, "localhost")
    return pika.BlockingConnection(
        pika.ConnectionParameters("localhost", ours.tls_port, credentials=credentials, ssl_options=options)
    )


def certificates_say_who_it_is(*brokers):
    for ours, user in zip(brokers, ("hazel", "CN=hazel,O=Warren", "hazel")):
        with connect(ours, "hazel") as connection:
            broker.publish_and_consume(connection, "mine")
            # The broker compares it with whom the connection belongs to.
            properties = pika.BasicProperties(user_id=user)
            channel = connection.channel()
            channel.confirm_delivery()
            channel.basic_publish("amq.fanout", "", b"", properties)
        ours.logged(f"user '{user}' authenticated and granted access to vhost")


def users_whom_nobody_knows_are_refused(*brokers):
    for ours in brokers:
        broker.login_refused(lambda: connect(ours, "stranger"), "EXTERNAL")
        ours.logged("login refused", "stranger", "EXTERNAL")


def certificates_of_other_authorities_are_refused(*brokers):
    for ours in brokers:
        try:
            connect(ours, "forged").close()
        except (AMQPConnectionError, ssl.SSLError):
            continue
        raise AssertionError("it was let in")


def services_are_not_given_passwords_that_there_are_not(*brokers):
    asked = [fields for what, fields in SERVICE.asked if what == "user"]
    assert asked and all(list(fields) == ["username"] for fields in asked), asked


def who_has_no_certificate_has_a_password(_, ours, __):
    with connect(ours, None, pika.PlainCredentials("CN=hazel,O=Warren", PASSWORD)) as connection:
        broker.publish_and_consume(connection, "mine")
    try:
        connect(ours, None).close()
    except AMQPError:
        return
    raise AssertionError("it was let in")


def amqplib_is_known_by_its_certificate_too(*brokers):
    ports = [str(ours.tls_port) for ours in brokers]
    command = [*sys.argv[3:], "localhost", *ports, str(broker.FOLDER)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=broker.WAIT_SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr


def main():
    brokers = [
        # The TLS library does not wipe what it gives back.
        broker.Broker(name, configuration, [PASSWORD], kept=[PASSWORD])
        for name, configuration in (
            ("common_name", COMMON_NAME),
            ("distinguished_name", DISTINGUISHED_NAME),
            ("asked", ASKED),
        )
    ]
    scenarios = [
        certificates_say_who_it_is,
        users_whom_nobody_knows_are_refused,
        certificates_of_other_authorities_are_refused,
        services_are_not_given_passwords_that_there_are_not,
        who_has_no_certificate_has_a_password,
        amqplib_is_known_by_its_certificate_too,
    ]
    return broker.run(brokers, scenarios)


if __name__ == "__main__":
    sys.exit(main())
