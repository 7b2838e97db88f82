"""Makes on a fresh RabbitMQ what the rich exports have: over HTTP what AMQP cannot make, the rest with pika.

python3 rich.py AMQP_PORT HTTP_PORT FOLDER
"""

import base64
import datetime
import decimal
import hashlib
import json
import sys
import urllib.error
import urllib.parse
import urllib.request

import pika

AMQP_PORT, HTTP_PORT, FOLDER = int(sys.argv[1]), sys.argv[2], sys.argv[3]
B = f"http://127.0.0.1:{HTTP_PORT}/api/"


def put(path, body, method="PUT"):
    r = urllib.request.Request(
        B + path,
        data=None if body is None else json.dumps(body).encode(),
        method=method,
        headers={
            "Authorization": "Basic " + base64.b64encode(b"guest:guest").decode(),
            "content-type": "application/json",
        },
    )
    try:
        return urllib.request.urlopen(r).read()
    except urllib.error.HTTPError as e:
        print(path, e.code, e.read())


def q(s):
    return urllib.parse.quote(s, safe="")


put("vhosts/" + q("orders"), {"description": "Orders of the shop", "tags": "production,shop"})
put("vhosts/" + q("quorum by default"), {"description": "", "tags": "", "default_queue_type": "quorum"})
put("vhosts/" + q("ünïcode/ßlash"), {})
put("vhosts/" + q("limited"), {"description": "has limits", "tracing": False})
put("vhosts/" + q("traced"), {"tracing": True})
put("vhost-limits/limited/max-connections", {"value": 100})
put("vhost-limits/limited/max-queues", {"value": 1000})
put("users/admin", {"password": "admin-secret", "tags": "administrator"})
put("users/nopassword", {"password_hash": "", "tags": ""})
put("users/" + q("Zoë Müller"), {"password": "pä$$wörd", "tags": "monitoring,own tag"})


def h(alg, pw):
    salt = b"\x90\x8d\xc6\x0a"
    return base64.b64encode(salt + alg(salt + pw.encode()).digest()).decode()


for name, alg, mod in (
    ("md5-user", hashlib.md5, "rabbit_password_hashing_md5"),
    ("sha256-user", hashlib.sha256, "rabbit_password_hashing_sha256"),
    ("sha512-user", hashlib.sha512, "rabbit_password_hashing_sha512"),
):
    put("users/" + name, {"password_hash": h(alg, "secret"), "hashing_algorithm": mod, "tags": "policymaker"})
put("user-limits/admin/max-connections", {"value": 5})
put("user-limits/admin/max-channels", {"value": 50})
for v in ("/", "orders", "quorum by default", "ünïcode/ßlash", "limited"):
    put(f"permissions/{q(v)}/guest", {"configure": ".*", "write": ".*", "read": ".*"})
put("permissions/orders/admin", {"configure": "^orders\\.", "write": "^(orders|amq\\.topic)$", "read": ""})
put("permissions/%2F/" + q("Zoë Müller"), {"configure": "", "write": "a|b", "read": "^ü"})
put("topic-permissions/orders/admin", {"exchange": "amq.topic", "write": "^{username}\\.", "read": ".*"})
put("topic-permissions/%2F/sha256-user", {"exchange": "", "write": "x", "read": "y"})
put(
    "policies/%2F/" + q("lazy & long"),
    {
        "pattern": "^lazy",
        "definition": {"queue-mode": "lazy", "max-length-bytes": 1000000000, "overflow": "reject-publish"},
        "priority": 5,
        "apply-to": "queues",
    },
)
put(
    "policies/orders/dlx",
    {
        "pattern": "^orders\\.",
        "definition": {
            "dead-letter-exchange": "orders.dead",
            "dead-letter-routing-key": "x",
            "message-ttl": 60000,
            "expires": 3600000,
            "max-length": 1000,
        },
        "priority": 0,
        "apply-to": "all",
    },
)
put(
    "policies/orders/fed",
    {"pattern": "^fed", "definition": {"federation-upstream-set": "all"}, "priority": -3, "apply-to": "exchanges"},
)
put(
    "policies/orders/ae",
    {"pattern": "ae", "definition": {"alternate-exchange": "amq.fanout"}, "priority": 1, "apply-to": "exchanges"},
)
put(
    "operator-policies/orders/cap",
    {"pattern": ".*", "definition": {"max-length": 50000, "delivery-limit": 20}, "priority": 9, "apply-to": "queues"},
)
put(
    "parameters/federation-upstream/orders/up",
    {
        "value": {
            "uri": "amqp://user:secret@upstream:5672/%2f",
            "expires": 3600000,
            "ack-mode": "on-confirm",
            "prefetch-count": 100,
            "max-hops": 2,
            "trust-user-id": False,
        }
    },
)
put(
    "parameters/federation-upstream-set/orders/both",
    {"value": [{"upstream": "up"}, {"upstream": "up", "exchange": "other"}]},
)
put(
    "parameters/shovel/%2F/move",
    {
        "value": {
            "src-protocol": "amqp091",
            "src-uri": "amqp://",
            "src-queue": "from",
            "dest-protocol": "amqp091",
            "dest-uri": ["amqp://a", "amqp://b"],
            "dest-queue": "to",
            "ack-mode": "on-publish",
            "src-delete-after": "never",
        }
    },
)
put("global-parameters/mine", {"value": {"a": [1, 2.5, True, None, "ü"], "nested": {"b": {}}}})
put("global-parameters/text", {"value": "just text"})
put("global-parameters/number", {"value": 17})
put("cluster-name", {"name": "fixture@cluster"})


