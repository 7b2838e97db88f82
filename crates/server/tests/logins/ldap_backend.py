"""pika, and brokers that ask OpenLDAP.

    python ldap_backend.py LEVERET FOLDER PORT TLS-PORT SLAPD-FOLDER

SLAPD-FOLDER has ca.pem, client.pem and client.key.
"""

import sys

import broker

PORT, TLS_PORT, SLAPD = sys.argv[3:6]
ALICE, BOB, SERVICE, OWN = "alice-password", "bob-password", "service-password", "Warren1sDeep"

DIRECTORY = f"""
listeners.tcp.1 = 127.0.0.1:0
auth_backends.1 = ldap
auth_backends.2 = internal
default_user = hazel
default_pass = {OWN}
auth_ldap.servers.1 = 127.0.0.1
auth_ldap.user_dn_pattern = cn=${{username}},ou=people,dc=example,dc=com
auth_ldap.other_bind.user_dn = cn=service,dc=example,dc=com
auth_ldap.other_bind.password = {SERVICE}
auth_ldap.log = network_unsafe
"""

WITH_QUERIES = f"""
{DIRECTORY}
auth_ldap.port = {PORT}
auth_ldap.queries.vhost_access = {{in_group, "cn=wheel,ou=groups,dc=example,dc=com"}}
auth_ldap.queries.resource_access = '''
{{for, [
  {{permission, configure, {{match, {{string, "${{name}}"}}, {{string, "^${{username}}[.]"}}}}}},
  {{permission, write, {{constant, true}}}},
  {{permission, read, {{constant, true}}}}
]}}
'''
auth_ldap.queries.topic_access = {{match, {{string, "${{routing_key}}"}}, {{string, "^a"}}}}
auth_ldap.queries.tags = [{{administrator, {{constant, false}}}}, {{management, {{constant, true}}}}]
"""


def users_publish_and_consume(ours, _):
    with ours.connect("alice", ALICE) as connection:
        broker.publish_and_consume(connection, "alice.mine")


def wrong_passwords_are_refused(ours, _):
    for user, password in (("alice", BOB), ("nobody", ALICE), ("alice", "")):
        broker.login_refused(lambda: ours.connect(user, password))
        ours.logged("login refused", f'user="{user}"', "rabbit_auth_backend_ldap")


def vhosts_are_refused(ours, _):
    text = "NOT_ALLOWED - access to vhost '/' refused for user 'bob'"
    broker.connection_refused(lambda: ours.connect("bob", BOB), 530, text)


def resources_are_refused(ours, _):
    with ours.connect("alice", ALICE) as connection:
        text = "configure access to queue 'mine' in vhost '/' refused for user 'alice'"
        broker.channel_refused(connection, text, lambda channel: channel.queue_declare("mine"))


def topics_are_refused(ours, _):
    with ours.connect("alice", ALICE) as connection:
        broker.publish(connection.channel(), "amq.topic", "a.topic")
        text = "write access to topic 'b.topic' in exchange 'amq.topic' in vhost '/' refused for user 'alice'"
        broker.channel_refused(connection, text, lambda channel: broker.publish(channel, "amq.topic", "b.topic"))


def users_of_the_broker_come_second(ours, _):
    with ours.connect("hazel", OWN) as connection:
        broker.publish_and_consume(connection, "hazels")


def servers_are_asked_through_tls(_, with_tls):
    with with_tls.connect("bob", BOB) as connection:
        broker.publish_and_consume(connection, "bobs")
    broker.login_refused(lambda: with_tls.connect("bob", ALICE))


def main():
    with_tls = f"""
{DIRECTORY}
auth_ldap.port = {TLS_PORT}
auth_ldap.use_ssl = true
auth_ldap.ssl_options.cacertfile = {SLAPD}/ca.pem
auth_ldap.ssl_options.certfile = {SLAPD}/client.pem
auth_ldap.ssl_options.keyfile = {SLAPD}/client.key
auth_ldap.ssl_options.sni = ldap.example.com
"""
    secrets = [ALICE, BOB, SERVICE, OWN]
    # The library has passwords in its buffers until something else is written there.
    kept = secrets
    brokers = [
        broker.Broker("ldap", WITH_QUERIES, secrets, kept),
        broker.Broker("ldap_with_tls", with_tls, secrets, kept),
    ]
    scenarios = [
        users_publish_and_consume,
        wrong_passwords_are_refused,
        vhosts_are_refused,
        resources_are_refused,
        topics_are_refused,
        users_of_the_broker_come_second,
        servers_are_asked_through_tls,
    ]
    return broker.run(brokers, scenarios)


if __name__ == "__main__":
    sys.exit(main())
