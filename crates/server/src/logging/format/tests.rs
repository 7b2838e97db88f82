//! What records look like.

use std::time::Duration;

use super::*;

fn record(is_complete: bool) -> Record {
    let mut record = Record::own(
        Severity::Warning,
        UNIX_EPOCH + Duration::from_micros(1_795_195_875_123_456),
        "closing AMQP connection <0.7.0> (a -> b):".to_owned(),
    );
    record.lines.push("client \"unexpectedly\" closed".to_owned());
    record.category = LogCategory::Channel;
    record.connection = 7;
    record.channel = 2;
    record.is_complete = is_complete;
    record.target = "leveret::x";
    record.fields = vec![
        ("user", Value::Text("a\n\u{9b}\"".to_owned())),
        ("peer", Value::Shown("127.0.0.1:1".to_owned())),
        ("size", Value::Integer(-7)),
        ("is", Value::Bool(true)),
    ];
    record
}

fn text(settings: &LogFormatter, record: &Record) -> String {
    let mut text = String::new();
    Formatter::new(settings).write(record, &mut text);
    text
}

#[test]
fn every_line_of_text_says_when_how_grave_and_who() {
    let before = "2026-11-20 17:31:15.123456+00:00 [warning] <0.7.2> ";
    let complete =
        format!("{before}closing AMQP connection <0.7.0> (a -> b):\n{before}client \"unexpectedly\" closed\n");
    assert_eq!(text(&LogFormatter::default(), &record(true)), complete);
    let fields = " user=\"a\\n\\u{9b}\\\"\" peer=127.0.0.1:1 size=-7 is=true\n";
    assert_eq!(text(&LogFormatter::default(), &record(false)), complete.replacen('\n', fields, 1));
}

#[test]
fn a_line_of_text_is_what_its_format_says() {
    let settings = |text: &str| LogFormatter { text: text.to_owned(), single_line: true, ..LogFormatter::default() };
    let message = "closing AMQP connection <0.7.0> (a -> b):, client \"unexpectedly\" closed";
    for (format, expected) in [
        ("$msg", message.to_owned()),
        ("$level$pid", "warning<0.7.2>".to_owned()),
        ("$user|$peer|$absent|$domain", "a\\n\\u{9b}\"|127.0.0.1:1||rabbitmq.channel".to_owned()),
        ("[$level] $", "[warning] $".to_owned()),
    ] {
        assert_eq!(text(&settings(format), &record(true)), format!("{expected}\n"), "{format}");
    }
}

#[test]
fn levels_and_times_have_several_forms() {
    for (level, expected) in [
        (LevelFormat::Lower, "warning"),
        (LevelFormat::Upper, "WARNING"),
        (LevelFormat::LowerShort(3), "wrn"),
        (LevelFormat::UpperShort(4), "WARN"),
    ] {
        let settings = LogFormatter { level, text: "$level".to_owned(), single_line: true, ..LogFormatter::default() };
        assert_eq!(text(&settings, &record(true)), format!("{expected}\n"));
    }
    for (time, expected) in [
        (TimeFormat::Rfc3339T, "2026-11-20T17:31:15.123456+00:00"),
        (TimeFormat::Lager, "2026-11-20 17:31:15.123"),
        (TimeFormat::EpochMicroseconds, "1795195875123456"),
        (TimeFormat::EpochSeconds, "1795195875.123456"),
        (TimeFormat::Pattern("%H:%M".to_owned()), "17:31"),
    ] {
        let settings = LogFormatter { time, text: "$time".to_owned(), single_line: true, ..LogFormatter::default() };
        assert_eq!(text(&settings, &record(true)), format!("{expected}\n"));
    }
}

#[test]
fn json_is_an_object_on_a_line() {
    let settings = LogFormatter { style: LogStyle::Json, ..LogFormatter::default() };
    let expected = concat!(
        r#"{"time":"2026-11-20 17:31:15.123456+00:00","level":"warning","#,
        r#""msg":"closing AMQP connection <0.7.0> (a -> b):\nclient \"unexpectedly\" closed","#,
        r#""domain":"rabbitmq.channel","pid":"<0.7.2>","connection":7,"channel":2,"#,
        r#""user":"a\n\u009b\"","peer":"127.0.0.1:1","size":-7,"is":true}"#,
        "\n"
    );
    let written = text(&settings, &record(true));
    assert_eq!(written, expected);
    let read: serde_json::Value = serde_json::from_str(&written).unwrap();
    assert_eq!(read["user"], "a\n\u{9b}\"");
    assert!(text(&settings, &record(false)).contains(r#""channel":2,"target":"leveret::x","user""#));
}

#[test]
fn json_has_the_fields_that_its_map_says() {
    let written = |map: &str, numbers: &str, time| {
        let settings = LogFormatter {
            style: LogStyle::Json,
            time,
            json_fields: map.to_owned(),
            json_verbosity: numbers.to_owned(),
            ..LogFormatter::default()
        };
        text(&settings, &record(true))
    };
    let epoch = TimeFormat::EpochSeconds;
    for (map, numbers, expected) in [
        ("time:ts level:severity *:-", "", r#"{"ts":1795195875.123456,"severity":"warning"}"#),
        ("size *:-", "debug=2 *=0 warning=1", r#"{"size":-7,"verbosity":1}"#),
        ("*:-", "*=0 debug=2", r#"{"verbosity":0}"#),
        (
            "is user:- time:- level:- msg:- peer:- size:-",
            "",
            r#"{"is":true,"domain":"rabbitmq.channel","pid":"<0.7.2>","connection":7,"channel":2}"#,
        ),
        ("*:-", "", "{}"),
    ] {
        assert_eq!(written(map, numbers, epoch.clone()), format!("{expected}\n"), "{map}");
    }
}

#[test]
fn a_console_has_colours() {
    let mut console = ConsoleLog::default();
    console.colour_sequences.insert(LogLevel::Error, "\u{1b}[31m".to_owned());
    let formatter = Formatter::new(&LogFormatter { text: "$msg".to_owned(), ..LogFormatter::default() });
    let formatter = formatter.with_colours(&console);
    for (severity, expected) in [
        (Severity::Info, "x\n"),
        (Severity::Error, "\u{1b}[31mx\u{1b}[0m\n"),
        (Severity::Warning, "\u{1b}[38;5;214mx\u{1b}[0m\n"),
    ] {
        let mut text = String::new();
        formatter.write(&Record::own(severity, UNIX_EPOCH, "x".to_owned()), &mut text);
        assert_eq!(text, expected);
    }
}
