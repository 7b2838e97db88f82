//! The OAuth 2 back end: a token is the password, and has in it who the user is and what it may do.

mod settings;

pub use settings::{HttpsSettings, OAuth2Settings, ProviderSettings, ResourceServerSettings, SigningKey, Verification};
