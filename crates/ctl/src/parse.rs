//! From a command line to an [`Invocation`].

use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches};

use crate::commands;
use crate::failure::{Exit, Failure};
use crate::help;
use crate::invocation::{General, Invocation, Target, Timeout};
use crate::output::Formatter;
use crate::spec::{Command, Count, Flag, Positional, Shown, Takes};
use crate::tool::Tool;

/// The variable with the user to log in as, for commands whose own option `--user` is.
const USER: &str = "LEVERET_CTL_USER";

/// What a command line asks for.
pub(crate) enum Parsed {
    /// This text.
    Help(String),
    /// A command.
    Command(Box<Invocation>),
}

/// Reads a command line.
pub(crate) fn parse(tool: Tool, arguments: &[String]) -> Result<Parsed, Failure> {
    let named = named_command(tool, arguments);
    let before_end = arguments.iter().take_while(|argument| *argument != "--");
    if before_end.clone().any(|argument| matches!(argument.as_str(), "-h" | "-?" | "--help")) {
        return match named {
            Named::Known(command) => Ok(Parsed::Help(help::of_command(tool, command))),
            Named::Unknown(_) | Named::None => Ok(Parsed::Help(help::of_tool(tool))),
        };
    }
    let command = match named {
        Named::Known(command) => command,
        Named::Unknown(name) => return Err(Failure::plain(Exit::Usage, help::unknown_command(tool, name))),
        Named::None if arguments.iter().any(|argument| argument == "--version") => {
            return Ok(Parsed::Help(crate::RABBITMQ_VERSION.to_owned()));
        }
        Named::None => return Err(Failure::plain(Exit::Usage, help::of_tool(tool))),
    };
    let parser = tool_parser(tool);
    let given = std::iter::once(tool.name()).chain(arguments.iter().map(String::as_str));
    let matches = parser.try_get_matches_from(given).map_err(|error| refusal(tool, command, arguments, &error))?;
    let Some((_, matches)) = matches.subcommand() else {
        return Err(Failure::plain(Exit::Usage, help::of_tool(tool)));
    };
    let matches = matches.clone();
    let general = general(command, &matches).map_err(|reason| invalid(tool, command, arguments, &reason))?;
    Ok(Parsed::Command(Box::new(Invocation::new(tool, command, arguments.to_vec(), general, matches))))
}

/// The command that a command line names.
enum Named<'a> {
    Known(&'static Command),
    Unknown(&'a str),
    None,
}

fn named_command(tool: Tool, arguments: &[String]) -> Named<'_> {
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        if argument == "--" {
            return rest.next().map_or(Named::None, |name| known(tool, name));
        }
        if !argument.starts_with('-') {
            return known(tool, argument);
        }
        if general_flags().iter().any(|flag| takes_next(flag, argument)) {
            rest.next();
        }
    }
    Named::None
}

/// Whether this is the option, and its value comes as the next argument.
fn takes_next(flag: &Flag, argument: &str) -> bool {
    !matches!(flag.takes, Takes::Nothing | Takes::Bool)
        && (argument.strip_prefix("--") == Some(flag.name)
            || flag.short.is_some_and(|letter| argument == format!("-{letter}")))
}

fn known(tool: Tool, name: &str) -> Named<'_> {
    commands::find(tool, name).map_or(Named::Unknown(name), Named::Known)
}

/// Options that every command has.
pub(crate) const fn general_flags() -> [Flag; 16] {
    [
        Flag::with("node", Takes::Text("node"), "the node to talk to: its name, or the URL of its management listener")
            .short('n'),
        Flag::switch("longnames", "accepted for RabbitMQ's sake; names may be long anyway").short('l'),
        Flag::with("timeout", Takes::Text("seconds"), "how long the node may take, or infinity").short('t'),
        Flag::switch("quiet", "suppress informational messages").short('q'),
        Flag::switch("silent", "suppress informational messages and table header row").short('s'),
        Flag::with("vhost", Takes::Text("vhost"), "the virtual host, for commands that work in one [default: /]")
            .short('p'),
        Flag::with("formatter", Takes::Text("formatter"), "table, pretty_table, json, json_stream, csv or erlang"),
        Flag::switch("no-table-headers", "do not output table header rows"),
        Flag::switch("table-headers", "output table header rows, which is so anyway"),
        Flag::switch("dry-run", "say what would be done, and do nothing"),
        Flag::switch("print-stacktrace", "accepted for RabbitMQ's sake; there are none"),
        Flag::with("data-dir", Takes::Text("folder"), "the data folder of the node, if it cannot be found by its name"),
        Flag::with("user", Takes::Text("user"), "log in as this user, with --node URL; the password is asked for"),
        Flag::with("password-file", Takes::Text("file"), "read the password of --user from there"),
        Flag::with("ca-file", Takes::Text("file"), "trust these authorities as well, with --node https://…"),
        Flag::with("script-name", Takes::Text("name"), "accepted for RabbitMQ's sake"),
    ]
}

