//! Values for configuration files that only a passphrase opens.

use std::io::{BufRead, IsTerminal, Write};

use leveret_auth::sealed::{self, Cipher, Hash, Recipe};
use serde_json::json;

use crate::failure::{Exit, Failure};
use crate::invocation::Invocation;
use crate::output::Answer;
use crate::spec::{Command, Flag, Needs, Positional, Section, Takes};

const SHUT: &str = "Failed to decrypt the value. Things to check: is the passphrase correct? Are the cipher and hash algorithms \
                    the same as those used for encryption?";
const RECIPE: &[Flag] = &[
    Flag::with("cipher", Takes::Text("cipher"), "cipher suite to use"),
    Flag::with("hash", Takes::Text("hash"), "hashing function to use"),
    Flag::with("iterations", Takes::Integer("iterations"), "number of iteration to apply"),
];
const USAGE: &str = "value passphrase [--cipher <cipher>] [--hash <hash>] [--iterations <iterations>]";
const TO_SEAL: &[Positional] = &[
    Positional::optional("value", "config value to encode; asked for, if it is not given").secret(),
    Positional::optional(
        "passphrase",
        "passphrase to use with the config value encryption key; asked for, if it is not given",
    ),
];
const TO_OPEN: &[Positional] = &[
    Positional::optional("value", "config value to decode"),
    Positional::optional("passphrase", "passphrase to use with the config value encryption key").secret(),
];
const NOTE: &str = "Unless it is told otherwise, it uses aes_256_cbc, sha512 and 1000 iterations, which is what rabbitmq.conf expects.";

pub(super) const COMMANDS: &[Command] = &[
    Command::new("encode", Section::Configuration, "Encrypts a sensitive configuration value", |it| {
        Ok(Answer::Text(format!("{{encrypted,<<\"{}\">>}}", seal(it)?)))
    })
    .takes(USAGE, TO_SEAL, RECIPE)
    .notes(NOTE)
    .needs(Needs::Nothing)
    .validate(|it| recipe(it).map(|_| ()))
    .banner(|_| Some("Encrypting value ...".to_owned())),
    Command::new("encrypt_conf_value", Section::Configuration, "Encrypts a sensitive value for rabbitmq.conf", |it| {
        Ok(Answer::Text(format!("encrypted:{}", seal(it)?)))
    })
    .takes(USAGE, TO_SEAL, RECIPE)
    .notes(NOTE)
    .needs(Needs::Nothing)
    .validate(|it| recipe(it).map(|_| ()))
    .banner(|_| Some("Encrypting value ...".to_owned())),
    Command::new("decode", Section::Configuration, "Decrypts an encrypted configuration value", |it| {
        Ok(Answer::Text(format!("<<\"{}\">>", open(it)?)))
    })
    .takes(USAGE, TO_OPEN, RECIPE)
    .needs(Needs::Nothing)
    .validate(validate_open)
    .banner(|_| Some("Decrypting value...".to_owned())),
    Command::new("decrypt_conf_value", Section::Configuration, "Decrypts a value of rabbitmq.conf", |it| {
        Ok(Answer::Text(open(it)?))
    })
    .takes(USAGE, TO_OPEN, RECIPE)
    .needs(Needs::Nothing)
    .validate(validate_open)
    .banner(|_| Some("Decrypting value...".to_owned())),
    Command::new("list_ciphers", Section::Monitoring, "Lists cipher suites supported by encoding commands", |_| {
        Ok(names(Cipher::NAMES))
    })
    .needs(Needs::Nothing)
    .banner(|_| Some("Listing supported ciphers ...".to_owned())),
    Command::new("list_hashes", Section::Monitoring, "Lists hash functions supported by encoding commands", |_| {
        Ok(names(Hash::NAMES))
    })
    .needs(Needs::Nothing)
    .banner(|_| Some("Listing supported hash algorithms ...".to_owned())),
];

fn names(names: &[&str]) -> Answer {
    Answer::Report { text: format!("[{}]", names.join(",")), value: json!({ "result": "ok", "value": names }) }
}

