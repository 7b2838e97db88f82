//! Values in configuration files that only a passphrase opens, as RabbitMQ's `rabbitmqctl encode` makes them.
//!
//! PBKDF2 makes a key out of the passphrase and a salt; with that key the value, as an Erlang term in its external format, is
//! encrypted with AES in CBC mode. The text is the base64 of salt, initialization vector and what came out.

use std::num::NonZeroU32;

use aws_lc_rs::cipher::{
    AES_128, AES_192, AES_256, Algorithm, DecryptionContext, EncryptionContext, PaddedBlockDecryptingKey,
    PaddedBlockEncryptingKey, UnboundCipherKey,
};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::pbkdf2;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// Octets of salt.
const SALT: usize = 16;
/// Octets of a block of AES, and of an initialization vector.
const BLOCK: usize = 16;
/// Octets of the longest key.
const KEY_MAX: usize = 32;
/// The most rounds that a passphrase is put through, as the start waits for them.
const ITERATIONS_MAX: u32 = 10_000_000;

/// What an external term begins with.
const VERSION: u8 = 131;
const BINARY: u8 = 109;
const STRING: u8 = 107;
const LIST: u8 = 108;
const SMALL_INTEGER: u8 = 97;
const INTEGER: u8 = 98;
const NIL: u8 = 106;
/// Atoms in their four ways, each with the octets of its length.
const ATOMS: [(u8, usize); 4] = [(119, 1), (118, 2), (115, 1), (100, 2)];

/// Why a value stays sealed, or cannot be sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// It is not what `encode` makes.
    #[error("what is encrypted is damaged: it is no base64, or too short")]
    Damaged,
    /// Passphrase, cipher, hash and iterations do not open it.
    #[error("it cannot be decrypted: the passphrase is another one, or the cipher, the hash or the iterations are")]
    Shut,
    /// It opens, but what is in it is no text.
    #[error("what is encrypted is no text")]
    NotText,
    /// A number of iterations that is not supported.
    #[error("expected from 1 to {ITERATIONS_MAX} iterations")]
    Iterations,
    /// The system gives no random octets.
    #[error("the system gives no random octets")]
    NoRandomness,
}

