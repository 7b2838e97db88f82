//! What the bindings under one key lead to.

use std::collections::BTreeMap;

use crate::Name;
use crate::topology::{QueueId, Routes, Target};

/// Up to this many queues are kept in one vector, which is small and fast but slow to change when it is long.
const FEW_QUEUES_MAX: usize = 64;

/// The queues and exchanges the bindings under one key lead to.
///
/// Bindings that differ only in what the exchange type ignores lead to the same target, so each target counts them.
#[derive(Clone, Debug, Default)]
pub(super) struct Targets {
    queues: Queues,
    exchanges: Vec<(Name, u32)>,
}

/// Queues in the order of their ids, each with the number of its bindings.
#[derive(Clone, Debug)]
enum Queues {
    Few(Vec<(QueueId, u32)>),
    Many(BTreeMap<QueueId, u32>),
}

impl Default for Queues {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl Targets {
    pub(super) fn insert(&mut self, target: &Target) {
        match target {
            Target::Queue(id) => self.queues.insert(*id),
            Target::Exchange(name) => match self.exchanges.binary_search_by(|(other, _)| other.cmp(name)) {
                Ok(index) => {
                    if let Some((_, bindings)) = self.exchanges.get_mut(index) {
                        *bindings += 1;
                    }
                }
                Err(index) => self.exchanges.insert(index, (Name::clone(name), 1)),
            },
        }
    }

    pub(super) fn remove(&mut self, target: &Target) {
        match target {
            Target::Queue(id) => self.queues.remove(*id),
            Target::Exchange(name) => {
                let Ok(index) = self.exchanges.binary_search_by(|(other, _)| other.cmp(name)) else { return };
                let Some((_, bindings)) = self.exchanges.get_mut(index) else { return };
                *bindings -= 1;
                if *bindings == 0 {
                    self.exchanges.remove(index);
                }
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.exchanges.is_empty() && self.queues.is_empty()
    }

    /// Adds all targets to the routes; says whether there was any.
    pub(super) fn collect(&self, routes: &mut Routes) -> bool {
        match &self.queues {
            Queues::Few(queues) => routes.add_queues(queues.iter().map(|(id, _)| *id)),
            Queues::Many(queues) => routes.add_queues(queues.keys().copied()),
        }
        for (name, _) in &self.exchanges {
            routes.add_exchange(name);
        }
        !self.is_empty()
    }
}

impl Queues {
    fn insert(&mut self, id: QueueId) {
        match self {
            Self::Few(queues) => match queues.binary_search_by_key(&id, |(other, _)| *other) {
                Ok(index) => {
                    if let Some((_, bindings)) = queues.get_mut(index) {
                        *bindings += 1;
                    }
                }
                Err(index) => {
                    queues.insert(index, (id, 1));
                    if queues.len() > FEW_QUEUES_MAX {
                        *self = Self::Many(queues.drain(..).collect());
                    }
                }
            },
            Self::Many(queues) => *queues.entry(id).or_insert(0) += 1,
        }
    }

    fn remove(&mut self, id: QueueId) {
        match self {
            Self::Few(queues) => {
                let Ok(index) = queues.binary_search_by_key(&id, |(other, _)| *other) else { return };
                let Some((_, bindings)) = queues.get_mut(index) else { return };
                *bindings -= 1;
                if *bindings == 0 {
                    queues.remove(index);
                }
            }
            Self::Many(queues) => {
                let Some(bindings) = queues.get_mut(&id) else { return };
                *bindings -= 1;
                if *bindings == 0 {
                    queues.remove(&id);
                }
                // Half of the way up, so that a set at the border does not change its form again and again.
                if queues.len() <= FEW_QUEUES_MAX / 2 {
                    *self = Self::Few(std::mem::take(queues).into_iter().collect());
                }
            }
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Few(queues) => queues.is_empty(),
            Self::Many(queues) => queues.is_empty(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queues(targets: &Targets) -> Vec<u64> {
        let mut routes = Routes::default();
        targets.collect(&mut routes);
        routes.finish();
        routes.queues.iter().map(|id| id.0).collect()
    }

    #[test]
    fn target_goes_with_its_last_binding() {
        for target in [Target::Queue(QueueId(7)), Target::Exchange("x".into())] {
            let mut targets = Targets::default();
            targets.insert(&target);
            targets.insert(&target);
            targets.remove(&target);
            assert!(!targets.is_empty(), "{target:?}");
            targets.remove(&target);
            assert!(targets.is_empty(), "{target:?}");
            targets.remove(&target);
            assert!(targets.is_empty(), "removing what is not there does nothing: {target:?}");
        }
    }

    #[test]
    fn many_queues_stay_in_order_while_they_come_and_go() {
        let mut targets = Targets::default();
        let ids: Vec<u64> = (0..300).map(|n| (n * 7) % 300).collect();
        for id in &ids {
            targets.insert(&Target::Queue(QueueId(*id)));
        }
        assert_eq!(queues(&targets), (0..300).collect::<Vec<_>>());
        for id in &ids[..290] {
            targets.remove(&Target::Queue(QueueId(*id)));
        }
        let mut left = ids[290..].to_vec();
        left.sort_unstable();
        assert_eq!(queues(&targets), left);
    }
}
