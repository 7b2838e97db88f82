//! The HTTP back end against services that work, and services that do not.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test reports a failure"
)]

mod faults;
mod recorded;
mod redirects;
mod service;
mod tls;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use leveret_auth::http::{HttpBackend, HttpSettings};
use leveret_auth::{Backend, Checked, Denial, Grant, LoggedIn};
use leveret_broker::access::{Answer, LoginAttempt, Peer, Permission, Question, Secret};
use leveret_broker::error::{Resource, ResourceKind};

use self::service::TestService;

/// How long a test waits for what has to happen.
const DEADLINE: Duration = Duration::from_mins(1);

/// Runs a test, which may not take for ever.
fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let result = tokio::time::timeout(DEADLINE, test).await;
        assert!(result.is_ok(), "the test takes too long");
    });
}

/// Settings for a service with RabbitMQ's paths.
fn settings_of(service: &TestService) -> HttpSettings {
    settings(&service.url(""))
}

fn settings(base: &str) -> HttpSettings {
    HttpSettings {
        user_path: format!("{base}/auth/user"),
        vhost_path: format!("{base}/auth/vhost"),
        resource_path: format!("{base}/auth/resource"),
        topic_path: format!("{base}/auth/topic"),
        ..HttpSettings::default()
    }
}

fn attempt(name: &str, password: Option<&str>, from: &str) -> Arc<LoginAttempt> {
    Arc::new(LoginAttempt {
        name: name.into(),
        secret: password.map(|password| Secret::new(password.as_bytes())),
        peer: Peer::plain(from.parse().unwrap()),
        mechanism: "PLAIN",
        protocol: "amqp091",
    })
}

async fn log_in(settings: &HttpSettings) -> Result<LoggedIn, Denial> {
    let backend = HttpBackend::new(settings).unwrap();
    backend.authenticate(&attempt("guest", Some("swordfish"), "127.0.0.1:1")).await
}

async fn ask(grant: &Arc<dyn Grant>, question: &Question) -> Answer {
    match grant.check(question) {
        Checked::Now(answer) => answer,
        Checked::Later(answer) => answer.await,
    }
}

fn vhost() -> Question {
    Question::Vhost { vhost: "/".into() }
}

fn resource(kind: ResourceKind, name: &str, permission: Permission) -> Question {
    Question::Resource { resource: Resource { kind, name: name.into(), vhost: "/".into() }, permission }
}

fn topic(exchange: &str, routing_key: &str, permission: Permission) -> Question {
    let exchange = Resource { kind: ResourceKind::Exchange, name: exchange.into(), vhost: "/".into() };
    Question::Topic { exchange, routing_key: routing_key.into(), permission }
}
