//! Options of TLS listeners.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::{env, fs};

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args, ValueEnum};
use leveret_server::{AMQPS_PORT, KeyPassword, TlsSettings, TlsVersion, Verify};
use zeroize::Zeroizing;

use super::address;

/// Holds the password of the key. It is no option, as everybody on a machine can read those.
const PASSWORD_VARIABLE: &str = "LEVERET_TLS_KEY_PASSWORD";

const NO_CERTIFICATE: &str = "TLS needs a certificate and its key: --tls-cert and --tls-key, or ssl_options.certfile \
                              and ssl_options.keyfile in the configuration file";
const HALF_A_CERTIFICATE: &str = "--tls-cert and --tls-key belong together: a certificate and its key";
const NO_LISTENER: &str = "there is a certificate, but no listener to show it: give --tls-listen";

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
    )]
    pub(super) tls_listen: Vec<SocketAddr>,

    /// PEM file with the broker's certificate and those between it and an authority
    #[arg(long, value_name = "FILE", env = "LEVERET_TLS_CERT", hide_env_values = true, help_heading = "TLS")]
    tls_cert: Option<PathBuf>,

    /// PEM file with the key of the certificate. The variable `LEVERET_TLS_KEY_PASSWORD` may hold its password
    #[arg(long, value_name = "FILE", env = "LEVERET_TLS_KEY", hide_env_values = true, help_heading = "TLS")]
    tls_key: Option<PathBuf>,

    /// File whose first line is the password of the key
    #[arg(
        long,
        value_name = "FILE",
        env = "LEVERET_TLS_KEY_PASSWORD_FILE",
        hide_env_values = true,
        help_heading = "TLS"
    )]
    tls_key_password_file: Option<PathBuf>,

    /// Folder with more certificates, x.crt or x.pem with x.key, for clients that ask for one of their names
    #[arg(long, value_name = "FOLDER", env = "LEVERET_TLS_SNI", hide_env_values = true, help_heading = "TLS")]
    tls_sni: Option<PathBuf>,

    /// PEM file, or folder of such files, with the authorities whose clients are believed
    #[arg(long, value_name = "PATH", env = "LEVERET_TLS_CA", hide_env_values = true, help_heading = "TLS")]
    tls_ca: Option<PathBuf>,

    /// Whether to ask clients for a certificate: `none`, or `peer`; one that they give has to be good [default: none]
    #[arg(
        long,
        value_name = "WHETHER",
        env = "LEVERET_TLS_VERIFY",
        hide_env_values = true,
        help_heading = "TLS",
        hide_possible_values = true
    )]
    tls_verify: Option<VerifyOption>,

    /// Turn away clients that have no certificate; needs --tls-verify peer
    #[arg(
        long,
        env = "LEVERET_TLS_FAIL_IF_NO_PEER_CERT",
        hide_env_values = true,
        help_heading = "TLS",
        action = ArgAction::Set,
        num_args = 0,
        default_missing_value = "true",
        value_parser = BoolishValueParser::new()
    )]
    tls_fail_if_no_peer_cert: Option<bool>,

    /// Oldest version of TLS that is spoken: 1.2 or 1.3 [default: 1.2]
    #[arg(long, value_name = "VERSION", env = "LEVERET_TLS_MIN_VERSION", hide_env_values = true, help_heading = "TLS")]
    tls_min_version: Option<TlsVersion>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum VerifyOption {
    None,
    Peer,
}

