//! What a handler gives.

use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::header::{HeaderName, HeaderValue};
use serde::Serialize;

/// An answer. One that was sent piece by piece already has none of it left to say.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) body: Body,
    /// Whether it has a tag, and is left out for who has it already.
    pub(super) is_tagged: bool,
}

#[derive(Debug)]
pub(super) enum Body {
    Empty,
    Text { kind: &'static str, octets: Bytes },
    Sent,
}

/// What JSON is called.
pub(super) const JSON: &str = "application/json";
/// What a page is called.
pub(super) const HTML: &str = "text/html; charset=utf-8";

impl Answer {
    const fn new(status: StatusCode, body: Body) -> Self {
        Self { status, headers: Vec::new(), body, is_tagged: false }
    }

    /// 200 with JSON.
    pub(super) fn json(value: &impl Serialize) -> Self {
        Self::text(JSON, serde_json::to_vec(value).unwrap_or_default())
    }

    /// 200 with something else.
    pub(super) fn text(kind: &'static str, octets: impl Into<Bytes>) -> Self {
        Self::new(StatusCode::OK, Body::Text { kind, octets: octets.into() })
    }

    /// 204.
    pub(super) const fn done() -> Self {
        Self::new(StatusCode::NO_CONTENT, Body::Empty)
    }

    /// 201.
    pub(super) const fn created() -> Self {
        Self::new(StatusCode::CREATED, Body::Empty)
    }

    /// 201 if it is new, 204 if it was there.
    pub(super) const fn put(is_new: bool) -> Self {
        if is_new { Self::created() } else { Self::done() }
    }

    /// It was sent already.
    pub(super) const fn sent() -> Self {
        Self::new(StatusCode::OK, Body::Sent)
    }

    /// With another status.
    pub(super) const fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// With a header; one whose value cannot be one is left out.
    pub(super) fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((name, value));
        }
        self
    }

    /// With a tag (the header `ETag`) made of its body.
    pub(super) const fn tagged(mut self) -> Self {
        self.is_tagged = true;
        self
    }
}
