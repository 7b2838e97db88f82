//! A small HTTP service, which records what it is asked and answers what it is told to.

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

/// A request, as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    /// Which connection it came by, from 0.
    pub(crate) connection: usize,
    pub(crate) method: String,
    pub(crate) path: String,
    /// With names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }
}

/// What is done with a request.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// An answer with a status, headers and a body.
    Answer(u16, Vec<(&'static str, String)>, String),
    /// These octets, and the end of the connection.
    Raw(String),
    /// A body without an end.
    Endless,
    /// The end of the connection.
    Close,
    /// Nothing at all.
    Silence,
}

impl Reply {
    /// The answer of a service that works.
    pub(crate) fn ok(body: &str) -> Self {
        Self::Answer(200, Vec::new(), body.into())
    }
}

type Handler = dyn Fn(&Asked) -> Reply + Send + Sync;

/// A service that runs until the test's runtime ends.
pub(crate) struct TestService {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    count: watch::Receiver<usize>,
}

impl TestService {
    /// Starts one.
    pub(crate) async fn start(handler: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        Self::listen(None, Arc::new(handler)).await
    }

    /// Starts one of HTTPS.
    pub(crate) async fn start_tls(
        config: ServerConfig,
        handler: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::listen(Some(TlsAcceptor::from(Arc::new(config))), Arc::new(handler)).await
    }

    async fn listen(tls: Option<TlsAcceptor>, handler: Arc<Handler>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (sender, count) = watch::channel(0);
        let sender = Arc::new(sender);
        let log = Arc::clone(&asked);
        tokio::spawn(async move {
            for connection in 0.. {
                let Ok((socket, _)) = listener.accept().await else { return };
                let (log, handler, tls, sender) =
                    (Arc::clone(&log), Arc::clone(&handler), tls.clone(), Arc::clone(&sender));
                tokio::spawn(async move {
                    let record = |asked: Asked| {
                        let reply = handler(&asked);
                        log.lock().unwrap().push(asked);
                        sender.send_modify(|count| *count += 1);
                        reply
                    };
                    match tls {
                        None => serve(socket, connection, record).await,
                        Some(tls) => {
                            // A client that does not like the certificate ends the connection.
                            if let Ok(socket) = tls.accept(socket).await {
                                serve(socket, connection, record).await;
                            }
                        }
                    }
                });
            }
        });
        Self { address, asked, count }
    }

    /// What it was asked so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// Waits until it was asked this many times.
    pub(crate) async fn asked_at_least(&self, times: usize) {
        self.count.clone().wait_for(|count| *count >= times).await.unwrap();
    }

    /// A URL of it.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, connection: usize, record: impl Fn(Asked) -> Reply) {
    let mut stream = BufReader::new(stream);
    while let Some(asked) = read(&mut stream, connection).await {
        match record(asked) {
            Reply::Answer(status, headers, body) => {
                let mut answer = format!("HTTP/1.1 {status} Status\r\ncontent-length: {}\r\n", body.len());
                for (name, value) in headers {
                    let _ = write!(answer, "{name}: {value}\r\n");
                }
                answer.push_str("\r\n");
                answer.push_str(&body);
                if stream.write_all(answer.as_bytes()).await.is_err() || stream.flush().await.is_err() {
                    return;
                }
            }
            Reply::Raw(text) => {
                let _ = stream.write_all(text.as_bytes()).await;
                let _ = stream.flush().await;
                return;
            }
            Reply::Endless => {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
                while stream.write_all(&[b' '; 4096]).await.is_ok() {}
                return;
            }
            Reply::Close => return,
            Reply::Silence => {
                // Until the other end has enough of it.
                let _ = stream.read_u8().await;
                return;
            }
        }
    }
}

async fn read(stream: &mut (impl AsyncBufReadExt + Unpin), connection: usize) -> Option<Asked> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok()?;
    let mut words = line.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok()?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.push((name.to_lowercase(), value.trim().to_owned()));
    }
    let mut asked = Asked { connection, method, path, headers, body: String::new() };
    let length = asked.header("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    asked.body = String::from_utf8(body).unwrap();
    Some(asked)
}
