//! Which page a path stands for.

use super::Group;
use crate::api::Query;

/// A page of metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Page {
    /// Numbers of the node, those of queues, connections and channels added up.
    Aggregated,
    /// The same for each of them.
    PerObject,
    /// What was asked for.
    Detailed(Detailed),
    /// What takes memory.
    MemoryBreakdown,
}

/// What is asked for of what there is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Detailed {
    /// The groups, in the order in which they are written.
    pub(super) groups: Vec<Group>,
    /// The objects.
    pub(super) filter: Filter,
}

/// Of which objects metrics are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Filter {
    /// In these vhosts; in all if there are none.
    vhosts: Vec<String>,
    /// Queues with these names; all if there are none.
    queues: Vec<String>,
}

impl Filter {
    /// Whether those in a vhost are wanted.
    pub(super) fn has_vhost(&self, vhost: &str) -> bool {
        self.vhosts.is_empty() || self.vhosts.iter().any(|known| known == vhost)
    }

    /// Whether a queue of that name is wanted.
    pub(super) fn has_queue(&self, name: &str) -> bool {
        self.queues.is_empty() || self.queues.iter().any(|known| known == name)
    }
}

impl Page {
    /// The page at what is left of a path behind that of the first one.
    pub(super) fn find(rest: &str, query: Option<&str>, first: &Self) -> Option<Self> {
        match rest.trim_end_matches('/') {
            "" => Some(first.clone()),
            "/per-object" => Some(Self::PerObject),
            "/memory-breakdown" => Some(Self::MemoryBreakdown),
            "/detailed" => {
                let query = Query::read(query);
                let all = |name: &str| query.all(name).map(str::to_owned).collect::<Vec<_>>();
                let families = all("family");
                let wanted = |group: &Group| families.iter().any(|family| family == group.name());
                let mut groups: Vec<_> = Group::ALL.into_iter().filter(wanted).collect();
                // All of it is in the other one as well.
                if groups.contains(&Group::Queue) {
                    groups.retain(|group| *group != Group::QueueConsumerCount);
                }
                let filter = Filter { vhosts: all("vhost"), queues: all("queue") };
                Some(Self::Detailed(Detailed { groups, filter }))
            }
            _ => None,
        }
    }

    /// What RabbitMQ calls it.
    pub(super) const fn endpoint(&self) -> &'static str {
        match self {
            Self::Aggregated => "aggregated",
            Self::PerObject => "per-object",
            Self::Detailed(_) => "detailed",
            Self::MemoryBreakdown => "memory-breakdown",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stand_for_pages() {
        for (rest, expected) in [
            ("", Some(Page::Aggregated)),
            ("/", Some(Page::Aggregated)),
            ("/per-object", Some(Page::PerObject)),
            ("/per-object/", Some(Page::PerObject)),
            ("/memory-breakdown", Some(Page::MemoryBreakdown)),
            ("/detailed", Some(Page::Detailed(Detailed::default()))),
            ("/default", None),
            ("/detailed/x", None),
            ("x", None),
        ] {
            assert_eq!(Page::find(rest, None, &Page::Aggregated), expected, "{rest}");
        }
        assert_eq!(Page::find("", None, &Page::PerObject), Some(Page::PerObject));
    }

    #[test]
    fn a_query_says_what_is_wanted() {
        let query =
            "family=queue_metrics&family=nothing&family=queue_consumer_count&family=vhost_status&vhost=%2F&queue=a%20b";
        let Some(Page::Detailed(detailed)) = Page::find("/detailed", Some(query), &Page::Aggregated) else {
            panic!("another page");
        };
        assert_eq!(detailed.groups, [Group::Queue, Group::VhostStatus]);
        let filter = detailed.filter;
        assert!(filter.has_vhost("/") && !filter.has_vhost("v") && filter.has_queue("a b") && !filter.has_queue("a"));
        assert!(Filter::default().has_vhost("v") && Filter::default().has_queue("q"));
    }
}
