"""What Terraform's provider for RabbitMQ asks of the HTTP API: create, read until nothing is to be changed, delete.

    python provider_loop.py HTTP_ADDRESS

The requests are those that cyrilgdn/rabbitmq makes through its client, and answers are held to the types it reads.
"""

import base64
import http.client
import json
import sys
from urllib.parse import quote, unquote

from scenarios import Scenarios

HTTP = sys.argv[1]
scenario = Scenarios()


def ask(method, path, body=None):
    """Status, headers, and what the JSON says."""
    connection = http.client.HTTPConnection(HTTP, timeout=60)
    headers = {"Authorization": "Basic " + base64.b64encode(b"guest:guest").decode()}
    if body is not None:
        headers["Content-Type"] = "application/json"
    connection.request(method, "/api/" + path, None if body is None else json.dumps(body), headers)
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    return answer.status, answer.headers, json.loads(text) if text else None


def escape(part):
    """A part of a path, as the provider's client escapes it."""
    return quote(part, safe="")


def resource(path, body, read, update=None):
    """The life of one resource; `read` checks what is read, given what was written."""
    assert ask("GET", path)[0] == 404, path
    assert ask("PUT", path, body)[0] == 201, path
    for _ in range(2):
        status, _, found = ask("GET", path)
        assert status == 200, (path, status)
        read(found, body)
        # A second apply changes nothing.
        assert ask("PUT", path, body)[0] == 204, path
    if update is not None:
        assert ask("PUT", path, update)[0] == 204, path
        read(ask("GET", path)[2], update)
    assert ask("DELETE", path)[0] == 204, path
    assert ask("GET", path)[0] == 404, path


def has(**types):
    """Checks fields of what was read: those that were written are the same, and all have these types."""

    def read(found, written):
        for name, type_ in types.items():
            name = name.replace("_to", "-to")
            assert isinstance(found.get(name), type_), f"{name}: {found}"
            if name in written:
                assert found[name] == written[name], f"{name}: {found}, not {written}"

    return read


@scenario
def a_vhost():
    written = {"description": "d", "tags": ["a", "b"], "default_queue_type": "quorum", "tracing": False}
    resource("vhosts/terraform", written, has(name=str, description=str, tags=list, tracing=bool),
             {**written, "description": "e"})


@scenario
def a_user_and_what_it_may():
    def read(found, written):
        assert found["tags"] == ["management", "policymaker"], found
        assert isinstance(found["password_hash"], str) and isinstance(found["hashing_algorithm"], str), found

    resource("users/u", {"password": "p", "tags": "management,policymaker"}, read)
    ask("PUT", "users/u", {"password": "p", "tags": ""})
    permission = {"configure": ".*", "write": "^a", "read": ""}
    resource("permissions/%2F/u", permission, has(configure=str, write=str, read=str), {**permission, "read": ".*"})
    topic = {"exchange": "amq.topic", "write": "^a", "read": ".*"}
    assert ask("PUT", "topic-permissions/%2F/u", topic)[0] == 201
    status, _, found = ask("GET", "topic-permissions/%2F/u")
    assert status == 200 and found == [{"user": "u", "vhost": "/", **topic}], found
    assert ask("DELETE", "topic-permissions/%2F/u/amq.topic")[0] == 204
    assert ask("GET", "topic-permissions/%2F/u")[0] == 404
    assert ask("DELETE", "users/u")[0] == 204


@scenario
def an_exchange_and_a_queue():
    exchange = {"type": "topic", "durable": True, "auto_delete": False, "arguments": {"alternate-exchange": "amq.fanout"}}
    resource("exchanges/%2F/" + escape("x/y z"), exchange,
             has(name=str, type=str, durable=bool, auto_delete=bool, internal=bool, arguments=dict))
    queue = {"durable": True, "auto_delete": False, "arguments": {"x-message-ttl": 5000, "x-queue-type": "classic"}}
    resource("queues/%2F/" + escape("q ä/b"), queue, has(name=str, durable=bool, auto_delete=bool, arguments=dict))


@scenario
def bindings_are_found_by_the_end_of_their_location():
    ask("PUT", "exchanges/%2F/src", {"type": "headers", "durable": True})
    ask("PUT", "queues/%2F/dst", {"durable": True})
    ask("PUT", "exchanges/%2F/dst", {"type": "fanout", "durable": True})
    for destination in ["queue", "exchange"]:
        for key, arguments in [("", {}), ("a.b", {}), ("#", {}), ("a/b c", {}), ("ANYTHING.#", {"n": 5, "key": "v"})]:
            path = f"bindings/%2F/e/src/{destination[0]}/dst"
            binding = {"source": "src", "vhost": "/", "destination": "dst", "destination_type": destination,
                       "routing_key": key, "arguments": arguments}
            status, headers, _ = ask("POST", path, binding)
            assert status == 201, (binding, status)
            properties_key = unquote(headers["Location"].split("/")[-1])
            found = [b for b in ask("GET", "bindings/%2F")[2]
                     if (b["source"], b["destination_type"], b["properties_key"]) == ("src", destination, properties_key)]
            assert len(found) == 1, (binding, properties_key, found)
            assert (found[0]["routing_key"], found[0]["arguments"]) == (key, arguments), found
            assert ask("DELETE", f"{path}/{escape(properties_key)}")[0] == 204, properties_key
            assert ask("DELETE", f"{path}/{escape(properties_key)}")[0] == 404, properties_key
    for path in ["queues/%2F/dst", "exchanges/%2F/dst", "exchanges/%2F/src"]:
        assert ask("DELETE", path)[0] == 204, path


@scenario
def policies():
    policy = {"pattern": "^a", "priority": 3, "apply-to": "queues", "definition": {"max-length": 5, "overflow": "reject-publish"}}
    read = has(name=str, vhost=str, pattern=str, priority=int, apply_to=str, definition=dict)
    resource("policies/%2F/" + escape("p q"), policy, read, {**policy, "priority": 4})
    operator = {"pattern": "^a", "priority": 0, "apply-to": "queues", "definition": {"max-length": 5}}
    resource("operator-policies/%2F/p", operator, read, {**operator, "pattern": "^b"})


scenario.run()
