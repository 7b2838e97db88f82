//! Asks a node for operations, over its socket or over the network.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Request, Response};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Map, Value};
use tokio::net::UnixStream;

use crate::failure::{Exit, Failure};
use crate::invocation::Target;
use crate::locate;

/// Longest line of an answer, in octets.
const LINE_MAX: usize = 512 * 1024 * 1024;

/// A line of an answer, other than the last.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Line {
    /// A row.
    Row(Map<String, Value>),
    /// Something for a person.
    Note(String),
    /// How far the node is.
    Progress {
        /// What is being done.
        what: String,
        /// So many are done,
        done: u64,
        /// of so many.
        of: u64,
    },
}

/// A whole answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Reply {
    pub(crate) rows: Vec<Map<String, Value>>,
    pub(crate) notes: Vec<String>,
    pub(crate) result: Value,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Error {
    /// The node took too long.
    TimedOut,
    /// It failed.
    Failed(Failure),
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Takes each line of an answer as it comes.
type Take<'a> = &'a mut dyn FnMut(Line) -> Result<(), Failure>;

/// Asks for an operation; gives its result.
pub(crate) fn call(
    target: &Target,
    operation: &str,
    arguments: &Value,
    limit: Option<Duration>,
    take: Take<'_>,
) -> Result<Value, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(Exit::Software, format!("no threads: {error}")))?;
    runtime.block_on(async {
        let asking = ask(target, operation, arguments, take);
        match limit {
            None => asking.await.map_err(Error::Failed),
            Some(limit) => tokio::time::timeout(limit, asking)
                .await
                .map_or_else(|_| Err(Error::TimedOut), |result| result.map_err(Error::Failed)),
        }
    })
}

async fn ask(target: &Target, operation: &str, arguments: &Value, take: Take<'_>) -> Result<Value, Failure> {
    let body = Full::new(Bytes::from(arguments.to_string()));
    let path = format!("/control/{operation}");
    let response = match target {
        Target::Local { node, data_dir } => {
            let down = |reason: &str| unreachable_node(target, reason);
            let socket = locate::find_socket(node.as_deref(), data_dir.as_deref()).map_err(|reason| down(&reason))?;
            let stream = locate::connect(&socket).and_then(|stream| {
                stream.set_nonblocking(true)?;
                UnixStream::from_std(stream)
            });
            let stream = stream.map_err(|error| down(&format!("{}: {error}", socket.display())))?;
            let request =
                Request::post(path).header(HOST, "localhost").header(CONTENT_TYPE, "application/json").body(body);
            let request = request.map_err(|error| down(&error.to_string()))?;
            let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
                .await
                .map_err(|error| down(&error.to_string()))?;
            tokio::task::spawn(connection);
            sender.send_request(request).await.map_err(|error| down(&error.to_string()))?
        }
        Target::Remote { url, user, password_file, ca_file } => {
            let down = |reason: &dyn std::fmt::Display| unreachable_node(target, &reason.to_string());
            let credentials = BASE64_STANDARD.encode(format!("{user}:{}", password(user, password_file.as_deref())?));
            let request = Request::post(format!("{}{path}", url.trim_end_matches('/')))
                .header(CONTENT_TYPE, "application/json")
                .header(AUTHORIZATION, format!("Basic {credentials}"))
                .body(body)
                .map_err(|error| down(&error))?;
            let connector = HttpsConnectorBuilder::new()
                .with_tls_config(tls(ca_file.as_deref())?)
                .https_or_http()
                .enable_http1()
                .build();
            let client = Client::builder(TokioExecutor::new()).build(connector);
            client.request(request).await.map_err(|error| down(&chain(&error)))?
        }
    };
    read(response, take).await
}

/// All that an error says, with what caused it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

fn unreachable_node(target: &Target, reason: &str) -> Failure {
    let text = format!(
        "Error: unable to perform an operation on node '{}'. Please see diagnostics information and suggestions below.\n\n{reason}\n\n\
         Most common reasons for this are:\n\n \
         * The node is not running: start it with `leveret`, or `systemctl start leveret`\n \
         * It keeps its data in another folder: name it with --data-dir FOLDER, or the node with -n NAME\n \
         * You may not open its control socket: use the account that the node runs under, or root\n \
         * It is on another machine: use --node http://HOST:15672 --user NAME",
        target.usual_name()
    );
    Failure::plain(Exit::Unavailable, text)
}

