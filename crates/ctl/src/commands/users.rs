//! Users, their passwords, tags and limits.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use leveret_auth::hash::Hashing;
use serde_json::{Value, json};

use super::LISTING;
use crate::failure::{Exit, Failure};
use crate::invocation::Invocation;
use crate::output::{Answer, Style};
use crate::password;
use crate::spec::{Command, Flag, Needs, Positional, Section, Takes};

const USERNAME: Positional = Positional::one("username", "the user");
const PASSWORD: Positional = Positional::optional("password", "its password; better not here, see below").secret();

const ADDED: &str = "Done. Don't forget to grant the user permissions to some virtual hosts! \
                     See 'rabbitmqctl help set_permissions' to learn more.";

pub(super) const COMMANDS: &[Command] = &[
    Command::new(
        "add_user",
        Section::Users,
        "Creates a new user in the internal database. This user will have no permissions for any virtual hosts by default.",
        add_user,
    )
    .takes(
        "<username> <password>",
        &[USERNAME, PASSWORD],
        &[Flag::switch("pre-hashed-password", "the password is a hash, as hash_password makes it")],
    )
    .notes(password::NOTES)
    .validate(validate_add_user)
    .banner(|invocation| Some(format!("Adding user \"{}\" ...", invocation.required("username")))),
    Command::new(
        "authenticate_user",
        Section::Users,
        "Attempts to authenticate a user. Exits with a non-zero code if authentication fails.",
        authenticate_user,
    )
    .takes("<username> <password>", &[USERNAME, PASSWORD], &[])
    .notes(password::NOTES)
    .banner(|invocation| Some(format!("Authenticating user \"{}\" ...", invocation.required("username")))),
    Command::new("change_password", Section::Users, "Changes the user password", change_password)
        .takes("<username> <password>", &[USERNAME, PASSWORD], &[])
        .notes(password::NOTES)
        .banner(|invocation| Some(format!("Changing password for user \"{}\" ...", invocation.required("username")))),
    Command::new(
        "clear_password",
        Section::Users,
        "Clears (resets) password and disables password login for a user",
        clear_password,
    )
    .takes("<username>", &[USERNAME], &[])
    .banner(|invocation| Some(format!("Clearing password for user \"{}\" ...", invocation.required("username")))),
    Command::new(
        "delete_user",
        Section::Users,
        "Removes a user from the internal database. Has no effect on users provided by external backends such as LDAP",
        delete_user,
    )
    .takes("<username>", &[USERNAME], &[])
    .banner(|invocation| Some(format!("Deleting user \"{}\" ...", invocation.required("username")))),
    Command::new("hash_password", Section::Users, "Hashes a plaintext password", hash_password)
        .takes(
            "<cleartext_password> [--hashing-algorithm <algorithm>]",
            &[Positional::optional("cleartext_password", "the password; better not here, see below").secret()],
            &[Flag::with(
                "hashing-algorithm",
                Takes::Text("algorithm"),
                "sha256, sha512 or argon2id [default: sha256]",
            )],
        )
        .notes(password::NOTES)
        .needs(Needs::Nothing)
        .validate(validate_hash_password)
        .banner(|_| Some("Will hash provided password".to_owned())),
    Command::new("list_users", Section::Users, "List user names and tags", list_users)
        .takes("[--no-table-headers] [--timeout <timeout>]", &[], &[])
        .tools(LISTING)
        .banner(|_| Some("Listing users ...".to_owned())),
    Command::new("set_user_tags", Section::Users, "Sets user tags", set_user_tags)
        .takes("<username> <tag> [...]", &[USERNAME, Positional::any("tag", "all of its tags")], &[])
        .banner(|invocation| {
            let (user, tags) = (invocation.required("username"), invocation.arguments("tag").join(", "));
            Some(format!("Setting tags for user \"{user}\" to [{tags}] ..."))
        }),
    Command::new("set_user_limits", Section::Users, "Sets user limits", set_user_limits)
        .takes(
            "<username> <definition>",
            &[USERNAME, Positional::one("definition", "the limits, as JSON: {\"max-connections\": 5, \"max-channels\": 10}")],
            &[],
        )
        .notes("Limits that are not in the definition stay as they are. A negative number is no limit.")
        .banner(|invocation| {
            let (user, definition) = (invocation.required("username"), invocation.required("definition"));
            Some(format!("Setting user limits to \"{definition}\" for user \"{user}\" ..."))
        }),
    Command::new("clear_user_limits", Section::Users, "Clears user connection/channel limits", clear_user_limits)
        .takes(
            "<username> <limit_type> | all",
            &[USERNAME, Positional::one("limit_type", "max-connections, max-channels or all")],
            &[],
        )
        .banner(|invocation| {
            let (user, limit) = (invocation.required("username"), invocation.required("limit_type"));
            Some(match limit {
                "all" => format!("Clearing all limits for user \"{user}\" ..."),
                limit => format!("Clearing \"{limit}\" limit for user \"{user}\" ..."),
            })
        }),
    Command::new("list_user_limits", Section::Users, "Displays configured user limits", list_user_limits)
        .takes(
            "[--user <username>] [--global]",
            &[],
            &[
                Flag::with("user", Takes::Text("username"), "the user [default: guest]"),
                Flag::switch("global", "list the limits of all users"),
            ],
        )
        .tools(LISTING)
        .banner(|invocation| {
            Some(match limited_user(invocation) {
                None => "Listing limits for all users ...".to_owned(),
                Some(user) => format!("Listing limits for user \"{user}\" ..."),
            })
        }),
];

