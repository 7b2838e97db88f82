//! From the protocol header to connection.open-ok (§2.2.4), and the methods of channel 0 after it.

use leveret_broker::Name;
use leveret_broker::access::LoginError;
use leveret_protocol::amqp091::method::{
    ConnectionClose, ConnectionCloseOk, ConnectionOpen, ConnectionOpenOk, ConnectionStart, ConnectionStartOk,
    ConnectionTune, ConnectionTuneOk, ConnectionUpdateSecretOk,
};
use leveret_protocol::amqp091::{Method, ProtocolHeader, ReplyCode, Table, TableWriter, Value, frame};

use super::fault::Fault;
use super::settings::FRAME_MAX_MIN;
use super::{Capabilities, Ending, Handled, LINGER, Limits, NO_METHOD, Phase, Session, table};

/// Ids of connection.tune.
const TUNE: (u16, u16) = (10, 30);
const MECHANISMS: &[u8] = b"PLAIN AMQPLAIN";
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

/// Why a client did not get in.
enum Refusal {
    /// What it sent is no valid attempt; it is dropped without a word.
    Malformed(String),
    /// The credentials are wrong.
    Login(LoginError),
}

impl Session {
    pub(super) fn protocol_header(&mut self, octets: [u8; 8], out: &mut Vec<u8>) {
        match ProtocolHeader::decode(&octets) {
            Some(ProtocolHeader::AMQP_0_9_1 | ProtocolHeader::AMQP_0_9) => {
                self.phase = Phase::Starting;
                self.start(out);
            }
            header => {
                tracing::warn!(connection = self.id.0, "{}", describe_header(octets));
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
        let mut properties = Vec::new();
        let text = |text: &'static str| Value::LongStr(text.as_bytes());
        TableWriter::new(&mut properties)
            .table("capabilities", |capabilities| {
                for name in CAPABILITIES {
                    capabilities.field(name, Value::Bool(true));
                }
            })
            .field("cluster_name", Value::LongStr(settings.cluster_name.as_bytes()))
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
            mechanisms: MECHANISMS,
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
        match self.authenticate(start_ok) {
            Ok(user) => {
                self.user = user;
                self.phase = Phase::Tuning;
                let (frame_max, channel_max) = (self.settings.frame_max, self.settings.channel_max);
                let tune = ConnectionTune { channel_max, frame_max, heartbeat: self.settings.heartbeat_seconds };
                frame::write_method(out, 0, &tune);
            }
            Err(Refusal::Malformed(reason)) => {
                tracing::warn!(connection = self.id.0, "login refused: {reason}");
                self.over(Ending::Within(LINGER));
            }
            Err(Refusal::Login(error)) => {
                tracing::warn!(connection = self.id.0, "login refused: {error}");
                if self.capabilities.authentication_failure_close {
                    let explanation = format!(
                        "Login was refused using authentication mechanism {}. For details see the broker logfile.",
                        start_ok.mechanism
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

    fn authenticate(&self, start_ok: &ConnectionStartOk<'_>) -> Result<Name, Refusal> {
        let (name, password) = match start_ok.mechanism {
            "PLAIN" => plain(start_ok.response),
            "AMQPLAIN" => amqplain(start_ok.response),
            other => Err(Refusal::Malformed(format!("unknown authentication mechanism '{other}'"))),
        }?;
        self.node.users().login(name, password, self.peer).map_err(Refusal::Login)
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
        self.vhost = self.node.open_connection(self.id, open.virtual_host, &self.user)?;
        self.phase = Phase::Running;
        frame::write_method(out, 0, &ConnectionOpenOk { known_hosts: "" });
        tracing::info!(connection = self.id.0, user = &*self.user, vhost = &*self.vhost, "connection open");
        Ok(())
    }

    /// A method on channel 0 of an open connection.
    pub(super) fn connection_method(&mut self, method: &Method<'_>, out: &mut Vec<u8>) -> Handled {
        match method {
            Method::ConnectionClose(close) => {
                self.client_closed(close);
                self.finish_parked();
                self.close_channels(out);
                frame::write_method(out, 0, &ConnectionCloseOk {});
                self.node.disconnect(self.id);
                // Some clients have acks on their way that they sent behind this. Hanging up on them would make the system
                // throw away the answer before they have read it.
                self.over(Ending::Within(LINGER));
                Ok(())
            }
            // The built-in users have passwords, which a fresh token does not change; the client is told that all is well.
            Method::ConnectionUpdateSecret(_) => {
                frame::write_method(out, 0, &ConnectionUpdateSecretOk {});
                Ok(())
            }
            _ => Err(self.unexpected_method()),
        }
    }

    fn client_closed(&self, close: &ConnectionClose<'_>) {
        if close.reply_code == ReplyCode::Success.code() {
            tracing::info!(connection = self.id.0, "connection closed by client");
        } else {
            let (code, text) = (close.reply_code, close.reply_text);
            tracing::warn!(connection = self.id.0, "connection closed by client: {code} {text}");
        }
    }

    fn unexpected_method(&self) -> Fault {
        let state = match self.phase {
            Phase::Header | Phase::Starting => "starting",
            Phase::Tuning => "tuning",
            Phase::Opening => "opening",
            Phase::Running => "running",
            Phase::Closing => "closing",
            Phase::Over => "closed",
        };
        Fault::new(ReplyCode::ChannelError, format!("unexpected method in connection state {state}"))
    }
}

/// RFC 4616: authorisation id, NUL, name, NUL, password.
fn plain(response: &[u8]) -> Result<(&str, &[u8]), Refusal> {
    let malformed = || Refusal::Malformed("malformed PLAIN response".into());
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
fn amqplain(response: &[u8]) -> Result<(&str, &[u8]), Refusal> {
    let malformed = |reason: &str| Refusal::Malformed(format!("AMQPLAIN auth info {reason}"));
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
