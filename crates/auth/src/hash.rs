//! Passwords and what is kept of them.
//!
//! SHA-256, SHA-512 and MD5 are as in RabbitMQ: four octets of salt, then the digest of salt and password; as text, the base64 of
//! that. Users move from broker to broker with them. A salted digest stops nobody for long who got hold of it; Argon2id does.

use std::fmt;

use argon2::password_hash::phc::PasswordHash as Phc;
use argon2::password_hash::{CustomizedPasswordHasher, PasswordVerifier};
use argon2::{Argon2, Params};
use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use leveret_broker::access::{HashingAlgorithm, PasswordHash, Secret};
use md5::{Digest, Md5};
use subtle::ConstantTimeEq;

/// Octets of salt before a digest.
const DIGEST_SALT_LEN: usize = 4;

/// Octets of salt of Argon2id.
const ARGON2_SALT_LEN: usize = 16;

/// Memory in KiB that a hash may ask for which somebody brought along: a check must not take the machine down.
const MEMORY_KIB_MAX: u32 = 256 * 1024;

/// Passes over that memory.
const PASSES_MAX: u32 = 16;

/// Lanes of that memory.
const LANES_MAX: u32 = 16;

/// Octets of a hash that somebody brought along; those of all algorithms are shorter.
const HASH_LEN_MAX: usize = 512;

/// What is wrong with a hash, or with making one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    /// Broken long ago; there are users left who have one.
    #[error("MD5 is not for new passwords")]
    Outdated,
    /// The machine gives no random octets.
    #[error("no random numbers for a salt")]
    NoRandomness,
    /// The parameters do not go together.
    #[error("invalid parameters of Argon2id")]
    Parameters,
    /// It is not in base64.
    #[error("the password hash is not in base64")]
    NotBase64,
    /// It is not what hashes of Argon2id look like.
    #[error("the password hash does not begin with $argon2id$ or is incomplete")]
    NotArgon2id,
    /// A check would take more time or memory than a login is worth.
    #[error("the password hash asks for more than {MEMORY_KIB_MAX} KiB, {PASSES_MAX} passes or {LANES_MAX} lanes")]
    TooExpensive,
    /// It is longer than any hash.
    #[error("the password hash is longer than {HASH_LEN_MAX} octets")]
    TooLong,
}

/// What Argon2id takes, for its user and for who guesses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Argon2Cost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// How often it goes over the memory.
    pub passes: u32,
    /// Parts that the memory has.
    pub lanes: u32,
}

impl Default for Argon2Cost {
    /// What OWASP asks for at least: 19 MiB, twice.
    fn default() -> Self {
        Self { memory_kib: Params::DEFAULT_M_COST, passes: Params::DEFAULT_T_COST, lanes: Params::DEFAULT_P_COST }
    }
}

/// How new passwords are hashed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Hashing {
    /// With what.
    pub algorithm: HashingAlgorithm,
    /// What that takes, if it is Argon2id.
    pub argon2: Argon2Cost,
}

/// What checking a password takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// Microseconds.
    Small,
    /// Tens of milliseconds and megabytes: nothing for a thread that others wait for.
    Large,
}

impl Hashing {
    /// With the algorithm of that name, as people write it or as definitions have it.
    pub fn named(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        let algorithm = match name.as_str() {
            "sha256" | "sha-256" => HashingAlgorithm::Sha256,
            "sha512" | "sha-512" => HashingAlgorithm::Sha512,
            "md5" => HashingAlgorithm::Md5,
            "argon2id" => HashingAlgorithm::Argon2id,
            module => HashingAlgorithm::parse(module)?,
        };
        Some(Self { algorithm, ..Self::default() })
    }

    /// Hashes a password to the text that definitions have.
    pub fn hash_text(&self, password: &str) -> Result<String, HashError> {
        self.hash(&Secret::new(password.as_bytes())).map(|hash| to_text(&hash))
    }

