//! What a route of the table consists of.

use hyper::Method;

use super::answer::JSON;
use super::{Access, Answer, Ask, Failure};

/// Routes that belong together, and stand together in the documentation.
#[derive(Debug)]
pub(super) struct Group {
    /// Its title.
    pub(super) title: &'static str,
    /// Its routes.
    pub(super) routes: &'static [Route],
}

/// A path and what can be done with it.
#[derive(Debug)]
pub(super) struct Route {
    /// Such as `/api/queues/{vhost}/{name}`.
    pub(super) path: &'static str,
    /// One for each method.
    pub(super) operations: &'static [Operation],
}

/// What does it.
pub(super) type Handler = fn(&Ask<'_>) -> Result<Answer, Failure>;

/// A method of a route.
#[derive(Debug)]
pub(super) struct Operation {
    /// The method.
    pub(super) method: Method,
    /// Who may.
    pub(super) access: Access,
    /// What does it.
    pub(super) run: Handler,
    /// What it does, in a sentence without a full stop.
    pub(super) summary: &'static str,
    /// What may stand behind the `?`, beyond what all listings take.
    pub(super) query: &'static [Param],
    /// What the body has to have; `None` for no body.
    pub(super) body: Option<&'static [Field]>,
    /// The media types that the body may have.
    pub(super) takes: Takes,
    /// What comes back.
    pub(super) gives: Gives,
    /// The media type of what comes back.
    pub(super) media: &'static str,
}

/// The media types that a body may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    /// JSON, whatever the client calls it.
    Any,
    /// JSON that is called so.
    Json,
    /// What a form of a page sends.
    Form,
}

/// What an operation gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gives {
    /// Nothing but a status.
    Nothing,
    /// An object of this kind, see the schemas.
    One(&'static str),
    /// A listing of such objects: an array, or a page of one.
    Many(&'static str),
    /// An array of such objects, never paged.
    All(&'static str),
}

/// Something that may stand behind the `?`.
#[derive(Debug)]
pub(super) struct Param {
    /// Its name.
    pub(super) name: &'static str,
    /// What it does.
    pub(super) help: &'static str,
}

/// Something that a body may have.
#[derive(Debug)]
pub(super) struct Field {
    /// Its name.
    pub(super) name: &'static str,
    /// The type of its value.
    pub(super) kind: Kind,
    /// Whether it has to be there.
    pub(super) is_needed: bool,
    /// What it means.
    pub(super) help: &'static str,
}

/// The type of a value in a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Text.
    Text,
    /// True or false, also as text.
    Flag,
    /// A whole number, also as text.
    Number,
    /// An object.
    Object,
    /// An array.
    List,
    /// Whatever it is.
    Any,
}

impl Field {
    /// One that has to be there.
    pub(super) const fn needed(name: &'static str, kind: Kind, help: &'static str) -> Self {
        Self { name, kind, is_needed: true, help }
    }

    /// One that need not.
    pub(super) const fn optional(name: &'static str, kind: Kind, help: &'static str) -> Self {
        Self { name, kind, is_needed: false, help }
    }
}

impl Operation {
    const fn new(method: Method, access: Access, run: Handler, summary: &'static str) -> Self {
        Self {
            method,
            access,
            run,
            summary,
            query: &[],
            body: None,
            takes: Takes::Any,
            gives: Gives::Nothing,
            media: JSON,
        }
    }

    /// One that reads.
    pub(super) const fn get(access: Access, run: Handler, summary: &'static str) -> Self {
        Self::new(Method::GET, access, run, summary)
    }

    /// One that makes or replaces something.
    pub(super) const fn put(access: Access, run: Handler, summary: &'static str) -> Self {
        Self::new(Method::PUT, access, run, summary)
    }

    /// One that does something.
    pub(super) const fn post(access: Access, run: Handler, summary: &'static str) -> Self {
        Self::new(Method::POST, access, run, summary)
    }

    /// One that deletes something.
    pub(super) const fn delete(access: Access, run: Handler, summary: &'static str) -> Self {
        Self::new(Method::DELETE, access, run, summary)
    }

    /// With these behind the `?`.
    pub(super) const fn query(mut self, query: &'static [Param]) -> Self {
        self.query = query;
        self
    }

    /// With a body.
    pub(super) const fn body(mut self, body: &'static [Field]) -> Self {
        self.body = Some(body);
        self
    }

    /// With a body that has to be called JSON.
    pub(super) const fn json_only(mut self) -> Self {
        self.takes = Takes::Json;
        self
    }

    /// With a form as its body.
    pub(super) const fn form(mut self) -> Self {
        self.takes = Takes::Form;
        self
    }

    /// With something that is no JSON.
    pub(super) const fn media(mut self, media: &'static str) -> Self {
        self.media = media;
        self
    }

    /// With something that comes back.
    pub(super) const fn gives(mut self, gives: Gives) -> Self {
        self.gives = gives;
        self
    }
}
