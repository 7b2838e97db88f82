//! Feature flags and deprecated features.

use serde_json::json;

use crate::failure::{Exit, Failure};
use crate::invocation::Invocation;
use crate::output::{Answer, Rows};
use crate::spec::{Command, Flag, Positional, Section};

/// The columns of a flag.
const FLAG_COLUMNS: [&str; 6] = ["name", "state", "stability", "provided_by", "desc", "doc_url"];
/// The columns of a deprecated feature.
const FEATURE_COLUMNS: [&str; 5] = ["name", "deprecation_phase", "provided_by", "desc", "doc_url"];

pub(super) const COMMANDS: &[Command] = &[
    Command::new("list_feature_flags", Section::FeatureFlags, "Lists feature flags", list_feature_flags)
        .takes(
            "[<column> ...] [--timeout <timeout>]",
            &[Positional::any("column", "name, state, stability, provided_by, desc or doc_url")],
            &[],
        )
        .timeout(60)
        .validate(|call| columns(call, &FLAG_COLUMNS, 2).map(drop))
        .banner(|_| Some("Listing feature flags ...".to_owned())),
    Command::new(
        "enable_feature_flag",
        Section::FeatureFlags,
        "Enables a feature flag or all supported feature flags on the target node",
        enable_feature_flag,
    )
    .takes(
        "<all | feature_flag>",
        &[Positional::one("feature_flag", "the flag, or all")],
        &[Flag::switch("experimental", "accepted for RabbitMQ's sake; there are no such flags")],
    )
    .notes("All flags that a node has are enabled from its first start.")
    .banner(|call| {
        Some(match call.required("feature_flag") {
            "all" => "Enabling all feature flags ...".to_owned(),
            flag => format!("Enabling feature flag \"{flag}\" ..."),
        })
    }),
    Command::new(
        "list_deprecated_features",
        Section::FeatureFlags,
        "Lists features that RabbitMQ is about to take away",
        list_deprecated_features,
    )
    .takes(
        "[--used] [<column> ...] [--timeout <timeout>]",
        &[Positional::any("column", "name, deprecation_phase, provided_by, desc or doc_url")],
        &[Flag::switch("used", "only those that are in use")],
    )
    .timeout(60)
    .validate(|call| columns(call, &FEATURE_COLUMNS, 2).map(drop))
    .banner(|call| {
        Some(
            if call.is_set("used") {
                "Listing deprecated features in use ..."
            } else {
                "Listing deprecated features ..."
            }
            .to_owned(),
        )
    }),
];

/// The columns that were asked for; the first few, if none were.
fn columns<'a>(call: &'a Invocation, known: &[&'static str], usual: usize) -> Result<Vec<&'a str>, Failure> {
    let mut asked: Vec<&str> = call.arguments("column").into_iter().flat_map(|list| list.split([',', ' '])).collect();
    asked.retain(|column| !column.is_empty());
    let unknown: Vec<&str> = asked.iter().copied().filter(|column| !known.contains(column)).collect();
    if !unknown.is_empty() {
        let reason = format!("Info key(s) {} are not supported", unknown.join(","));
        return Err(call.invalid(Exit::Usage, &reason));
    }
    Ok(if asked.is_empty() { known.iter().copied().take(usual).collect() } else { asked })
}

fn list_feature_flags(call: &Invocation) -> Result<Answer, Failure> {
    let columns = columns(call, &FLAG_COLUMNS, 2)?;
    let reply = call.call("list_feature_flags", &json!({}))?;
    Ok(Answer::Rows(Rows::new(columns, reply.rows)))
}

fn enable_feature_flag(call: &Invocation) -> Result<Answer, Failure> {
    call.call("enable_feature_flag", &json!({ "name": call.required("feature_flag") }))?;
    Ok(Answer::Done)
}

fn list_deprecated_features(call: &Invocation) -> Result<Answer, Failure> {
    let columns = columns(call, &FEATURE_COLUMNS, 2)?;
    let reply = call.call("list_deprecated_features", &json!({ "used": call.is_set("used") }))?;
    Ok(Answer::Rows(Rows::new(columns, reply.rows)))
}
