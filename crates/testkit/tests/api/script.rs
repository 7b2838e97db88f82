//! The files of scenarios.
//!
//! ```text
//! # A comment.
//! > guest PUT /api/queues/%2F/q1 {"durable":true}
//! >sorted alice GET /api/queues [Accept: text/html]
//! > - GET /api/overview
//! > alice:wrong GET /api/overview
//! % connect c {"user":"alice","password":"alice"}
//! % settle
//! ```
//!
//! `>` asks: words behind it say what to level out, see [`Mode`]; then who asks, whose password is the name unless it
//! follows a colon (`-` is nobody), method, path, headers in brackets, and the body as it stands. A body is said to be
//! JSON unless a header says otherwise. In paths and bodies, `{node}` is the node's name, `{port}` where it listens for
//! AMQP and `{connection x}` the name of the connection that calls itself x, percent-encoded.
//!
//! `%` is done by the test itself: clients, see [`crate::client`]; `settle` waits, with RabbitMQ only, until its
//! statistics are up to date.

/// One step of a scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    /// The line as it stands in the file.
    pub(crate) line: String,
    pub(crate) action: Action,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    Ask { request: Request, modes: Vec<Mode> },
    Own(String),
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    /// Names and values, in order.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Option<String>,
    /// User and password.
    pub(crate) login: Option<(String, String)>,
}

/// What a step asks to have levelled out, beyond what always is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// The order of the elements of the outermost array.
    Sorted,
    /// All values but for their types; of arrays, how often an element comes.
    Types,
    /// All but whether there is a body.
    Some,
    /// Nothing more; and headers are shown that few clients look at.
    Headers,
    /// `\r` and `\n` in the body are what they say.
    Escaped,
}

impl Mode {
    fn parse(name: &str) -> Result<Self, String> {
        Ok(match name {
            "sorted" => Self::Sorted,
            "types" => Self::Types,
            "some" => Self::Some,
            "headers" => Self::Headers,
            "escaped" => Self::Escaped,
            _ => return Err(format!("no mode {name}")),
        })
    }
}

impl Step {
    fn parse(line: &str) -> Result<Self, String> {
        let action = if let Some(rest) = line.strip_prefix("% ") {
            Action::Own(rest.to_owned())
        } else if let Some(rest) = line.strip_prefix('>') {
            let (modes, rest) = rest.split_once(' ').ok_or_else(|| format!("no request: {line}"))?;
            let modes: Vec<Mode> =
                modes.split(',').filter(|mode| !mode.is_empty()).map(Mode::parse).collect::<Result<_, _>>()?;
            let mut request = Request::parse(rest).ok_or_else(|| format!("no request: {line}"))?;
            if modes.contains(&Mode::Escaped) {
                request.body = request.body.map(|body| body.replace("\\r", "\r").replace("\\n", "\n"));
            }
            Action::Ask { request, modes }
        } else {
            return Err(format!("neither > nor %: {line}"));
        };
        Ok(Self { line: line.to_owned(), action })
    }
}

impl Request {
    fn parse(text: &str) -> Option<Self> {
        let (who, rest) = text.split_once(' ')?;
        let (method, rest) = rest.split_once(' ')?;
        let (path, mut rest) = split_path(rest);
        let mut headers = Vec::new();
        while let Some((header, after)) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            let Some((name, value)) = header.split_once(": ").filter(|(name, _)| is_name(name)) else { break };
            headers.push((name.to_owned(), value.to_owned()));
            rest = after.strip_prefix(' ').unwrap_or(after);
        }
        let body = (!rest.is_empty()).then(|| rest.to_owned());
        if body.is_some() && !headers.iter().any(|(name, _)| name == "Content-Type") {
            headers.push(("Content-Type".to_owned(), "application/json".to_owned()));
        }
        let login = (who != "-").then(|| match who.split_once(':') {
            Some((user, password)) => (user.to_owned(), password.to_owned()),
            None => (who.to_owned(), who.to_owned()),
        });
        Some(Self { method: method.to_owned(), path: path.to_owned(), headers, body, login })
    }
}

/// The path, which may have `{connection a}` in it, and what follows.
fn split_path(text: &str) -> (&str, &str) {
    let mut depth = 0;
    let end = text.find(|character| {
        depth += i32::from(character == '{') - i32::from(character == '}');
        character == ' ' && depth == 0
    });
    end.map_or((text, ""), |end| (&text[..end], text[end..].trim_start()))
}

fn is_name(text: &str) -> bool {
    text.chars().all(|character| character.is_ascii_alphanumeric() || character == '-')
}

/// The steps of a scenario.
pub(crate) fn steps(text: &str) -> Result<Vec<Step>, String> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(Step::parse).collect()
}

#[test]
fn a_step_asks_or_is_done_by_the_test() {
    let parsed = steps(
        "# c\n\n> guest PUT /api/q {\"a\": 1}\n>sorted,types - GET /api/{connection a}/x [A-B: c d] [E: f] []\n% settle\n",
    )
    .unwrap();
    let text = |text: &str| text.to_owned();
    let json = (text("Content-Type"), text("application/json"));
    let put = Request {
        method: text("PUT"),
        path: text("/api/q"),
        headers: vec![json.clone()],
        body: Some(text("{\"a\": 1}")),
        login: Some((text("guest"), text("guest"))),
    };
    let get = Request {
        method: text("GET"),
        path: text("/api/{connection a}/x"),
        headers: vec![(text("A-B"), text("c d")), (text("E"), text("f")), json],
        body: Some(text("[]")),
        login: None,
    };
    let actions: Vec<Action> = parsed.into_iter().map(|step| step.action).collect();
    assert_eq!(
        actions,
        [
            Action::Ask { request: put, modes: Vec::new() },
            Action::Ask { request: get, modes: vec![Mode::Sorted, Mode::Types] },
            Action::Own(text("settle")),
        ]
    );
    for bad in ["x", ">no_such_mode a GET /", "> a"] {
        assert!(steps(bad).is_err(), "{bad}");
    }
}
