//! Services that send somewhere else.

use leveret_auth::Denial;
use leveret_auth::http::{HttpMethod, HttpSettings};

use super::service::{Reply, TestService};
use super::{log_in, run, settings_of};

fn redirect(status: u16, location: impl Into<String>) -> Reply {
    Reply::Answer(status, vec![("location", location.into())], "allow".into())
}

#[test]
fn redirects_are_followed_as_rabbitmq_does() {
    use HttpMethod::{Get, Post};
    const FORM: &str = "username=guest&password=swordfish";
    for (method, status, expected) in [
        (Get, 301, Some(("GET", ""))),
        (Get, 302, Some(("GET", ""))),
        (Get, 303, Some(("GET", ""))),
        (Get, 307, Some(("GET", ""))),
        (Get, 308, Some(("GET", ""))),
        (Post, 301, Some(("GET", ""))),
        (Post, 302, Some(("GET", ""))),
        (Post, 303, Some(("GET", ""))),
        (Post, 307, Some(("POST", FORM))),
        (Post, 308, Some(("POST", FORM))),
        (Get, 304, None),
        (Post, 305, None),
    ] {
        run(async {
            let service = TestService::start(move |asked| {
                if asked.path.starts_with("/auth/user") {
                    redirect(status, "/elsewhere?x=y")
                } else {
                    Reply::ok("allow administrator")
                }
            })
            .await;
            let result = log_in(&HttpSettings { method, ..settings_of(&service) }).await.map(|user| user.tags);
            let asked = service.asked();
            let Some((method, body)) = expected else {
                let text = format!("the HTTP service answered with status {status}");
                assert_eq!(result, Err(Denial::Failed(text)));
                return;
            };
            assert_eq!(result, Ok(vec!["administrator".into()]), "{status}");
            assert_eq!((&*asked[1].method, &*asked[1].path, &*asked[1].body), (method, "/elsewhere?x=y", body));
        });
    }
}

#[test]
fn redirects_end_somewhere() {
    run(async {
        let service = TestService::start(|asked| redirect(302, asked.path.clone())).await;
        let text = "the HTTP service answered with status 302".to_owned();
        assert_eq!(log_in(&settings_of(&service)).await.unwrap_err(), Denial::Failed(text));
        assert_eq!(service.asked().len(), 6);
    });
}

#[test]
fn another_service_does_not_get_the_password_for_this_one() {
    run(async {
        let other = TestService::start(|_| Reply::ok("allow")).await;
        let to = other.url("/there");
        let service = TestService::start(move |_| redirect(307, to.clone())).await;
        let user_path = format!("http://broker:secret@{}/auth/user", service.address);
        let settings = HttpSettings { user_path, method: HttpMethod::Post, ..settings_of(&service) };
        log_in(&settings).await.unwrap();
        assert!(service.asked()[0].header("authorization").is_some());
        assert!(other.asked()[0].header("authorization").is_none());
    });
}

#[test]
fn redirects_that_lead_nowhere_are_failures() {
    for location in ["ftp://host/", "http://", "a b"] {
        run(async {
            let service = TestService::start(move |_| redirect(302, location)).await;
            let text = "the HTTP service redirected to where it may not be followed".to_owned();
            assert_eq!(log_in(&settings_of(&service)).await.unwrap_err(), Denial::Failed(text), "{location}");
        });
    }
}
