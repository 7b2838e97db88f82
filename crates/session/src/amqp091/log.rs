//! What the log says of a connection and its channels. The words are RabbitMQ's: people and programs look for them.

use std::borrow::Cow;
use std::fmt::{self, Display, Write as _};

use leveret_broker::access::LoginFailure;
use leveret_broker::value::Value;
use leveret_protocol::amqp091::method;

use super::fault::Fault;
use super::{NO_METHOD, Phase, Session};

/// What the log has been told of a connection.
#[derive(Debug, Default)]
pub(super) struct Told {
    is_accepted: bool,
    /// The vhost is open.
    is_open: bool,
    has_ended: bool,
    /// Why the client has a new secret, until that was taken.
    pub(super) secret_reason: String,
}

impl Told {
    /// Whether the client sent anything.
    pub(super) const fn is_accepted(&self) -> bool {
        self.is_accepted
    }
}

/// How a connection came to an end that nobody asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loss {
    /// The client hung up, or the network did.
    HungUp,
    /// The client took too long to open it.
    TooSlow,
    /// Its socket failed, and this is why.
    Failed(String),
}

/// Logs a connection's record at a level, with what programs may want to know.
macro_rules! record {
    ($level:ident, $session:expr, $($rest:tt)+) => {
        tracing::$level!(
            target: "connection",
            connection = $session.id.0,
            peer = %$session.peer.address,
            user = $session.known(&$session.user),
            vhost = $session.known(&$session.vhost),
            client_name = $session.client_name().as_deref(),
            $($rest)+
        )
    };
}

impl Session {
    /// The client sent its first octets.
    pub(super) fn log_accepted(&mut self) {
        if std::mem::replace(&mut self.told.is_accepted, true) {
            return;
        }
        let tls = self.peer.tls.as_ref();
        let certificate = tls.and_then(|tls| tls.certificate.as_ref());
        tracing::info!(
            target: "connection",
            connection = self.id.0,
            peer = %self.peer.address,
            tls = tls.map(|tls| &*tls.version),
            cipher = tls.map(|tls| &*tls.cipher),
            certificate = certificate.map(|certificate| &*certificate.subject),
            "accepting AMQP connection {})",
            self.described(),
        );
    }

    /// The client said who it is.
    pub(super) fn log_client_name(&self) {
        if let Some(name) = self.client_name() {
            let (id, between) = (self.id.0, self.peer.connection_name());
            record!(info, self, "connection <0.{id}.0> ({between}) has a client-provided name: {name}");
        }
    }

    pub(super) fn log_refused(&self, failure: &LoginFailure) {
        let mechanism = self.mechanism.as_str();
        let why = fmt::from_fn(|f| match failure {
            LoginFailure::Refused { user, reason } if user.is_empty() => f.write_str(reason),
            LoginFailure::Refused { .. } | LoginFailure::LoopbackOnly { .. } => failure.fmt(f),
        });
        let (LoginFailure::Refused { user, .. } | LoginFailure::LoopbackOnly { user }) = failure;
        tracing::error!(
            target: "connection",
            connection = self.id.0,
            peer = %self.peer.address,
            user = self.known(user),
            mechanism,
            detail = %format_args!("{mechanism} login refused: {why}"),
            "Error on AMQP connection {}, state: starting):",
            self.described(),
        );
    }

    /// The connection is open.
    pub(super) fn log_open(&mut self) {
        self.told.is_open = true;
        let (user, vhost) = (&*self.user, &*self.vhost);
        record!(
            info,
            self,
            "connection {}): user '{user}' authenticated and granted access to vhost '{vhost}'",
            self.described()
        );
    }

    pub(super) fn log_new_secret(&mut self) {
        let reason = std::mem::take(&mut self.told.secret_reason);
        let user = &*self.user;
        record!(info, self, "connection {}): user '{user}' updated secret, reason: {reason}", self.described());
    }

    /// The connection ends with an error of its octets or methods, for which a channel is to blame, or 0.
    pub(super) fn log_fault(&mut self, number: u16, fault: &Fault, ids: (u16, u16)) {
        let (code, explanation) = parts(fault);
        match self.phase {
            // Whoever refused a login has said so.
            Phase::Starting | Phase::Verifying => {}
            Phase::Header | Phase::Tuning => {
                self.log_failed(&format_args!("failed to negotiate connection parameters: {explanation}"));
            }
            Phase::Opening | Phase::Asking => record!(
                error,
                self,
                detail = explanation,
                "Error on AMQP connection {}, user: '{}', state: opening):",
                self.described(),
                self.user
            ),
            Phase::Running | Phase::Closing | Phase::Over => record!(
                error,
                self,
                channel = number,
                reason = %code,
                detail = %format_args!(" operation {} caused a connection exception {code}: \"{explanation}\"", operation(ids)),
                "Error on AMQP connection {}{}, state: running), channel {number}:",
                self.described(),
                self.whose()
            ),
        }
    }

    pub(super) fn log_channel_fault(&self, number: u16, fault: &Fault, ids: (u16, u16)) {
        let (code, explanation) = parts(fault);
        tracing::error!(
            target: "channel",
            connection = self.id.0,
            channel = number,
            peer = %self.peer.address,
            user = &*self.user,
            vhost = &*self.vhost,
            client_name = self.client_name().as_deref(),
            reason = %code,
            detail = %format_args!("operation {} caused a channel exception {code}: {explanation}", operation(ids)),
            "Channel error on connection <0.{}.0> ({}{}), channel {number}:",
            self.id.0,
            self.peer.connection_name(),
            self.whose(),
        );
    }

