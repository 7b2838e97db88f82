//! Users.

use leveret_auth::hash::{self, HashError};
use leveret_broker::access::{HashingAlgorithm, PasswordHash, Secret};
use leveret_broker::topology::{Change, Existing};
use leveret_broker::{Error, Name};
use serde_json::{Value, json};

use crate::api::body::Members;
use crate::api::listing;
use crate::api::route::{Field, Gives, Kind};
use crate::api::{Access, Answer, Ask, Failure, Group, Operation, Route};
use crate::limits;
use crate::views::Columns;

pub(super) const GROUP: Group = Group {
    title: "Users",
    routes: &[
        Route {
            path: "/api/users",
            operations: &[Operation::get(Access::Administrator, list, "All users").gives(Gives::Many("User"))],
        },
        Route {
            path: "/api/users/without-permissions",
            operations: &[Operation::get(Access::Administrator, list_without, "The users that may open no vhost")
                .gives(Gives::All("User"))],
        },
        Route {
            path: "/api/users/bulk-delete",
            operations: &[Operation::post(Access::Administrator, bulk_delete, "Deletes several users, all or none")
                .body(&[Field::needed("users", Kind::List, "their names")])],
        },
        Route {
            path: "/api/users/{user}",
            operations: &[
                Operation::get(Access::Administrator, get, "A user").gives(Gives::One("User")),
                Operation::put(Access::Administrator, put, "Creates a user, or replaces its password and tags")
                    .body(USER),
                Operation::delete(Access::Administrator, delete, "Deletes a user with all that it may do"),
            ],
        },
    ],
};

const USER: &[Field] = &[
    Field::needed(
        "tags",
        Kind::Any,
        "a list, or text with commas between them; management, policymaker, monitoring and administrator let users in here",
    ),
    Field::optional(
        "password",
        Kind::Text,
        "the password; without one, and without a hash, nobody can log in with one",
    ),
    Field::optional("password_hash", Kind::Text, "the hash of the password, in its place"),
    Field::optional("hashing_algorithm", Kind::Text, "how the hash was made"),
    Field::optional("limits", Kind::Object, "how many connections and channels it may have open"),
];

fn list(ask: &Ask<'_>) -> Result<Answer, Failure> {
    listing::of_rows(ask, ask.view(&Columns::All).users())
}

fn list_without(ask: &Ask<'_>) -> Result<Answer, Failure> {
    listing::whole(ask, ask.view(&Columns::All).users_without_permissions())
}

fn get(ask: &Ask<'_>) -> Result<Answer, Failure> {
    ask.one(|view| view.user(ask.part("user")))
}

fn put(ask: &Ask<'_>) -> Result<Answer, Failure> {
    let user: Name = ask.part("user").into();
    let members = ask.members()?;
    let (tags, password, limits) = (tags(&members)?, password(ask, &members)?, members.table("limits")?);
    let is_new = ask.node().read(|topology| topology.user(&user).is_err());
    ask.change(Change::SetUser { user: Name::clone(&user), password, tags, existing: Existing::Replace })?;
    if let Some(limits) = limits {
        limits::change_user(ask.node(), &user, |_| limits)?;
    }
    Ok(Answer::put(is_new))
}

fn tags(members: &Members) -> Result<Vec<Name>, Failure> {
    match (members.words("tags")?, members.flag("administrator")?) {
        (Some(tags), _) => Ok(tags),
        // As it was said before there were tags.
        (None, Some(true)) => Ok(vec!["administrator".into()]),
        (None, Some(false)) => Ok(Vec::new()),
        (None, None) => Err(Failure::bad_request("tags_not_present")),
    }
}

fn password(ask: &Ask<'_>, members: &Members) -> Result<PasswordHash, Failure> {
    let algorithm = members.text("hashing_algorithm")?;
    match (members.text("password")?, members.text("password_hash")?) {
        (Some(_), Some(_)) => Err(Failure::bad_request("both_password_and_password_hash_are_provided")),
        (Some(password), None) => {
            let hash = ask.app().hashing.hash(&Secret::new(password.as_bytes()));
            hash.map_err(|error| Failure::failed(error.to_string()))
        }
        (None, Some(text)) => given_hash(ask.app().hashing.algorithm, algorithm, text),
        (None, None) => Ok(PasswordHash::none()),
    }
}

