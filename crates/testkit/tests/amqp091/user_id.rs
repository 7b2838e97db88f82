//! The property `user_id`: a message names its publisher truly or not at all.

use leveret_protocol::amqp091::Properties;
use leveret_protocol::amqp091::method::{TxCommit, TxSelect};
use leveret_testkit::users::Permissions;

use crate::access::{Bench, Refusal, outcome, refused};

fn by(user: &str) -> Properties<'_> {
    Properties { user_id: Some(user), ..Properties::default() }
}

fn refusal(bench: &Bench, claimed: &str) -> Refusal {
    let name = bench.user.name();
    let text = format!("PRECONDITION_FAILED - user_id property set to '{claimed}' but authenticated user was '{name}'");
    refused(406, &text).blaming((60, 40))
}

#[test]
fn a_message_may_not_name_another_user() {
    let bench = Bench::with(Permissions::ALL);
    let name = bench.user.name().to_owned();
    for exchange in ["", "amq.direct", "amq.topic"] {
        bench.outcome(|channel| channel.publish_with(exchange, "k", &by(&name), b"")).assert_allowed(exchange);
        for other in ["guest", "", &name.to_uppercase(), &format!("{name} "), "\u{1f407}"] {
            bench
                .outcome(|channel| channel.publish_with(exchange, "k", &by(other), b""))
                .assert_refused(&refusal(&bench, other), &format!("{other:?} on {exchange:?}"));
        }
    }
}

#[test]
fn a_message_that_names_another_user_costs_confirm_channels_and_transactions_too() {
    let bench = Bench::with(Permissions::ALL);
    let refusal = refusal(&bench, "guest");
    bench
        .outcome(|channel| {
            channel.confirm_select();
            channel.publish_with("", "k", &by("guest"), b"");
        })
        .assert_refused(&refusal, "confirm");
    bench
        .outcome(|channel| {
            channel.send(&TxSelect {});
            channel.publish_with("", "k", &by("guest"), b"");
        })
        .assert_refused(&refusal, "transaction");
    bench
        .outcome(|channel| {
            channel.send(&TxSelect {});
            channel.publish_with("", "k", &by("guest"), b"");
            channel.send(&TxCommit {});
        })
        .assert_refused(&refusal, "transaction with a commit");
}

#[test]
fn an_impersonator_may_name_anybody_and_others_may_not_whatever_their_tags() {
    let bench = Bench::with(Permissions::ALL);
    for (tags, allowed) in [
        (&["impersonator"][..], true),
        (&["administrator", "impersonator"], true),
        (&["administrator"], false),
        (&["management", "policymaker", "monitoring"], false),
        (&["Impersonator", "impersonators"], false),
        (&[], false),
    ] {
        bench.user.set_tags(tags);
        let connection = bench.user.open(bench.vhost.name());
        let channel = connection.channel();
        channel.publish_with("", "k", &by("somebody"), b"");
        let got = outcome(&channel);
        if allowed {
            got.assert_allowed(&format!("{tags:?}"));
        } else {
            got.assert_refused(&refusal(&bench, "somebody"), &format!("{tags:?}"));
        }
    }
}

#[test]
fn the_user_id_is_delivered_as_it_was_sent() {
    let bench = Bench::with(Permissions::ALL);
    let channel = bench.client.channel();
    let queue = channel.temporary_queue();
    let name = bench.user.name();
    channel.publish_with("", &queue, &by(name), b"");
    channel.publish("", &queue, b"");
    assert_eq!(channel.get(&queue).unwrap().properties.user_id, Some(name));
    assert_eq!(channel.get(&queue).unwrap().properties.user_id, None);
}