async fn read(response: Response<Incoming>, take: Take<'_>) -> Result<Value, Failure> {
    let status = response.status();
    let mut body = response.into_body();
    let mut rest: Vec<u8> = Vec::new();
    while let Some(frame) = body.frame().await {
        let cut = |error: hyper::Error| Failure::new(Exit::Unavailable, format!("the node broke off: {error}"));
        let Ok(data) = frame.map_err(cut)?.into_data() else { continue };
        // Only what is new can have the end of a line.
        let mut searched = rest.len();
        rest.extend_from_slice(&data);
        while let Some(end) = rest.get(searched..).and_then(|new| new.iter().position(|octet| *octet == b'\n')) {
            let after = searched + end + 1;
            let line: Vec<u8> = rest.drain(..after).collect();
            searched = 0;
            if let Some(result) = understand(&line, take)? {
                return Ok(result);
            }
        }
        if rest.len() > LINE_MAX {
            return Err(Failure::new(Exit::Software, "the answer of the node has too long a line"));
        }
    }
    let text = if status.is_success() {
        "the node broke off before the end of its answer; see its log".to_owned()
    } else {
        format!("there is no Leveret node: it answers with HTTP {status}")
    };
    Err(Failure::new(Exit::Unavailable, text))
}

/// Takes a line; gives the result if it is the last.
fn understand(line: &[u8], take: Take<'_>) -> Result<Option<Value>, Failure> {
    let strange =
        || Failure::new(Exit::Software, "the answer cannot be understood: is this a Leveret node of the same version?");
    let Ok(Value::Object(mut line)) = serde_json::from_slice(line) else { return Err(strange()) };
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let number = |value: &Value, key: &str| value.get(key).and_then(Value::as_u64).unwrap_or_default();
    if let Some(error) = line.get("error") {
        return Err(Failure::of_node(&text(error, "kind"), &text(error, "text")));
    }
    if let Some(result) = line.remove("result") {
        return Ok(Some(result));
    }
    let taken = match (line.remove("row"), line.remove("note"), line.remove("progress")) {
        (Some(Value::Object(row)), _, _) => Line::Row(row),
        (_, Some(Value::String(note)), _) => Line::Note(note),
        (_, _, Some(progress)) => Line::Progress {
            what: text(&progress, "what"),
            done: number(&progress, "done"),
            of: number(&progress, "of"),
        },
        _ => return Err(strange()),
    };
    take(taken)?;
    Ok(None)
}

/// The password of the user: out of the file, the environment, or asked for.
fn password(user: &str, file: Option<&Path>) -> Result<String, Failure> {
    if let Some(file) = file {
        let text = fs::read_to_string(file);
        let text = text.map_err(|error| Failure::new(Exit::Io, format!("{}: {error}", file.display())))?;
        return Ok(text.trim_end_matches(['\r', '\n']).to_owned());
    }
    if let Ok(password) = std::env::var("LEVERET_CTL_PASSWORD") {
        return Ok(password);
    }
    rpassword::prompt_password(format!("Password of {user}: ")).map_err(|_| {
        let text = "no password: give it with --password-file, or in LEVERET_CTL_PASSWORD, where there is no terminal";
        Failure::new(Exit::Usage, text)
    })
}

/// TLS with those authorities that the machine trusts, and perhaps more.
fn tls(ca_file: Option<&Path>) -> Result<ClientConfig, Failure> {
    let mut roots = RootCertStore::empty();
    // A system may list what the library does not understand, which helps nobody in.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(file) = ca_file {
        let wrong = |reason: String| Failure::new(Exit::Io, format!("{}: {reason}", file.display()));
        let certificates = CertificateDer::pem_file_iter(file).map_err(|error| wrong(error.to_string()))?;
        for certificate in certificates {
            let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
            roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| Failure::new(Exit::Software, error.to_string()))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn lines(text: &str) -> (Vec<Line>, Result<Option<Value>, Failure>) {
        let mut taken = Vec::new();
        let mut last = Ok(None);
        for line in text.lines() {
            last = understand(line.as_bytes(), &mut |line| {
                taken.push(line);
                Ok(())
            });
        }
        (taken, last)
    }

    #[test]
    fn an_answer_ends_with_its_result() {
        let (taken, last) = lines(
            "{\"row\":{\"a\":1}}\n{\"note\":\"n\"}\n{\"progress\":{\"what\":\"queues\",\"done\":1,\"of\":2}}\n{\"result\":null}",
        );
        assert_eq!(last, Ok(Some(Value::Null)));
        let row = Map::from_iter([("a".to_owned(), json!(1))]);
        let progress = Line::Progress { what: "queues".to_owned(), done: 1, of: 2 };
        assert_eq!(taken, [Line::Row(row), Line::Note("n".to_owned()), progress]);
    }

    #[test]
    fn an_error_has_the_exit_code_of_its_kind() {
        for (kind, exit) in [("no_user", Exit::NoUser), ("data", Exit::Data), ("unheard_of", Exit::Software)] {
            let (_, last) = lines(&json!({"error": {"kind": kind, "text": "so"}}).to_string());
            assert_eq!(last, Err(Failure::new(exit, "so")), "{kind}");
        }
        assert!(lines("<html>").1.is_err());
    }
}
