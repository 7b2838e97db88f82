//! Who is asking.

use serde_json::{Value, json};

use crate::api::route::Gives;
use crate::api::{Access, Answer, Ask, Failure, Group, Operation, Route};

pub(super) const GROUP: Group = Group {
    title: "Overview",
    routes: &[Route {
        path: "/api/whoami",
        operations: &[Operation::get(Access::Management, whoami, "The user who asks").gives(Gives::One("Whoami"))],
    }],
};

fn whoami(ask: &Ask<'_>) -> Result<Answer, Failure> {
    let user = ask.user()?;
    let tags: Vec<Value> = user.tags.iter().map(|tag| json!(&**tag)).collect();
    Ok(Answer::json(&json!({ "name": &*user.name, "tags": tags })))
}
