"""A scripted session of AMQPStorm's client of the HTTP API against a running broker.

    python amqpstorm_management.py AMQP_ADDRESS HTTP_ADDRESS
"""

import sys

import pika
from amqpstorm.management import ApiError, ManagementApi

from scenarios import Scenarios, close_reason, eventually

AMQP, HTTP = sys.argv[1:3]
scenario = Scenarios()
api = ManagementApi(f"http://{HTTP}", "guest", "guest")


def refuses(code, call, *args, **named):
    try:
        answer = call(*args, **named)
    except ApiError as error:
        assert error.error_code == code, f"{args}: {error!r} {error.error_code}"
        return
    raise AssertionError(f"{args}: {answer}")


@scenario
def the_node_is_looked_at():
    assert api.whoami() == {"name": "guest", "tags": ["administrator"]}, api.whoami()
    [node] = api.nodes()
    assert api.node(node["name"])["running"] is True
    assert api.overview()["node"] == node["name"]
    assert api.cluster_name()["name"]
    assert api.aliveness_test("/") == {"status": "ok"}
    assert api.healthchecks.get() == {"status": "ok"}


@scenario
def queues_and_exchanges_are_declared_bound_and_deleted():
    api.queue.declare("q", durable=True, arguments={"x-max-length": 9})
    api.queue.declare("q", passive=True)
    refuses(404, api.queue.declare, "nope", passive=True)
    refuses(400, api.queue.declare, "q", durable=False)
    api.exchange.declare("x", "topic", durable=True)
    api.exchange.declare("y", "fanout", durable=True)
    api.queue.bind("q", "x", "a.#", arguments={"n": 1})
    [key] = [binding["properties_key"] for binding in api.queue.bindings("q") if binding["source"] == "x"]
    assert key.startswith("a.%23~"), key
    api.queue.unbind("q", "x", "a.#", properties_key=key)
    assert [binding["source"] for binding in api.queue.bindings("q")] == [""]
    api.exchange.bind("y", "x", "b")
    assert [binding["destination"] for binding in api.exchange.bindings("x")] == ["y"]
    api.exchange.unbind("y", "x", "b", properties_key="b")
    assert api.exchange.get("x")["type"] == "topic"
    names = {queue["name"] for queue in api.queue.list(name="^q$", use_regex=True, page_size=1)}
    assert names == {"q"}, names
    exchanges = [exchange["name"] for exchange in api.exchange.list(page_size=3)]
    assert {"x", "y", "amq.topic"} <= set(exchanges) and len(exchanges) == len(set(exchanges)), exchanges
    api.exchange.delete("x")
    api.exchange.delete("y")
    api.queue.delete("q")
    refuses(404, api.queue.get, "q")


@scenario
def messages_are_published_and_got():
    api.queue.declare("q", durable=True)
    sent = {"body": "hello", "routing_key": "q", "properties": {"content_type": "text/plain", "headers": {"a": 1}}}
    assert api.basic.publish(**sent) == {"routed": True}
    [message] = api.basic.get("q", to_dict=True, requeue=True)
    assert (message["payload"], message["properties"]["headers"]) == ("hello", {"a": 1}), message
    [message] = api.basic.get("q", to_dict=True)
    assert message["redelivered"] is True and message["payload"] == "hello", message
    assert api.basic.get("q") == []
    api.basic.publish(**sent)
    api.queue.purge("q")
    assert api.basic.get("q") == []
    api.queue.delete("q")


@scenario
def users_and_vhosts_come_and_go():
    api.virtual_host.create("v")
    api.user.create("u", "p", tags="monitoring")
    api.user.create("w", "p", tags=["management", "a"])
    assert api.user.get("w")["tags"] == ["management", "a"]
    api.user.set_permission("u", "v", "c", "w", "r")
    granted = {"user": "u", "vhost": "v", "configure": "c", "write": "w", "read": "r"}
    assert api.user.get_permission("u", "v") == granted
    assert api.user.get_permissions("u") == [granted]
    assert granted in api.virtual_host.get_permissions("v")
    assert api.virtual_host.get("v")["name"] == "v"
    api.user.delete_permission("u", "v")
    refuses(404, api.user.get_permission, "u", "v")
    refuses(401, ManagementApi(f"http://{HTTP}", "u", "wrong").whoami)
    api.user.delete(["u", "w"])
    assert {user["name"] for user in api.user.list()} == {"guest"}
    api.virtual_host.delete("v")
    assert [vhost["name"] for vhost in api.virtual_host.list()] == ["/"]


@scenario
def connections_are_listed_and_closed():
    host, port = AMQP.split(":")
    properties = {"connection_name": "the one"}
    client = pika.BlockingConnection(pika.ConnectionParameters(host, int(port), client_properties=properties))
    channel = client.channel()
    eventually(lambda: len(api.channel.list()) == 1, "one channel")
    [listed] = api.channel.list()
    assert api.channel.get(listed["name"])["number"] == channel.channel_number
    [listed] = api.connection.list(page_size=1)
    assert listed["user_provided_name"] == "the one", listed
    assert api.connection.get(listed["name"])["channels"] == 1
    api.connection.close(listed["name"], reason="because")
    assert close_reason(client) == (320, "CONNECTION_FORCED - because")


scenario.run()
