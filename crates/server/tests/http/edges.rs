//! What becomes of a request before an operation sees it.

use std::io::{BufReader, Read, Write};
use std::net::Shutdown;

use serde_json::json;

use crate::request::{GUEST, ask, connect, read, request};
use crate::{start, start_with};

#[test]
fn what_is_wrong_with_a_request_is_found_in_order() {
    let (_folder, process, address) = start();
    process.ask("add_user", &json!({ "user": "hare", "password": "field" })).result();
    process.ask("add_user", &json!({ "user": "vole", "password": "field" })).result();
    process.ask("set_user_tags", &json!({ "user": "vole", "tags": ["management"] })).result();
    // hare:field, vole:field and guest:wrong.
    let hare = "Authorization: Basic aGFyZTpmaWVsZA==";
    let vole = "Authorization: Basic dm9sZTpmaWVsZA==";
    let wrong = "Authorization: Basic Z3Vlc3Q6d3Jvbmc=";
    let challenge = "Basic realm=\"RabbitMQ Management\"";
    let not_authorized = |reason: &str| json!({ "error": "not_authorized", "reason": reason }).to_string();
    let not_found = json!({ "error": "Object Not Found", "reason": "Not Found" }).to_string();
    let ends = |text: &str| text.to_owned();
    for (line, headers, status, named, expected) in [
        ("GET /api/nope", vec![], 404, None, not_found.clone()),
        ("GET /api/%zz", vec![GUEST], 400, None, ends("")),
        ("POST /api/nope", vec![wrong], 404, None, not_found.clone()),
        ("POST /api/overview", vec![], 405, Some(("allow", "HEAD, GET, OPTIONS")), ends("")),
        ("DELETE /api/overview", vec![wrong], 405, Some(("allow", "HEAD, GET, OPTIONS")), ends("")),
        ("FOO /api/overview", vec![GUEST], 501, None, ends("")),
        ("OPTIONS /api/cluster-name", vec![], 200, Some(("allow", "HEAD, GET, PUT, OPTIONS")), ends("")),
        ("GET /api/overview", vec!["Authorization: Digest abc"], 400, None, ends("")),
        ("GET /api/overview", vec!["Authorization: Basic !!!"], 400, None, ends("")),
        ("GET /api/overview", vec![], 401, Some(("www-authenticate", challenge)), ends("")),
        ("GET /api/overview", vec![wrong], 401, Some(("www-authenticate", challenge)), not_authorized("Login failed")),
        ("GET /api/overview", vec![hare], 401, None, not_authorized("Not management user")),
        ("GET /api/nodes", vec![vole], 401, None, not_authorized("Not monitor user")),
        ("PUT /api/cluster-name", vec![vole], 401, None, not_authorized("Not administrator user")),
        ("GET /api/queues/nope", vec![vole, "Accept: text/html"], 404, None, not_found),
        (
            "GET /api/queues/%2F",
            vec![vole, "Accept: text/html"],
            401,
            None,
            not_authorized("User not authorised to access virtual host"),
        ),
        ("GET /api/whoami", vec![vole, "Accept: text/html"], 406, None, ends("")),
        ("PUT /api/cluster-name", vec![GUEST, "Content-Type: nonsense"], 415, None, ends("")),
        ("GET /api", vec![], 301, Some(("location", "/api/index.html")), ends("")),
        ("GET /api/", vec![], 301, Some(("location", "/api/index.html")), ends("")),
    ] {
        let answer = ask(address, line, &headers, "");
        assert_eq!(answer.status, status, "{line} {headers:?}: {answer:?}");
        assert_eq!(String::from_utf8_lossy(&answer.body), expected, "{line} {headers:?}");
        match named {
            Some((name, value)) => assert_eq!(answer.header(name), Some(value), "{line}"),
            None => assert_eq!(answer.header("www-authenticate"), None, "{line} {headers:?}"),
        }
        assert!(answer.header("content-security-policy").is_some(), "{line}: {answer:?}");
        assert!(answer.header("vary").is_some_and(|vary| vary.ends_with("origin")), "{line}: {answer:?}");
    }
}

