//! Settings of where connections are accepted.

use std::net::SocketAddr;

use super::{Group, Place, Setting, Takes};

pub(super) const GROUP: Group = Group {
    title: "Listeners",
    settings: &[
        Setting {
            key: "listeners.tcp",
            takes: Takes::Word(&["none"], |draft, _, _| draft.listeners.no_tcp = true),
            default: "",
            help: "Accept no connections without TLS, whatever `listeners.tcp.$name` says",
        },
        Setting {
            key: "listeners.tcp.$name",
            takes: Takes::Address(|draft, _, address| draft.listeners.tcp.push(address)),
            default: "127.0.0.1:5672",
            help: "Accept AMQP connections here, under any name; a port alone means all addresses of this machine",
        },
        Setting {
            key: "listeners.ssl",
            takes: Takes::Word(&["none"], |draft, _, _| draft.listeners.no_tls = true),
            default: "",
            help: "Accept no connections with TLS, whatever `listeners.ssl.$name` says",
        },
        Setting {
            key: "listeners.ssl.$name",
            takes: Takes::Address(|draft, at, address| {
                draft.listeners.tls.push(address);
                draft.listeners.tls_place = at.place;
            }),
            default: "",
            help: "Accept AMQP connections with TLS here, usually on port 5671",
        },
        Setting {
            key: "proxy_protocol",
            takes: Takes::Flag(|draft, _, on| draft.config.proxy_protocol = on),
            default: "false",
            help: "Whether every connection has to begin with a header of the PROXY protocol, version 1 or 2",
        },
    ],
};

/// Listeners that were read so far.
#[derive(Default)]
pub(super) struct Draft {
    no_tcp: bool,
    tcp: Vec<SocketAddr>,
    no_tls: bool,
    tls_place: Place,
    tls: Vec<SocketAddr>,
}

pub(super) fn finish(draft: &mut super::Draft) {
    let Draft { no_tcp, tcp, no_tls, tls_place, tls } = std::mem::take(&mut draft.listeners);
    if no_tcp {
        draft.config.listen = Vec::new();
    } else if !tcp.is_empty() {
        draft.config.listen = once_each(tcp);
    }
    if !no_tls && !tls.is_empty() {
        draft.tls.need(tls_place);
        draft.config.listen_tls = once_each(tls);
    }
}

/// A second listener on one address would be told that another program has it. Port 0 is a new port each time.
fn once_each(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let mut listen = Vec::new();
    for address in addresses {
        if address.port() == 0 || !listen.contains(&address) {
            listen.push(address);
        }
    }
    listen
}
