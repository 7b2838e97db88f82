//! What a connection tells of itself to those who listen: it, its channels and its consumers come and go. Names and facts are
//! RabbitMQ's.

use leveret_broker::access::LoginFailure;
use leveret_broker::events::{Fact, Facts};
use leveret_protocol::amqp091::method::BasicConsume;

use super::sources::SourceKind;
use super::{Session, table};

/// What RabbitMQ's events call the protocol.
const PROTOCOL: &str = "{0,9,1}";

impl Session {
    /// The vhost is open.
    pub(super) fn tell_open(&self) {
        self.node.tell("connection.created", || {
            let connected_at = self.node.connected_at(self.id).map_or(0, |time| signed(time.0));
            let facts = self.by().text("node", self.node.name()).number("connected_at", connected_at);
            let facts = facts.arguments("client_properties", &self.client_properties);
            let facts = facts.number("channel_max", self.limits.channel_max.into());
            let facts = facts.number("frame_max", self.limits.frame_max.into());
            let facts = facts.number("timeout", self.limits.heartbeat_seconds.into());
            let facts = facts.text("vhost", &self.vhost).text("user", &self.user).text("protocol", PROTOCOL);
            let tls = self.peer.tls.as_ref();
            let facts = facts.text("ssl_cipher", tls.map(|tls| &*tls.cipher).unwrap_or_default());
            let facts = facts.text("ssl_protocol", tls.map(|tls| &*tls.version).unwrap_or_default());
            let facts = facts.text("auth_mechanism", self.mechanism.as_str());
            let certificate = tls.and_then(|tls| tls.certificate.as_ref());
            let facts = facts.text("peer_cert_issuer", certificate.map(|one| &*one.issuer).unwrap_or_default());
            let facts = facts.text("peer_cert_subject", certificate.map(|one| &*one.subject).unwrap_or_default());
            let facts = facts.flag("ssl", tls.is_some()).text("peer_host", &self.peer.address.ip().to_string());
            let facts = facts.text("host", &self.peer.local.ip().to_string());
            let facts = facts.number("peer_port", self.peer.address.port().into());
            let facts = facts.number("port", self.peer.local.port().into());
            facts.text("name", &self.peer.connection_name()).with("pid", self.pid()).text("type", "network")
        });
    }

    /// The connection is over.
    pub(super) fn tell_closed(&self) {
        self.node.tell("connection.closed", || {
            let facts = Facts::new().arguments("client_properties", &self.client_properties);
            let facts = facts.text("node", self.node.name()).with("pid", self.pid());
            facts.text("name", &self.peer.connection_name())
        });
    }

    /// The client is who it says.
    pub(super) fn tell_logged_in(&self) {
        self.node.tell("user.authentication.success", || self.attempted(Facts::new(), &self.user));
    }

    /// It is not.
    pub(super) fn tell_refused(&self, failure: &LoginFailure) {
        self.node.tell("user.authentication.failure", || {
            let (LoginFailure::Refused { user, .. } | LoginFailure::LoopbackOnly { user }) = failure;
            self.attempted(Facts::new().text("error", &failure.to_string()), user)
        });
    }

    fn attempted(&self, facts: Facts, user: &str) -> Facts {
        let facts = facts.flag("ssl", self.peer.tls.is_some()).text("auth_mechanism", self.mechanism.as_str());
        let facts = facts.text("protocol", PROTOCOL).number("peer_port", self.peer.address.port().into());
        let facts = facts.text("peer_host", &self.peer.address.ip().to_string());
        let facts = facts.text("connection_name", &self.peer.connection_name());
        let facts = facts.text("host", &self.peer.local.ip().to_string()).text("name", user);
        facts.text("connection_type", "network")
    }

    /// A channel is there.
    pub(super) fn tell_channel_opened(&self, number: u16) {
        self.node.tell("channel.created", || {
            let facts = self.by().text("vhost", &self.vhost).text("user", &self.user);
            let facts = facts.number("number", number.into()).with("connection", self.pid());
            let facts = facts.text("name", &format!("{} ({number})", self.peer.connection_name()));
            facts.with("pid", Fact::Channel(self.id, number))
        });
    }

    /// A channel is gone.
    pub(super) fn tell_channel_closed(&self, number: u16) {
        self.node.tell("channel.closed", || self.by().with("pid", Fact::Channel(self.id, number)));
    }

    /// A consumer is there.
    pub(super) fn tell_consumer(&self, key: u32, prefetch: u16, consume: &BasicConsume<'_>) {
        let Some(source) = self.sources.get(key) else { return };
        self.node.tell("consumer.created", || {
            let facts = self
                .by()
                .arguments("arguments", &table::to_broker(consume.arguments))
                .number("prefetch_count", prefetch.into());
            let facts = facts.text("queue", source.origin()).text("vhost", &self.vhost);
            let facts = facts.with("channel", Fact::Channel(self.id, source.channel));
            let facts = facts.flag("ack_required", !source.no_ack).flag("exclusive", consume.exclusive);
            facts.text("consumer_tag", &source.tag)
        });
    }

    /// A consumer that is there is about to go.
    pub(super) fn tell_consumer_gone(&self, key: u32) {
        let is_there =
            |source: &&super::sources::Source| source.live && matches!(source.kind(), SourceKind::Consumer { .. });
        let Some(source) = self.sources.get(key).filter(is_there) else { return };
        self.node.tell("consumer.deleted", || {
            let facts = self.by().text("queue", source.origin()).text("vhost", &self.vhost);
            facts.with("channel", Fact::Channel(self.id, source.channel)).text("consumer_tag", &source.tag)
        });
    }

    /// Facts that begin with the user.
    fn by(&self) -> Facts {
        Facts::new().text("user_who_performed_action", &self.user)
    }

    const fn pid(&self) -> Fact {
        Fact::Connection(self.id)
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