    /// Hashes a password. Of a blank one nothing is kept, as it never logs anybody in.
    pub fn hash(&self, password: &Secret) -> Result<PasswordHash, HashError> {
        let Self { algorithm, argon2 } = *self;
        if password.is_empty() {
            return Ok(PasswordHash::none());
        }
        let octets = match algorithm {
            HashingAlgorithm::Sha256 | HashingAlgorithm::Sha512 => salted(algorithm, random()?, password),
            HashingAlgorithm::Md5 => return Err(HashError::Outdated),
            HashingAlgorithm::Argon2id => argon2id(argon2, &random()?, password)?,
        };
        Ok(PasswordHash { algorithm, octets })
    }
}

/// What [`verify`] will take.
pub const fn effort(hash: &PasswordHash) -> Effort {
    match hash.algorithm {
        HashingAlgorithm::Sha256 | HashingAlgorithm::Sha512 | HashingAlgorithm::Md5 => Effort::Small,
        HashingAlgorithm::Argon2id => Effort::Large,
    }
}

/// Whether this is the password. It takes as long whatever part of it is right. See [`effort`].
pub fn verify(hash: &PasswordHash, password: &Secret) -> bool {
    if password.is_empty() || hash.is_none() {
        return false;
    }
    match hash.algorithm {
        HashingAlgorithm::Sha256 | HashingAlgorithm::Sha512 | HashingAlgorithm::Md5 => {
            let Some(&salt) = hash.octets.first_chunk() else { return false };
            salted(hash.algorithm, salt, password).ct_eq(&hash.octets).into()
        }
        HashingAlgorithm::Argon2id => match parse_argon2id(&hash.octets) {
            Ok(phc) => Argon2::default().verify_password(password.expose(), &phc).is_ok(),
            Err(_) => false,
        },
    }
}

/// A hash as definitions have it: in base64, or what Argon2id has for text.
pub fn to_text(hash: &PasswordHash) -> String {
    match hash.algorithm {
        HashingAlgorithm::Sha256 | HashingAlgorithm::Sha512 | HashingAlgorithm::Md5 => STANDARD.encode(&hash.octets),
        HashingAlgorithm::Argon2id => String::from_utf8_lossy(&hash.octets).into_owned(),
    }
}

/// Takes a hash as definitions have it. As in RabbitMQ, a digest of the wrong length is taken, and fits no password.
pub fn from_text(algorithm: HashingAlgorithm, text: &str) -> Result<PasswordHash, HashError> {
    // Lines that were broken for a mail are RabbitMQ's to read, too.
    let text: String = text.split_ascii_whitespace().collect();
    if text.is_empty() {
        return Ok(PasswordHash::none());
    }
    let octets = match algorithm {
        HashingAlgorithm::Sha256 | HashingAlgorithm::Sha512 | HashingAlgorithm::Md5 => {
            STANDARD.decode(text).map_err(|_| HashError::NotBase64)?
        }
        HashingAlgorithm::Argon2id => {
            parse_argon2id(text.as_bytes())?;
            text.into_bytes()
        }
    };
    if octets.len() > HASH_LEN_MAX {
        return Err(HashError::TooLong);
    }
    Ok(PasswordHash { algorithm, octets: octets.into() })
}

impl fmt::Display for Argon2Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { memory_kib, passes, lanes } = self;
        write!(f, "{memory_kib} KiB, {passes} passes, {lanes} lanes")
    }
}

fn random<const N: usize>() -> Result<[u8; N], HashError> {
    let mut octets = [0; N];
    getrandom::fill(&mut octets).map_err(|_| HashError::NoRandomness)?;
    Ok(octets)
}

fn salted(algorithm: HashingAlgorithm, salt: [u8; DIGEST_SALT_LEN], password: &Secret) -> Box<[u8]> {
    let sha = |algorithm| {
        let mut context = digest::Context::new(algorithm);
        context.update(&salt);
        context.update(password.expose());
        [&salt, context.finish().as_ref()].concat()
    };
    let octets = match algorithm {
        HashingAlgorithm::Sha256 => sha(&digest::SHA256),
        HashingAlgorithm::Sha512 => sha(&digest::SHA512),
        HashingAlgorithm::Md5 => {
            let digest = Md5::new().chain_update(salt.as_slice()).chain_update(password.expose()).finalize();
            [salt.as_slice(), digest.as_slice()].concat()
        }
        HashingAlgorithm::Argon2id => Vec::new(),
    };
    octets.into()
}