macro_rules! names {
    ($(#[$doc:meta])* $type:ident { $($(#[$variant_doc:meta])* $variant:ident = $name:literal $(| $other:literal)*,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $type {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $type {
            /// All names, of which several may mean one.
            pub const NAMES: &'static [&'static str] = &[$($name, $($other,)*)*];

            /// Its name.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// The one of that name.
            pub fn parse(name: &str) -> Option<Self> {
                match name {
                    $($name $(| $other)* => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

names! {
    /// By what a value is encrypted.
    Cipher {
        /// AES with 128 bits.
        Aes128 = "aes_128_cbc" | "aes_cbc128",
        /// AES with 192 bits.
        Aes192 = "aes_192_cbc",
        /// AES with 256 bits.
        Aes256 = "aes_256_cbc" | "aes_cbc256",
    }
}

names! {
    /// By what a passphrase becomes a key.
    Hash {
        /// SHA-1
        Sha1 = "sha",
        /// SHA-256
        Sha256 = "sha256",
        /// SHA-384
        Sha384 = "sha384",
        /// SHA-512
        Sha512 = "sha512",
    }
}

/// How a value is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recipe {
    /// By what it is encrypted.
    pub cipher: Cipher,
    /// By what the passphrase becomes a key.
    pub hash: Hash,
    /// In how many rounds.
    pub iterations: u32,
}

impl Default for Recipe {
    fn default() -> Self {
        Self { cipher: Cipher::Aes256, hash: Hash::Sha512, iterations: 1000 }
    }
}

impl Recipe {
    /// What RabbitMQ's tools do if they are told nothing: less than is good for a passphrase that somebody thought of.
    pub const RABBITMQ: Self = Self { cipher: Cipher::Aes128, hash: Hash::Sha256, iterations: 1 };

    /// The key that a passphrase and a salt make.
    fn key(self, passphrase: &str, salt: &[u8]) -> Result<UnboundCipherKey, SealError> {
        let iterations = NonZeroU32::new(self.iterations).filter(|iterations| iterations.get() <= ITERATIONS_MAX);
        let iterations = iterations.ok_or(SealError::Iterations)?;
        let hash = match self.hash {
            Hash::Sha1 => pbkdf2::PBKDF2_HMAC_SHA1,
            Hash::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
            Hash::Sha384 => pbkdf2::PBKDF2_HMAC_SHA384,
            Hash::Sha512 => pbkdf2::PBKDF2_HMAC_SHA512,
        };
        let (cipher, length): (&'static Algorithm, usize) = match self.cipher {
            Cipher::Aes128 => (&AES_128, 16),
            Cipher::Aes192 => (&AES_192, 24),
            Cipher::Aes256 => (&AES_256, 32),
        };
        let mut key = Zeroizing::new([0; KEY_MAX]);
        let key = key.get_mut(..length).ok_or(SealError::Shut)?;
        pbkdf2::derive(hash, iterations, salt, passphrase.as_bytes(), key);
        UnboundCipherKey::new(cipher, key).map_err(|_| SealError::Shut)
    }
}

/// Encrypts a value; what comes out is for a configuration file, behind `encrypted:`.
pub fn seal(value: &str, passphrase: &str, recipe: Recipe) -> Result<String, SealError> {
    let mut random = [0; SALT + BLOCK];
    getrandom::fill(&mut random).map_err(|_| SealError::NoRandomness)?;
    seal_with(value, passphrase, recipe, random)
}

fn seal_with(value: &str, passphrase: &str, recipe: Recipe, random: [u8; SALT + BLOCK]) -> Result<String, SealError> {
    let (salt, iv) = random.split_at(SALT);
    let iv: [u8; BLOCK] = iv.try_into().map_err(|_| SealError::Shut)?;
    let key = PaddedBlockEncryptingKey::cbc_pkcs7(recipe.key(passphrase, salt)?).map_err(|_| SealError::Shut)?;
    // With room for the padding, so that no copy is left behind.
    let mut octets = Zeroizing::new(Vec::with_capacity(value.len() + 2 * BLOCK));
    octets.extend([VERSION, BINARY]);
    octets.extend(u32::try_from(value.len()).map_err(|_| SealError::NotText)?.to_be_bytes());
    octets.extend_from_slice(value.as_bytes());
    key.less_safe_encrypt(&mut *octets, EncryptionContext::Iv128(FixedLength::from(iv)))
        .map_err(|_| SealError::Shut)?;
    Ok(STANDARD.encode([random.as_slice(), &octets].concat()))
}

/// Decrypts what comes behind `encrypted:`. The value is a binary, a string or an atom of Erlang.
pub fn open(sealed: &str, passphrase: &str, recipe: Recipe) -> Result<Zeroizing<String>, SealError> {
    let sealed = STANDARD.decode(sealed.trim()).map_err(|_| SealError::Damaged)?;
    let (salt, rest) = sealed.split_at_checked(SALT).ok_or(SealError::Damaged)?;
    let (iv, encrypted) = rest.split_first_chunk::<BLOCK>().ok_or(SealError::Damaged)?;
    if encrypted.is_empty() || encrypted.len() % BLOCK != 0 {
        return Err(SealError::Damaged);
    }
    let key = PaddedBlockDecryptingKey::cbc_pkcs7(recipe.key(passphrase, salt)?).map_err(|_| SealError::Shut)?;
    let mut octets = Zeroizing::new(encrypted.to_vec());
    let context = DecryptionContext::Iv128(FixedLength::from(*iv));
    let term = key.decrypt(&mut octets, context).map_err(|_| SealError::Shut)?;
    // One wrong passphrase in 256 leaves a padding that looks right.
    let term = term.strip_prefix(&[VERSION]).ok_or(SealError::Shut)?;
    text(term).ok_or(SealError::NotText)
}

/// Decrypts a value of which nobody says how it was encrypted: as here, or as RabbitMQ's tools do if they are told nothing.
pub fn open_usual(sealed: &str, passphrase: &str) -> Result<Zeroizing<String>, SealError> {
    let opened = open(sealed, passphrase, Recipe::default());
    // A key that is wrong may seem right as far as the padding.
    opened.or_else(|error| open(sealed, passphrase, Recipe::RABBITMQ).map_err(|_| error))
}

/// The text that an external term is.
fn text(term: &[u8]) -> Option<Zeroizing<String>> {
    let (tag, rest) = term.split_first()?;
    let octets = match *tag {
        BINARY => counted(rest, 4)?,
        STRING => counted(rest, 2)?,
        NIL => &[],
        LIST => return characters(rest),
        tag => {
            let (_, length) = ATOMS.iter().find(|(atom, _)| *atom == tag)?;
            counted(rest, *length)?
        }
    };
    // Characters of a string are code points, of which these are the first 256.
    let text = std::str::from_utf8(octets).map(|text| Zeroizing::new(text.to_owned()));
    text.ok().or_else(|| (*tag == STRING).then(|| Zeroizing::new(octets.iter().copied().map(char::from).collect())))
}

/// What comes behind a length of that many octets.
fn counted(octets: &[u8], length: usize) -> Option<&[u8]> {
    let (count, rest) = octets.split_at_checked(length)?;
    let count = count.iter().fold(0_usize, |count, octet| count << 8 | usize::from(*octet));
    (rest.len() == count).then_some(rest)
}

/// The text that a list of code points is.
fn characters(list: &[u8]) -> Option<Zeroizing<String>> {
    let (count, mut rest) = list.split_first_chunk::<4>()?;
    let mut text = Zeroizing::new(String::with_capacity(list.len()));
    for _ in 0..u32::from_be_bytes(*count) {
        let code = match rest.split_first()? {
            (&SMALL_INTEGER, after) => {
                let (code, after) = after.split_first()?;
                rest = after;
                u32::from(*code)
            }
            (&INTEGER, after) => {
                let (code, after) = after.split_first_chunk::<4>()?;
                rest = after;
                u32::from_be_bytes(*code)
            }
            _ => return None,
        };
        text.push(char::from_u32(code)?);
    }
    (rest == [NIL]).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECIPES: [(Cipher, Hash, u32); 4] = [
        (Cipher::Aes256, Hash::Sha512, 1000),
        (Cipher::Aes192, Hash::Sha384, 1),
        (Cipher::Aes128, Hash::Sha256, 10),
        (Cipher::Aes256, Hash::Sha1, 2),
    ];

    #[test]
    fn what_rabbitmq_sealed_opens() {
        for (sealed, recipe) in [
            ("SG4uuXGLN3Z4cPs3/nYJwoRXAdpbHAWDiZACOjTlwa2jiZzDZJOPfNwYtaoRKm7F", Recipe::RABBITMQ),
            ("j7SFhItE92cv4GmvpZLSTRfykqLa7oN34IoizZASg33peNPTFdJxlh5ZDzsXXeMr", Recipe::RABBITMQ),
            ("79K1eT+daBhctKa14Rrv60VYcN1WEzyYLkDHUbj6hY92eUNQyBCFPBSRH181mefh", Recipe::default()),
            (
                "P5GFDKlDdEu15R8yWpMZBhRMJYplU/M6H+SXytWVYbawz2UOr5U2QirHwg72d9sO",
                Recipe { cipher: Cipher::Aes128, hash: Hash::Sha256, iterations: 10 },
            ),
        ] {
            assert_eq!(open(sealed, "swordfish", recipe).as_deref().map(String::as_str), Ok("hare"), "{sealed}");
            let usual = [Recipe::default(), Recipe::RABBITMQ].contains(&recipe);
            assert_eq!(open_usual(sealed, "swordfish").is_ok(), usual, "{sealed}");
            assert_eq!(open_usual(sealed, "trout"), Err(SealError::Shut), "{sealed}");
        }
    }

    #[test]
    fn what_is_sealed_opens_again() {
        for (cipher, hash, iterations) in RECIPES {
            let recipe = Recipe { cipher, hash, iterations };
            for value in ["", "hare", "0123456789", "a value of more than one block", "H\u{e4}sin"] {
                let sealed = seal(value, "swordfish", recipe).unwrap();
                assert_eq!(open(&sealed, "swordfish", recipe).unwrap().as_str(), value, "{recipe:?}");
                assert!(open(&sealed, "trout", recipe).is_err());
                assert_ne!(seal(value, "swordfish", recipe).unwrap(), sealed, "two are never the same");
            }
        }
    }

    #[test]
    fn what_is_damaged_stays_shut() {
        let sealed = seal("hare", "swordfish", Recipe::default()).unwrap();
        for (text, expected) in [
            ("", SealError::Damaged),
            ("no base64", SealError::Damaged),
            ("c2hvcnQ=", SealError::Damaged),
            (&sealed[4..], SealError::Damaged),
            (&STANDARD.encode([0; 48]), SealError::Shut),
        ] {
            assert_eq!(open(text, "swordfish", Recipe::default()), Err(expected), "{text}");
        }
        for iterations in [0, ITERATIONS_MAX + 1] {
            let recipe = Recipe { iterations, ..Recipe::default() };
            assert_eq!(open(&sealed, "swordfish", recipe), Err(SealError::Iterations));
        }
    }

    #[test]
    fn a_term_is_a_text_or_none() {
        for (term, expected) in [
            (&b"\x6d\x00\x00\x00\x02hi"[..], Some("hi")),
            (b"\x6b\x00\x02hi", Some("hi")),
            (b"\x6b\x00\x01\xe4", Some("\u{e4}")),
            (b"\x6a", Some("")),
            (b"\x77\x02hi", Some("hi")),
            (b"\x64\x00\x02hi", Some("hi")),
            (b"\x6c\x00\x00\x00\x02\x61h\x62\x00\x00\x20\xac\x6a", Some("h\u{20ac}")),
            (b"\x6d\x00\x00\x00\x03hi", None),
            (b"\x61\x05", None),
            (b"\x68\x00", None),
            (b"", None),
        ] {
            assert_eq!(text(term).as_deref().map(String::as_str), expected, "{term:?}");
        }
    }

    #[test]
    fn names_are_those_of_rabbitmq() {
        for (cipher, hash, _) in RECIPES {
            assert_eq!((Cipher::parse(cipher.as_str()), Hash::parse(hash.as_str())), (Some(cipher), Some(hash)));
        }
        assert_eq!((Cipher::parse("aes_cbc256"), Cipher::parse("rc4")), (Some(Cipher::Aes256), None));
    }
}
