"""Everything that rabbitmqadmin of RabbitMQ 3.x does, against a running broker.

    python rabbitmqadmin_v1.py PATH_OF_RABBITMQADMIN AMQP_ADDRESS HTTP_ADDRESS

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


def run(*args, stdin=""):
    """What it prints; it has to end well."""
    status, output = attempt(*args, stdin=stdin)
    assert status == 0, f"{args} ends with {status}: {output}"
    return output


def attempt(*args, stdin=""):
    host, port = HTTP.split(":")
    command = [sys.executable, PROGRAM, "-H", host, "-P", port, *args]
    ended = subprocess.run(
        command, input=stdin, capture_output=True, text=True, timeout=COMMAND_SECONDS, env={**os.environ, "COLUMNS": "200"}
    )
    return ended.returncode, ended.stdout + ended.stderr


def says(text, *args, stdin=""):
    output = run(*args, stdin=stdin)
    assert output.strip() == text, f"{args}: {output!r}, not {text!r}"


def refuses(text, *args):
    status, output = attempt(*args)
    assert status != 0 and text in output, f"{args}: {status} {output!r}, not {text!r}"


def listed(what, *columns, options=()):
    """The rows of a listing, as values of the columns."""
    output = run("-f", "raw_json", *options, "list", what, *columns)
    return [tuple(row.get(column) for column in columns) for row in json.loads(output)]


def parameters(name):
    host, port = AMQP.split(":")
    return pika.ConnectionParameters(host, int(port), client_properties={"connection_name": name})


@scenario
def what_is_declared_is_listed_and_deleted():
    says("exchange declared", "declare", "exchange", "name=x", "type=topic")
    says("queue declared", "declare", "queue", "name=q", 'arguments={"x-max-length": 10}')
    says("queue declared", "declare", "queue", "name=qq", "queue_type=quorum")
    says("queue declared", "declare", "queue", "name=transient", "durable=false", "auto_delete=true")
    says("binding declared", "declare", "binding", "source=x", "destination=q", "routing_key=a.#")
    says("binding declared", "declare", "binding", "source=x", "destination=q", "routing_key=a b/c")
    says("binding declared", "declare", "binding", "source=x", "destination=amq.fanout", "destination_type=exchange")
    names = listed("queues", "name", "durable", "type")
    assert ("q", True, "classic") in names and ("qq", True, "quorum") in names, names
    assert ("transient", False, "classic") in names, names
    assert ("x", "topic") in listed("exchanges", "name", "type")
    bindings = listed("bindings", "source", "destination", "routing_key", "properties_key")
    keys = {row[3] for row in bindings if row[:2] == ("x", "q")}
    assert keys == {"a.%23", "a+b%2Fc"}, keys
    assert ("x", "amq.fanout", "", "~") in bindings, bindings
    delete = ["delete", "binding", "source=x", "destination_type=queue", "destination=q"]
    says("binding deleted", *delete, "properties_key=a.%23")
    refuses("Not found", *delete, "properties_key=a.%23")
    says("queue deleted", "delete", "queue", "name=q")
    says("queue deleted", "delete", "queue", "name=qq")
    says("queue deleted", "delete", "queue", "name=transient")
    says("exchange deleted", "delete", "exchange", "name=x")
    refuses("Not found", "delete", "queue", "name=q")


@scenario
def users_vhosts_and_what_they_may_are_declared():
    says("user declared", "declare", "user", "name=u", "password=p", "tags=monitoring,a")
    says("user declared", "declare", "user", "name=h", "password_hash=2lmoth8l4H0DViLaK9Fxi6l9ds8=", "tags=",
         "hashing_algorithm=rabbit_password_hashing_md5")
    says("vhost declared", "declare", "vhost", "name=v", "tracing=false")
    says("permission declared", "declare", "permission", "vhost=v", "user=u", "configure=.*", "write=a", "read=")
    assert ("u", ["monitoring", "a"]) in listed("users", "name", "tags")
    assert ("h", "rabbit_password_hashing_md5") in listed("users", "name", "hashing_algorithm")
    assert ("u", "v", ".*", "a", "") in listed("permissions", "user", "vhost", "configure", "write", "read")
    assert ("v", False) in listed("vhosts", "name", "tracing")
    assert "v" in run("-u", "u", "-p", "p", "list", "vhosts")
    refuses("Access refused", "-u", "u", "-p", "p", "list", "users")
    refuses("Access refused", "-u", "u", "-p", "wrong", "list", "vhosts")
    says("queue declared", "-V", "v", "declare", "queue", "name=q")
    assert listed("queues", "name", "vhost", options=["-V", "v"]) == [("q", "v")]
    says("permission deleted", "delete", "permission", "vhost=v", "user=u")
    says("user deleted", "delete", "user", "name=u")
    says("user deleted", "delete", "user", "name=h")
    says("vhost deleted", "delete", "vhost", "name=v")


@scenario
def policies_parameters_and_limits_are_declared():
    says("policy declared", "declare", "policy", "name=p", "pattern=^a", 'definition={"max-length": 5}', "priority=3",
         "apply-to=queues")
    says("operator_policy declared", "declare", "operator_policy", "name=o", "pattern=^a", 'definition={"max-length": 9}')
    says("parameter declared", "declare", "parameter", "component=vhost-limits", "name=limits",
         'value={"max-queues": 500}')
    says("vhost_limit declared", "declare", "vhost_limit", "vhost=/", "name=max-connections", "value=100")
    assert ("p", "^a", {"max-length": 5}, 3, "queues") in listed(
        "policies", "name", "pattern", "definition", "priority", "apply-to")
    assert ("o", {"max-length": 9}) in listed("operator_policies", "name", "definition")
    limits = {"max-connections": 100, "max-queues": 500}
    assert listed("vhost_limits", "vhost", "value") == [("/", limits)]
    assert ("vhost-limits", "limits", limits) in listed("parameters", "component", "name", "value")
    says("queue declared", "declare", "queue", "name=a1")
    eventually(lambda: ("a1", "p") in listed("queues", "name", "policy"), "the queue's policy")
    refuses("Validation failed", "declare", "policy", "name=p", "pattern=^a", 'definition={"nope": 5}')
    says("queue deleted", "delete", "queue", "name=a1")
    says("policy deleted", "delete", "policy", "name=p")
    says("operator_policy deleted", "delete", "operator_policy", "name=o")
    says("vhost_limit deleted", "delete", "vhost_limit", "vhost=/", "name=max-connections")
    says("parameter deleted", "delete", "parameter", "component=vhost-limits", "name=limits")


@scenario
def messages_are_published_and_got():
    says("queue declared", "declare", "queue", "name=q")
    says("Message published", "publish", "routing_key=q", "payload=one", 'properties={"delivery_mode": 2}')
    says("Message published", "publish", "exchange=amq.default", "routing_key=q", stdin="two, from standard input")
    says("Message published but NOT routed", "publish", "routing_key=nowhere", "payload=three")
    output = run("-f", "raw_json", "get", "queue=q", "count=5")
    assert [message["payload"] for message in json.loads(output)] == ["one", "two, from standard input"], output
    assert "one" in run("get", "queue=q", "ackmode=ack_requeue_false")
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "payload")
        assert "redelivered" in run("get", "queue=q", "ackmode=reject_requeue_true", f"payload_file={file}")
        with open(file, encoding="utf-8") as payload:
            assert payload.read() == "two, from standard input"
    says("queue purged", "purge", "queue", "name=q")
    assert json.loads(run("-f", "raw_json", "get", "queue=q")) == []
    refuses("NOT_FOUND", "publish", "exchange=nope", "routing_key=q", "payload=x")
    refuses("Not found", "get", "queue=nope")
    says("queue deleted", "delete", "queue", "name=q")


@scenario
def definitions_go_there_and_back():
    says("vhost declared", "declare", "vhost", "name=d")
    says("queue declared", "-V", "d", "declare", "queue", "name=kept", 'arguments={"x-max-length": 3}')
    with tempfile.TemporaryDirectory() as folder:
        everything, vhost = os.path.join(folder, "all.json"), os.path.join(folder, "d.json")
        assert "Exported definitions" in run("export", everything)
        assert "Exported definitions" in run("-V", "d", "export", vhost)
        with open(everything, encoding="utf-8") as file:
            definitions = json.load(file)
        assert "kept" in [queue["name"] for queue in definitions["queues"]], definitions
        assert "guest" in [user["name"] for user in definitions["users"]], definitions
        says("vhost deleted", "delete", "vhost", "name=d")
        assert "Uploaded definitions" in run("import", everything)
        assert ("kept", {"x-max-length": 3}) in listed("queues", "name", "arguments", options=["-V", "d"])
        says("queue deleted", "-V", "d", "delete", "queue", "name=kept")
        assert "Uploaded definitions" in run("-V", "d", "import", vhost)
        assert ("kept",) in listed("queues", "name", options=["-V", "d"])
    says("vhost deleted", "delete", "vhost", "name=d")


@scenario
def everything_is_listed_in_every_format():
    connection = pika.BlockingConnection(parameters("first"))
    channel = connection.channel()
    channel.queue_declare("q", durable=True)
    channel.queue_bind("q", "amq.topic", "k")
    channel.basic_consume("q", lambda *_: None, consumer_tag="tag")
    eventually(lambda: listed("connections", "user", "channels") == [("guest", 1)], "a connection")
    eventually(lambda: listed("consumers", "consumer_tag") == [("tag",)], "a consumer")
    kinds = ["connections", "channels", "consumers", "exchanges", "queues", "bindings", "users", "vhosts", "permissions",
             "nodes", "parameters", "policies", "operator_policies", "vhost_limits"]
    for kind in kinds:
        run("-f", "long", "-S", "name", "-R", "list", kind)
    for format in ["tsv", "kvp", "pretty_json", "bash"]:
        run("-f", format, "list", "queues")
    assert "| q " in run("list", "queues"), run("list", "queues")
    assert "guest" in run("list", "users")
    run("-d", "3", "list", "users")
    eventually(lambda: json.loads(run("-f", "raw_json", "show", "overview"))[0]["object_totals"]["queues"] == 1, "a queue")
    run("show", "overview")
    [(name,)] = listed("connections", "name")
    says("connection closed", "close", "connection", f"name={name}")
    assert close_reason(connection)[0] == 320
    says("queue deleted", "delete", "queue", "name=q")


scenario.run()
