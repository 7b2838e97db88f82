//! Opens private keys that a password protects: PKCS#8 with PBES2 (RFC 8018), as `openssl` writes them.

use aws_lc_rs::cipher::{
    AES_128, AES_192, AES_256, Algorithm, DecryptionContext, PaddedBlockDecryptingKey, UnboundCipherKey,
};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::pbkdf2;
use std::num::NonZeroU32;
use x509_parser::der_parser::asn1_rs::{Any, FromDer as _, Integer, OctetString, Oid, Sequence};
use zeroize::Zeroizing;

/// The most rounds that a password is put through. Who writes the file decides how long the start takes.
const ROUNDS_MAX: u32 = 10_000_000;
/// The longest key of a cipher, in octets.
const KEY_MAX: usize = 32;
/// Octets of a block of AES.
const BLOCK: usize = 16;

const PBES2: &str = "1.2.840.113549.1.5.13";
const PBKDF2: &str = "1.2.840.113549.1.5.12";

/// Why a key stays shut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Shut {
    /// It is not what the label says.
    #[error("the encrypted key is damaged")]
    Damaged,
    /// It is encrypted in a way that is not known here.
    #[error(
        "the key is encrypted in a way that is not supported; \
         `openssl pkcs8 -topk8 -v2 aes-256-cbc` makes it one that is (PBKDF2 and AES-CBC)"
    )]
    Unsupported,
    /// The password does not open it.
    #[error("the password for the key is wrong")]
    WrongPassword,
}

/// The PKCS#8 key in an `EncryptedPrivateKeyInfo`.
pub(super) fn open(encrypted: &[u8], password: &[u8]) -> Result<Vec<u8>, Shut> {
    let (scheme, data) = two(encrypted)?;
    let data = OctetString::from_der(data).map_err(|_| Shut::Damaged)?.1.into_cow().into_owned();
    let (name, parameters) = algorithm(&scheme)?;
    if name != PBES2 {
        return Err(Shut::Unsupported);
    }
    let (derivation, cipher) = two(parameters)?;
    let (name, parameters) = algorithm(&derivation)?;
    if name != PBKDF2 {
        return Err(Shut::Unsupported);
    }
    let (cipher, iv) = read_cipher(cipher)?;
    let mut key = Zeroizing::new([0; KEY_MAX]);
    let key = key.get_mut(..key_length(cipher)).ok_or(Shut::Unsupported)?;
    derive(parameters, password, key)?;
    let key = UnboundCipherKey::new(cipher, key).map_err(|_| Shut::Damaged)?;
    let key = PaddedBlockDecryptingKey::cbc_pkcs7(key).map_err(|_| Shut::Damaged)?;
    let mut data = Zeroizing::new(data);
    let context = DecryptionContext::Iv128(FixedLength::from(iv));
    let opened = key.decrypt(&mut data, context).map_err(|_| Shut::WrongPassword)?;
    // One wrong password in 256 leaves a padding that looks right.
    Sequence::from_der(opened).map_err(|_| Shut::WrongPassword)?;
    Ok(opened.to_vec())
}

/// A sequence that begins with a sequence: that one, and what comes after it.
fn two(octets: &[u8]) -> Result<(Any<'_>, &[u8]), Shut> {
    let (_, outer) = Any::from_der(octets).map_err(|_| Shut::Damaged)?;
    let (rest, first) = Any::from_der(outer.data).map_err(|_| Shut::Damaged)?;
    Ok((first, rest))
}

/// The name of an `AlgorithmIdentifier` and its parameters.
fn algorithm<'a>(identifier: &Any<'a>) -> Result<(String, &'a [u8]), Shut> {
    let (parameters, name) = Oid::from_der(identifier.data).map_err(|_| Shut::Damaged)?;
    Ok((name.to_id_string(), parameters))
}

fn read_cipher(identifier: &[u8]) -> Result<(&'static Algorithm, [u8; BLOCK]), Shut> {
    let (_, identifier) = Any::from_der(identifier).map_err(|_| Shut::Damaged)?;
    let (name, parameters) = algorithm(&identifier)?;
    let cipher = match name.as_str() {
        "2.16.840.1.101.3.4.1.2" => &AES_128,
        "2.16.840.1.101.3.4.1.22" => &AES_192,
        "2.16.840.1.101.3.4.1.42" => &AES_256,
        _ => return Err(Shut::Unsupported),
    };
    let (_, iv) = OctetString::from_der(parameters).map_err(|_| Shut::Damaged)?;
    let iv = iv.as_ref().try_into().map_err(|_| Shut::Damaged)?;
    Ok((cipher, iv))
}

fn key_length(cipher: &'static Algorithm) -> usize {
    if cipher == &AES_128 {
        16
    } else if cipher == &AES_192 {
        24
    } else {
        32
    }
}

/// PBKDF2 (RFC 8018 §5.2) with the parameters in the file.
fn derive(parameters: &[u8], password: &[u8], key: &mut [u8]) -> Result<(), Shut> {
    let (_, parameters) = Any::from_der(parameters).map_err(|_| Shut::Damaged)?;
    let (rest, salt) = OctetString::from_der(parameters.data).map_err(|_| Shut::Damaged)?;
    let (mut rest, rounds) = Integer::from_der(rest).map_err(|_| Shut::Damaged)?;
    let rounds = rounds.as_u32().ok().and_then(NonZeroU32::new).ok_or(Shut::Damaged)?;
    if rounds.get() > ROUNDS_MAX {
        return Err(Shut::Unsupported);
    }
    if let Ok((after, _length)) = Integer::from_der(rest) {
        rest = after;
    }
    let hash = if rest.is_empty() {
        pbkdf2::PBKDF2_HMAC_SHA1
    } else {
        let (_, identifier) = Any::from_der(rest).map_err(|_| Shut::Damaged)?;
        match algorithm(&identifier)?.0.as_str() {
            "1.2.840.113549.2.7" => pbkdf2::PBKDF2_HMAC_SHA1,
            "1.2.840.113549.2.9" => pbkdf2::PBKDF2_HMAC_SHA256,
            "1.2.840.113549.2.10" => pbkdf2::PBKDF2_HMAC_SHA384,
            "1.2.840.113549.2.11" => pbkdf2::PBKDF2_HMAC_SHA512,
            _ => return Err(Shut::Unsupported),
        }
    };
    pbkdf2::derive(hash, rounds, salt.as_ref(), password, key);
    Ok(())
}
