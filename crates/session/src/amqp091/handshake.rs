//! From the protocol header to connection.open-ok (§2.2.4), and the methods of channel 0 after it.

use leveret_broker::Name;
use leveret_broker::access::{Identity, LoginAttempt, LoginFailure, Peer, Secret};
use leveret_broker::node::Opening;
use leveret_protocol::amqp091::method::{
    ConnectionClose, ConnectionCloseOk, ConnectionOpen, ConnectionOpenOk, ConnectionStart, ConnectionStartOk,
    ConnectionTune, ConnectionTuneOk,
};
use leveret_protocol::amqp091::{Method, ProtocolHeader, ReplyCode, Table, TableWriter, Value, frame};

use super::access::Refusal;
use super::fault::Fault;
use super::settings::{Anonymous, FRAME_MAX_MIN, Mechanism};
use super::{Capabilities, Ending, Handled, LINGER, Limits, NO_METHOD, Phase, Session, table};

/// Ids of connection.tune.
const TUNE: (u16, u16) = (10, 30);
/// Ids of connection.open.
pub(super) const OPEN: (u16, u16) = (10, 40);
/// What logins are counted under.
const PROTOCOL: &str = "amqp091";
/// Capabilities of the server, all of them true.
const CAPABILITIES: [&str; 9] = [
    "publisher_confirms",
    "exchange_exchange_bindings",
    "basic.nack",
    "consumer_cancel_notify",
    "connection.blocked",
    "consumer_priorities",
    "authentication_failure_close",
    "per_consumer_qos",
    "direct_reply_to",
];

/// Why somebody's attempt to log in ends before anybody has looked at it.
enum NoAttempt {
    /// It is no valid attempt; who sends it is dropped without a word.
    Malformed(String),
    /// There is nothing to log in with.
    Refused(LoginFailure),
}

impl Session {
    pub(super) fn protocol_header(&mut self, octets: [u8; 8], out: &mut Vec<u8>) {
        match ProtocolHeader::decode(&octets) {
            Some(ProtocolHeader::AMQP_0_9_1 | ProtocolHeader::AMQP_0_9) => {
                self.phase = Phase::Starting;
                self.start(out);
            }
            header => {
                self.log_failed(&describe_header(octets));
                // A client of a later 0-9 is told what is spoken here; everybody else what RabbitMQ 4 tells them.
                let answer = match header {
                    Some(ProtocolHeader([0, 0, minor, _])) if minor >= 9 => ProtocolHeader::AMQP_0_9_1,
                    _ => ProtocolHeader::AMQP_1_0_SASL,
                };
                out.extend_from_slice(&answer.octets());
                self.over(Ending::Now);
            }
        }
    }

    fn start(&self, out: &mut Vec<u8>) {
        let settings = &self.settings;
        let mechanisms = self.mechanisms();
        let mut properties = Vec::new();
        // Operators can give it another name while the node runs.
        let given_name = self.node.read(|topology| topology.cluster_name().map(str::to_owned));
        let cluster_name = given_name.as_ref().unwrap_or(&settings.cluster_name);
        let text = |text: &'static str| Value::LongStr(text.as_bytes());
        TableWriter::new(&mut properties)
            .table("capabilities", |capabilities| {
                for name in CAPABILITIES {
                    capabilities.field(name, Value::Bool(true));
                }
            })
            .field("cluster_name", Value::LongStr(cluster_name.as_bytes()))
            .field("copyright", text("Copyright (c) The Leveret authors"))
            .field("information", text("Licensed under MIT or Apache-2.0"))
            .field("leveret", Value::LongStr(settings.leveret_version.as_bytes()))
            .field("platform", text("Rust"))
            .field("product", Value::LongStr(settings.product.as_bytes()))
            .field("version", Value::LongStr(settings.version.as_bytes()));
        let start = ConnectionStart {
            version_major: 0,
            version_minor: 9,
            server_properties: Table::parse(&properties).unwrap_or_default(),
            mechanisms: mechanisms.as_bytes(),
            locales: b"en_US",
        };
        frame::write_method(out, 0, &start);
    }

