//! Requests as RabbitMQ sends them. `recorded.jsonl` has what RabbitMQ 3.10.8 sent to a service while a client logged in, declared,
//! bound, published and consumed; each line is a request, with the step of the client that it came with.

use leveret_auth::Backend;
use leveret_auth::http::{HttpBackend, HttpMethod, HttpSettings};
use leveret_broker::access::Permission::{Configure, Read, Write};
use leveret_broker::access::{Answer, Question};
use leveret_broker::error::ResourceKind::{Exchange, Queue};
use serde_json::Value;

use super::service::{Reply, TestService};
use super::{ask, attempt, resource, run, settings_of, topic, vhost};

const RECORDED: &str = include_str!("recorded.jsonl");
const USER: &str = "héllo wörld&=+/?#%~*!()'\"";
const PASSWORD: &str = "pä ss&word=1+2%~";

#[test]
fn requests_are_those_of_rabbitmq() {
    for (method, name) in [(HttpMethod::Get, "GET"), (HttpMethod::Post, "POST")] {
        run(async {
            let expected: Vec<Value> = RECORDED
                .lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .filter(|request: &Value| request["method"] == name)
                .collect();
            let service = works().await;
            let settings = HttpSettings { method, ..settings_of(&service) };
            use_as_recorded(&settings).await;

            let asked = service.asked();
            assert_eq!(asked.len(), expected.len());
            for (asked, expected) in asked.iter().zip(expected) {
                let step = &expected["step"];
                assert_eq!(asked.method, expected["method"], "{step}");
                assert_eq!(asked.path, expected["path"], "{step}");
                assert_eq!(asked.body, expected["body"], "{step}");
                let content_type = expected["headers"].get("content-type").and_then(Value::as_str);
                assert_eq!(asked.header("content-type"), content_type, "{step}");
                assert_eq!(asked.header("host"), Some(&*service.address.to_string()), "{step}");
                // One connection does for all of them, as they come one by one.
                assert_eq!(asked.connection, 0, "{step}");
            }
        });
    }
}

async fn works() -> TestService {
    TestService::start(|asked| {
        Reply::ok(if asked.path.starts_with("/auth/user") { "allow administrator Big.Tag" } else { "allow" })
    })
    .await
}

async fn use_as_recorded(settings: &HttpSettings) {
    let backend = HttpBackend::new(settings).unwrap();
    let logins: [(&str, &[Question]); 2] = [
        (
            "[::ffff:127.0.0.1]:5555",
            &[
                vhost(),
                resource(Queue, "q ü&=1", Configure),
                resource(Exchange, "t/x", Configure),
                resource(Exchange, "d x", Configure),
                resource(Exchange, "d x", Read),
                resource(Exchange, "t/x", Write),
                resource(Queue, "q2", Configure),
                resource(Queue, "q2", Read),
                resource(Queue, "q2", Write),
                resource(Queue, "q ü&=1", Write),
                resource(Exchange, "t/x", Read),
                topic("t/x", "a.*.b #", Read),
                resource(Exchange, "d x", Write),
                topic("t/x", "x.y", Read),
                resource(Exchange, "amq.default", Write),
                topic("t/x", "a.k€y.b +&", Write),
                resource(Queue, "q ü&=1", Read),
            ],
        ),
        ("[::1]:5555", &[vhost()]),
    ];
    for (from, questions) in logins {
        let user = backend.authenticate(&attempt(USER, Some(PASSWORD), from)).await.unwrap();
        assert_eq!(&*user.name, USER);
        assert_eq!(user.tags, ["administrator".into(), "big.tag".into()]);
        assert_eq!(user.expires, None);
        for question in questions {
            assert_eq!(ask(&user.grant, question).await, Answer::Allowed, "{question:?}");
        }
    }
}

#[test]
fn a_user_without_password_is_asked_for_without_one() {
    run(async {
        let service = works().await;
        let backend = HttpBackend::new(&settings_of(&service)).unwrap();
        backend.authenticate(&attempt("CN=client", None, "127.0.0.1:1")).await.unwrap();
        backend.authorize(&attempt("other", Some(""), "127.0.0.1:1"), &[]).await.unwrap();
        let paths: Vec<_> = service.asked().into_iter().map(|asked| asked.path).collect();
        assert_eq!(paths, ["/auth/user?username=CN%3Dclient", "/auth/user?username=other&password="]);
    });
}

#[test]
fn the_service_is_told_the_tags_that_another_back_end_gave() {
    run(async {
        let service = works().await;
        let backend = HttpBackend::new(&settings_of(&service)).unwrap();
        let tags = ["monitoring".into(), "Own".into()];
        let user = backend.authorize(&attempt("u", Some("p"), "10.0.0.1:1"), &tags).await.unwrap();
        assert!(user.tags.is_empty(), "it gives none of its own: {:?}", user.tags);
        assert!(ask(&user.grant, &vhost()).await.is_allowed());
        let asked = service.asked();
        assert_eq!(asked[1].path, "/auth/vhost?username=u&vhost=%2F&ip=10.0.0.1&tags=monitoring+Own");
    });
}

#[test]
fn urls_may_have_parameters_and_a_user_of_their_own() {
    run(async {
        let service = works().await;
        let user_path = format!("http://broker:secret@{}/auth/user?realm=a", service.address);
        let backend = HttpBackend::new(&HttpSettings { user_path, ..settings_of(&service) }).unwrap();
        let user = backend.authenticate(&attempt("u", Some("p"), "10.0.0.1:1")).await.unwrap();
        assert!(ask(&user.grant, &vhost()).await.is_allowed());
        let asked = service.asked();
        assert_eq!(asked[0].path, "/auth/user?realm=a&username=u&password=p");
        assert_eq!(asked[0].header("authorization"), Some("Basic YnJva2VyOnNlY3JldA=="));
        assert_eq!(asked[1].path, "/auth/vhost?username=u&vhost=%2F&ip=10.0.0.1&tags=administrator+big.tag");
        assert_eq!(asked[1].header("authorization"), None);
    });
}
