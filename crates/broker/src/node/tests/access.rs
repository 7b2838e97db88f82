//! What connections are told when users and vhosts change.

use super::*;
use crate::access::{Permissions, tags};
use crate::topology::{Defaults, Existing};

fn user(name: &str, node: &Node) -> Name {
    let (user, password) = (Name::from(name), PasswordHash::none());
    let tags = vec![tags::IMPERSONATOR.into()];
    node.apply(Change::SetUser { user: Name::clone(&user), password, tags, existing: Existing::Refuse }).unwrap();
    user
}

fn events(mailbox: &Mailbox) -> Vec<String> {
    let mut inbox = Inbox::default();
    mailbox.take(&mut inbox);
    inbox.events.iter().map(|event| format!("{event:?}")).collect()
}

#[test]
fn those_whom_a_change_concerns_are_told() {
    let node = Node::new();
    node.apply(Change::CreateVhost { vhost: "v".into() }).unwrap();
    let (ann, bob) = (user("ann", &node), user("bob", &node));
    let open = |user: &Name, vhost: &str| {
        let mailbox = Arc::new(Mailbox::default());
        let id = node.connect(&mailbox, &Arc::new(Peer::local()), &Arc::default());
        let opened = node.open_connection(id, vhost, user, node.access_generation()).unwrap();
        assert_eq!(opened, Opening::Open(vhost.into()));
        mailbox
    };
    let (ann_in_v, ann_in_slash, bob_in_v) = (open(&ann, "v"), open(&ann, "/"), open(&bob, "v"));
    let told = || [&ann_in_v, &ann_in_slash, &bob_in_v].map(|mailbox| events(mailbox));
    let nothing: [Vec<String>; 3] = [const { Vec::new() }; 3];

    let permissions = Permissions::new("", "", "").unwrap();
    let change = Change::SetPermissions { user: Name::clone(&ann), vhost: "v".into(), permissions };
    node.apply(change.clone()).unwrap();
    let changed = || vec!["AccessChanged".to_owned()];
    assert_eq!(told(), [changed(), changed(), vec![]]);
    node.apply(change).unwrap();
    assert_eq!(told(), nothing, "nothing changed");
    node.apply(Change::SetTags { user: Name::clone(&ann), tags: Vec::new() }).unwrap();
    assert_eq!(told(), nothing, "tags hold until the next login");

    node.apply(Change::DeleteVhost { vhost: "v".into() }).unwrap();
    let deleted = "Close(VhostDeleted { vhost: \"v\" })".to_owned();
    assert_eq!(told(), [vec![deleted.clone()], vec![], vec![deleted]]);
    node.apply(Change::DeleteUser { user: ann }).unwrap();
    let deleted = "Close(UserDeleted { user: \"ann\" })".to_owned();
    assert_eq!(told(), [vec![deleted.clone()], vec![deleted], vec![]]);
}

#[test]
fn who_was_asked_before_a_change_is_asked_again() {
    let node = Node::new();
    let id = node.connect(&Arc::default(), &Arc::new(Peer::local()), &Arc::default());
    let (guest, generation) = ("guest".into(), node.access_generation());
    user("ann", &node);
    assert_eq!(node.open_connection(id, "/", &guest, generation), Ok(Opening::Outdated));
    let opened = node.open_connection(id, "/", &guest, node.access_generation());
    assert_eq!(opened, Ok(Opening::Open("/".into())));
}

#[test]
fn a_node_begins_with_its_defaults_and_never_goes_back_to_them() {
    let defaults = || Defaults { vhost: "first".into(), user: "ann".into(), ..Defaults::guest(PasswordHash::none()) };
    let node = Node::within(Surroundings { defaults: Some(defaults()), ..Surroundings::default() });
    assert!(node.read(|topology| topology.vhost("/").is_err() && topology.vhost("first").is_ok()));
    node.apply(Change::DeleteUser { user: "ann".into() }).unwrap();
    node.apply(Change::DeleteVhost { vhost: "first".into() }).unwrap();
    let mut topology = Topology::new();
    for record in node.durable_records().0 {
        topology.restore(record).unwrap();
    }
    let again =
        Node::restored(topology, Surroundings { defaults: Some(defaults()), ..Surroundings::default() }, |_| None);
    assert_eq!(again.read(|topology| (topology.users().len(), topology.vhosts().count())), (0, 0));
}
