//! Who gets in: the back ends, and the runtime that they work on.

use std::sync::Arc;

use leveret_auth::{Chain, Settings};
use leveret_broker::node::Node;
use tokio::runtime::{Builder, Runtime};

use crate::error::StartError;

/// Threads of that runtime. What takes time there waits, mostly; what computes has threads of its own.
const THREADS: usize = 2;

/// The back ends at work.
#[derive(Debug)]
pub(crate) struct Login {
    chain: Arc<Chain>,
    runtime: Option<Runtime>,
}

impl Login {
    /// Makes the back ends and what they work on.
    pub(crate) fn start(settings: &Settings, node: &Arc<Node>) -> Result<Self, StartError> {
        let mut builder = Builder::new_multi_thread();
        let builder = builder.worker_threads(THREADS).thread_name("leveret-login").enable_all();
        let runtime = builder.build().map_err(|source| StartError::Threads { source })?;
        let chain = leveret_auth::build(settings, node, runtime.handle().clone())
            .map_err(|source| StartError::Login { source: Box::new(source) })?;
        Ok(Self { chain, runtime: Some(runtime) })
    }

    /// What sessions ask.
    pub(crate) const fn chain(&self) -> &Arc<Chain> {
        &self.chain
    }
}

impl Drop for Login {
    fn drop(&mut self) {
        // Nobody is left who waits for an answer, and somebody far away may never give one.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
