//! Names in certificates, as `RabbitMQ` writes them, and the one that a user logs in by.

use std::fmt::Write as _;
use std::net::IpAddr;

use x509_parser::certificate::X509Certificate;
use x509_parser::der_parser::asn1_rs::{Any, FromDer as _, Tag};
use x509_parser::extensions::GeneralName;
use x509_parser::x509::{AttributeTypeAndValue, RelativeDistinguishedName, X509Name};

use super::settings::{LoginFrom, SanType};

/// Attributes that have a name; all others show as numbers.
const ATTRIBUTES: [(&str, &str); 16] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.4", "SN"),
    ("2.5.4.5", "SERIALNUMBER"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.12", "TITLE"),
    ("2.5.4.42", "GIVENNAME"),
    ("2.5.4.43", "INITIALS"),
    ("2.5.4.44", "GENERATIONQUALIFIER"),
    ("2.5.4.65", "PSEUDONYM"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("1.2.840.113549.1.9.1", "EMAILADDRESS"),
];

/// A name as in RFC 4514: the last part of it first.
pub(super) fn distinguished_name(name: &X509Name<'_>) -> String {
    let mut parts: Vec<String> = name.iter().map(relative).collect();
    parts.reverse();
    parts.join(",")
}

/// The name of a certificate's user, if it has what that is taken from.
pub(super) fn login_name(certificate: &X509Certificate<'_>, from: LoginFrom) -> Option<String> {
    let name = match from {
        LoginFrom::DistinguishedName => distinguished_name(certificate.subject()),
        LoginFrom::CommonName => {
            let names: Vec<String> = certificate.subject().iter_common_name().map(text).collect();
            names.join(",")
        }
        LoginFrom::SubjectAlternativeName { kind, index } => {
            let names = certificate.subject_alternative_name().ok()??;
            names.value.general_names.iter().filter_map(|name| alternative(name, kind)).nth(index)?
        }
    };
    Some(name).filter(|name| !name.is_empty())
}

/// An alternative name, if it is of this type.
fn alternative(name: &GeneralName<'_>, kind: SanType) -> Option<String> {
    match (kind, name) {
        (SanType::Dns, GeneralName::DNSName(name))
        | (SanType::Email, GeneralName::RFC822Name(name))
        | (SanType::Uri, GeneralName::URI(name)) => Some((*name).to_owned()),
        (SanType::Ip, GeneralName::IPAddress(octets)) => {
            let four = || <[u8; 4]>::try_from(*octets).map(IpAddr::from);
            let sixteen = || <[u8; 16]>::try_from(*octets).map(IpAddr::from);
            four().or_else(|_| sixteen()).ok().map(|address| address.to_string())
        }
        // The octets are a tag of their own around the value.
        (SanType::OtherName, GeneralName::OtherName(_, octets)) => {
            let (_, outer) = Any::from_der(octets).ok()?;
            let value = if outer.tag() == Tag(0) { Any::from_der(outer.data).ok()?.1 } else { outer };
            std::str::from_utf8(value.data).ok().map(str::to_owned)
        }
        _ => None,
    }
}

/// Attributes at one level of a name.
fn relative(part: &RelativeDistinguishedName<'_>) -> String {
    let attributes: Vec<String> = part.iter().map(attribute).collect();
    attributes.join("+")
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let id = attribute.attr_type().to_id_string();
    let name = ATTRIBUTES.iter().find(|(known, _)| *known == id).map_or(id.as_str(), |(_, name)| *name);
    format!("{name}={}", escaped(&text(attribute)))
}

/// The value of an attribute as text, whatever kind of text it is.
fn text(attribute: &AttributeTypeAndValue<'_>) -> String {
    let value = attribute.attr_value();
    if value.tag() == Tag::BmpString {
        let units =
            value.data.chunks_exact(2).map(|pair| pair.iter().fold(0, |unit, octet| unit << 8 | u16::from(*octet)));
        return char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
    }
    String::from_utf8_lossy(value.data).into_owned()
}

/// Escapes what means something in a name, and what is not plain ASCII, octet by octet.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let last = text.len().saturating_sub(1);
    for (index, octet) in text.bytes().enumerate() {
        match octet {
            b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';' => escaped.extend(['\\', char::from(octet)]),
            b' ' if index == 0 || index == last => escaped.push_str("\\ "),
            b'#' if index == 0 => escaped.push_str("\\#"),
            b' '..=b'}' => escaped.push(char::from(octet)),
            // A string takes everything.
            _ => drop(write!(escaped, "\\{octet:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use rcgen::{
        CertificateParams, CustomExtension, DistinguishedName, DnType, DnValue, KeyPair, SanType as Made, string,
    };
    use x509_parser::parse_x509_certificate;

    use super::*;

    fn with_certificate<T>(params: &CertificateParams, look: impl FnOnce(&X509Certificate<'_>) -> T) -> T {
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let (_, parsed) = parse_x509_certificate(certificate.der()).unwrap();
        look(&parsed)
    }

    fn subject(attributes: &[(DnType, &str)]) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in attributes {
            params.distinguished_name.push(kind.clone(), DnValue::Utf8String((*value).to_owned()));
        }
        params
    }

    /// Compared with what `RabbitMQ` 3.10 prints for the same names.
    #[test]
    fn distinguished_names_are_written_as_rabbitmq_does() {
        let custom = |id: &[u64]| DnType::CustomDnType(id.to_vec());
        let uid = custom(&[0, 9, 2342, 19_200_300, 100, 1, 1]);
        for (attributes, expected) in [
            (vec![(DnType::OrganizationName, "x"), (DnType::CommonName, "client")], "CN=client,O=x"),
            (
                vec![(DnType::CountryName, "DE"), (DnType::OrganizationName, "Ex, \"Corp\"+"), (uid, "u1")],
                "UID=u1,O=Ex\\, \\\"Corp\\\"\\+,C=DE",
            ),
            (vec![(DnType::CommonName, "#Jörg <x>\\y")], "CN=\\#J\\C3\\B6rg \\<x\\>\\\\y"),
            (vec![(DnType::CommonName, " second ")], "CN=\\ second\\ "),
            (vec![(DnType::OrganizationalUnitName, "b;c")], "OU=b\\;c"),
            (vec![(custom(&[2, 5, 4, 9]), "St"), (custom(&[2, 5, 4, 12]), "T")], "TITLE=T,2.5.4.9=St"),
            (
                vec![(custom(&[1, 2, 840, 113_549, 1, 9, 1]), "a@b.c"), (custom(&[2, 5, 4, 13]), "descr")],
                "2.5.4.13=descr,EMAILADDRESS=a@b.c",
            ),
            (vec![(DnType::CommonName, "a~b")], "CN=a\\7Eb"),
            (vec![], ""),
        ] {
            let params = subject(&attributes);
            let names = with_certificate(&params, |certificate| {
                (distinguished_name(certificate.subject()), login_name(certificate, LoginFrom::DistinguishedName))
            });
            let login = Some(expected.to_owned()).filter(|name| !name.is_empty());
            assert_eq!(names, (expected.to_owned(), login));
        }
    }

    #[test]
    fn a_login_name_is_taken_from_where_it_is_said_to_be() {
        let mut params = subject(&[(DnType::OrganizationName, "x"), (DnType::CommonName, "client")]);
        let text = |text: &str| string::Ia5String::try_from(text).unwrap();
        params.subject_alt_names = vec![
            Made::DnsName(text("a.example")),
            Made::Rfc822Name(text("m@x.y")),
            Made::DnsName(text("b.example")),
            Made::URI(text("http://u/1")),
            Made::IpAddress("10.0.0.1".parse().unwrap()),
            Made::IpAddress("::1".parse().unwrap()),
            Made::OtherName((vec![1, 3, 6, 1, 4, 1, 311, 20, 2, 3], "upn@x".into())),
        ];
        let san = |kind, index| LoginFrom::SubjectAlternativeName { kind, index };
        for (from, expected) in [
            (LoginFrom::DistinguishedName, Some("CN=client,O=x")),
            (LoginFrom::CommonName, Some("client")),
            (san(SanType::Dns, 0), Some("a.example")),
            (san(SanType::Dns, 1), Some("b.example")),
            (san(SanType::Dns, 2), None),
            (san(SanType::Email, 0), Some("m@x.y")),
            (san(SanType::Uri, 0), Some("http://u/1")),
            (san(SanType::Ip, 0), Some("10.0.0.1")),
            (san(SanType::Ip, 1), Some("::1")),
            (san(SanType::OtherName, 0), Some("upn@x")),
            (san(SanType::OtherName, 1), None),
        ] {
            let name = with_certificate(&params, |certificate| login_name(certificate, from));
            assert_eq!(name.as_deref(), expected, "{from:?}");
        }
    }

    #[test]
    fn names_that_are_missing_or_damaged_are_no_names() {
        let mut params = subject(&[(DnType::OrganizationName, "x")]);
        let san = LoginFrom::SubjectAlternativeName { kind: SanType::Dns, index: 0 };
        for from in [LoginFrom::CommonName, san] {
            assert_eq!(with_certificate(&params, |certificate| login_name(certificate, from)), None, "{from:?}");
        }
        params.custom_extensions = vec![CustomExtension::from_oid_content(&[2, 5, 29, 17], vec![0x30, 0x05, 0x82])];
        assert_eq!(with_certificate(&params, |certificate| login_name(certificate, san)), None);
    }

    #[test]
    fn several_common_names_are_joined() {
        let certificate = include_bytes!("names.der");
        let (_, certificate) = parse_x509_certificate(certificate).unwrap();
        let name = login_name(&certificate, LoginFrom::CommonName);
        assert_eq!(name.as_deref(), Some("#Jörg <x>\\y, second "));
    }
}
