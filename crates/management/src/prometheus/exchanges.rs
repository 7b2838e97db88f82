//! Exchanges and vhosts.

use std::io::{self, Write};

use leveret_broker::node::Node;

use super::collect::Scope;
use super::{Family, Filter, Group, Labels, Number, Text};

const PUBLISHED: Family =
    Family::counter("exchange_messages_published_total", "Messages that clients published to an exchange");
const STATUS: Family = Family::gauge("vhost_status", "Whether a given vhost is running");
const BINDINGS: Family =
    Family::gauge("exchange_bindings", "Number of bindings for an exchange. This value is cluster-wide.");
const NAME: Family = Family::gauge(
    "exchange_name",
    "Enumerates exchanges without any additional info. This value is cluster-wide. A cheaper alternative to `exchange_bindings`",
);

/// An exchange as it was.
struct Found {
    vhost: String,
    name: String,
    kind: &'static str,
    bindings: usize,
    published: u64,
}

/// Writes a group.
pub(super) fn write<W: Write>(
    text: &mut Text<W>,
    group: Group,
    scope: Scope,
    node: &Node,
    filter: &Filter,
) -> io::Result<()> {
    match group {
        Group::VhostStatus => vhosts(text, node, filter),
        Group::Exchange => {
            let found = find(node, filter, Bindings::Uncounted);
            text.begin(&PUBLISHED)?;
            match scope {
                Scope::Sum => {
                    let sum = found.iter().map(|exchange| exchange.published).sum();
                    text.number(&PUBLISHED, &Labels::none(), Number::Whole(sum))
                }
                Scope::Each => found.iter().try_for_each(|exchange| {
                    let labels = Labels::of(&[("vhost", &exchange.vhost), ("exchange", &exchange.name)]);
                    text.number(&PUBLISHED, &labels, Number::Whole(exchange.published))
                }),
            }
        }
        Group::ExchangeBindings => {
            let found = find(node, filter, Bindings::Counted);
            typed(text, &BINDINGS, &found, |exchange| exchange.bindings.into())
        }
        Group::ExchangeNames => typed(text, &NAME, &find(node, filter, Bindings::Uncounted), |_| Number::Whole(1)),
        _ => Ok(()),
    }
}

fn vhosts<W: Write>(text: &mut Text<W>, node: &Node, filter: &Filter) -> io::Result<()> {
    let mut names: Vec<String> =
        node.read(|topology| topology.vhosts().map(|vhost| vhost.name().to_string()).collect());
    names.retain(|name| filter.has_vhost(name));
    names.sort_unstable();
    text.begin(&STATUS)?;
    names.iter().try_for_each(|name| text.number(&STATUS, &Labels::of(&[("vhost", name)]), Number::Whole(1)))
}

fn typed<W: Write>(
    text: &mut Text<W>,
    family: &Family,
    found: &[Found],
    number: impl Fn(&Found) -> Number,
) -> io::Result<()> {
    text.begin(family)?;
    for exchange in found {
        let Found { vhost, name, kind, .. } = exchange;
        let labels = Labels::of(&[("vhost", vhost), ("exchange", name), ("type", kind)]);
        text.number(family, &labels, number(exchange))?;
    }
    Ok(())
}

/// Whether bindings are counted, which takes time.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Bindings {
    Counted,
    Uncounted,
}

fn find(node: &Node, filter: &Filter, bindings: Bindings) -> Vec<Found> {
    let mut found: Vec<Found> = node.read(|topology| {
        let wanted = topology.vhosts().filter(|vhost| filter.has_vhost(vhost.name()));
        let all = wanted.flat_map(|vhost| vhost.exchanges().map(move |exchange| (vhost, exchange)));
        all.map(|(vhost, exchange)| Found {
            vhost: vhost.name().to_string(),
            name: exchange.name().to_string(),
            kind: exchange.kind().as_str(),
            bindings: if bindings == Bindings::Counted { exchange.bindings().count() } else { 0 },
            published: exchange.stats().publish_in,
        })
        .collect()
    });
    found.sort_unstable_by(|one, two| (&one.vhost, &one.name).cmp(&(&two.vhost, &two.name)));
    found
}
