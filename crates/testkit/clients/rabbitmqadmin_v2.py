"""What rabbitmqadmin 2.x does, against a running broker. It reads every answer into types, and takes no missing field.

    python rabbitmqadmin_v2.py PROGRAM AMQP_ADDRESS HTTP_ADDRESS

It needs the HTTP API of RabbitMQ 4.
"""

import json
import os
import subprocess
import sys
import tempfile

import pika

from scenarios import Scenarios, close_reason, eventually

PROGRAM, AMQP, HTTP = sys.argv[1:4]
COMMAND_SECONDS = 60

scenario = Scenarios()


def attempt(*args, stdin=""):
    host, port = HTTP.split(":")
    command = [PROGRAM, "--host", host, "--port", port, "--username", "guest", "--password", "guest", *args]
    # It reads a file in the home folder.
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "HOME": home}
        ended = subprocess.run(
            command, input=stdin, capture_output=True, text=True, timeout=COMMAND_SECONDS, env=environment
        )
    return ended.returncode, ended.stdout + ended.stderr


def run(*args, stdin=""):
    """What it prints; it has to end well."""
    status, output = attempt(*args, stdin=stdin)
    assert status == 0, f"{args} ends with {status}: {output}"
    return output


def shows(text, *args):
    output = run(*args)
    assert text in output, f"{args}: no {text!r} in {output!r}"


def hides(text, *args):
    output = run(*args)
    assert text not in output, f"{args}: {text!r} in {output!r}"


def refuses(*args):
    status, output = attempt(*args)
    assert status != 0, f"{args}: {output}"
    assert "panicked" not in output, output


def connect(name):
    host, port = AMQP.split(":")
    properties = {"connection_name": name}
    return pika.BlockingConnection(pika.ConnectionParameters(host, int(port), client_properties=properties))


@scenario
def the_node_and_its_memory_are_shown():
    shows("RabbitMQ version", "show", "overview")
    run("show", "churn")
    shows(HTTP, "show", "endpoint")
    nodes = run("list", "nodes")
    node = next(word for word in nodes.split() if "@" in word)
    run("nodes", "list")
    run("show", "memory_breakdown_in_bytes", "--node", node)
    run("show", "memory_breakdown_in_percent", "--node", node)
    run("nodes", "memory_breakdown_in_bytes", "--node", node)
    run("auth_attempts", "stats", "--node", node)
    run("plugins", "list_all")
    run("plugins", "list_on_node", "--node", node)
    run("list", "feature_flags")
    run("feature_flags", "enable", "--name", "quorum_queue")
    run("feature_flags", "enable_all")
    run("list", "deprecated_features")
    run("list", "deprecated_features_in_use")
    run("rebalance", "queues")
    run("passwords", "salt_and_hash", "secret")


@scenario
def health_is_checked():
    run("health_check", "local_alarms")
    run("health_check", "cluster_wide_alarms")
    run("health_check", "node_is_quorum_critical")
    run("health_check", "port_listener", "--port", AMQP.split(":")[1])
    refuses("health_check", "port_listener", "--port", "1")
    run("health_check", "protocol_listener", "--protocol", "amqp")
    refuses("health_check", "protocol_listener", "--protocol", "mqtt")


@scenario
def what_is_declared_is_listed_and_deleted():
    run("declare", "exchange", "--name", "x", "--type", "topic", "--durable", "true")
    run("declare", "queue", "--name", "q", "--type", "classic", "--arguments", '{"x-max-length": 10}')
    run("declare", "queue", "--name", "qq", "--type", "quorum")
    binding = ["--source", "x", "--destination-type", "queue", "--destination", "q", "--routing-key", "a.#"]
    run("declare", "binding", *binding)
    run("exchanges", "bind", "--source", "x", "--destination-type", "exchange", "--destination", "amq.fanout",
        "--routing-key", "b")
    for command in [("list", "queues"), ("queues", "list"), ("queues", "list", "--page", "1", "--page-size", "5")]:
        shows("qq", *command)
    shows("topic", "list", "exchanges")
    run("exchanges", "list")
    shows("a.#", "list", "bindings")
    run("bindings", "list")
    shows("classic", "queues", "show", "--name", "q")
    run("queues", "show", "--name", "qq")
    run("delete", "binding", *binding, "--arguments", "{}")
    hides("a.#", "list", "bindings")
    run("delete", "exchange", "--name", "x")
    run("queues", "delete", "--name", "q")
    refuses("delete", "queue", "--name", "q")
    run("delete", "queue", "--name", "q", "--idempotently")
    run("queues", "delete_multiple", "--name-pattern", "^q", "--approve")
    hides("qq", "list", "queues")


@scenario
def users_vhosts_and_what_they_may_are_declared():
    run("declare", "user", "--name", "u", "--password", "p", "--tags", "monitoring,a")
    run("declare", "vhost", "--name", "v", "--description", "of the test", "--default-queue-type", "quorum")
    run("--vhost", "v", "declare", "permissions", "--user", "u", "--configure", ".*", "--read", "b", "--write", "a")
    shows("monitoring", "list", "users")
    shows("of the test", "list", "vhosts")
    shows(".*", "list", "permissions")
    run("users", "permissions")
    run("declare", "user_limit", "--user", "u", "--name", "max-connections", "--value", "7")
    run("--vhost", "v", "declare", "vhost_limit", "--name", "max-queues", "--value", "9")
    shows("max-connections", "list", "user_limits")
    shows("max-queues", "--vhost", "v", "list", "vhost_limits")
    run("delete", "user_limit", "--user", "u", "--name", "max-connections")
    run("--vhost", "v", "delete", "vhost_limit", "--name", "max-queues")
    run("vhosts", "enable_deletion_protection", "--name", "v")
    refuses("delete", "vhost", "--name", "v")
    run("vhosts", "disable_deletion_protection", "--name", "v")
    run("--vhost", "v", "delete", "permissions", "--user", "u")
    run("delete", "user", "--name", "u")
    refuses("delete", "user", "--name", "u")
    run("delete", "user", "--name", "u", "--idempotently")
    run("delete", "vhost", "--name", "v")


