"""pika, and a broker that takes tokens for passwords."""

import sys

import broker
from pika.exceptions import ConnectionClosedByBroker
from tokens import Key

KEY = Key(broker.FOLDER / "token_key.der")
ALL = "rabbitmq.configure:*/* rabbitmq.write:*/* rabbitmq.read:*/*"
# Long enough to connect and to renew on a busy machine.
SHORT_SECONDS, LONG_SECONDS = 8, 3600
REFUSED = "rabbit_auth_backend_oauth2"


def users_publish_and_consume(*brokers):
    for ours in brokers:
        with ours.connect("whoever", KEY.token(LONG_SECONDS, ALL)) as connection:
            broker.publish_and_consume(connection, "mine")
        ours.logged("user 'hazel' authenticated and granted access to vhost")


def bad_tokens_are_refused(*brokers):
    good = KEY.token(LONG_SECONDS, ALL)
    message, _, signature = good.rpartition(".")
    for ours in brokers:
        for user, token in (
            ("expired", KEY.token(-10, ALL)),
            ("audience", KEY.token(LONG_SECONDS, ALL, aud="other")),
            ("forged", f"{message}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"),
            ("rubbish", "rubbish-that-is-no-token"),
        ):
            broker.login_refused(lambda: ours.connect(user, token))
            ours.logged("login refused", f'user="{user}"', REFUSED)


def scopes_say_what_is_allowed(ours, _):
    text = "NOT_ALLOWED - access to vhost '/' refused for user 'hazel'"
    broker.connection_refused(lambda: ours.connect("", KEY.token(LONG_SECONDS, "rabbitmq.read:other/*")), 530, text)
    scope = "rabbitmq.configure:*/mine* rabbitmq.write:*/*/a.*"
    with ours.connect("", KEY.token(LONG_SECONDS, scope)) as connection:
        connection.channel().queue_declare("mine.too", exclusive=True)
        broker.publish(connection.channel(), "amq.topic", "a.topic")
        topic = "topic 'b.topic' in exchange 'amq.topic'"
        for text, operation in (
            ("configure access to queue 'yours'", lambda channel: channel.queue_declare("yours")),
            ("read access to queue 'mine.too'", lambda channel: channel.basic_get("mine.too")),
            (f"write access to {topic}", lambda channel: broker.publish(channel, "amq.topic", "b.topic")),
        ):
            broker.channel_refused(connection, f"{text} in vhost '/' refused for user 'hazel'", operation)


def only_renewed_connections_outlive_their_token(ours, _):
    token = KEY.token(SHORT_SECONDS, ALL)
    with ours.connect("", token) as renewed:
        expiring = ours.connect("", token)
        new_token = KEY.token(LONG_SECONDS, ALL)
        ours.secrets.add(new_token)
        channel = renewed.channel()
        queue = channel.queue_declare("", exclusive=True).method.queue
        bodies = []
        channel.basic_consume(queue, lambda _channel, _method, _properties, body: bodies.append(body), auto_ack=True)
        renewed.update_secret(new_token, "the old one expires")
        ours.logged("user 'hazel' updated secret")
        try:
            broker.wait_until("the end", lambda: False, expiring)
        except ConnectionClosedByBroker as error:
            assert error.args == (320, "CONNECTION_FORCED - credential expired"), error
        ours.logged("credential expired")
        # It had the same token.
        broker.publish(renewed.channel(), "", queue)
        broker.wait_until("the message", lambda: bodies == [b"hare"], renewed)


def consumers_that_may_read_no_more_are_cancelled(ours, _):
    with ours.connect("", KEY.token(LONG_SECONDS, ALL)) as connection:
        channel = connection.channel()
        queue = channel.queue_declare("", exclusive=True).method.queue
        cancelled = []
        channel.add_on_cancel_callback(lambda method: cancelled.append(method.method.consumer_tag))
        tag = channel.basic_consume(queue, print)
        less = KEY.token(LONG_SECONDS, "rabbitmq.configure:*/* rabbitmq.write:*/*")
        ours.secrets.add(less)
        connection.update_secret(less, "to do less")
        broker.wait_until("basic.cancel", lambda: cancelled == [tag], connection)
        broker.publish(channel, "", queue)
        text = f"read access to queue '{queue}' in vhost '/' refused for user 'hazel'"
        broker.channel_refused(connection, text, lambda channel: channel.basic_get(queue))


def bad_new_tokens_end_the_connection(ours, _):
    for token in (
        KEY.token(-10, ALL),
        KEY.token(LONG_SECONDS, ALL, sub="bigwig"),
        KEY.token(LONG_SECONDS, ALL, aud="other"),
        "rubbish-that-is-no-new-token",
    ):
        connection = ours.connect("", KEY.token(LONG_SECONDS, ALL))
        ours.secrets.add(token)
        try:
            connection.update_secret(token, "to fail")
        except ConnectionClosedByBroker as error:
            assert error.reply_code == 530 and error.reply_text.startswith("NOT_ALLOWED - "), error
            continue
        raise AssertionError("a bad token was taken")


def the_http_api_takes_tokens(ours, _):
    refused = {"error": "not_authorized", "reason": "Login failed"}
    no_tag = {"error": "not_authorized", "reason": "Not management user"}
    administrator = {"name": "hazel", "tags": ["administrator"]}
    for token, answer in (
        (KEY.token(LONG_SECONDS, f"{ALL} rabbitmq.tag:administrator"), (200, administrator)),
        (KEY.token(LONG_SECONDS, ALL), (401, no_tag)),
        (KEY.token(-10, f"{ALL} rabbitmq.tag:administrator"), (401, refused)),
        ("rubbish-that-is-no-bearer", (401, refused)),
    ):
        # What a request was read into is not the broker's to wipe.
        ours.secrets.add(token)
        ours.kept.add(token)
        got = ours.get("/api/whoami", f"Bearer {token}")
        assert got == answer, got


def main():
    configuration = "listeners.tcp.1 = 127.0.0.1:0\nauth_backends.1 = oauth2\nauth_oauth2.resource_server_id = rabbitmq\n"
    fetched = f"auth_oauth2.jwks_uri = {KEY.serve(broker.FOLDER)}\nauth_oauth2.https.cacertfile = {broker.FOLDER}/ca.pem\n"
    known = f"auth_oauth2.signing_keys.k1 = {broker.FOLDER}/token_key.pem\n"
    brokers = [
        broker.Broker("oauth2", configuration + fetched, [], LEVERET_MANAGEMENT_LISTEN="127.0.0.1:0"),
        broker.Broker("oauth2_with_known_key", configuration + known, []),
    ]
    scenarios = [
        users_publish_and_consume,
        bad_tokens_are_refused,
        scopes_say_what_is_allowed,
        only_renewed_connections_outlive_their_token,
        consumers_that_may_read_no_more_are_cancelled,
        bad_new_tokens_end_the_connection,
        the_http_api_takes_tokens,
    ]
    return broker.run(brokers, scenarios)


if __name__ == "__main__":
    sys.exit(main())