def conn(v):
    return pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", AMQP_PORT, v))


c = conn("/")
ch = c.channel()
Q = lambda n, a=None, **k: ch.queue_declare(n, durable=k.pop("durable", True), arguments=a, **k)
X = lambda n, t, a=None, **k: ch.exchange_declare(n, t, durable=k.pop("durable", True), arguments=a, **k)
Q("classic")
Q("auto-delete", auto_delete=True)
Q("transient", durable=False)
Q("exclusive", exclusive=True)
Q("lazy.v1", {"x-queue-mode": "lazy"})
Q("v2", {"x-queue-version": 2})
Q("priority", {"x-max-priority": 10})
Q(
    "quorum",
    {
        "x-queue-type": "quorum",
        "x-delivery-limit": 5,
        "x-quorum-initial-group-size": 1,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
        "x-dead-letter-exchange": "dead",
        "x-max-in-memory-length": 10,
    },
)
Q(
    "stream",
    {
        "x-queue-type": "stream",
        "x-max-age": "7D",
        "x-max-length-bytes": 20000000000,
        "x-stream-max-segment-size-bytes": 500000000,
    },
)
Q(
    "all limits",
    {
        "x-max-length": 10,
        "x-max-length-bytes": 2**40,
        "x-message-ttl": 60000,
        "x-expires": 1800000,
        "x-overflow": "reject-publish-dlx",
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": "classic",
        "x-single-active-consumer": True,
        "x-queue-master-locator": "client-local",
    },
)
Q("ünïcode ☃ queue")
Q('slash/es %2F & "quotes" \\ back')
Q(" spaces ")
Q(
    "odd arguments",
    {
        "int": 1,
        "negative": -5,
        "large": 2**40,
        "true": True,
        "false": False,
        "none": None,
        "text": "täxt",
        "empty": "",
        "decimal": decimal.Decimal("1.25"),
        "time": datetime.datetime(2020, 1, 2, 3, 4, 5),
        "array": [1, "two", True, [3], {"four": 4}],
        "empty array": [],
        "table": {"a": {"b": {"c": [1]}}, "empty": {}},
        "x-unknown": "kept",
    },
)
X("direct", "direct")
X("fanout", "fanout", auto_delete=True)
X("topic", "topic", {"alternate-exchange": "fanout"})
X("headers", "headers", durable=False)
X("internal", "topic", internal=True)
X("hash", "x-consistent-hash", {"hash-header": "id"})
X("hash on property", "x-consistent-hash", {"hash-property": "message_id"})
X('ëxchange "1"', "direct", {"x-other": [1, {"a": False}]})
X("keep-auto", "direct", auto_delete=True)
ch.queue_bind("classic", "direct", "key")
ch.queue_bind("classic", "direct", "key 2")
ch.queue_bind("classic", "topic", "a.*.#")
ch.queue_bind("quorum", "topic", "#")
ch.queue_bind("classic", "keep-auto", "")
ch.queue_bind("classic", "hash", "10")
ch.queue_bind("quorum", "hash", "20")
ch.queue_bind("ünïcode ☃ queue", 'ëxchange "1"', "ключ")
ch.queue_bind(
    "classic",
    "headers",
    "",
    {"x-match": "any", "number": 5, "text": "täxt", "flag": True, "none": None, "nested": {"a": 1}, "list": [1, 2]},
)
ch.queue_bind("quorum", "headers", "ignored", {"x-match": "all-with-x", "x-header": "v"})
ch.queue_bind("transient", "amq.fanout", "")
ch.queue_bind("stream", "amq.topic", "x" * 200)
ch.exchange_bind("internal", "topic", "e2e.#")
ch.exchange_bind("fanout", "amq.headers", "", {"x-match": "all", "a": "b"})
put(
    "bindings/%2F/e/amq.headers/q/" + q("all limits"),
    {"routing_key": "float", "arguments": {"x-match": "any", "float": 1.5, "small": -0.001, "big": 1e21}},
    "POST",
)
put(
    "queues/%2F/by-http",
    {"durable": True, "auto_delete": False, "arguments": {"x-max-length": 5, "float": 2.5, "x-queue-type": "classic"}},
)
o = conn("orders")
ch = o.channel()
X("orders", "topic")
X("orders.dead", "fanout")
X("fed.in", "direct")
Q("orders.new")
Q("orders.dead")
ch.queue_bind("orders.new", "orders", "new.#")
ch.queue_bind("orders.dead", "orders.dead", "")
for v in ("quorum by default", "ünïcode/ßlash"):
    o = conn(v)
    ch = o.channel()
    Q("q")
    Q("q with type", {"x-queue-type": "classic"} if v[0] == "q" else None)


def get(path, f):
    r = put(path, None, "GET")
    open(f, "wb").write(r)


get("definitions", FOLDER + "/http_rich.json")
get("definitions/orders", FOLDER + "/http_vhost_orders.json")
get("definitions/%2F", FOLDER + "/http_vhost_default.json")