    /// A method on channel 0 while the handshake lasts.
    pub(super) fn handshake(&mut self, method: &Method<'_>, out: &mut Vec<u8>) -> Handled {
        match (self.phase, method) {
            (Phase::Starting, Method::ConnectionStartOk(start_ok)) => {
                self.start_ok(start_ok, out);
                Ok(())
            }
            (Phase::Tuning, Method::ConnectionTuneOk(tune_ok)) => {
                if let Err(fault) = self.tune_ok(*tune_ok) {
                    // Blamed on the proposal that was not kept to, as RabbitMQ does.
                    self.close_with(&fault, TUNE, out);
                }
                Ok(())
            }
            (Phase::Opening, Method::ConnectionOpen(open)) => self.open(open, out),
            _ => Err(self.unexpected_method()),
        }
    }

    fn start_ok(&mut self, start_ok: &ConnectionStartOk<'_>, out: &mut Vec<u8>) {
        if let Some(Value::Table(capabilities)) = start_ok.client_properties.get("capabilities") {
            let has = |name| capabilities.get(name) == Some(Value::Bool(true));
            self.capabilities = Capabilities {
                authentication_failure_close: has("authentication_failure_close"),
                consumer_cancel_notify: has("consumer_cancel_notify"),
                connection_blocked: has("connection.blocked"),
            };
        }
        self.client_properties = table::to_broker(start_ok.client_properties);
        self.log_client_name();
        self.access.saw_secret = true;
        match self.attempt(start_ok) {
            Ok(attempt) => {
                let (ticket, reply) = self.reply();
                self.phase = Phase::Verifying;
                match self.settings.authenticator.log_in(attempt, reply) {
                    Some(result) => self.logged_in(result, out),
                    None => self.await_verification(ticket),
                }
            }
            Err(NoAttempt::Refused(failure)) => {
                self.logged_in(Err(failure), out);
            }
            Err(NoAttempt::Malformed(reason)) => {
                self.log_failed(&format_args!("login refused: {reason}"));
                self.over(Ending::Within(LINGER));
            }
        }
    }

    /// What the client sent, as an attempt to log in.
    fn attempt(&mut self, start_ok: &ConnectionStartOk<'_>) -> Result<LoginAttempt, NoAttempt> {
        let name = start_ok.mechanism;
        let mechanism = Mechanism::parse(name).filter(|mechanism| self.is_offered(*mechanism));
        let Some(mechanism) = mechanism else {
            return Err(NoAttempt::Malformed(format!("unknown authentication mechanism '{name}'")));
        };
        self.mechanism = mechanism;
        let (name, secret) = match mechanism {
            Mechanism::Plain => plain(start_ok.response).map(with_password)?,
            Mechanism::Amqplain => amqplain(start_ok.response).map(with_password)?,
            Mechanism::Anonymous => match &self.settings.anonymous {
                Some(Anonymous { user, password }) => (Name::clone(user), Some(password.clone())),
                None => return Err(refused("anonymous logins are not allowed")),
            },
            Mechanism::External => {
                let certificate = self.peer.tls.as_ref().and_then(|tls| tls.certificate.as_ref());
                let Some(certificate) = certificate else { return Err(refused("no peer certificate")) };
                let name = certificate.login_name.as_ref();
                (Name::clone(name.ok_or_else(|| refused("no name found in the peer certificate"))?), None)
            }
        };
        let peer = Peer::clone(&self.peer);
        Ok(LoginAttempt { name, secret, peer, mechanism: mechanism.as_str(), protocol: PROTOCOL })
    }