@scenario
def policies_and_parameters_are_declared():
    policy = ["--pattern", "^a", "--apply-to", "queues", "--priority", "3", "--definition", '{"max-length": 5}']
    run("declare", "policy", "--name", "p", *policy)
    run("declare", "operator_policy", "--name", "o", *policy)
    shows("max-length", "list", "policies")
    shows("max-length", "list", "operator_policies")
    run("policies", "list_in", "--apply-to", "queues")
    run("policies", "list_matching_object", "--name", "a1", "--type", "queues")
    run("policies", "update_definition", "--name", "p", "--definition-key", "max-length", "--new-value", "77")
    shows("77", "list", "policies")
    run("policies", "patch", "--name", "p", "--definition", '{"expires": 100000}')
    run("policies", "delete_definition_keys", "--name", "p", "--definition-keys", "expires")
    hides("expires", "list", "policies")
    run("policies", "list_conflicting")
    refuses("declare", "policy", "--name", "t", "--pattern", "^a", "--apply-to", "queues", "--definition", '{"nope": 5}')
    run("delete", "policy", "--name", "p")
    run("delete", "operator_policy", "--name", "o")
    run("declare", "parameter", "--component", "vhost-limits", "--name", "limits", "--value", '{"max-queues": 500}')
    shows("max-queues", "parameters", "list_all")
    run("delete", "parameter", "--component", "vhost-limits", "--name", "limits")
    run("global_parameters", "set", "--name", "g", "--value", '{"a": 1}')
    shows('{"a":1}', "global_parameters", "list")
    run("global_parameters", "clear", "--name", "g")


@scenario
def messages_are_published_and_got():
    run("declare", "queue", "--name", "q", "--type", "classic")
    run("publish", "message", "--routing-key", "q", "--payload", "one", "--properties", '{"delivery_mode": 2}')
    run("publish", "message", "--routing-key", "q", "--payload-file", "-", stdin="two")
    shows("one", "get", "messages", "--queue", "q", "--count", "2", "--ack-mode", "ack_requeue_true")
    shows("one", "get", "messages", "--queue", "q")
    shows("two", "get", "messages", "--queue", "q", "--ack-mode", "reject_requeue_false")
    run("publish", "message", "--routing-key", "q", "--payload", "three")
    run("queues", "purge", "--name", "q")
    hides("three", "get", "messages", "--queue", "q")
    run("delete", "queue", "--name", "q")


@scenario
def definitions_go_there_and_back():
    run("declare", "vhost", "--name", "d")
    run("--vhost", "d", "declare", "queue", "--name", "kept", "--type", "classic")
    with tempfile.TemporaryDirectory() as folder:
        everything, vhost = os.path.join(folder, "all.json"), os.path.join(folder, "d.json")
        run("definitions", "export", "--file", everything)
        run("--vhost", "d", "definitions", "export_from_vhost", "--file", vhost)
        run("definitions", "export", "--stdout", "--transformations", "prepare_for_quorum_queue_migration")
        with open(everything, encoding="utf-8") as file:
            assert "kept" in [queue["name"] for queue in json.load(file)["queues"]]
        run("delete", "vhost", "--name", "d")
        run("definitions", "import", "--file", everything)
        shows("kept", "--vhost", "d", "list", "queues")
        run("--vhost", "d", "delete", "queue", "--name", "kept")
        run("--vhost", "d", "definitions", "import_into_vhost", "--file", vhost)
        shows("kept", "--vhost", "d", "list", "queues")
    run("delete", "vhost", "--name", "d")


@scenario
def connections_are_listed_and_closed():
    connection = connect("first")
    channel = connection.channel()
    channel.queue_declare("q", durable=True)
    channel.confirm_delivery()
    channel.basic_consume("q", lambda *_: None, consumer_tag="tag-1")
    channel.basic_publish("", "q", b"one")
    eventually(lambda: " -> " in run("list", "connections"), "a connection")
    eventually(lambda: "tag-1" in run("list", "consumers"), "a consumer")
    shows(" -> ", "list", "channels")
    run("connections", "list")
    run("channels", "list")
    shows("q", "list", "queues")
    run("queues", "show", "--name", "q")
    shows("guest", "list", "user_connections", "--username", "guest")
    run("show", "overview")
    closes(connection, "close", "user_connections", "--username", "guest")
    connection = connect("second")
    eventually(lambda: " -> " in run("list", "connections"), "another connection")
    listing = run("--table-style", "borderless", "list", "connections")
    [line] = [line for line in listing.splitlines() if " -> " in line]
    before, after = line.split(" -> ")
    closes(connection, "close", "connection", "--name", f"{before.split()[-1]} -> {after.split()[0]}")
    refuses("close", "connection", "--name", "nope")
    run("delete", "queue", "--name", "q")


def closes(connection, *command):
    """Closes the connection by a command, and awaits that the client hears of it."""
    run(*command)
    assert close_reason(connection)[0] == 320


scenario.run()
