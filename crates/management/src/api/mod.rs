//! The HTTP API: what RabbitMQ's management plugin offers under `/api`, to the field.
//!
//! It is a table of routes (`routes`). From the table are made the router, the reference page and the `OpenAPI` document; so what is not
//! documented does not exist. A request goes one way: `service` finds the route and who is asking (`access`), reads the body, and has
//! the handler run on a thread that may wait. The handler gets an `Ask`, reads through [`views`](crate::views) and changes through
//! `write`, and gives an `Answer` or a `Failure`.

mod access;
mod answer;
mod ask;
mod body;
mod connection;
mod cors;
mod failure;
mod index;
mod listing;
mod login;
mod media;
mod multipart;
mod openapi;
mod query;
mod reply;
mod rights;
mod route;
mod router;
mod routes;
mod schemas;
mod service;
mod settings;

pub(crate) use self::access::{Credentials, may_monitor};
pub use self::connection::serve;
pub(crate) use self::query::Query;
pub use self::reply::Pieces;
pub(crate) use self::reply::{Head, Reply, Stream};
pub(crate) use self::service::takes_gzip;
pub use self::service::{AnswerBody, Api};
pub use self::settings::ApiSettings;

use self::access::Access;
use self::answer::Answer;
use self::ask::Ask;
use self::failure::Failure;
use self::route::{Group, Operation, Route};
