"""pika, and a broker that asks an HTTP service."""

import sys

import broker
from service import Service

PASSWORD = "Warren1sDeep"


def may(what, fields):
    match what:
        case "vhost":
            return fields["username"] != "stranger" and fields["ip"] == "127.0.0.1"
        case "resource":
            return fields["name"] != f"no.{fields['permission']}"
        case "topic":
            return fields["routing_key"] != "no.topic"


SERVICE = Service({"hazel": PASSWORD, "stranger": PASSWORD}, may)


def users_publish_and_consume(ours):
    with ours.connect("hazel", PASSWORD) as connection:
        broker.publish_and_consume(connection, "mine")
        broker.publish(connection.channel(), "amq.topic", "a.topic")
    asked = [fields for what, fields in SERVICE.asked if what == "resource"]
    assert {(fields["resource"], fields["name"], fields["permission"]) for fields in asked} >= {
        ("queue", "mine", "configure"),
        ("exchange", "amq.default", "write"),
        ("queue", "mine", "read"),
        ("exchange", "amq.topic", "write"),
    }, asked
    assert all("password" not in fields for what, fields in SERVICE.asked if what != "user")


def wrong_passwords_are_refused(ours):
    broker.login_refused(lambda: ours.connect("hazel", "WrongOne"))
    ours.logged("login refused", 'user="hazel"', "Denied by the backing HTTP service")
    broker.login_refused(lambda: ours.connect("nobody", PASSWORD))
    ours.logged("login refused", 'user="nobody"')


def vhosts_are_refused(ours):
    text = "NOT_ALLOWED - access to vhost '/' refused for user 'stranger'"
    broker.connection_refused(lambda: ours.connect("stranger", PASSWORD), 530, text)


def resources_are_refused(ours):
    with ours.connect("hazel", PASSWORD) as connection:
        mine = connection.channel()
        for name in ("no.read", "no.write"):
            mine.queue_declare(name, exclusive=True)
            mine.exchange_declare(name, auto_delete=True)
        for permission, kind, operation in (
            ("configure", "queue", lambda channel: channel.queue_declare("no.configure")),
            ("configure", "exchange", lambda channel: channel.exchange_declare("no.configure")),
            ("write", "queue", lambda channel: channel.queue_bind("no.write", "amq.direct")),
            ("write", "exchange", lambda channel: broker.publish(channel, "no.write", "")),
            ("read", "queue", lambda channel: channel.basic_consume("no.read", print)),
            ("read", "queue", lambda channel: channel.basic_get("no.read")),
            ("read", "exchange", lambda channel: channel.queue_bind("no.read", "no.read")),
        ):
            text = f"{permission} access to {kind} 'no.{permission}' in vhost '/' refused for user 'hazel'"
            broker.channel_refused(connection, text, operation)


def topics_are_refused(ours):
    with ours.connect("hazel", PASSWORD) as connection:
        connection.channel().queue_declare("topics", exclusive=True)
        for permission, operation in (
            ("write", lambda channel: broker.publish(channel, "amq.topic", "no.topic")),
            ("read", lambda channel: channel.queue_bind("topics", "amq.topic", "no.topic")),
        ):
            text = f"{permission} access to topic 'no.topic' in exchange 'amq.topic' in vhost '/' refused for user 'hazel'"
            broker.channel_refused(connection, text, operation)


def a_service_that_is_down_lets_nobody_do_anything(ours):
    with ours.connect("hazel", PASSWORD) as connection:
        SERVICE.stop()
        refusal = broker.channel_refusal(connection, lambda channel: channel.queue_declare("another"))
        text = "ACCESS_REFUSED - configure access to queue 'another' in vhost '/' refused for user 'hazel', "
        assert refusal.startswith(f"{text}backend rabbit_auth_backend_http returned an error: "), refusal
        ours.logged("an access check failed", "rabbit_auth_backend_http")
        broker.login_refused(lambda: ours.connect("hazel", PASSWORD))
        ours.logged("login refused", 'user="hazel"', "connect")


def main():
    brokers = [
        broker.Broker(
            "http",
            f"listeners.tcp.1 = 127.0.0.1:0\nauth_backends.1 = http\n{SERVICE.configuration()}default_pass = $(FIRST)\n",
            [PASSWORD, "FirstOfAll"],
            kept=["FirstOfAll"],  # Nobody can take it out of the environment.
            FIRST="FirstOfAll",
        )
    ]
    scenarios = [
        users_publish_and_consume,
        wrong_passwords_are_refused,
        vhosts_are_refused,
        resources_are_refused,
        topics_are_refused,
        a_service_that_is_down_lets_nobody_do_anything,
    ]
    return broker.run(brokers, scenarios)


if __name__ == "__main__":
    sys.exit(main())
