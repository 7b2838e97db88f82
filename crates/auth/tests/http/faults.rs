//! Services that refuse, are slow, broken, or not there.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use leveret_auth::http::{HttpBackend, HttpMethod, HttpSettings};
use leveret_auth::{Backend, Denial};
use leveret_broker::access::{Answer, Reason};
use tokio::net::TcpListener;

use super::service::{Reply, TestService};
use super::{ask, attempt, log_in, run, settings, settings_of, vhost};

/// A service that lets everybody in and answers other questions with this.
async fn answers(reply: Reply) -> TestService {
    TestService::start(
        move |asked| {
            if asked.path.starts_with("/auth/user") { Reply::ok("allow") } else { reply.clone() }
        },
    )
    .await
}

fn failed(text: &str) -> Answer {
    Answer::Failed(Reason { backend: "rabbit_auth_backend_http", text: text.into() })
}

#[test]
fn who_gets_in_is_what_the_service_says() {
    const NONSENSE: &str = "the HTTP service answered neither allow nor deny";
    let status = |status: u16, body: &str| Reply::Answer(status, Vec::new(), body.into());
    for (reply, expected) in [
        (Reply::ok("allow"), Ok(&[][..])),
        (Reply::ok(" ALLOW  Monitoring policymaker\r\n"), Ok(&["monitoring", "policymaker"][..])),
        (status(201, "allow"), Ok(&[][..])),
        (Reply::ok("deny"), Err(Denial::Refused("Denied by the backing HTTP service".into()))),
        (
            Reply::ok("DENY No Such User"),
            Err(Denial::Refused("Denied by the backing HTTP service: No Such User".into())),
        ),
        (Reply::ok(""), Err(Denial::Failed(NONSENSE.into()))),
        (Reply::ok("<html>swordfish</html>"), Err(Denial::Failed(NONSENSE.into()))),
        (status(202, "allow"), Err(Denial::Failed("the HTTP service answered with status 202".into()))),
        (status(404, "deny"), Err(Denial::Failed("the HTTP service answered with status 404".into()))),
        (status(500, "allow"), Err(Denial::Failed("the HTTP service answered with status 500".into()))),
    ] {
        run(async {
            let service = TestService::start({
                let reply = reply.clone();
                move |_| reply.clone()
            })
            .await;
            let tags = log_in(&settings_of(&service)).await.map(|user| user.tags);
            let expected = expected.map(|tags| tags.iter().map(|tag| (*tag).into()).collect::<Vec<_>>());
            assert_eq!(tags, expected, "{reply:?}");
        });
    }
}

#[test]
fn reasons_are_shown_to_clients_only_if_they_may_be() {
    let reason = Reason { backend: "rabbit_auth_backend_http", text: "Not There".into() };
    for (discloses, body, expected) in [
        (false, "allow", Answer::Allowed),
        (false, "deny", Answer::REFUSED),
        (false, "deny Not There", Answer::REFUSED),
        (true, "deny", Answer::REFUSED),
        (true, "deny Not There", Answer::Refused { reason: Some(reason) }),
        (true, "allow administrator", failed("the HTTP service answered neither allow nor deny")),
    ] {
        run(async {
            let service = answers(Reply::ok(body)).await;
            let settings = HttpSettings { authorization_failure_disclosure: discloses, ..settings_of(&service) };
            let user = log_in(&settings).await.unwrap();
            assert_eq!(ask(&user.grant, &vhost()).await, expected, "{discloses} {body}");
            assert_eq!(user.grant.answers_expire_after_ms(), Some(60_000));
        });
    }
}

#[test]
fn a_service_that_is_broken_allows_nothing() {
    const TOO_LARGE: &str = "the answer of the HTTP service is larger than 65536 octets";
    let huge_headers = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\nallow", "y".repeat(200_000));
    for (reply, expected) in [
        (Reply::ok(&" ".repeat(65_537)), TOO_LARGE),
        (Reply::Endless, TOO_LARGE),
        (Reply::Raw("allow".into()), "the HTTP service broke off: "),
        (Reply::Raw("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nallow".into()), "the HTTP service broke off: "),
        (Reply::Raw(huge_headers), "the HTTP service broke off: "),
        (Reply::Close, "the HTTP service broke off: "),
        (Reply::Silence, "the HTTP service did not answer within 200 ms"),
    ] {
        run(async {
            let service = answers(reply.clone()).await;
            let mut settings = settings_of(&service);
            if matches!(reply, Reply::Silence) {
                settings.request_timeout_ms = 200;
            }
            // A busy machine may take longer than that to let somebody in.
            let user = loop {
                if let Ok(user) = log_in(&settings).await {
                    break user;
                }
            };
            let Answer::Failed(reason) = ask(&user.grant, &vhost()).await else {
                panic!("{reply:?} was taken for an answer");
            };
            assert!(reason.text.starts_with(expected), "{reply:?}: {}", reason.text);
        });
    }
}

