//! Why a request failed, in RabbitMQ's JSON.

use std::borrow::Cow;

use hyper::StatusCode;
use hyper::header::WWW_AUTHENTICATE;
use leveret_broker::Error;
use leveret_broker::access::Question;
use serde_json::{Value, json};

use super::Answer;
use crate::{HostError, WriteError};

/// How a client is asked to log in.
const CHALLENGE: &str = "Basic realm=\"RabbitMQ Management\"";

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) status: StatusCode,
    /// The word for programs, such as `bad_request`.
    pub(super) error: Cow<'static, str>,
    /// What a person reads.
    pub(super) reason: Value,
    /// How it is told.
    manner: Manner,
}

/// How a failure is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// In JSON.
    Told,
    /// The same, and the client is asked to log in.
    LogIn,
    /// By the status alone.
    Silent,
    /// The same, and the client is asked to log in.
    SilentLogIn,
}

impl Failure {
    /// A failure of this kind.
    pub(super) fn new(status: StatusCode, error: impl Into<Cow<'static, str>>, reason: impl Into<Value>) -> Self {
        Self { status, error: error.into(), reason: reason.into(), manner: Manner::Told }
    }

    /// A failure of which the status says enough.
    pub(super) fn silent(status: StatusCode) -> Self {
        Self { manner: Manner::Silent, ..Self::new(status, "", "") }
    }

    /// 401 for those who do not say who they are.
    pub(super) fn unknown() -> Self {
        Self { manner: Manner::SilentLogIn, ..Self::not_authorized("") }
    }

    /// 401 for those who are not who they say.
    pub(super) fn login_failed() -> Self {
        Self { manner: Manner::LogIn, ..Self::not_authorized("Login failed") }
    }

    /// 404 for what is not there.
    pub(super) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "Object Not Found", "Not Found")
    }

    /// 404 for a vhost in which something was to be made, and which is not there.
    pub(super) fn no_vhost() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "vhost_not_found")
    }

    /// 400 with a reason.
    pub(super) fn bad_request(reason: impl Into<Value>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", reason)
    }

    /// 401 with a reason.
    pub(super) fn not_authorized(reason: impl Into<Value>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "not_authorized", reason)
    }

    /// What a broker that refused a change answers: without a reply code, as RabbitMQ does it.
    pub(super) fn of_change(error: &Error) -> Self {
        let code = reply_code(error).0;
        match error {
            Error::NotFound { .. } => Self::new(StatusCode::NOT_FOUND, "not_found", error.to_string()),
            Error::VhostNotFound { .. } => Self::new(StatusCode::NOT_FOUND, "not_found", "vhost_not_found"),
            Error::NotWritten | Error::Unreadable { .. } => Self::failed(error.to_string()),
            _ if code == 403 => Self::not_authorized("Access refused."),
            _ => Self::bad_request(error.to_string()),
        }
    }

    /// What a broker that refused a publish answers: with the reply code that would have closed a channel.
    pub(super) fn of_publish(error: &Error) -> Self {
        let (code, name) = reply_code(error);
        if code == 541 {
            return Self::failed(error.to_string());
        }
        Self::bad_request(format!("{code} {name} - {error}"))
    }

    /// What a broker that would not give messages answers.
    pub(super) fn of_get(error: &Error) -> Self {
        let (code, name) = reply_code(error);
        let text = format!("{name} - {error}");
        match code {
            404 => Self::new(StatusCode::NOT_FOUND, "not_found", text),
            403 => Self::not_authorized(text),
            541 => Self::failed(error.to_string()),
            _ => Self::bad_request(format!("{code} {text}")),
        }
    }

    /// With a reason that a page can show as it is, as RabbitMQ has it for what users named.
    pub(super) fn escaped(mut self) -> Self {
        if let Value::String(reason) = &mut self.reason {
            *reason = reason.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        }
        self
    }

    /// 503: not now.
    pub(super) fn unavailable(reason: impl Into<Value>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "service_unavailable", reason)
    }

    /// 500: it was understood, and failed.
    pub(super) fn failed(reason: impl Into<Value>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", reason)
    }
}