    /// Somebody has looked at the attempt.
    pub(super) fn logged_in(&mut self, result: Result<Identity, LoginFailure>, out: &mut Vec<u8>) {
        match result {
            Ok(identity) => {
                self.set_identity(identity);
                self.tell_logged_in();
                self.phase = Phase::Tuning;
                let (frame_max, channel_max) = (self.settings.frame_max, self.settings.channel_max);
                let tune = ConnectionTune { channel_max, frame_max, heartbeat: self.settings.heartbeat_seconds };
                frame::write_method(out, 0, &tune);
            }
            Err(failure) => {
                self.log_refused(&failure);
                self.tell_refused(&failure);
                if self.capabilities.authentication_failure_close {
                    let explanation = format!(
                        "Login was refused using authentication mechanism {}. For details see the broker logfile.",
                        self.mechanism.as_str()
                    );
                    let fault = Fault::new(ReplyCode::AccessRefused, explanation);
                    self.close_with(&fault, NO_METHOD, out);
                    self.ending = Some(Ending::Within(LINGER));
                } else {
                    self.over(Ending::Within(LINGER));
                }
            }
        }
    }

    fn tune_ok(&mut self, tune_ok: ConnectionTuneOk) -> Handled {
        let refuse = |explanation: String| Err(Fault::new(ReplyCode::NotAllowed, explanation));
        let above =
            |asked: String, ours: u32| format!("negotiated {asked} is higher than the maximum allowed value ({ours})");
        let (frame_max, channel_max) = (self.settings.frame_max, self.settings.channel_max);
        if tune_ok.frame_max != 0 && tune_ok.frame_max < FRAME_MAX_MIN {
            let asked = tune_ok.frame_max;
            return refuse(format!(
                "negotiated frame_max = {asked} is lower than the minimum allowed value ({FRAME_MAX_MIN})"
            ));
        }
        if frame_max != 0 && (tune_ok.frame_max == 0 || tune_ok.frame_max > frame_max) {
            return refuse(above(format!("frame_max = {}", tune_ok.frame_max), frame_max));
        }
        if channel_max != 0 && (tune_ok.channel_max == 0 || tune_ok.channel_max > channel_max) {
            let unlimited = if tune_ok.channel_max == 0 { " (no limit)" } else { "" };
            return refuse(above(format!("channel_max = {}{unlimited}", tune_ok.channel_max), u32::from(channel_max)));
        }
        self.limits = Limits {
            frame_max: tune_ok.frame_max,
            channel_max: tune_ok.channel_max,
            heartbeat_seconds: tune_ok.heartbeat,
        };
        self.phase = Phase::Opening;
        Ok(())
    }

    fn open(&mut self, open: &ConnectionOpen<'_>, out: &mut Vec<u8>) -> Handled {
        self.vhost = open.virtual_host.into();
        self.enter_vhost(out)
    }

    /// Opens the vhost that the client asked for, unless somebody has to be asked first whether it may.
    pub(super) fn enter_vhost(&mut self, out: &mut Vec<u8>) -> Handled {
        loop {
            self.node.check_connection(&self.vhost, &self.user)?;
            match self.need_vhost() {
                Ok(()) => {}
                Err(Refusal::Fault(fault)) => return Err(fault),
                Err(Refusal::Waiting) => {
                    self.phase = Phase::Asking;
                    return Ok(());
                }
            }
            match self.node.open_connection(self.id, &self.vhost, &self.user, self.access_generation())? {
                Opening::Open(vhost) => self.vhost = vhost,
                Opening::Outdated => continue,
            }
            self.phase = Phase::Running;
            self.find_taps(self.node.generation());
            frame::write_method(out, 0, &ConnectionOpenOk { known_hosts: "" });
            self.log_open();
            self.tell_open();
            return Ok(());
        }
    }

    /// A method on channel 0 of an open connection.
    pub(super) fn connection_method(&mut self, method: &Method<'_>, out: &mut Vec<u8>) -> Handled {
        match method {
            Method::ConnectionClose(close) => {
                self.client_closed(close);
                self.access.is_closing = true;
                if !self.access.is_waiting() {
                    self.close_as_asked(out);
                }
                Ok(())
            }
            Method::ConnectionUpdateSecret(update) => self.update_secret(update, out),
            _ => Err(self.unexpected_method()),
        }
    }

