//! Bindings in a row, for exchanges that choose one of them by its number.

use std::sync::Arc;

use crate::topology::{Binding, Routes};

/// The bindings of an exchange in an order that follows from them, not from when they were made. A destination that is bound
/// several times is there as often.
#[derive(Clone, Debug, Default)]
pub(super) struct Slots {
    bindings: Vec<Arc<Binding>>,
}

impl Slots {
    pub(super) fn insert(&mut self, binding: &Arc<Binding>) {
        if let Err(index) = self.find(binding) {
            self.bindings.insert(index, Arc::clone(binding));
        }
    }

    pub(super) fn remove(&mut self, binding: &Binding) {
        if let Ok(index) = self.find(binding) {
            self.bindings.remove(index);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.bindings.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bindings.is_empty()
    }

    /// Routes along the binding of that number; says whether there is one.
    pub(super) fn route(&self, index: usize, routes: &mut Routes) -> bool {
        let Some(binding) = self.bindings.get(index) else { return false };
        routes.add_target(binding.target());
        true
    }

    fn find(&self, binding: &Binding) -> Result<usize, usize> {
        self.bindings.binary_search_by(|other| other.compare(binding))
    }
}
