//! Users, what they may do, and how much of it.

use leveret_auth::hash;
use leveret_broker::access::{Permissions, TopicPermissions};
use leveret_broker::topology::{Topology, User};
use leveret_broker::{Error, Name};
use serde_json::{Value as Json, json};

use super::{Form, Row, View};
use crate::json;

impl View<'_> {
    /// All users that the node knows itself, in the order of their names.
    pub fn users(self) -> Vec<Row> {
        self.node.read(|topology| topology.users().map(|user| self.user_row(topology, user)).collect())
    }

    /// A user.
    pub fn user(self, name: &str) -> Result<Row, Error> {
        self.node.read(|topology| Ok(self.user_row(topology, topology.user(name)?)))
    }

    fn user_row(self, topology: &Topology, user: &User) -> Row {
        let mut row = self.row();
        row.add(self.either("user", "name"), || user.name().to_string())
            .add("tags", || user.tags().iter().map(|tag| json!(&**tag)).collect::<Json>());
        if self.form == Form::Api {
            row.add("password_hash", || hash::to_text(user.password()))
                .add("hashing_algorithm", || user.password().algorithm.as_str())
                .add("limits", || topology.limits_of(user.name()).map(json::table).unwrap_or_default());
        }
        row.row
    }

    /// Who may do what in a vhost.
    pub fn permissions_in(self, vhost: &str) -> Result<Vec<Row>, Error> {
        self.node.read(|topology| {
            topology.vhost(vhost)?;
            let of = |user: &User| self.permission_rows(user, Some(vhost));
            Ok(topology.users().flat_map(of).collect())
        })
    }

    /// The users that may open no vhost.
    pub fn users_without_permissions(self) -> Vec<Row> {
        self.node.read(|topology| {
            let users = topology.users().filter(|user| user.permissions().len() == 0);
            users.map(|user| self.user_row(topology, user)).collect()
        })
    }

    /// What a user may do, in each vhost.
    pub fn permissions_of(self, user: &str) -> Result<Vec<Row>, Error> {
        self.node.read(|topology| Ok(self.permission_rows(topology.user(user)?, None)))
    }

    /// What all users may do.
    pub fn permissions(self) -> Vec<Row> {
        self.node.read(|topology| topology.users().flat_map(|user| self.permission_rows(user, None)).collect())
    }

    fn permission_rows(self, user: &User, only: Option<&str>) -> Vec<Row> {
        let all = user.permissions().filter(|(vhost, _)| only.is_none_or(|only| *only == ***vhost));
        all.map(|(vhost, Permissions { configure, write, read })| {
            let mut row = self.row();
            row.add("user", || user.name().to_string())
                .add("vhost", || vhost.to_string())
                .add("configure", || configure.text().to_string())
                .add("write", || write.text().to_string())
                .add("read", || read.text().to_string());
            row.row
        })
        .collect()
    }

    /// With which routing keys somebody may publish and bind in a vhost.
    pub fn topic_permissions_in(self, vhost: &str) -> Result<Vec<Row>, Error> {
        self.node.read(|topology| {
            topology.vhost(vhost)?;
            let of = |user: &User| self.topic_rows(user, Some(vhost));
            Ok(topology.users().flat_map(of).collect())
        })
    }

    /// With which routing keys a user may publish and bind, in each vhost.
    pub fn topic_permissions_of(self, user: &str) -> Result<Vec<Row>, Error> {
        self.node.read(|topology| Ok(self.topic_rows(topology.user(user)?, None)))
    }

    /// With which routing keys all users may publish and bind.
    pub fn topic_permissions(self) -> Vec<Row> {
        self.node.read(|topology| topology.users().flat_map(|user| self.topic_rows(user, None)).collect())
    }

    fn topic_rows(self, user: &User, only: Option<&str>) -> Vec<Row> {
        let all = user.topic_permissions().filter(|(vhost, ..)| only.is_none_or(|only| *only == ***vhost));
        all.map(|(vhost, exchange, TopicPermissions { write, read })| {
            let mut row = self.row();
            row.add("user", || user.name().to_string())
                .add("vhost", || vhost.to_string())
                .add("exchange", || exchange.to_string())
                .add("write", || write.text().to_string())
                .add("read", || read.text().to_string());
            row.row
        })
        .collect()
    }

    /// The limits of one user, or of all that have some.
    pub fn user_limits(self, user: Option<&str>) -> Result<Vec<Row>, Error> {
        self.node.read(|topology| {
            if let Some(user) = user {
                topology.user(user)?;
            }
            let all = topology.all_user_limits().filter(|(name, _)| user.is_none_or(|user| *user == ***name));
            Ok(all.map(|(name, limits): (&Name, _)| self.limited("user", name, json::table(limits))).collect())
        })
    }
}
