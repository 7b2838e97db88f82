//! The load generator behind `leveret perf`: loads any AMQP 0-9-1 broker beyond its limit and says what it did.
//!
//! It shares the machine with the broker it measures, so it is built to cost little: a plain thread for each connection,
//! messages encoded once, large writes and reads, one look at the clock for a batch. [`run`] is the whole of it; the
//! parts are
//!
//! * `options`, `argument`, `message`, `url`, `plan`: what to do, from the command line to who publishes and consumes where;
//! * `connection`, `tls`, `walker`, `topology`: the client side of the protocol;
//! * `publisher` with `batch`, `pace`, `window`; `consumer` with `order`: the two kinds of threads;
//! * `load` runs them while `watch` looks on, `idle` opens connections or declares queues for a look at memory;
//! * `meter`, `histogram`, `process`: what is measured; `progress`, `report`: how it is shown.

mod argument;
mod batch;
mod clock;
mod connection;
mod consumer;
mod error;
mod figures;
mod histogram;
mod idle;
mod load;
mod message;
mod meter;
mod options;
mod order;
mod pace;
mod plan;
mod process;
mod progress;
mod publisher;
mod report;
mod tls;
mod topology;
mod url;
mod walker;
mod watch;
mod window;

pub use error::Error;
pub use options::Options;

use url::Security;

/// Does what the options say, prints the result on standard output and returns when done.
///
/// Ctrl-C ends a run early and still prints what was measured; a second one ends the process.
pub fn run(mut options: Options) -> Result<(), Error> {
    if matches!(options.url.security, Security::Wanted) {
        options.url.security = Security::Tls(tls::config(&options)?);
    }
    let interrupted = load::interrupt_flag()?;
    raise_descriptor_limit();
    if let Some(messages) = options.fill {
        let (fill, drain) = plan::Plan::fill_and_drain(options, messages)?;
        return load::run_fill(&fill, &drain, &interrupted);
    }
    let plan = plan::Plan::new(options)?;
    if plan.options.idle_connections.is_some() || plan.options.idle_queues.is_some() {
        idle::run(&plan, &interrupted)
    } else {
        load::run(&plan, &interrupted)
    }
}

/// Thousands of idle connections need as many descriptors; the soft limit is often only 1,024.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    // Failing to raise it matters only to those who then open too many, and they get the error of that.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}
