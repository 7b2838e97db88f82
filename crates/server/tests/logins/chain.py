"""pika, and brokers that ask several: one after the other, one for each half, and one whose answers are remembered."""

import sys

import broker
from service import Service

HAZEL, BIGWIG = "Warren1sDeep", "0wslaFirst"
LISTEN = "listeners.tcp.1 = 127.0.0.1:0\n"
OWN = f"default_user = bigwig\ndefault_pass = {BIGWIG}\n"

SERVICE = Service({"hazel": HAZEL})
# Has to know whom the broker lets in, as it says what they may do.
JUDGE = Service({"bigwig": BIGWIG}, lambda what, fields: fields.get("name") != "forbidden")
REMEMBERED = Service({"hazel": HAZEL})


def the_second_is_asked_if_the_first_does_not_know(chain, *_):
    for user, password in (("hazel", HAZEL), ("bigwig", BIGWIG)):
        with chain.connect(user, password) as connection:
            broker.publish_and_consume(connection, user)
    assert SERVICE.count("user") == 2
    # What users of the broker may do is for the broker to say.
    assert {fields["username"] for what, fields in SERVICE.asked if what != "user"} == {"hazel"}
    for user, password in (("hazel", BIGWIG), ("bigwig", HAZEL), ("fiver", HAZEL)):
        broker.login_refused(lambda: chain.connect(user, password))
        chain.logged("login refused", f'user="{user}"')


def the_second_is_asked_if_the_first_is_down(chain, *_):
    SERVICE.stop()
    broker.login_refused(lambda: chain.connect("hazel", HAZEL))
    with chain.connect("bigwig", BIGWIG) as connection:
        broker.publish_and_consume(connection, "bigwig")


def one_says_who_it_is_and_another_what_it_may_do(_, split, __):
    with split.connect("bigwig", BIGWIG) as connection:
        broker.publish_and_consume(connection, "bigwig")
        text = "configure access to queue 'forbidden' in vhost '/' refused for user 'bigwig'"
        broker.channel_refused(connection, text, lambda channel: channel.queue_declare("forbidden"))
    JUDGE.users["hazel"] = HAZEL
    broker.login_refused(lambda: split.connect("hazel", HAZEL))
    assert JUDGE.count("resource") > 0 and JUDGE.count("vhost") > 0


def answers_are_remembered(*brokers):
    cached = brokers[2]
    for _ in range(5):
        with cached.connect("hazel", HAZEL) as connection:
            broker.publish_and_consume(connection, "mine")
    counts = {what: REMEMBERED.count(what) for what in ("user", "vhost", "resource")}
    # The exchange, and what is done with the queue: to make it, and to read it.
    assert counts == {"user": 1, "vhost": 1, "resource": 3}, counts
    broker.login_refused(lambda: cached.connect("hazel", BIGWIG))
    assert REMEMBERED.count("user") == 2


def main():
    chain = f"{LISTEN}{OWN}auth_backends.1 = http\nauth_backends.2 = internal\n{SERVICE.configuration()}"
    split = f"{LISTEN}{OWN}auth_backends.1.authn = internal\nauth_backends.1.authz = http\n{JUDGE.configuration()}"
    cached = f"{LISTEN}{OWN}auth_backends.1 = cache\nauth_cache.cached_backend = http\n{REMEMBERED.configuration('get')}"
    secrets = [HAZEL, BIGWIG]
    brokers = [
        broker.Broker("chain", chain, secrets),
        broker.Broker("split", split, secrets),
        # What is in a URL, nobody wipes.
        broker.Broker("cached", cached, secrets, kept=secrets),
    ]
    scenarios = [
        the_second_is_asked_if_the_first_does_not_know,
        the_second_is_asked_if_the_first_is_down,
        one_says_who_it_is_and_another_what_it_may_do,
        answers_are_remembered,
    ]
    return broker.run(brokers, scenarios)


if __name__ == "__main__":
    sys.exit(main())