impl From<Failure> for Answer {
    fn from(failure: Failure) -> Self {
        let Failure { status, error, reason, manner } = failure;
        let answer = match manner {
            Manner::Told | Manner::LogIn => Self::json(&json!({ "error": error, "reason": reason })),
            Manner::Silent | Manner::SilentLogIn => Self::done(),
        };
        match manner {
            Manner::Told | Manner::Silent => answer.status(status),
            Manner::LogIn | Manner::SilentLogIn => answer.status(status).header(WWW_AUTHENTICATE, CHALLENGE),
        }
    }
}

/// The reply code that AMQP 0-9-1 has for a refusal, with its name. RabbitMQ's management does over AMQP what clients could, and tells
/// what came back.
fn reply_code(error: &Error) -> (u16, &'static str) {
    match error {
        Error::Refused { question, .. } => match **question {
            Question::Vhost { .. } => (530, "NOT_ALLOWED"),
            Question::Resource { .. } | Question::Topic { .. } => (403, "ACCESS_REFUSED"),
        },
        Error::NotFound { .. } | Error::ParameterNotFound | Error::UserNotFound { .. } => (404, "NOT_FOUND"),
        Error::VhostNotFound { .. }
        | Error::VhostConnectionLimit { .. }
        | Error::UserConnectionLimit { .. }
        | Error::NodeConnectionLimit { .. }
        | Error::NodeChannelLimit { .. }
        | Error::UserChannelLimit { .. } => (530, "NOT_ALLOWED"),
        Error::NotWritten | Error::Unreadable { .. } => (541, "INTERNAL_ERROR"),
        Error::DefaultExchange
        | Error::ReservedPrefix { .. }
        | Error::SystemExchange { .. }
        | Error::InternalExchange { .. }
        | Error::ExclusiveUse { .. } => (403, "ACCESS_REFUSED"),
        Error::Locked { .. } | Error::SingleActive { .. } => (405, "RESOURCE_LOCKED"),
        Error::UnconditionalDelete { .. } | Error::SharedPrefetch { .. } => (540, "NOT_IMPLEMENTED"),
        Error::Inequivalent { .. }
        | Error::InUse { .. }
        | Error::NotEmpty { .. }
        | Error::InvalidArgument { .. }
        | Error::InvalidArgumentType { .. }
        | Error::ArgumentOfOtherType { .. }
        | Error::InvalidProperty { .. }
        | Error::UnknownExchangeType { .. }
        | Error::InvalidBinding { .. }
        | Error::InvalidExchange { .. }
        | Error::DelayedType { .. }
        | Error::InvalidMatchValue { .. }
        | Error::InvalidMatchType { .. }
        | Error::UserExists { .. }
        | Error::NamelessUser
        | Error::Validation(_)
        | Error::InvalidLimits(_)
        | Error::PolicyAsParameter { .. }
        | Error::QueueLimit { .. }
        | Error::NodeQueueLimit { .. }
        | Error::ExchangeLimit { .. }
        | Error::VhostLimit { .. }
        | Error::ProtectedVhost { .. }
        | Error::TooManyWildcards { .. } => (406, "PRECONDITION_FAILED"),
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match &error {
            Error::VhostNotFound { .. }
            | Error::UserNotFound { .. }
            | Error::NotFound { .. }
            | Error::ParameterNotFound => Self::not_found(),
            // There is an empty line behind it.
            Error::Validation(_) => Self::bad_request(format!("{error}\n")),
            Error::InvalidLimits(_)
            | Error::NamelessUser
            | Error::VhostLimit { .. }
            | Error::PolicyAsParameter { .. } => Self::bad_request(error.to_string()),
            Error::ProtectedVhost { .. } => {
                Self::new(StatusCode::PRECONDITION_FAILED, "precondition_failed", error.to_string())
            }
            Error::NotWritten | Error::Unreadable { .. } => Self::failed(error.to_string()),
            _ => {
                let (code, name) = reply_code(&error);
                let reason = format!("{code} {name} - {error}");
                if code == 403 { Self::not_authorized(reason) } else { Self::bad_request(reason) }
            }
        }
    }
}

impl From<WriteError> for Failure {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Refused(error) => error.into(),
            WriteError::NotWritten => Self::failed(error.to_string()),
        }
    }
}

impl From<HostError> for Failure {
    fn from(error: HostError) -> Self {
        match &error {
            HostError::Busy => Self::unavailable(error.to_string()),
            HostError::Running | HostError::UnknownPlugins { .. } | HostError::UnknownCategory { .. } => {
                Self::bad_request(error.to_string())
            }
            HostError::Failed(_) => Self::failed(error.to_string()),
        }
    }
}