    /// A consumer is cancelled that its client would keep.
    pub(super) fn log_cancel(&self, number: u16, tag: &str, why: &str) {
        tracing::warn!(
            target: "channel",
            connection = self.id.0,
            channel = number,
            peer = %self.peer.address,
            user = &*self.user,
            vhost = &*self.vhost,
            consumer = tag,
            detail = why,
            "cancelling consumer '{tag}' on connection <0.{}.0> ({}{}), channel {number}:",
            self.id.0,
            self.peer.connection_name(),
            self.whose(),
        );
    }

    /// The connection ends during the handshake, or with octets that make no sense.
    pub(super) fn log_failed(&mut self, why: &dyn Display) {
        self.log_accepted();
        if !std::mem::replace(&mut self.told.has_ended, true) {
            record!(error, self, detail = %why, "closing AMQP connection {}):", self.described());
        }
    }

    /// The client says why it closes the connection.
    pub(super) fn log_closed_for(&mut self, code: u16, text: &str) {
        if !std::mem::replace(&mut self.told.has_ended, true) {
            let detail = format_args!("the client says: {code} {text}");
            record!(warn, self, %detail, "closing AMQP connection {}{}):", self.described(), self.whose());
        }
    }

    /// The connection ends; why has been said, or need not be.
    pub(super) fn log_end(&mut self) {
        if std::mem::replace(&mut self.told.has_ended, true) {
            return;
        }
        if self.told.is_accepted {
            record!(info, self, "closing AMQP connection {}{})", self.described(), self.whose());
        } else {
            // Those who only look whether the port is open, which some do every second.
            record!(debug, self, "accepting AMQP connection {})", self.described());
            let detail = "connection_closed_with_no_data_received";
            record!(debug, self, detail, "closing AMQP connection {}):", self.described());
        }
    }

    /// The connection is lost; the log says how.
    pub fn lost(&mut self, how: &Loss) {
        match how {
            Loss::HungUp if !self.told.is_accepted => self.log_end(),
            Loss::HungUp | Loss::Failed(_) => {
                if std::mem::replace(&mut self.told.has_ended, true) {
                    return;
                }
                let detail = fmt::from_fn(|f| match how {
                    Loss::Failed(why) => write!(f, "the socket failed: {why}"),
                    Loss::HungUp | Loss::TooSlow => f.write_str("client unexpectedly closed TCP connection"),
                });
                record!(warn, self, %detail, "closing AMQP connection {}{}):", self.described(), self.whose());
            }
            Loss::TooSlow => self.log_failed(&"handshake timeout: the client took too long to open the connection"),
        }
    }

    /// The connection, without the parenthesis at its end: `<0.7.0> (192.0.2.1:40500 -> 192.0.2.2:5672 - name`.
    fn described(&self) -> impl Display {
        fmt::from_fn(|f| {
            write!(f, "<0.{}.0> ({} -> {}", self.id.0, self.peer.address, self.peer.local)?;
            self.client_name().map_or(Ok(()), |name| write!(f, " - {name}"))
        })
    }

    /// Who is connected to what, if that is known: `, vhost: '/', user: 'guest'`.
    fn whose(&self) -> impl Display {
        fmt::from_fn(|f| {
            if self.user.is_empty() {
                return Ok(());
            }
            let vhost = if self.told.is_open { &*self.vhost } else { "none" };
            write!(f, ", vhost: '{vhost}', user: '{}'", self.user)
        })
    }

    /// What the client calls its connection.
    fn client_name(&self) -> Option<Cow<'_, str>> {
        match self.client_properties.get("connection_name") {
            Some(Value::LongStr(name)) => Some(String::from_utf8_lossy(name)),
            _ => None,
        }
    }

    /// A name that may not be known yet.
    #[expect(clippy::unused_self, reason = "for the macro")]
    fn known<'a>(&self, name: &'a str) -> Option<&'a str> {
        (!name.is_empty()).then_some(name)
    }
}

/// A fault's code, and what explains it.
fn parts(fault: &Fault) -> (impl Display, &str) {
    let name = fault.code().name();
    let code = fmt::from_fn(move |f| name.chars().try_for_each(|letter| write!(f, "{}", letter.to_ascii_lowercase())));
    let explanation =
        fault.text().strip_prefix(name).map_or(fault.text(), |rest| rest.strip_prefix(" - ").unwrap_or(rest));
    (code, explanation)
}

/// What a method is called, as in `basic.publish`; `none` if no method is to blame.
fn operation(ids: (u16, u16)) -> impl Display {
    fmt::from_fn(move |f| {
        let Some(name) = method::name(ids).filter(|_| ids != NO_METHOD) else { return f.write_str("none") };
        // `BasicRecoverAsync` is `basic.recover_async`.
        let mut between = [".", "_"].into_iter();
        for (at, letter) in name.char_indices() {
            if at > 0 && letter.is_ascii_uppercase() {
                f.write_str(between.next().unwrap_or("_"))?;
            }
            f.write_char(letter.to_ascii_lowercase())?;
        }
        Ok(())
    })
}
