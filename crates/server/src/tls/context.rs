//! What TLS listeners share: settings made ready for use, and made anew when the files change.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use leveret_broker::access::TlsPeer;
use parking_lot::Mutex;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::ServerSessionMemoryCache;
use rustls::{ServerConfig, ServerConnection};
use tokio::sync::watch;

use super::ciphers;
use super::error::TlsError;
use super::files;
use super::peer::{PeerError, peer_of};
use super::server_names::Certificates;
use super::settings::{LoginFrom, TlsSettings};
use super::verifier::verifier;

/// Pause between looks whether the files have changed.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// Sessions kept for clients that come back with an id rather than with a ticket, as some do under TLS 1.2.
const SESSIONS_MAX: usize = 1024;

/// What TLS listeners share.
#[derive(Debug)]
pub(crate) struct Context {
    settings: TlsSettings,
    config: ArcSwap<ServerConfig>,
    files: Mutex<Watched>,
}

/// The files as they were when they were last read.
#[derive(Debug, Default)]
struct Watched {
    stamps: Vec<Stamp>,
    /// When certificates end, in seconds of Unix time, and their files. Those whose end was reported are gone from here.
    ends: Vec<(i64, PathBuf)>,
}

/// What tells a file from a later one of its name.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    path: PathBuf,
    changed: Option<(SystemTime, u64)>,
}

impl Context {
    /// Reads everything that the settings name.
    pub(crate) fn open(settings: &TlsSettings) -> Result<Arc<Self>, TlsError> {
        // In this order: what changes while it is read is read again.
        let stamps = stamps(settings);
        let (config, ends) = build(settings)?;
        let context = Self {
            settings: settings.clone(),
            config: ArcSwap::from_pointee(config),
            files: Mutex::new(Watched { stamps, ends }),
        };
        context.report_ends();
        Ok(Arc::new(context))
    }

    /// What new connections use.
    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        self.config.load_full()
    }

    /// What of a client's certificate is the name of its user.
    pub(crate) fn login_from(&self) -> LoginFrom {
        self.settings.login_from
    }

    /// Who is at the other end of a connection that shook hands.
    pub(crate) fn peer(&self, connection: &ServerConnection) -> Result<TlsPeer, PeerError> {
        peer_of(connection, self.settings.login_from, unix_seconds(SystemTime::now()))
    }

    /// The files with our own certificates, and with those whom we believe.
    pub(crate) fn certificate_files(&self) -> Vec<PathBuf> {
        let paths = [
            Some(&self.settings.certificate),
            self.settings.more_certificates.as_ref(),
            self.settings.authorities.as_ref(),
        ];
        paths.into_iter().flatten().flat_map(|path| files::files(path).unwrap_or_default()).collect()
    }

    /// Whether some file is not the one that was read.
    fn has_changed(&self) -> bool {
        stamps(&self.settings) != self.files.lock().stamps
    }

    /// Reads everything again. If something is wrong, what was read before stays in use.
    pub(crate) fn reload(&self) {
        let stamps = stamps(&self.settings);
        match build(&self.settings) {
            Ok((config, ends)) => {
                self.config.store(Arc::new(config));
                *self.files.lock() = Watched { stamps, ends };
                tracing::info!(certificate = %self.settings.certificate.display(), "TLS files were read again");
                self.report_ends();
            }
            Err(error) => {
                self.files.lock().stamps = stamps;
                tracing::error!("TLS files were not taken over, those from before stay in use: {error}");
            }
        }
    }

    /// Looks for changed files until told to stop.
    pub(crate) async fn watch(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                _ = stop.changed() => return,
                () = tokio::time::sleep(LOOK_AGAIN) => {}
            }
            let context = Arc::clone(&self);
            // Opening an encrypted key takes a while, and others wait to be accepted.
            let looked = tokio::task::spawn_blocking(move || {
                if context.has_changed() {
                    context.reload();
                }
                context.report_ends();
            });
            if let Err(error) = looked.await {
                tracing::error!("cannot look for changed TLS files: {error}");
            }
        }
    }

    /// Warns of certificates of ours that have ended, once each.
    fn report_ends(&self) {
        let now = unix_seconds(SystemTime::now());
        self.files.lock().ends.retain(|(end, path)| {
            let ended = *end < now;
            if ended {
                tracing::warn!("the certificate in {} has expired; clients will refuse it", path.display());
            }
            !ended
        });
    }
}

/// Seconds since 1970.
pub(super) fn unix_seconds(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

fn build(settings: &TlsSettings) -> Result<(ServerConfig, Vec<(i64, PathBuf)>), TlsError> {
    if settings.versions.is_empty() {
        return Err(TlsError::NoVersions);
    }
    let provider = ciphers::provider(&settings.ciphers, &settings.versions)?;
    let mut certificates = Certificates::open(settings, &provider)?;
    let ends = std::mem::take(&mut certificates.ends);
    let verifier = verifier(settings, &provider)?;
    let versions: Vec<_> = settings.versions.iter().map(|version| ciphers::protocol(*version)).collect();
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions)?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(certificates));
    config.ignore_client_order = settings.honor_cipher_order;
    // Both are made anew with the rest: nobody comes back on the word of an authority that is no longer believed.
    config.session_storage = ServerSessionMemoryCache::new(SESSIONS_MAX);
    config.ticketer = Ticketer::new()?;
    Ok((config, ends))
}

/// All files that the settings name, as they are now.
fn stamps(settings: &TlsSettings) -> Vec<Stamp> {
    let paths = [
        Some(&settings.certificate),
        Some(&settings.key),
        settings.more_certificates.as_ref(),
        settings.authorities.as_ref(),
        settings.revocation_lists.as_ref(),
    ];
    let files = paths.into_iter().flatten().flat_map(|path| files::files(path).unwrap_or_else(|_| vec![path.clone()]));
    files.map(|path| Stamp { changed: changed(&path), path }).collect()
}

fn changed(path: &Path) -> Option<(SystemTime, u64)> {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}
