//! Options of TLS listeners.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::{env, fs};

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args, ValueEnum};
use leveret_server::{AMQPS_PORT, Given, Origin, TlsVersion};
use zeroize::Zeroizing;

use super::{Settings, address};

/// Holds the password of the key. It is no option, as everybody on a machine can read those.
const PASSWORD_VARIABLE: &str = "LEVERET_TLS_KEY_PASSWORD";

const HALF_A_CERTIFICATE: &str = "--tls-cert and --tls-key belong together: a certificate and its key";

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
    /// Adds what they say; the error is a sentence for the person who gave them.
    pub(super) fn add_to(self, given: &mut Settings<'_>) -> Result<(), String> {
        if self.tls_cert.is_some() != self.tls_key.is_some() {
            return Err(HALF_A_CERTIFICATE.to_owned());
        }
        for (number, address) in self.tls_listen.iter().enumerate() {
            given.push(given.origin("tls_listen"), format!("listeners.ssl.{}", number + 1), address.to_string());
            given.replace(&["listeners.ssl"]);
        }
        if self.tls_cert.is_some() {
            given.path("tls_cert", "ssl_options.certfile", self.tls_cert)?;
            // The file may have the password of its own key, which is another one.
            given.replace(&["ssl_options.certfile", "ssl_options.keyfile", "ssl_options.password"]);
            given.path("tls_key", "ssl_options.keyfile", self.tls_key)?;
        }
        if let Some((password, origin)) = password(self.tls_key_password_file, given)? {
            given.given.push(Given { key: "ssl_options.password".to_owned(), value: password, origin, replaces: &[] });
        }
        given.path("tls_sni", "leveret.tls.more_certificates", self.tls_sni)?;
        given.path("tls_ca", "ssl_options.cacertfile", self.tls_ca)?;
        let verify = self.tls_verify.map(|verify| match verify {
            VerifyOption::None => "verify_none",
            VerifyOption::Peer => "verify_peer",
        });
        given.add("tls_verify", "ssl_options.verify", verify);
        given.flag("tls_fail_if_no_peer_cert", "ssl_options.fail_if_no_peer_cert", self.tls_fail_if_no_peer_cert);
        for (number, version) in self.tls_min_version.into_iter().flat_map(TlsVersion::and_later).enumerate() {
            let name = match version {
                TlsVersion::V1_2 => "tlsv1.2",
                TlsVersion::V1_3 => "tlsv1.3",
            };
            given.push(given.origin("tls_min_version"), format!("ssl_options.versions.{}", number + 1), name);
            given.replace(&["ssl_options.versions"]);
        }
        Ok(())
    }
}

/// The password of the key, and where it is from: the first line of a file, or the variable.
fn password(file: Option<PathBuf>, given: &Settings<'_>) -> Result<Option<(Zeroizing<String>, Origin)>, String> {
    let Some(file) = file else {
        let password = env::var(PASSWORD_VARIABLE).ok().map(Zeroizing::new);
        return Ok(password.map(|password| (password, Origin::Variable(PASSWORD_VARIABLE.to_owned()))));
    };
    let text = fs::read_to_string(&file)
        .map_err(|error| format!("cannot read the file with the key's password, {}: {error}", file.display()))?;
    let text = Zeroizing::new(text);
    let password = Zeroizing::new(text.lines().next().unwrap_or_default().to_owned());
    Ok(Some((password, given.origin("tls_key_password_file"))))
}

fn tls_address(text: &str) -> Result<SocketAddr, String> {
    address(text, AMQPS_PORT)
}

#[cfg(test)]
mod tests {
    use leveret_server::{Config, KeyPassword, TlsSettings, Verify};

    use super::super::tests;
    use super::*;

    const FILE: &str = "ssl_options.certfile = Cargo.toml\n";

    /// What these arguments come to over a file.
    fn over(file: &str, arguments: &str) -> Result<Config, String> {
        tests::over(file, &arguments.split_whitespace().collect::<Vec<_>>())
    }

    #[test]
    fn options_win_over_the_file_one_by_one() {
        let file = format!(
            "{FILE}ssl_options.cacertfile = src\nssl_options.verify = verify_peer\nssl_options.fail_if_no_peer_cert = true\n\
             ssl_options.password = swordfish\nlisteners.ssl.1 = ::1:1\nssl_options.versions.9 = tlsv1.2\n"
        );
        let whole = TlsSettings {
            authorities: Some("src".into()),
            verify: Verify::Peer,
            fail_if_no_peer_cert: true,
            key_password: Some(KeyPassword::new("swordfish".into())),
            versions: vec![TlsVersion::V1_2],
            ..TlsSettings::new("Cargo.toml".into(), "Cargo.toml".into())
        };
        let expected = TlsSettings { verify: Verify::None, versions: vec![TlsVersion::V1_3], ..whole.clone() };
        assert_eq!(over(&file, "--tls-verify none --tls-min-version 1.3").unwrap().tls, Some(expected));
        let expected =
            TlsSettings { certificate: "src/lib.rs".into(), key: "src/main.rs".into(), key_password: None, ..whole };
        let config = over(&file, "--tls-cert src/lib.rs --tls-key src/main.rs --tls-listen ::1").unwrap();
        assert_eq!(config.tls, Some(expected), "the password is that of another key");
        assert_eq!(config.listen_tls, ["[::1]:5671".parse().unwrap()]);
    }

    #[test]
    fn a_certificate_its_key_and_a_listener_belong_together() {
        for (arguments, reason) in [
            ("--tls-cert src/lib.rs --tls-listen ::1", Some("belong together")),
            ("--tls-key src/lib.rs --tls-listen ::1", Some("belong together")),
            ("--tls-ca src", Some("TLS needs a certificate")),
            ("--tls-fail-if-no-peer-cert", Some("TLS needs a certificate")),
            ("--tls-verify peer --tls-listen ::1", Some("TLS needs a certificate")),
            ("--tls-listen ::1", Some("TLS needs a certificate")),
            ("--tls-cert src/lib.rs --tls-key Cargo.toml --tls-listen ::1", None),
            ("", None),
        ] {
            let error = over("", arguments).err();
            assert_eq!(error.is_some(), reason.is_some(), "{arguments}: {error:?}");
            assert!(error.unwrap_or_default().contains(reason.unwrap_or_default()), "{arguments}");
        }
    }

    #[test]
    fn switches_are_on_if_they_are_there() {
        for (arguments, on) in [("", false), ("--proxy-protocol --tls-fail-if-no-peer-cert", true)] {
            let config = over(FILE, arguments).unwrap();
            assert_eq!((config.proxy_protocol, config.tls.unwrap().fail_if_no_peer_cert), (on, on), "{arguments}");
        }
    }
}
