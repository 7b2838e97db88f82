//! The form by which a page lets somebody log in.

use form_urlencoded::parse;
use hyper::header::CONTENT_TYPE;
use leveret_broker::access::Secret;
use serde_json::json;
use tokio::runtime::Handle;
use zeroize::Zeroizing;

use super::access::{self, Credentials};
use super::{Answer, Ask, Failure};

/// Says `ok` to a name with the right password. No cookie is set: it would hold the password, and browsers give it to everybody who
/// listens at another port of the same host.
pub(super) fn log_in(ask: &Ask<'_>) -> Result<Answer, Failure> {
    let failed = Failure::login_failed;
    let is_form = ask.header(&CONTENT_TYPE).is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
    if !is_form || !ask.settings().basic_auth {
        return Err(failed());
    }
    let mut name = None;
    let mut password = None;
    for (key, value) in parse(&ask.body) {
        match &*key {
            "username" => name = Some(value.into_owned()),
            "password" => password = Some(Zeroizing::new(value.into_owned())),
            _ => {}
        }
    }
    let (name, password) = name.zip(password).ok_or_else(failed)?;
    let credentials = Credentials::Basic(name, Secret::new(password.as_bytes()));
    // This thread may wait.
    let user = Handle::current().block_on(credentials.check(&ask.app.logins, &ask.peer)).map_err(|reason| {
        tracing::warn!("HTTP access denied: {reason}");
        failed()
    })?;
    if !access::may_manage(&user) {
        tracing::warn!("HTTP access denied: user '{}' - Not management user", user.name);
        return Err(Failure::not_authorized("Not management user"));
    }
    Ok(Answer::json(&json!("ok")))
}