impl TlsOptions {
    /// What they come to over `base`, which holds where they say nothing; the error is a sentence for the person who gave them.
    pub(super) fn into_settings(
        self,
        base: Option<TlsSettings>,
        listen: &[SocketAddr],
    ) -> Result<Option<TlsSettings>, String> {
        let says_more = self.tls_key_password_file.is_some()
            || self.tls_sni.is_some()
            || self.tls_ca.is_some()
            || self.tls_verify.is_some()
            || self.tls_fail_if_no_peer_cert.is_some()
            || self.tls_min_version.is_some();
        let names_certificate = self.tls_cert.is_some();
        let mut settings = match (self.tls_cert, self.tls_key, base) {
            // The file may have the password of its own key, which is another one.
            (Some(certificate), Some(key), Some(base)) => TlsSettings { certificate, key, key_password: None, ..base },
            (Some(certificate), Some(key), None) => TlsSettings::new(certificate, key),
            (None, None, Some(base)) => base,
            (None, None, None) if says_more || !listen.is_empty() => return Err(NO_CERTIFICATE.to_owned()),
            (None, None, None) => return Ok(None),
            (Some(_), None, _) | (None, Some(_), _) => return Err(HALF_A_CERTIFICATE.to_owned()),
        };
        if names_certificate && listen.is_empty() {
            return Err(NO_LISTENER.to_owned());
        }
        let password = password(self.tls_key_password_file)?;
        settings.key_password = password.or(settings.key_password);
        settings.more_certificates = self.tls_sni.or(settings.more_certificates);
        settings.authorities = self.tls_ca.or(settings.authorities);
        settings.fail_if_no_peer_cert = self.tls_fail_if_no_peer_cert.unwrap_or(settings.fail_if_no_peer_cert);
        match self.tls_verify {
            Some(VerifyOption::None) => settings.verify = Verify::None,
            Some(VerifyOption::Peer) => settings.verify = Verify::Peer,
            None => {}
        }
        if let Some(version) = self.tls_min_version {
            settings.versions = version.and_later();
        }
        Ok(Some(settings))
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

#[cfg(test)]
mod tests {
    use clap::Parser;
    use leveret_server::Config;

    use super::*;
    use crate::options::Cli;

    /// What these arguments come to over a file.
    fn over(file: Option<TlsSettings>, arguments: &str) -> Result<Config, String> {
        let arguments = ["leveret"].into_iter().chain(arguments.split_whitespace());
        Cli::parse_from(arguments).server.into_config(Config { tls: file, ..Config::default() })
    }

    #[test]
    fn options_win_over_the_file_one_by_one() {
        let file = TlsSettings {
            authorities: Some("ca".into()),
            verify: Verify::Peer,
            fail_if_no_peer_cert: true,
            key_password: Some(KeyPassword::new("swordfish".into())),
            ..TlsSettings::new("cert".into(), "key".into())
        };
        let expected = TlsSettings { verify: Verify::None, versions: vec![TlsVersion::V1_3], ..file.clone() };
        let settings = over(Some(file.clone()), "--tls-verify none --tls-min-version 1.3").unwrap().tls;
        assert_eq!(settings, Some(expected));
        let expected =
            TlsSettings { certificate: "other".into(), key: "its".into(), key_password: None, ..file.clone() };
        let settings = over(Some(file), "--tls-cert other --tls-key its --tls-listen ::1").unwrap().tls;
        assert_eq!(settings, Some(expected), "the password is that of another key");
    }

    #[test]
    fn a_certificate_its_key_and_a_listener_belong_together() {
        for (arguments, reason) in [
            ("--tls-cert a --tls-listen ::1", Some("belong together")),
            ("--tls-key a --tls-listen ::1", Some("belong together")),
            ("--tls-cert a --tls-key b", Some("give --tls-listen")),
            ("--tls-ca a", Some("TLS needs a certificate")),
            ("--tls-fail-if-no-peer-cert", Some("TLS needs a certificate")),
            ("--tls-verify peer --tls-listen ::1", Some("TLS needs a certificate")),
            ("--tls-cert a --tls-key b --tls-listen ::1", None),
            ("", None),
        ] {
            let error = over(None, arguments).err();
            assert_eq!(error.is_some(), reason.is_some(), "{arguments}: {error:?}");
            assert!(error.unwrap_or_default().contains(reason.unwrap_or_default()), "{arguments}");
        }
    }

    #[test]
    fn switches_are_on_if_they_are_there() {
        let file = || Some(TlsSettings::new("cert".into(), "key".into()));
        for (arguments, on) in [("", false), ("--proxy-protocol --tls-fail-if-no-peer-cert", true)] {
            let config = over(file(), arguments).unwrap();
            assert_eq!((config.proxy_protocol, config.tls.unwrap().fail_if_no_peer_cert), (on, on), "{arguments}");
        }
    }
}
