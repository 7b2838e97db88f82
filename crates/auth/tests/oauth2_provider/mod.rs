//! A provider for tests: keys, tokens signed with them, and an HTTPS server that has the keys.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic is how a test reports a failure")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PKCS_RSA_SHA256};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// A key that tokens are signed with.
pub(crate) struct SigningPair {
    pub(crate) id: String,
    pair: KeyPair,
    encoding: EncodingKey,
    algorithm: Algorithm,
}

impl SigningPair {
    pub(crate) fn rsa(id: &str) -> Self {
        let pair = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
        let encoding = EncodingKey::from_rsa_pem(pair.serialize_pem().as_bytes()).unwrap();
        Self { id: id.into(), pair, encoding, algorithm: Algorithm::RS256 }
    }

    pub(crate) fn ec(id: &str) -> Self {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let encoding = EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).unwrap();
        Self { id: id.into(), pair, encoding, algorithm: Algorithm::ES256 }
    }

    pub(crate) fn ed(id: &str) -> Self {
        let pair = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let encoding = EncodingKey::from_ed_pem(pair.serialize_pem().as_bytes()).unwrap();
        Self { id: id.into(), pair, encoding, algorithm: Algorithm::EdDSA }
    }

    pub(crate) fn public_pem(&self) -> String {
        self.pair.public_key_pem()
    }

    pub(crate) fn sign(&self, claims: &Value) -> String {
        self.sign_with(claims, self.algorithm, Some(&self.id))
    }

    pub(crate) fn sign_with(&self, claims: &Value, algorithm: Algorithm, id: Option<&str>) -> String {
        let header = Header { kid: id.map(str::to_owned), ..Header::new(algorithm) };
        jsonwebtoken::encode(&header, claims, &self.encoding).unwrap()
    }

    /// Signs with a header that says whatever it says.
    pub(crate) fn sign_header(&self, header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", part(header), part(claims));
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &self.encoding, self.algorithm).unwrap();
        format!("{message}.{signature}")
    }

    /// What an attacker would try: the public key is known, so it makes a fine secret.
    pub(crate) fn sign_with_public_key(&self, claims: &Value) -> String {
        Self::sign_with_secret(self.public_pem().as_bytes(), &self.id, claims)
    }

    pub(crate) fn sign_with_secret(secret: &[u8], id: &str, claims: &Value) -> String {
        let header = Header { kid: Some(id.into()), ..Header::new(Algorithm::HS256) };
        jsonwebtoken::encode(&header, claims, &EncodingKey::from_secret(secret)).unwrap()
    }

    pub(crate) fn unsigned(algorithm: &str, id: &str, claims: &Value) -> String {
        format!("{}.{}.", part(&json!({"alg": algorithm, "kid": id})), part(claims))
    }

    fn public(&self) -> Value {
        if self.algorithm == Algorithm::EdDSA {
            let x = URL_SAFE_NO_PAD.encode(self.pair.public_key_raw());
            return json!({"kid": self.id, "kty": "OKP", "crv": "Ed25519", "x": x});
        }
        let mut key = Jwk::from_encoding_key(&self.encoding, self.algorithm).unwrap();
        key.common.key_id = Some(self.id.clone());
        // Without it, the key may be used with all algorithms of its kind.
        key.common.key_algorithm = None;
        serde_json::to_value(key).unwrap()
    }
}

/// A part of a token (RFC 7515, section 2).
fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

/// An HTTPS server that has keys.
pub(crate) struct KeyServer {
    at: SocketAddr,
    state: Arc<Mutex<State>>,
    folder: TempDir,
    serving: JoinHandle<()>,
}

struct State {
    keys: String,
    /// What is answered instead.
    answer: Option<String>,
    paths: Vec<String>,
}

impl KeyServer {
    pub(crate) async fn start(pairs: &[&SigningPair]) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["127.0.0.1".into()]).unwrap().self_signed(&key).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), certificate.pem()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let state = State { keys: key_set(pairs), answer: None, paths: Vec::new() };
        let state = Arc::new(Mutex::new(state));
        let serving = tokio::spawn(serve(listener, TlsAcceptor::from(Arc::new(config)), at, Arc::clone(&state)));
        Self { at, state, folder, serving }
    }

    pub(crate) fn address(&self, path: &str) -> String {
        format!("https://{}{path}", self.at)
    }

    pub(crate) fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    pub(crate) fn have(&self, pairs: &[&SigningPair]) {
        self.state.lock().unwrap().keys = key_set(pairs);
    }

    pub(crate) fn answer_with(&self, answer: &str) {
        self.state.lock().unwrap().answer = Some(answer.to_owned());
    }

    pub(crate) fn requests(&self) -> usize {
        self.state.lock().unwrap().paths.len()
    }

    pub(crate) fn last_paths(&self, count: usize) -> Vec<String> {
        let state = self.state.lock().unwrap();
        state.paths.iter().skip(state.paths.len().saturating_sub(count)).cloned().collect()
    }

    /// Returns once nobody is served any more.
    pub(crate) async fn stop(self) {
        self.serving.abort();
        assert!(self.serving.await.is_err());
    }
}

fn key_set(pairs: &[&SigningPair]) -> String {
    json!({"keys": pairs.iter().map(|pair| pair.public()).collect::<Vec<_>>()}).to_string()
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, at: SocketAddr, state: Arc<Mutex<State>>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        // Clients that do not trust the certificate go away.
        let Ok(mut stream) = acceptor.accept(stream).await else { continue };
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let Ok(octet) = stream.read_u8().await else { break };
            request.push(octet);
        }
        let request = String::from_utf8(request).unwrap();
        let Some(path) = request.split(' ').nth(1) else { continue };
        let answer = {
            let mut state = state.lock().unwrap();
            state.paths.push(path.to_owned());
            let document = if path.starts_with("/keys") {
                state.keys.clone()
            } else {
                json!({"issuer": "me", "jwks_uri": format!("https://{at}/keys")}).to_string()
            };
            state.answer.clone().unwrap_or_else(|| {
                format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{document}",
                    document.len()
                )
            })
        };
        // A client may have given up.
        drop(stream.write_all(answer.as_bytes()).await);
        drop(stream.shutdown().await);
    }
}