fn validate_add_user(invocation: &Invocation) -> Result<(), Failure> {
    let password = invocation.argument("password");
    // RabbitMQ looks at this only if both are there; it makes no difference to what is created.
    if invocation.required("username").is_empty() {
        return Err(invocation.bad_argument("user cannot be an empty string"));
    }
    match password {
        Some(hash) if invocation.is_set("pre-hashed-password") => check_hash(invocation, hash),
        _ => Ok(()),
    }
}

fn check_hash(invocation: &Invocation, hash: &str) -> Result<(), Failure> {
    let is_hash = hash.starts_with("$argon2id$") || BASE64_STANDARD.decode(hash.trim()).is_ok();
    if is_hash {
        return Ok(());
    }
    Err(invocation.bad_argument("Could not Base64 decode provided password hash value"))
}

fn add_user(invocation: &Invocation) -> Result<Answer, Failure> {
    let user = invocation.required("username");
    let password = password::given_or_asked(invocation, "password", Exit::Data)?;
    let is_hash = invocation.is_set("pre-hashed-password");
    if is_hash {
        check_hash(invocation, &password)?;
    }
    let password = if is_hash { ("password_hash", password) } else { ("password", password) };
    invocation.perform("add_user", &json!({ "user": user, password.0: password.1 }))?;
    if invocation.general.quiet {
        return Ok(Answer::Done);
    }
    Ok(Answer::Report { text: ADDED.to_owned(), value: json!({ "status": "ok", "message": ADDED }) })
}

fn authenticate_user(invocation: &Invocation) -> Result<Answer, Failure> {
    let password = password::given_or_asked(invocation, "password", Exit::Software)?;
    let arguments = json!({ "user": invocation.required("username"), "password": password });
    invocation.perform("authenticate_user", &arguments)?;
    Ok(Answer::Text("Success".to_owned()))
}

fn change_password(invocation: &Invocation) -> Result<Answer, Failure> {
    let password = password::given_or_asked(invocation, "password", Exit::Software)?;
    let arguments = json!({ "user": invocation.required("username"), "password": password });
    invocation.perform("change_password", &arguments)
}

fn clear_password(invocation: &Invocation) -> Result<Answer, Failure> {
    invocation.perform("clear_password", &of_user(invocation))
}

fn delete_user(invocation: &Invocation) -> Result<Answer, Failure> {
    invocation.perform("delete_user", &of_user(invocation))
}

fn of_user(invocation: &Invocation) -> Value {
    json!({ "user": invocation.required("username") })
}

fn hashing(invocation: &Invocation) -> Result<Hashing, Failure> {
    let Some(name) = invocation.value("hashing-algorithm") else { return Ok(Hashing::default()) };
    Hashing::named(name).ok_or_else(|| invocation.bad_argument(&format!("unsupported hashing algorithm: {name}")))
}

fn validate_hash_password(invocation: &Invocation) -> Result<(), Failure> {
    hashing(invocation)?;
    match invocation.argument("cleartext_password") {
        Some("") => Err(invocation.bad_argument("password cannot be an empty string")),
        _ => Ok(()),
    }
}

/// Needs no node.
fn hash_password(invocation: &Invocation) -> Result<Answer, Failure> {
    let password = password::given_or_asked(invocation, "cleartext_password", Exit::Software)?;
    if password.is_empty() {
        return Err(invocation.bad_argument("password cannot be an empty string"));
    }
    let hash = hashing(invocation)?.hash_text(&password);
    hash.map(Answer::Text).map_err(|error| Failure::new(Exit::Software, error.to_string()))
}

fn list_users(invocation: &Invocation) -> Result<Answer, Failure> {
    let rows = invocation.list("list_users", &json!({}), &["user", "tags"])?;
    Ok(Answer::Rows(rows.styled("tags", Style::Atoms)))
}

fn set_user_tags(invocation: &Invocation) -> Result<Answer, Failure> {
    let arguments = json!({ "user": invocation.required("username"), "tags": invocation.arguments("tag") });
    invocation.perform("set_user_tags", &arguments)
}

fn set_user_limits(invocation: &Invocation) -> Result<Answer, Failure> {
    let arguments = json!({ "user": invocation.required("username"), "definition": invocation.required("definition") });
    invocation.perform("set_user_limits", &arguments)
}

fn clear_user_limits(invocation: &Invocation) -> Result<Answer, Failure> {
    let limit = Some(invocation.required("limit_type")).filter(|limit| *limit != "all");
    let arguments = json!({ "user": invocation.required("username"), "limit": limit });
    invocation.perform("clear_user_limits", &arguments)
}

/// The user whose limits are meant; none if all are.
fn limited_user(invocation: &Invocation) -> Option<&str> {
    if invocation.is_set("global") { None } else { Some(invocation.value("user").unwrap_or("guest")) }
}

fn list_user_limits(invocation: &Invocation) -> Result<Answer, Failure> {
    let user = limited_user(invocation);
    let rows = invocation.list("list_user_limits", &json!({ "user": user }), &["user", "limits"])?;
    Ok(if user.is_some() { super::limits_alone(rows) } else { Answer::Rows(rows) })
}
