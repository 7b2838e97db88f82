//! The thread that reads what queues had on disk when the node was started, once, to know how many octets that is.
//!
//! The log says where messages are, not how long their bodies. Nobody waits for the answer, so the thread leaves the disk to others
//! for as long as it used it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use leveret_broker::node::Node;

/// The thread. It ends when this is dropped, if not before.
#[derive(Debug)]
pub(crate) struct Weighing {
    is_stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Weighing {
    pub(crate) fn start(node: &Arc<Node>) -> io::Result<Self> {
        let is_stopping = Arc::<AtomicBool>::default();
        let (node, stop) = (Arc::clone(node), Arc::clone(&is_stopping));
        let run = move || {
            let mut begun = Instant::now();
            node.count_stored(|| {
                let until = begun + begun.elapsed() * 2;
                while let left = until.saturating_duration_since(Instant::now())
                    && !left.is_zero()
                    && !stop.load(Ordering::Acquire)
                {
                    thread::park_timeout(left);
                }
                begun = Instant::now();
                !stop.load(Ordering::Acquire)
            });
        };
        let thread = thread::Builder::new().name("leveret-weigh".into()).spawn(run)?;
        Ok(Self { is_stopping, thread: Some(thread) })
    }
}

impl Drop for Weighing {
    fn drop(&mut self) {
        self.is_stopping.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}