fn argon2id(cost: Argon2Cost, salt: &[u8; ARGON2_SALT_LEN], password: &Secret) -> Result<Box<[u8]>, HashError> {
    let Argon2Cost { memory_kib, passes, lanes } = cost;
    if memory_kib > MEMORY_KIB_MAX || passes > PASSES_MAX || lanes > LANES_MAX {
        return Err(HashError::TooExpensive);
    }
    let params = Params::new(memory_kib, passes, lanes, None).map_err(|_| HashError::Parameters)?;
    let phc: Phc = Argon2::default()
        .hash_password_with_params(password.expose(), salt, params)
        .map_err(|_| HashError::Parameters)?;
    Ok(phc.to_string().into_bytes().into())
}

fn parse_argon2id(octets: &[u8]) -> Result<Phc, HashError> {
    let text = std::str::from_utf8(octets).map_err(|_| HashError::NotArgon2id)?;
    let phc = Phc::new(text).map_err(|_| HashError::NotArgon2id)?;
    if phc.algorithm.as_str() != "argon2id" || phc.salt.is_none() || phc.hash.is_none() {
        return Err(HashError::NotArgon2id);
    }
    let params = Params::try_from(&phc).map_err(|_| HashError::Parameters)?;
    if params.m_cost() > MEMORY_KIB_MAX || params.t_cost() > PASSES_MAX || params.p_cost() > LANES_MAX {
        return Err(HashError::TooExpensive);
    }
    Ok(phc)
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUICK: Argon2Cost = Argon2Cost { memory_kib: 8, passes: 1, lanes: 1 };

    fn secret(text: &str) -> Secret {
        Secret::new(text.as_bytes())
    }

    #[test]
    fn a_text_is_hashed_to_what_definitions_have() {
        for (name, algorithm) in [
            ("sha256", Some(HashingAlgorithm::Sha256)),
            ("SHA-512", Some(HashingAlgorithm::Sha512)),
            ("rabbit_password_hashing_sha512", Some(HashingAlgorithm::Sha512)),
            ("argon2id", Some(HashingAlgorithm::Argon2id)),
            ("rot13", None),
        ] {
            let hashing = Hashing::named(name);
            assert_eq!(hashing.map(|hashing| hashing.algorithm), algorithm, "{name}");
            let Some(hashing) = hashing else { continue };
            let text = Hashing { argon2: QUICK, ..hashing }.hash_text("swordfish").unwrap();
            let hash = from_text(hashing.algorithm, &text).unwrap();
            assert!(verify(&hash, &secret("swordfish")) && !verify(&hash, &secret("other")), "{name}");
        }
        let md5 = Hashing::named("md5").unwrap();
        assert_eq!(md5.hash_text("swordfish"), Err(HashError::Outdated));
    }

    #[test]
    fn hashes_of_rabbitmq_are_understood() {
        for (algorithm, text, password, expected) in [
            // The example of RabbitMQ's documentation.
            ("sha256", "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR", "test12", true),
            ("sha256", "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgx\nIs30+P6tENUV2POR", "test12", true),
            ("sha256", "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR", "test13", false),
            ("sha256", "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR", "", false),
            ("sha512", "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR", "test12", false),
            ("md5", "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR", "test12", false),
            ("md5", MD5_OF_GUEST, "guest", true),
            ("md5", MD5_OF_GUEST, "Guest", false),
            ("sha512", SHA512_OF_GUEST, "guest", true),
            ("sha512", SHA512_OF_GUEST, "guess", false),
            // Nothing fits what is no hash.
            ("sha256", "", "", false),
            ("sha256", "", "guest", false),
            ("sha256", "kI3GCg==", "test12", false),
            ("sha256", "kI0=", "test12", false),
        ] {
            let algorithm = HashingAlgorithm::parse(&format!("rabbit_password_hashing_{algorithm}")).unwrap();
            let hash = from_text(algorithm, text).unwrap();
            assert_eq!(verify(&hash, &secret(password)), expected, "{algorithm:?} {text} {password}");
            assert_eq!(to_text(&hash), text.replace('\n', ""));
        }
    }

    #[test]
    fn what_was_hashed_verifies() {
        for algorithm in [HashingAlgorithm::Sha256, HashingAlgorithm::Sha512, HashingAlgorithm::Argon2id] {
            let hashing = Hashing { algorithm, argon2: QUICK };
            let (one, other) = (hashing.hash(&secret("tröt")).unwrap(), hashing.hash(&secret("tröt")).unwrap());
            assert_ne!(one, other, "a salt is used once");
            for (password, expected) in [("tröt", true), ("trot", false), ("", false), ("tröt ", false)] {
                assert_eq!(verify(&one, &secret(password)), expected, "{algorithm:?} {password}");
                let copy = from_text(algorithm, &to_text(&one)).unwrap();
                assert_eq!(verify(&copy, &secret(password)), expected, "{algorithm:?} {password}");
            }
        }
    }

    #[test]
    fn nothing_is_kept_of_a_blank_password() {
        for algorithm in HashingAlgorithm::ALL {
            let hash = Hashing { algorithm, argon2: QUICK }.hash(&secret("")).unwrap();
            assert!(hash.is_none(), "{algorithm:?}");
            assert!(!verify(&hash, &secret("")), "{algorithm:?}");
        }
    }

    #[test]
    fn a_check_has_bounds() {
        let phc = |parameters: &str| format!("$argon2id$v=19${parameters}$c29tZSBzYWx0MTIz$oJGjb4JhVp4rY4dRnVq2uQ");
        for (text, expected) in [
            (phc("m=8,t=1,p=1"), Ok(())),
            (phc("m=4194304,t=1,p=1"), Err(HashError::TooExpensive)),
            (phc("m=8,t=4000000,p=1"), Err(HashError::TooExpensive)),
            (phc("m=65536,t=1,p=255"), Err(HashError::TooExpensive)),
            (phc("m=8,t=0,p=1"), Err(HashError::Parameters)),
            (phc("m=8,t=1,p=1").replace("argon2id", "argon2i"), Err(HashError::NotArgon2id)),
            ("$argon2id$v=19$m=8,t=1,p=1".into(), Err(HashError::NotArgon2id)),
            ("swordfish".into(), Err(HashError::NotArgon2id)),
        ] {
            assert_eq!(from_text(HashingAlgorithm::Argon2id, &text).map(|_| ()), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_hash_is_refused() {
        for (text, expected) in
            [("swordfish!".to_owned(), HashError::NotBase64), ("AAAA".repeat(1000), HashError::TooLong)]
        {
            assert_eq!(from_text(HashingAlgorithm::Sha256, &text), Err(expected), "{text}");
        }
        assert_eq!(
            Hashing { algorithm: HashingAlgorithm::Md5, argon2: QUICK }.hash(&secret("a")),
            Err(HashError::Outdated)
        );
        let cost = Argon2Cost { memory_kib: u32::MAX, ..QUICK };
        let hashing = Hashing { algorithm: HashingAlgorithm::Argon2id, argon2: cost };
        assert_eq!(hashing.hash(&secret("a")), Err(HashError::TooExpensive));
    }

    /// Salt 01020304, made with another implementation.
    const MD5_OF_GUEST: &str = "AQIDBH/JkOf0oGZ5yhQgSBXkHS0=";
    const SHA512_OF_GUEST: &str =
        "AQIDBANSvkE51MvG7pNDq4NjmP8SFay7rWsolg//30q7jnApCiuE049JxchapptDh7ryvu/VdvUXYHbwdpa9veVAv14=";
}
