//! Which method needs which rights to which queues and exchanges.

use leveret_protocol::amqp091::method::{
    BasicAck, BasicCancel, BasicConsume, BasicQos, BasicRecover, ConfirmSelect, ExchangeDeclare, QueueDeclare,
    TxCommit, TxRollback, TxSelect,
};
use leveret_protocol::amqp091::{Properties, Value};
use leveret_testkit::amqp091::{Channel, basic_consume, basic_publish, queue_bind, queue_delete, table};
use leveret_testkit::broker;
use leveret_testkit::users::Permissions;

use crate::access::Right::{Configure, Read, Write};
use crate::access::{Bench, Refusal, Right, SUFFIXES, outcome, refused};
use crate::exchanges::{self, lasting};
use crate::queues::{self, passive, purge, shared};

/// A queue or an exchange that a method names, and the rights it takes, in the order in which they are asked for.
#[derive(Debug, Clone, Copy)]
enum Role {
    Queue(&'static [Right]),
    Exchange(&'static [Right]),
    /// One that need not be there.
    NewQueue(&'static [Right]),
    /// One that need not be there.
    NewExchange(&'static [Right]),
    /// One that is never there.
    MissingExchange(&'static [Right]),
}

impl Role {
    fn rights(self) -> &'static [Right] {
        match self {
            Self::Queue(rights)
            | Self::Exchange(rights)
            | Self::NewQueue(rights)
            | Self::NewExchange(rights)
            | Self::MissingExchange(rights) => rights,
        }
    }

    fn stem(self) -> &'static str {
        match self {
            Self::Queue(_) => "queue",
            Self::Exchange(_) => "exchange",
            Self::NewQueue(_) => "new queue",
            Self::NewExchange(_) => "new exchange",
            Self::MissingExchange(_) => "missing exchange",
        }
    }

    /// What is missing.
    fn refusal(self, bench: &Bench, missing: Right, name: &str) -> Refusal {
        match self {
            Self::Queue(_) | Self::NewQueue(_) => bench.no_queue_access(missing, name),
            Self::Exchange(_) | Self::NewExchange(_) | Self::MissingExchange(_) => {
                bench.no_exchange_access(missing, name)
            }
        }
    }

    /// A name that gives the rights that pass a test.
    fn name(self, gives: impl Fn(Right) -> bool) -> String {
        let letter = |right: Right| if gives(right) { right.letter() } else { '-' };
        format!("{}.{}", self.stem(), [Configure, Write, Read].map(letter).iter().collect::<String>())
    }
}

/// A method, what it names, and how it is sent with these names.
#[derive(Debug, Clone, Copy)]
struct Case {
    name: &'static str,
    roles: &'static [Role],
    ids: (u16, u16),
    send: fn(&Channel, &str, &str),
}

impl Case {
    /// Sends the method with names for its roles.
    fn send(self, channel: &Channel, names: &[String]) {
        let name = |index: usize| names.get(index).map_or("", String::as_str);
        (self.send)(channel, name(0), name(1));
    }
}

fn dead_letters(exchange: &str) -> (&'static str, Value<'_>) {
    ("x-dead-letter-exchange", Value::LongStr(exchange.as_bytes()))
}

fn alternate(exchange: &str) -> (&'static str, Value<'_>) {
    ("alternate-exchange", Value::LongStr(exchange.as_bytes()))
}

fn publish_properties(channel: &Channel, exchange: &str, properties: &Properties<'_>) {
    channel.send_content(&basic_publish(exchange, "key"), properties, b"");
}

const CASES: [Case; 19] = [
    Case {
        name: "queue.declare",
        roles: &[Role::NewQueue(&[Configure])],
        ids: (50, 10),
        send: |channel, first, _| channel.send(&shared(first)),
    },
    Case {
        name: "queue.declare of an exclusive queue",
        roles: &[Role::NewQueue(&[Configure])],
        ids: (50, 10),
        send: |channel, first, _| channel.send(&QueueDeclare { exclusive: true, ..shared(first) }),
    },
    Case {
        name: "queue.declare of a queue that is there",
        roles: &[Role::Queue(&[Configure])],
        ids: (50, 10),
        send: |channel, first, _| channel.send(&lasting_queue(first)),
    },
    Case {
        name: "queue.declare with dead letters",
        roles: &[Role::NewQueue(&[Configure, Read]), Role::Exchange(&[Write])],
        ids: (50, 10),
        send: |channel, first, second| {
            channel.send(&QueueDeclare { arguments: table(&[dead_letters(second)]), ..shared(first) });
        },
    },
    Case {
        name: "queue.declare with dead letters to an exchange that is not there",
        roles: &[Role::NewQueue(&[Configure, Read]), Role::MissingExchange(&[Write])],
        ids: (50, 10),
        send: |channel, first, second| {
            channel.send(&QueueDeclare { arguments: table(&[dead_letters(second)]), ..shared(first) });
        },
    },
    Case {
        name: "queue.bind",
        roles: &[Role::Queue(&[Write]), Role::Exchange(&[Read])],
        ids: (50, 20),
        send: |channel, first, second| channel.send(&queue_bind(first, second, "key")),
    },
    Case {
        name: "queue.unbind",
        roles: &[Role::Queue(&[Write]), Role::Exchange(&[Read])],
        ids: (50, 50),
        send: |channel, first, second| channel.send(&queues::unbind(first, second, "key")),
    },
    Case {
        name: "queue.purge",
        roles: &[Role::Queue(&[Read])],
        ids: (50, 30),
        send: |channel, first, _| channel.send(&purge(first)),
    },
    Case {
        name: "queue.delete",
        roles: &[Role::Queue(&[Configure])],
        ids: (50, 40),
        send: |channel, first, _| channel.send(&queue_delete(first)),
    },
    Case {
        name: "exchange.declare",
        roles: &[Role::NewExchange(&[Configure])],
        ids: (40, 10),
        send: |channel, first, _| channel.send(&lasting(first, "direct")),
    },
    Case {
        name: "exchange.declare of an exchange that is there",
        roles: &[Role::Exchange(&[Configure])],
        ids: (40, 10),
        send: |channel, first, _| channel.send(&ExchangeDeclare { durable: true, ..lasting(first, "direct") }),
    },
    Case {
        name: "exchange.declare with an alternate exchange",
        roles: &[Role::NewExchange(&[Configure, Read]), Role::Exchange(&[Write])],
        ids: (40, 10),
        send: |channel, first, second| {
            channel.send(&ExchangeDeclare { arguments: table(&[alternate(second)]), ..lasting(first, "direct") });
        },
    },
    Case {
        name: "exchange.declare with an alternate exchange that is not there",
        roles: &[Role::NewExchange(&[Configure, Read]), Role::MissingExchange(&[Write])],
        ids: (40, 10),
        send: |channel, first, second| {
            channel.send(&ExchangeDeclare { arguments: table(&[alternate(second)]), ..lasting(first, "direct") });
        },
    },
    Case {
        name: "exchange.bind",
        roles: &[Role::Exchange(&[Write]), Role::Exchange(&[Read])],
        ids: (40, 30),
        send: |channel, first, second| channel.send(&exchanges::bind(first, second, "key")),
    },
    Case {
        name: "exchange.unbind",
        roles: &[Role::Exchange(&[Write]), Role::Exchange(&[Read])],
        ids: (40, 40),
        send: |channel, first, second| channel.send(&exchanges::unbind(first, second, "key")),
    },
    Case {
        name: "exchange.delete",
        roles: &[Role::Exchange(&[Configure])],
        ids: (40, 20),
        send: |channel, first, _| channel.send(&exchanges::delete(first)),
    },
    Case {
        name: "basic.publish",
        roles: &[Role::Exchange(&[Write])],
        ids: (60, 40),
        send: |channel, first, _| publish_properties(channel, first, &Properties::default()),
    },
    Case {
        name: "basic.get",
        roles: &[Role::Queue(&[Read])],
        ids: (60, 70),
        send: |channel, first, _| channel.send(&queues::get(first)),
    },
    Case {
        name: "basic.consume",
        roles: &[Role::Queue(&[Read])],
        ids: (60, 20),
        send: |channel, first, _| channel.send(&basic_consume(first)),
    },
];

fn lasting_queue(queue: &str) -> QueueDeclare<'_> {
    QueueDeclare { durable: true, ..shared(queue) }
}

/// Declares what roles stand for with every set of rights, and deletes what must be new.
#[track_caller]
fn set_up(channel: &Channel) {
    for suffix in SUFFIXES {
        queues::declare(channel, &lasting_queue(&format!("queue.{suffix}")));
        let exchange = format!("exchange.{suffix}");
        exchanges::declare(channel, &ExchangeDeclare { durable: true, ..lasting(&exchange, "direct") });
        channel.delete_queue(&format!("new queue.{suffix}"));
        channel.delete_exchange(&format!("new exchange.{suffix}"));
    }
}

#[test]
fn a_method_takes_its_rights_and_no_others() {
    let bench = Bench::new();
    let owner = bench.owner.channel();
    for case in CASES {
        let Case { name, roles, .. } = case;
        set_up(&owner);
        let names: Vec<_> = roles.iter().map(|role| role.name(|right| role.rights().contains(&right))).collect();
        // Exclusive queues go with their connection.
        let client = bench.user.open(bench.vhost.name());
        let channel = client.channel();
        case.send(&channel, &names);
        outcome(&channel).assert_allowed(&format!("{name} {names:?}"));
        client.close();
    }
}

#[test]
fn a_method_without_one_of_its_rights_costs_its_channel() {
    let bench = Bench::new();
    set_up(&bench.owner.channel());
    for case in CASES {
        let Case { name, roles, ids, .. } = case;
        for (position, role) in roles.iter().enumerate() {
            for missing in role.rights() {
                let names: Vec<_> = (0..)
                    .zip(roles)
                    .map(|(other, role)| role.name(|right| other != position || right != *missing))
                    .collect();
                let refusal = role.refusal(&bench, *missing, &names[position]);
                bench
                    .outcome(|channel| case.send(channel, &names))
                    .assert_refused(&refusal.blaming(ids), &format!("{name} {names:?}"));
            }
        }
    }
    // None of it was done.
    set_up(&bench.owner.channel());
}

#[test]
fn rights_are_asked_for_in_the_order_in_which_a_method_names_things() {
    let bench = Bench::new();
    set_up(&bench.owner.channel());
    for case in CASES {
        let Case { name, roles, ids, .. } = case;
        let names: Vec<_> = roles.iter().map(|role| role.name(|_| false)).collect();
        let first = roles[0].rights()[0];
        let refusal = roles[0].refusal(&bench, first, &names[0]);
        bench.outcome(|channel| case.send(channel, &names)).assert_refused(&refusal.blaming(ids), name);
    }
}

#[test]
fn methods_that_name_nothing_need_no_rights() {
    let bench = Bench::with(Permissions::NONE);
    let check = |name: &str, send: &dyn Fn(&Channel)| bench.outcome(send).assert_allowed(name);
    check("basic.qos", &|channel| channel.send(&BasicQos { prefetch_size: 0, prefetch_count: 1, global: false }));
    check("basic.cancel", &|channel| channel.send(&BasicCancel { consumer_tag: "none", no_wait: false }));
    check("basic.recover", &|channel| channel.send(&BasicRecover { requeue: true }));
    check("basic.ack", &|channel| channel.send(&BasicAck { delivery_tag: 0, multiple: true }));
    check("confirm.select", &|channel| channel.send(&ConfirmSelect { no_wait: false }));
    check("tx", &|channel| {
        channel.send(&TxSelect {});
        channel.send(&TxCommit {});
        channel.send(&TxRollback {});
    });
}

#[test]
fn a_user_without_rights_can_do_nothing() {
    let bench = Bench::with(Permissions::NONE);
    let owner = bench.owner.channel();
    queues::declare(&owner, &lasting_queue(""));
    set_up(&owner);
    for case in CASES {
        let Case { name, roles, ids, .. } = case;
        let names: Vec<_> = roles.iter().map(|role| role.name(|_| true)).collect();
        let got = bench.outcome(|channel| case.send(channel, &names)).0.unwrap_err();
        assert_eq!((got.code, got.blame()), (403, Some(ids)), "{name}");
    }
}

#[test]
fn a_passive_declaration_takes_any_right() {
    let bench = Bench::new();
    set_up(&bench.owner.channel());
    for suffix in ["c--", "-w-", "--r", "cwr"] {
        let (queue, exchange) = (format!("queue.{suffix}"), format!("exchange.{suffix}"));
        bench.outcome(|channel| channel.send(&passive(&queue))).assert_allowed(&queue);
        bench.outcome(|channel| channel.send(&exchanges::passive(&exchange))).assert_allowed(&exchange);
        let (queue, exchange) = (format!("new queue.{suffix}"), format!("new exchange.{suffix}"));
        let vhost = bench.vhost.name();
        let missing = refused(404, &format!("NOT_FOUND - no queue '{queue}' in vhost '{vhost}'"));
        bench.outcome(|channel| channel.send(&passive(&queue))).assert_refused(&missing, &queue);
        let missing = refused(404, &format!("NOT_FOUND - no exchange '{exchange}' in vhost '{vhost}'"));
        bench.outcome(|channel| channel.send(&exchanges::passive(&exchange))).assert_refused(&missing, &exchange);
    }
}

#[test]
fn a_passive_declaration_without_any_right_does_not_say_whether_there_is_something() {
    if broker::differs("a passive declaration takes no right") {
        return;
    }
    let bench = Bench::new();
    set_up(&bench.owner.channel());
    for stem in ["", "new "] {
        let (queue, exchange) = (format!("{stem}queue.---"), format!("{stem}exchange.---"));
        let refusal = bench.no_queue_access(Configure, &queue).blaming((50, 10));
        bench.outcome(|channel| channel.send(&passive(&queue))).assert_refused(&refusal, &queue);
        let refusal = bench.no_exchange_access(Configure, &exchange).blaming((40, 10));
        bench.outcome(|channel| channel.send(&exchanges::passive(&exchange))).assert_refused(&refusal, &exchange);
    }
}

#[test]
fn the_default_exchange_is_called_amq_default() {
    for (write, allowed) in [(r"^amq\.default$", true), ("^$", false), ("", false), (r"^amq\.", true), ("x", false)] {
        let bench = Bench::with(Permissions { configure: "^q", write, read: "^q" });
        let refusal = bench.no_exchange_access(Write, "amq.default");
        let check = |ids, send: &dyn Fn(&Channel)| {
            let outcome = bench.outcome(send);
            if allowed {
                outcome.assert_allowed(write);
            } else {
                outcome.assert_refused(&refusal.clone().blaming(ids), write);
            }
        };
        check((60, 40), &|channel| channel.publish("", "q", b""));
        check((60, 40), &|channel| channel.publish("", "amq.rabbitmq.reply-to.x", b""));
        check((50, 10), &|channel| {
            channel.send(&QueueDeclare { arguments: table(&[dead_letters("")]), ..shared("q") });
        });
        check((40, 10), &|channel| {
            channel.send(&ExchangeDeclare { arguments: table(&[alternate("")]), ..lasting("q", "direct") });
        });
    }
}

#[test]
fn a_queue_that_the_server_names_takes_the_rights_to_its_name() {
    let bench = Bench::with(Permissions { configure: r"^amq\.gen-", write: "", read: "" });
    bench.outcome(|channel| channel.send(&QueueDeclare { exclusive: true, ..shared("") })).assert_allowed("amq.gen-");
    let bench = Bench::with(Permissions { configure: "^$", write: ".*", read: ".*" });
    let got = bench.outcome(|channel| channel.send(&shared(""))).0.unwrap_err();
    let start = bench.no_queue_access(Configure, "amq.gen-").text;
    let start = start.split_once("amq.gen-").unwrap().0.to_owned() + "amq.gen-";
    assert!(got.code == 403 && got.text.starts_with(&start), "{got:?} does not start with {start}");
}

#[test]
fn rights_to_what_a_queue_or_exchange_leads_to_are_asked_for_when_it_is_made_only() {
    let bench = Bench::new();
    let owner = bench.owner.channel();
    let declare = QueueDeclare { arguments: table(&[dead_letters("exchange.---")]), ..shared("queue.c--") };
    queues::declare(&owner, &declare);
    bench.outcome(|channel| channel.send(&declare)).assert_allowed("queue");
    let declare =
        ExchangeDeclare { arguments: table(&[alternate("exchange.---")]), ..lasting("exchange.c--", "direct") };
    exchanges::declare(&owner, &declare);
    bench.outcome(|channel| channel.send(&declare)).assert_allowed("exchange");
}

#[test]
fn direct_reply_to_takes_no_rights_but_to_publish() {
    let bench = Bench::with(Permissions::NONE);
    let reply_to = "amq.rabbitmq.reply-to";
    let consume = BasicConsume { no_ack: true, ..basic_consume(reply_to) };
    bench.outcome(|channel| channel.send(&consume)).assert_allowed("consume");
    bench.outcome(|channel| channel.send(&passive(reply_to))).assert_allowed("passive");
    bench.outcome(|channel| channel.send(&shared(reply_to))).assert_allowed("declare");
    let check = |case, right, ids, send: &dyn Fn(&Channel)| {
        bench.outcome(send).assert_refused(&bench.no_queue_access(right, reply_to).blaming(ids), case);
    };
    check("delete", Configure, (50, 40), &|channel| channel.send(&queue_delete(reply_to)));
    check("purge", Read, (50, 30), &|channel| channel.send(&purge(reply_to)));
    check("get", Read, (60, 70), &|channel| channel.send(&queues::get(reply_to)));
}
