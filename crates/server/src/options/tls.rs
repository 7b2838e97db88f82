//! Options of TLS listeners.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::{env, fs};

use clap::builder::BoolishValueParser;
use clap::{Args, ValueEnum};
use leveret_server::{AMQPS_PORT, KeyPassword, TlsSettings, TlsVersion, Verify};
use zeroize::Zeroizing;

use super::address;

/// Holds the password of the key. It is no option, as everybody on a machine can read those.
const PASSWORD_VARIABLE: &str = "LEVERET_TLS_KEY_PASSWORD";

#[derive(Debug, Args)]
#[expect(clippy::struct_field_names, reason = "the names are those of the options")]
pub(crate) struct TlsOptions {
    /// Accept AMQP connections with TLS here, on port 5671 if none is given; may be given more than once
    #[arg(
        long,
        value_name = "ADDR[:PORT]",
        env = "LEVERET_TLS_LISTEN",
        hide_env_values = true,
        help_heading = "TLS",
        value_delimiter = ',',
        value_parser = tls_address,
        requires = "tls_cert",
        requires = "tls_key",
    )]
    pub(super) tls_listen: Vec<SocketAddr>,

    /// PEM file with the broker's certificate and those between it and an authority
    #[arg(
        long,
        value_name = "FILE",
        env = "LEVERET_TLS_CERT",
        hide_env_values = true,
        help_heading = "TLS",
        requires = "tls_key",
        requires = "tls_listen"
    )]
    tls_cert: Option<PathBuf>,

    /// PEM file with the key of the certificate. The variable `LEVERET_TLS_KEY_PASSWORD` may hold its password
    #[arg(
        long,
        value_name = "FILE",
        env = "LEVERET_TLS_KEY",
        hide_env_values = true,
        help_heading = "TLS",
        requires = "tls_cert"
    )]
    tls_key: Option<PathBuf>,

    /// File whose first line is the password of the key
    #[arg(
        long,
        value_name = "FILE",
        env = "LEVERET_TLS_KEY_PASSWORD_FILE",
        hide_env_values = true,
        help_heading = "TLS",
        requires = "tls_key"
    )]
    tls_key_password_file: Option<PathBuf>,

    /// Folder with more certificates, x.crt or x.pem with x.key, for clients that ask for one of their names
    #[arg(
        long,
        value_name = "FOLDER",
        env = "LEVERET_TLS_SNI",
        hide_env_values = true,
        help_heading = "TLS",
        requires = "tls_cert"
    )]
    tls_sni: Option<PathBuf>,

    /// PEM file, or folder of such files, with the authorities whose clients are believed
    #[arg(
        long,
        value_name = "PATH",
        env = "LEVERET_TLS_CA",
        hide_env_values = true,
        help_heading = "TLS",
        requires = "tls_cert"
    )]
    tls_ca: Option<PathBuf>,

    /// Whether to ask clients for a certificate: `none`, or `peer`; one that they give has to be good
    #[arg(
        long,
        value_name = "WHETHER",
        env = "LEVERET_TLS_VERIFY",
        hide_env_values = true,
        help_heading = "TLS",
        default_value = "none",
        hide_possible_values = true
    )]
    tls_verify: VerifyOption,

    /// Turn away clients that have no certificate; needs --tls-verify peer
    #[arg(
        long,
        env = "LEVERET_TLS_FAIL_IF_NO_PEER_CERT",
        hide_env_values = true,
        help_heading = "TLS",
        value_parser = BoolishValueParser::new()
    )]
    tls_fail_if_no_peer_cert: bool,

    /// Oldest version of TLS that is spoken: 1.2 or 1.3
    #[arg(
        long,
        value_name = "VERSION",
        env = "LEVERET_TLS_MIN_VERSION",
        hide_env_values = true,
        help_heading = "TLS",
        default_value_t = TlsVersion::V1_2,
    )]
    tls_min_version: TlsVersion,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum VerifyOption {
    None,
    Peer,
}

impl TlsOptions {
    /// What they come to; the error is a sentence for the person who gave them.
    pub(super) fn into_settings(self) -> Result<Option<TlsSettings>, String> {
        let (Some(certificate), Some(key)) = (self.tls_cert, self.tls_key) else { return Ok(None) };
        Ok(Some(TlsSettings {
            key_password: password(self.tls_key_password_file)?,
            more_certificates: self.tls_sni,
            authorities: self.tls_ca,
            verify: match self.tls_verify {
                VerifyOption::None => Verify::None,
                VerifyOption::Peer => Verify::Peer,
            },
            fail_if_no_peer_cert: self.tls_fail_if_no_peer_cert,
            versions: self.tls_min_version.and_later(),
            ..TlsSettings::new(certificate, key)
        }))
    }
}

/// The password of the key: the first line of a file, or the variable.
fn password(file: Option<PathBuf>) -> Result<Option<KeyPassword>, String> {
    let Some(file) = file else {
        return Ok(env::var(PASSWORD_VARIABLE).ok().map(KeyPassword::new));
    };
    let text = fs::read_to_string(&file)
        .map_err(|error| format!("cannot read the file with the key's password, {}: {error}", file.display()))?;
    let text = Zeroizing::new(text);
    Ok(Some(KeyPassword::new(text.lines().next().unwrap_or_default().to_owned())))
}

fn tls_address(text: &str) -> Result<SocketAddr, String> {
    address(text, AMQPS_PORT)
}