/// The parser of a tool, which completions and manual pages are made from as well.
pub(crate) fn tool_parser(tool: Tool) -> clap::Command {
    let mut parser = clap::Command::new(tool.name())
        .about("Operates a Leveret node; takes the place of RabbitMQ's tool of that name")
        .version(env!("CARGO_PKG_VERSION"))
        .disable_help_flag(true)
        .disable_help_subcommand(true)
        .disable_version_flag(true)
        .args_override_self(true)
        .subcommand_required(true);
    for flag in general_flags() {
        parser = parser.arg(option(flag).global(true));
    }
    parser = parser.arg(
        Arg::new("help")
            .long("help")
            .short('h')
            .short_alias('?')
            .action(ArgAction::SetTrue)
            .global(true)
            .help("show help"),
    );
    for command in commands::of(tool) {
        let mut sub = clap::Command::new(command.name)
            .about(command.about)
            .disable_help_flag(true)
            .disable_version_flag(true)
            .args_override_self(true);
        for flag in command.flags {
            sub = sub.arg(option(*flag));
        }
        for place in command.positionals {
            sub = sub.arg(positional(*place));
        }
        parser = parser.subcommand(sub);
    }
    parser
}

fn option(flag: Flag) -> Arg {
    let mut option = Arg::new(flag.name).long(flag.name).help(flag.about);
    if let Some(letter) = flag.short {
        option = option.short(letter);
    }
    match flag.takes {
        Takes::Nothing => option.action(ArgAction::SetTrue),
        Takes::Text(name) => option.value_name(name).allow_hyphen_values(true),
        Takes::Integer(name) => {
            option.value_name(name).allow_negative_numbers(true).value_parser(clap::value_parser!(i64))
        }
        Takes::Number(name) => option.value_name(name).value_parser(clap::value_parser!(u64)),
        Takes::Bool => option.num_args(0..=1).default_missing_value("true").value_parser(clap::value_parser!(bool)),
    }
}

fn positional(place: Positional) -> Arg {
    let argument = Arg::new(place.name).help(place.about).allow_negative_numbers(true);
    match place.count {
        Count::One => argument.required(true),
        Count::Optional => argument,
        Count::Any => argument.num_args(0..),
        Count::Many => argument.num_args(1..).required(true),
    }
}

fn general(command: &Command, matches: &ArgMatches) -> Result<General, String> {
    // What a command has under the name of a general option is its own.
    let is_own = |name: &str| command.flags.iter().any(|flag| flag.name == name);
    let text = |name: &str| if is_own(name) { None } else { matches.get_one::<String>(name).cloned() };
    let formatter =
        text("formatter").map(|name| Formatter::parse(&name).ok_or(format!("no formatter is called '{name}'")));
    let no_time = |text: &str| format!("Invalid options for this command:\n--timeout : {text}");
    let timeout = text("timeout").map(|text| Timeout::parse(&text).ok_or_else(|| no_time(&text)));
    let node = text("node");
    let user = text("user");
    let target = match node {
        Some(url) if url.starts_with("http://") || url.starts_with("https://") => Target::Remote {
            url,
            user: user.or_else(|| std::env::var(USER).ok()).unwrap_or_else(|| "guest".to_owned()),
            password_file: text("password-file").map(PathBuf::from),
            ca_file: text("ca-file").map(PathBuf::from),
        },
        _ if user.is_some() => {
            return Err("--user is for nodes elsewhere: give the URL of the management listener, such as --node http://host:15672".to_owned());
        }
        node => Target::Local { node, data_dir: text("data-dir").map(PathBuf::from) },
    };
    Ok(General {
        target,
        timeout: timeout.transpose()?,
        quiet: matches.get_flag("quiet") || matches.get_flag("silent"),
        vhost: text("vhost"),
        formatter: formatter.transpose()?,
        headers: !matches.get_flag("no-table-headers") && !matches.get_flag("silent"),
        dry_run: matches.get_flag("dry-run"),
    })
}

/// What is wrong with the command line, in RabbitMQ's words.
fn refusal(tool: Tool, command: &'static Command, arguments: &[String], error: &clap::Error) -> Failure {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(texts)) => texts.first().cloned(),
        _ => None,
    };
    let option = context(ContextKind::InvalidArg).unwrap_or_default();
    let option = option.split([' ', '=']).next().unwrap_or_default().to_owned();
    let reason = match error.kind() {
        ErrorKind::MissingRequiredArgument => "not enough arguments.".to_owned(),
        ErrorKind::UnknownArgument if !option.starts_with('-') => "too many arguments.".to_owned(),
        ErrorKind::TooManyValues => "too many arguments.".to_owned(),
        _ => {
            let value = context(ContextKind::InvalidValue).unwrap_or_default();
            format!("Invalid options for this command:\n{option} : {value}")
        }
    };
    invalid(tool, command, arguments, &reason)
}