    /// Closes the connection as the client asked, once all that it sent before is done.
    pub(super) fn close_as_asked(&mut self, out: &mut Vec<u8>) {
        self.finish_parked();
        if self.access.is_waiting() {
            // The client missed some of what was said to it, so it is told nothing but the end.
            self.parking.is_muted = true;
            return;
        }
        self.access.is_closing = false;
        self.parking.is_muted = false;
        self.close_channels(out);
        frame::write_method(out, 0, &ConnectionCloseOk {});
        self.disconnect();
        self.log_end();
        // Some clients have acks on their way that they sent behind this. Hanging up on them would make the system throw away
        // the answer before they have read it.
        self.over(Ending::Within(LINGER));
    }

    fn client_closed(&mut self, close: &ConnectionClose<'_>) {
        if close.reply_code != ReplyCode::Success.code() {
            self.log_closed_for(close.reply_code, close.reply_text);
        }
    }

    fn unexpected_method(&self) -> Fault {
        let state = match self.phase {
            Phase::Header | Phase::Starting | Phase::Verifying => "starting",
            Phase::Tuning => "tuning",
            Phase::Opening | Phase::Asking => "opening",
            Phase::Running => "running",
            Phase::Closing => "closing",
            Phase::Over => "closed",
        };
        Fault::new(ReplyCode::ChannelError, format!("unexpected method in connection state {state}"))
    }
}

fn with_password((name, password): (&str, &[u8])) -> (Name, Option<Secret>) {
    (name.into(), Some(Secret::new(password)))
}

/// A refusal of somebody who gave no name.
fn refused(reason: &str) -> NoAttempt {
    NoAttempt::Refused(LoginFailure::Refused { user: "".into(), reason: reason.into() })
}

/// RFC 4616: authorisation id, NUL, name, NUL, password.
fn plain(response: &[u8]) -> Result<(&str, &[u8]), NoAttempt> {
    let malformed = || NoAttempt::Malformed("malformed PLAIN response".into());
    let mut parts = response.splitn(3, |octet| *octet == 0);
    let (Some(identity), Some(name), Some(password)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(malformed());
    };
    // Nobody acts for another one (RFC 4616 §2).
    if password.contains(&0) || !(identity.is_empty() || identity == name) {
        return Err(malformed());
    }
    Ok((std::str::from_utf8(name).map_err(|_| malformed())?, password))
}

/// RabbitMQ's AMQPLAIN: a field table, without its length, with LOGIN and PASSWORD.
fn amqplain(response: &[u8]) -> Result<(&str, &[u8]), NoAttempt> {
    let malformed = |reason: &str| NoAttempt::Malformed(format!("AMQPLAIN auth info {reason}"));
    let table = Table::parse(response).map_err(|_| malformed("is no field table"))?;
    match (table.get("LOGIN"), table.get("PASSWORD")) {
        (Some(Value::LongStr(login)), Some(Value::LongStr(password))) => {
            Ok((std::str::from_utf8(login).map_err(|_| malformed("has a LOGIN that is not UTF-8"))?, password))
        }
        _ => Err(malformed("is missing LOGIN or PASSWORD field")),
    }
}

/// What a wrong protocol header probably is, for the log.
fn describe_header(octets: [u8; 8]) -> String {
    match octets {
        [0x16, 3, ..] => "TLS client detected on non-TLS AMQP port".into(),
        [b'G', b'E', b'T', b' ', ..] => "HTTP GET request detected on AMQP port".into(),
        [b'A', b'M', b'Q', b'P', a, b, c, d] => format!("unsupported protocol: AMQP {a} {b} {c} {d}"),
        _ => "bad protocol header".into(),
    }
}