fn recipe(invocation: &Invocation) -> Result<Recipe, Failure> {
    let usual = Recipe::default();
    let cipher = invocation.value("cipher").map_or(Some(usual.cipher), Cipher::parse);
    let cipher = cipher.ok_or_else(|| invocation.bad_argument("The requested cipher is not supported."))?;
    let hash = invocation.value("hash").map_or(Some(usual.hash), Hash::parse);
    let hash = hash.ok_or_else(|| invocation.bad_argument("The requested hash is not supported"))?;
    let iterations = invocation.integer("iterations").map_or(Some(usual.iterations), |count| u32::try_from(count).ok());
    let iterations = iterations
        .filter(|count| *count > 0)
        .ok_or_else(|| invocation.bad_argument("The requested number of iterations is incorrect"))?;
    Ok(Recipe { cipher, hash, iterations })
}

fn validate_open(invocation: &Invocation) -> Result<(), Failure> {
    if invocation.argument("passphrase").is_none() {
        let reason = "not enough arguments: Please provide a value to decode and a passphrase";
        return Err(invocation.invalid(Exit::Usage, reason));
    }
    recipe(invocation).map(|_| ())
}

fn seal(invocation: &Invocation) -> Result<String, Failure> {
    let value = given(invocation, "value", "Value to encode: ")?;
    let passphrase = given(invocation, "passphrase", "Passphrase: ")?;
    sealed::seal(unquoted(&value), &passphrase, recipe(invocation)?)
        .map_err(|error| Failure::new(Exit::Software, error.to_string()))
}

fn open(invocation: &Invocation) -> Result<String, Failure> {
    let (value, passphrase) = (invocation.required("value").trim(), invocation.required("passphrase"));
    let value = value.strip_prefix("{encrypted,").and_then(|value| value.trim().strip_suffix('}')).unwrap_or(value);
    let value = unquoted(value.strip_prefix("encrypted:").unwrap_or(value));
    let chosen = ["cipher", "hash"].iter().any(|flag| invocation.value(flag).is_some())
        || invocation.integer("iterations").is_some();
    let opened = if chosen {
        sealed::open(value, passphrase, recipe(invocation)?)
    } else {
        sealed::open_usual(value, passphrase)
    };
    opened.map(|text| text.to_string()).map_err(|_| Failure::new(Exit::Unavailable, SHUT))
}

/// A text as it stands in Erlang, `<<"text">>` or `"text"`, without that.
fn unquoted(text: &str) -> &str {
    let text = text.trim();
    let inner = text.strip_prefix("<<").and_then(|text| text.strip_suffix(">>")).unwrap_or(text).trim();
    inner.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text)
}

/// What was given, or what is asked for. On a terminal nobody sees what is typed.
fn given(invocation: &Invocation, name: &str, question: &str) -> Result<String, Failure> {
    if let Some(value) = invocation.argument(name) {
        return Ok(value.to_owned());
    }
    let missing = || {
        Failure::new(
            Exit::Unavailable,
            format!("not enough arguments: the {name} is neither given nor on standard input"),
        )
    };
    if std::io::stdin().is_terminal() {
        return rpassword::prompt_password(question).map_err(|_| missing());
    }
    // Whoever pipes it in sees what was asked, as with RabbitMQ.
    let _ = std::io::stdout().write_all(format!("{question}\n").as_bytes());
    let mut line = String::new();
    match std::io::stdin().lock().read_line(&mut line) {
        Ok(1..) => Ok(line.trim_end_matches(['\r', '\n']).to_owned()),
        Ok(0) | Err(_) => Err(missing()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_of_erlang_are_no_part_of_a_value() {
        for (text, value) in [
            ("<<\"secret\">>", "secret"),
            ("\"secret\"", "secret"),
            ("secret", "secret"),
            (" <<\"a b\">> ", "a b"),
            ("se\"cret", "se\"cret"),
            ("<<1,2>>", "<<1,2>>"),
        ] {
            assert_eq!(unquoted(text), value);
        }
    }
}