#[test]
fn settings_of_the_interface_hold() {
    let (_folder, _process, address) = start_with(
        "management.path_prefix = /hares\n\
         management.csp.policy = default-src 'none'\n\
         management.hsts.policy = max-age=5\n\
         management.headers.frame_options = DENY\n\
         management.cors.allow_origins.1 = https://one.example\n\
         management.http.max_body_size = 1000\n\
         management.disable_stats = true\n\
         management.require_auth_for_api_desc_page = true\n",
    );
    let answer = ask(address, "GET /hares/api/overview", &[GUEST, "Origin: https://one.example"], "");
    assert_eq!(answer.status, 200);
    for (name, expected) in [
        ("content-security-policy", "default-src 'none'"),
        ("strict-transport-security", "max-age=5"),
        ("x-frame-options", "DENY"),
        ("access-control-allow-origin", "https://one.example"),
        ("access-control-allow-credentials", "true"),
        ("cache-control", "no-cache"),
        ("vary", "accept, accept-encoding, origin"),
    ] {
        assert_eq!(answer.header(name), Some(expected), "{name}");
    }
    let overview = answer.json();
    assert_eq!((&overview["disable_stats"], overview.get("message_stats")), (&json!(true), None));
    assert_eq!(overview["contexts"], json!(null));
    let lines: [(&str, u16, Option<&str>); 4] = [
        ("GET /api/overview", 404, None),
        ("GET /hares/api", 301, Some("/hares/api/index.html")),
        ("GET /hares/api/index.html", 401, None),
        ("GET /hares/api/nope", 404, None),
    ];
    for (line, status, location) in lines {
        let answer = ask(address, line, &["Origin: https://one.example"], "");
        assert_eq!((answer.status, answer.header("location")), (status, location), "{line}");
        assert_eq!(answer.header("access-control-allow-origin"), Some("https://one.example"), "{line}");
    }
    let other = ask(address, "GET /hares/api/whoami", &[GUEST, "Origin: https://two.example"], "");
    assert_eq!((other.status, other.header("access-control-allow-origin")), (200, None));
    let first = ask(
        address,
        "OPTIONS /hares/api/cluster-name",
        &["Origin: https://one.example", "Access-Control-Request-Method: PUT", "Access-Control-Request-Headers: x-foo"],
        "",
    );
    assert_eq!(first.header("access-control-allow-methods"), Some("HEAD, GET, PUT, OPTIONS"));
    assert_eq!(first.header("access-control-allow-headers"), Some("x-foo"));
    assert_eq!(first.header("access-control-max-age"), Some("1800"));
    let large = ask(address, "PUT /hares/api/cluster-name", &[GUEST], &"x".repeat(1001));
    assert_eq!((large.status, large.header("connection")), (413, Some("close")));
    assert_eq!(large.json()["error"], "payload_too_large");
}

#[test]
fn names_and_passwords_can_be_turned_away() {
    let (_folder, _process, address) = start_with("management.disable_basic_auth = true\n");
    let answer = ask(address, "GET /api/whoami", &[GUEST], "");
    assert_eq!(answer.status, 401);
    assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"RabbitMQ Management\""));
    let form = "username=guest&password=guest";
    let kind = "Content-Type: application/x-www-form-urlencoded";
    assert_eq!(ask(address, "POST /api/login", &[kind], form).status, 401);
}

#[test]
fn a_page_can_log_in_with_a_form() {
    let (_folder, _process, address) = start();
    let kind = "Content-Type: application/x-www-form-urlencoded";
    for (kind, form, expected) in [
        (kind, "username=guest&password=guest", 200),
        (kind, "username=guest&password=wrong", 401),
        (kind, "username=guest", 401),
        ("Content-Type: application/json", "{}", 401),
    ] {
        let answer = ask(address, "POST /api/login", &[kind], form);
        assert_eq!(answer.status, expected, "{form}");
        assert_eq!(answer.header("set-cookie"), None);
    }
}

#[test]
fn a_connection_takes_one_request_after_the_other() {
    let (_folder, _process, address) = start();
    let mut stream = connect(address);
    let both = request("GET /api/whoami", &[GUEST], "") + &request("HEAD /api/overview", &[GUEST], "");
    stream.write_all(both.as_bytes()).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    assert_eq!(read(&mut reader, false).unwrap().json()["name"], "guest");
    let head = read(&mut reader, true).unwrap();
    assert!(head.header("content-length").unwrap().parse::<usize>().unwrap() > 500, "{head:?}");
    // A client that waits until it may send the body.
    let body = r#"{"name": "hares"}"#;
    let line = "PUT /api/cluster-name";
    let asking = request(line, &[GUEST, "Expect: 100-continue", &format!("Content-Length: {}", body.len())], "");
    stream.write_all(asking.as_bytes()).unwrap();
    assert_eq!(read(&mut reader, true).unwrap().status, 100);
    stream.write_all(body.as_bytes()).unwrap();
    assert_eq!(read(&mut reader, true).unwrap().status, 204);
    // One that has nothing more to say still reads the answer.
    stream.write_all(request("GET /api/cluster-name", &[GUEST], "").as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read(&mut reader, false).unwrap().json(), json!({ "name": "hares" }));
    assert_eq!(reader.read(&mut [0]).unwrap(), 0);
}