#[test]
fn a_service_may_be_down() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        for base in [format!("http://{address}"), "http://no-such-host.invalid".into()] {
            let Err(Denial::Failed(text)) = log_in(&settings(&base)).await else { panic!("{base} is there") };
            assert!(text.starts_with("the HTTP service is out of reach: "), "{text}");
            assert!(!text.contains("swordfish") && !text.contains("username"), "{text}");
        }
    });
}

#[test]
fn a_connection_that_ends_before_the_answer_is_tried_again_three_times() {
    for (ends, expected) in [(1, true), (3, true), (4, false)] {
        run(async {
            let left = Arc::new(AtomicUsize::new(ends));
            let service = TestService::start(move |_| {
                let is_over =
                    left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_err();
                if is_over { Reply::ok("allow") } else { Reply::Close }
            })
            .await;
            assert_eq!(log_in(&settings_of(&service)).await.is_ok(), expected, "{ends}");
            assert_eq!(service.asked().len(), 4.min(ends + 1), "{ends}");
        });
    }
}

#[test]
fn a_password_that_fits_into_no_url_fits_into_a_body() {
    for (method, expected) in [(HttpMethod::Get, false), (HttpMethod::Post, true)] {
        run(async {
            let service = TestService::start(|_| Reply::ok("allow")).await;
            let backend = HttpBackend::new(&HttpSettings { method, ..settings_of(&service) }).unwrap();
            let attempt = attempt("u", Some(&"p".repeat(70_000)), "127.0.0.1:1");
            let result = backend.authenticate(&attempt).await.map(|_| ());
            let too_long = Denial::Failed("a request to the HTTP service is too long for method get".into());
            assert_eq!(result, if expected { Ok(()) } else { Err(too_long) });
        });
    }
}

#[test]
fn a_slow_service_is_asked_a_limited_number_of_things_at_once() {
    const IN_FLIGHT_MAX: usize = 128;
    const WAITING_MAX: usize = 8_192;
    run(async {
        let service = answers(Reply::Silence).await;
        let user = log_in(&settings_of(&service)).await.unwrap();
        let mut asking = tokio::task::JoinSet::new();
        for _ in 0..IN_FLIGHT_MAX + WAITING_MAX {
            let grant = Arc::clone(&user.grant);
            asking.spawn(async move { ask(&grant, &vhost()).await });
        }
        // With the one for the login.
        service.asked_at_least(IN_FLIGHT_MAX + 1).await;
        assert_eq!(ask(&user.grant, &vhost()).await, failed("too many requests wait for the HTTP service"));
        assert_eq!(service.asked().len(), IN_FLIGHT_MAX + 1);
        // Who is gone makes room.
        asking.abort_all();
        while asking.join_next().await.is_some() {}
        let asked = tokio::spawn(async move { ask(&user.grant, &vhost()).await });
        service.asked_at_least(IN_FLIGHT_MAX + 2).await;
        asked.abort();
    });
}

#[test]
fn nothing_shows_a_password() {
    run(async {
        let service = answers(Reply::Close).await;
        let user_path = format!("http://broker:swordfish@{}/auth/user", service.address);
        let backend = HttpBackend::new(&HttpSettings { user_path, ..settings_of(&service) }).unwrap();
        let user = backend.authenticate(&attempt("u", Some("swordfish"), "127.0.0.1:1")).await.unwrap();
        let answer = ask(&user.grant, &vhost()).await;
        for shown in [format!("{backend:?}"), format!("{user:?}"), format!("{answer:?}")] {
            assert!(!shown.contains("swordfish") && !shown.contains("vhost="), "{shown}");
        }
    });
}

#[test]
fn settings_that_cannot_be_used_are_refused() {
    let wrong = |url: &str| HttpSettings { topic_path: url.into(), ..HttpSettings::default() };
    for url in ["", "auth/topic", "ftp://host/swordfish", "http://"] {
        let error = HttpBackend::new(&wrong(url)).unwrap_err().to_string();
        assert_eq!(error, "auth_http.topic_path: not a URL of http or https");
    }
}
