//! Who looks on while messages come and go.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Node;
use crate::tap::{Tap, TapId};
use crate::{Error, Name};

impl Node {
    /// The taps of a vhost. They are out of date when the generation moves on.
    pub fn taps(&self, vhost: &str) -> Vec<Arc<dyn Tap>> {
        self.taps.lock().of(vhost)
    }

    /// Adds a tap to a vhost, or to all of them.
    pub fn add_tap(&self, vhost: Option<Name>, tap: Arc<dyn Tap>) -> TapId {
        let id = self.taps.lock().add(vhost, tap);
        self.outdate();
        id
    }

    /// Takes a tap away. Connections may use it for a moment longer.
    pub fn remove_tap(&self, id: TapId) {
        self.taps.lock().remove(id);
        self.outdate();
    }

    /// Whether what comes into and goes out of a vhost is published to `amq.rabbitmq.trace`.
    pub fn is_traced(&self, vhost: &str) -> bool {
        self.taps.lock().is_traced(vhost)
    }

    /// Publishes from now on what comes into and goes out of a vhost. A restart ends it.
    pub fn trace(&self, vhost: &str) -> Result<(), Error> {
        let is_news = {
            // With the topology's lock, so that a vhost that is being deleted does not leave it behind.
            let state = self.state.read();
            let name = Name::clone(state.topology.vhost(vhost)?.name());
            self.taps.lock().trace(name)
        };
        if is_news {
            self.outdate();
        }
        Ok(())
    }

    /// Ends that. A vhost that is not there is no error.
    pub fn stop_tracing(&self, vhost: &str) {
        if self.taps.lock().stop_tracing(vhost) {
            self.outdate();
        }
    }

    /// Has connections ask anew.
    fn outdate(&self) {
        let mut state = self.state.write();
        state.topology.touch();
        self.generation.store(state.topology.generation(), Ordering::Release);
    }
}
