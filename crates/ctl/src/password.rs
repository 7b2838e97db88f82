//! Asks for a password that was not given as an argument.

use std::io::{BufRead, IsTerminal, Write};

use crate::failure::{Exit, Failure};
use crate::invocation::Invocation;

const PROMPT: &str = "Password: ";

/// What help says of commands that take a password.
pub(crate) const NOTES: &str = "Without a password as an argument, it is asked for, or read from standard input. \
                                Prefer that: arguments can be seen by everybody on the machine, in its list of processes.";

/// The password: what stands at that place, or what somebody types, or the first line of standard input. Without any, the
/// command ends with that exit code.
pub(crate) fn given_or_asked(invocation: &Invocation, place: &str, exit: Exit) -> Result<String, Failure> {
    if let Some(password) = invocation.argument(place) {
        return Ok(password.to_owned());
    }
    let missing = || Failure::new(exit, "Password is not provided via argument or stdin");
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        // On the terminal, where nothing is shown of what is typed.
        return rpassword::prompt_password(PROMPT).map_err(|_| missing());
    }
    if !invocation.is_hushed() {
        // If nobody reads it, there is nobody to be asked.
        let _ = writeln!(std::io::stdout(), "{PROMPT}");
    }
    first_line(&mut stdin.lock()).ok_or_else(missing)
}

/// The first line, without its end.
fn first_line(input: &mut dyn BufRead) -> Option<String> {
    let mut line = String::new();
    match input.read_line(&mut line) {
        Ok(0) | Err(_) => None,
        Ok(_) => {
            line.truncate(line.trim_end_matches(['\r', '\n']).len());
            Some(line)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_is_the_password() {
        for (input, password) in [
            ("from stdin\n", Some("from stdin")),
            ("no end", Some("no end")),
            (" spaces \r\nmore\n", Some(" spaces ")),
            ("\n", Some("")),
            ("", None),
        ] {
            assert_eq!(first_line(&mut input.as_bytes()).as_deref(), password, "{input:?}");
        }
    }
}