/// Takes a hash that was made elsewhere: by the algorithm that is named, or the one that new passwords are hashed with.
fn given_hash(new: HashingAlgorithm, named: Option<&str>, text: &str) -> Result<PasswordHash, Failure> {
    let algorithm = match (named, new) {
        (Some(name), _) => HashingAlgorithm::parse(name)
            .ok_or_else(|| Failure::bad_request(format!("unknown hashing algorithm '{name}'")))?,
        (None, _) if text.starts_with("$argon2id$") => HashingAlgorithm::Argon2id,
        (None, HashingAlgorithm::Argon2id) => HashingAlgorithm::Sha256,
        (None, other) => other,
    };
    hash::from_text(algorithm, text).map_err(|error| match error {
        // RabbitMQ repeats it here. Somebody may have taken the one member for the other, and it is a password.
        HashError::NotBase64 => Failure::bad_request(json!(["not_base64", "password_hash"])),
        error => Failure::bad_request(error.to_string()),
    })
}

fn delete(ask: &Ask<'_>) -> Result<Answer, Failure> {
    ask.change(Change::DeleteUser { user: ask.part("user").into() })?;
    Ok(Answer::done())
}

/// RabbitMQ deletes those before the first that is missing. Here it is all of them or none.
fn bulk_delete(ask: &Ask<'_>) -> Result<Answer, Failure> {
    let members = ask.members()?;
    members.need(&["users"])?;
    let Some(Value::Array(users)) = members.value("users") else {
        return Err(Failure::bad_request("users has to be a list of names"));
    };
    let missing = |user: &Value| Failure::bad_request(json!(["no_such_user", user]));
    let users: Vec<Name> = users
        .iter()
        .map(|user| user.as_str().map(Name::from).ok_or_else(|| missing(user)))
        .collect::<Result<_, _>>()?;
    let unknown = ask.node().read(|topology| users.iter().find(|user| topology.user(user).is_err()).cloned());
    if let Some(user) = unknown {
        return Err(missing(&json!(&*user)));
    }
    for user in users {
        match ask.node().apply(Change::DeleteUser { user }) {
            Ok(changed) => crate::wait(ask.node(), changed.written)?,
            // Somebody else was faster, or it was named twice.
            Err(Error::UserNotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Answer::done())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(value: Value) -> Members {
        match value {
            Value::Object(members) => Members::new(members),
            other => panic!("{other} is no object"),
        }
    }

    #[test]
    fn tags_are_said_in_several_ways() {
        for (body, expected) in [
            (json!({"tags": "a, b"}), Ok(vec!["a", "b"])),
            (json!({"tags": ""}), Ok(vec![])),
            (json!({"tags": ["a"]}), Ok(vec!["a"])),
            (json!({"administrator": true}), Ok(vec!["administrator"])),
            (json!({"administrator": false}), Ok(vec![])),
            (json!({"tags": "a", "administrator": true}), Ok(vec!["a"])),
            (json!({}), Err(json!("tags_not_present"))),
            (json!({"tags": [5]}), Err(json!(["not_string", "tags"]))),
        ] {
            let found = tags(&members(body.clone())).map_err(|failure| failure.reason);
            assert_eq!(found, expected.map(|tags| tags.into_iter().map(Name::from).collect()), "{body}");
        }
    }

    #[test]
    fn hashes_are_taken_by_their_algorithm_and_never_repeated() {
        use HashingAlgorithm::{Argon2id, Md5, Sha256, Sha512};
        let digest = "2lmoth8l4H0DViLaK9Fxi6l9ds8=";
        for (new, named, text, expected) in [
            (Sha256, None, digest, Ok(Sha256)),
            (Sha512, None, digest, Ok(Sha512)),
            (Argon2id, None, digest, Ok(Sha256)),
            (Sha256, Some("rabbit_password_hashing_md5"), digest, Ok(Md5)),
            (Sha256, Some("nope"), digest, Err(json!("unknown hashing algorithm 'nope'"))),
            (Sha256, None, "swordfish!", Err(json!(["not_base64", "password_hash"]))),
        ] {
            let hash = given_hash(new, named, text).map_err(|failure| failure.reason);
            assert_eq!(hash.map(|hash| hash.algorithm), expected, "{named:?} {text}");
        }
    }
}