/// A command line that cannot be, with what was given and how to call the command.
pub(crate) fn invalid(tool: Tool, command: &'static Command, arguments: &[String], reason: &str) -> Failure {
    refuse(tool, command, arguments, &format!("Error (argument validation): {reason}"))
}

/// A command that the node is not ready for, in the same form.
pub(crate) fn unmet(tool: Tool, command: &'static Command, arguments: &[String], reason: &str) -> Failure {
    refuse(tool, command, arguments, &format!("Error: {reason}"))
}

fn refuse(tool: Tool, command: &'static Command, arguments: &[String], reason: &str) -> Failure {
    let usage = help::usage(tool, command);
    let given = shown(command, arguments);
    Failure::plain(Exit::Usage, format!("{reason}\nArguments given:\n\t{given}\n\n{usage}"))
}

/// The command line without passwords: what is written to standard error is often kept.
fn shown(command: &Command, arguments: &[String]) -> String {
    let secret = command.positionals.iter().position(|place| place.shown == Shown::Masked);
    let Some(secret) = secret else { return arguments.join(" ") };
    let general = general_flags();
    let mut words = Vec::with_capacity(arguments.len());
    let (mut places, mut is_value, mut ended) = (0, false, false);
    for argument in arguments {
        let is_option = !ended && argument.starts_with('-');
        let is_place = !is_option && !std::mem::take(&mut is_value);
        if is_option {
            ended = argument == "--";
            is_value = general.iter().chain(command.flags).any(|flag| takes_next(flag, argument));
        }
        // The first one is the command's name.
        words.push(if is_place && places > secret { "***" } else { argument.as_str() });
        places += usize::from(is_place);
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parsers_are_consistent() {
        for tool in Tool::ALL.into_iter().chain([Tool::Leveret]) {
            tool_parser(tool).debug_assert();
        }
    }

    fn parsed(line: &str) -> Result<Parsed, Failure> {
        let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        parse(Tool::Ctl, &arguments)
    }

    #[test]
    fn general_options_may_stand_anywhere() {
        for line in ["-q -p v -t 5 list_users", "list_users -q --vhost v --timeout=5", "-p v list_users -t 5 --quiet"] {
            let Ok(Parsed::Command(invocation)) = parsed(line) else { panic!("{line}") };
            assert_eq!(invocation.vhost(), "v", "{line}");
            assert_eq!(invocation.timeout().unwrap().as_secs(), 5, "{line}");
            assert!(invocation.general.quiet, "{line}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_as_rabbitmq_does() {
        for (line, exit, text) in [
            (
                "list_users more",
                Exit::Usage,
                "Error (argument validation): too many arguments.\nArguments given:\n\tlist_users more\n",
            ),
            ("list_users --foo", Exit::Usage, "Invalid options for this command:\n--foo : \n"),
            ("list_users --timeout x", Exit::Usage, "Invalid options for this command:\n--timeout : x\n"),
            ("list_user", Exit::Usage, "Did you mean 'list_users'?"),
            ("", Exit::Usage, "Available commands:"),
        ] {
            let Err(failure) = parsed(line) else { panic!("{line}") };
            assert_eq!(failure.exit, exit, "{line}");
            assert!(failure.text.contains(text), "{line}: {}", failure.text);
        }
    }

    #[test]
    fn an_option_of_a_command_hides_the_general_one() {
        let Ok(Parsed::Command(invocation)) = parsed("list_user_limits --user alice") else { panic!() };
        assert_eq!(invocation.value("user"), Some("alice"));
        assert_eq!(invocation.general.target, Target::Local { node: None, data_dir: None });
        assert!(parsed("list_users --user alice").is_err());
    }

    #[test]
    fn passwords_are_not_shown_again() {
        for (line, shown) in [
            ("add_user a pw more", "add_user a *** ***"),
            ("-p v -q add_user a pw -t 5 more", "-p v -q add_user a *** -t 5 ***"),
            ("add_user --no-such a pw", "add_user --no-such a ***"),
            ("add_user -- a pw more", "add_user -- a *** ***"),
            ("hash_password pw more", "hash_password *** ***"),
        ] {
            let Err(failure) = parsed(line) else { panic!("{line}") };
            assert!(failure.text.contains(&format!("\n\t{shown}\n")), "{line}: {}", failure.text);
        }
    }

    #[test]
    fn help_is_given_however_it_is_asked_for() {
        for line in ["list_users --help", "-h list_users", "list_users -?", "list_users more --help"] {
            let Ok(Parsed::Help(text)) = parsed(line) else { panic!("{line}") };
            assert!(text.contains("list_users [--no-table-headers]"), "{line}: {text}");
        }
    }
}
