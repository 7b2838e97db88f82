//! Runtime parameters, global ones, and the cluster's name.

use serde_json::json;

use super::LISTING;
use crate::failure::Failure;
use crate::invocation::Invocation;
use crate::output::Answer;
use crate::spec::{Command, Positional, Section};

const COMPONENT: Positional = Positional::one("component_name", "what the parameter is for, such as vhost-limits");
const NAME: Positional = Positional::one("name", "the parameter");
const VALUE: Positional = Positional::one("value", "what it is set to, as JSON");

pub(super) const COMMANDS: &[Command] = &[
    Command::new("set_parameter", Section::Parameters, "Sets a runtime parameter.", set_parameter)
        .takes("[--vhost <vhost>] <component_name> <name> <value>", &[COMPONENT, NAME, VALUE], &[])
        .banner(|invocation| {
            let [component, name, value] =
                ["component_name", "name", "value"].map(|place| invocation.required(place));
            let vhost = invocation.vhost();
            Some(format!(
                "Setting runtime parameter \"{name}\" for component \"{component}\" to \"{value}\" in vhost \"{vhost}\" ..."
            ))
        }),
    Command::new("clear_parameter", Section::Parameters, "Clears a runtime parameter.", clear_parameter)
        .takes("[--vhost <vhost>] <component_name> <name>", &[COMPONENT, NAME], &[])
        .banner(|invocation| {
            let [component, name] = ["component_name", "name"].map(|place| invocation.required(place));
            let vhost = invocation.vhost();
            Some(format!(
                "Clearing runtime parameter \"{name}\" for component \"{component}\" on vhost \"{vhost}\" ..."
            ))
        }),
    Command::new(
        "list_parameters",
        Section::Parameters,
        "Lists runtime parameters for a virtual host",
        list_parameters,
    )
    .takes("[--vhost <vhost>] [--no-table-headers] [--timeout <timeout>]", &[], &[])
    .tools(LISTING)
    .banner(|invocation| Some(format!("Listing runtime parameters for vhost \"{}\" ...", invocation.vhost()))),
    Command::new("set_global_parameter", Section::Parameters, "Sets a runtime parameter.", set_global_parameter)
        .takes("<name> <value>", &[NAME, VALUE], &[])
        .banner(|invocation| {
            let [name, value] = ["name", "value"].map(|place| invocation.required(place));
            Some(format!("Setting global runtime parameter \"{name}\" to \"{value}\" ..."))
        }),
    Command::new(
        "clear_global_parameter",
        Section::Parameters,
        "Clears a global runtime parameter",
        clear_global_parameter,
    )
    .takes("<name>", &[NAME], &[])
    .banner(|invocation| Some(format!("Clearing global runtime parameter \"{}\" ...", invocation.required("name")))),
    Command::new(
        "list_global_parameters",
        Section::Parameters,
        "Lists global runtime parameters",
        list_global_parameters,
    )
    .takes("[--no-table-headers] [--timeout <timeout>]", &[], &[])
    .tools(LISTING)
    .banner(|_| Some("Listing global runtime parameters ...".to_owned())),
    Command::new("set_cluster_name", Section::Configuration, "Sets the cluster name", set_cluster_name)
        .takes("<name>", &[Positional::one("name", "the name, which clients are told")], &[])
        .banner(|invocation| Some(format!("Setting cluster name to {} ...", invocation.required("name")))),
];

fn set_parameter(invocation: &Invocation) -> Result<Answer, Failure> {
    let arguments = json!({
        "vhost": invocation.vhost(),
        "component": invocation.required("component_name"),
        "name": invocation.required("name"),
        "value": invocation.required("value"),
    });
    invocation.perform("set_parameter", &arguments)
}

fn clear_parameter(invocation: &Invocation) -> Result<Answer, Failure> {
    let arguments = json!({
        "vhost": invocation.vhost(),
        "component": invocation.required("component_name"),
        "name": invocation.required("name"),
    });
    invocation.perform("clear_parameter", &arguments)
}

fn list_parameters(invocation: &Invocation) -> Result<Answer, Failure> {
    let arguments = json!({ "vhost": invocation.vhost() });
    invocation.list("list_parameters", &arguments, &["component", "name", "value"]).map(Answer::Rows)
}

fn set_global_parameter(invocation: &Invocation) -> Result<Answer, Failure> {
    let arguments = json!({ "name": invocation.required("name"), "value": invocation.required("value") });
    invocation.perform("set_global_parameter", &arguments)
}

fn clear_global_parameter(invocation: &Invocation) -> Result<Answer, Failure> {
    invocation.perform("clear_global_parameter", &json!({ "name": invocation.required("name") }))
}

fn list_global_parameters(invocation: &Invocation) -> Result<Answer, Failure> {
    invocation.list("list_global_parameters", &json!({}), &["name", "value"]).map(Answer::Rows)
}

fn set_cluster_name(invocation: &Invocation) -> Result<Answer, Failure> {
    invocation.perform("set_cluster_name", &json!({ "name": invocation.required("name") }))
}
