//! Values that are encrypted, as `rabbitmqctl encrypt_conf_value` prints them: `encrypted:` and what it made of them.

use std::fs;

use leveret_auth::sealed::{self, Cipher, Hash, Recipe};
use zeroize::Zeroizing;

use super::file::{Entry, show};
use super::place::Remark;

/// What comes before a value that is encrypted.
const ENCRYPTED: &str = "encrypted:";
/// What comes before the name of a file with a passphrase.
const FILE: &str = "file:";
const PASSPHRASE: &str = "config_entry_decoder.passphrase";

/// Opens what is encrypted in `entries`; what cannot be opened is a mistake, and has no value afterwards.
pub(super) fn decode(entries: &mut Vec<Entry>, mistakes: &mut Vec<Remark>) {
    if !entries.iter().any(|entry| entry.value.starts_with(ENCRYPTED)) {
        return;
    }
    let (passphrase, recipe) = (passphrase(entries), recipe(entries));
    entries.retain_mut(|entry| {
        let Some(sealed) = entry.value.strip_prefix(ENCRYPTED) else { return true };
        let opened = passphrase.as_ref().map_err(ToOwned::to_owned).and_then(|passphrase| {
            let passphrase =
                passphrase.as_ref().ok_or_else(|| format!("it is encrypted, and {PASSPHRASE} is not set"))?;
            let opened = match recipe {
                Some(recipe) => sealed::open(sealed, passphrase, recipe),
                None => sealed::open_usual(sealed, passphrase),
            };
            opened.map_err(|error| error.to_string())
        });
        match opened {
            Ok(value) => {
                entry.value = value;
                true
            }
            Err(reason) => {
                mistakes.push(Remark::new(entry.place, format!("{}: {reason}", show(&entry.key))));
                false
            }
        }
    });
}

/// The passphrase, if one is set.
fn passphrase(entries: &[Entry]) -> Result<Option<Zeroizing<String>>, String> {
    let Some(value) = value(entries, PASSPHRASE) else { return Ok(None) };
    let Some(path) = value.strip_prefix(FILE) else { return Ok(Some(value.clone())) };
    let text = fs::read_to_string(path).map(Zeroizing::new);
    let text =
        text.map_err(|error| format!("it is encrypted, and the passphrase in {path} cannot be read: {error}"))?;
    Ok(Some(Zeroizing::new(text.lines().next().unwrap_or_default().to_owned())))
}

/// How values are encrypted, if that is set. What is wrong with it is said elsewhere.
fn recipe(entries: &[Entry]) -> Option<Recipe> {
    let value = |name: &str| value(entries, &format!("config_entry_decoder.{name}"));
    let (cipher, hash, iterations) = (value("cipher"), value("hash"), value("iterations"));
    if cipher.is_none() && hash.is_none() && iterations.is_none() {
        return None;
    }
    let usual = Recipe::default();
    Some(Recipe {
        cipher: cipher.and_then(|name| Cipher::parse(name)).unwrap_or(usual.cipher),
        hash: hash.and_then(|name| Hash::parse(name)).unwrap_or(usual.hash),
        iterations: iterations.and_then(|number| number.parse().ok()).unwrap_or(usual.iterations),
    })
}

fn value<'a>(entries: &'a [Entry], key: &str) -> Option<&'a Zeroizing<String>> {
    entries.iter().find(|entry| show(&entry.key) == key).map(|entry| &entry.value)
}
