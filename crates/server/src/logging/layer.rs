//! From `tracing`'s events to records, and from there to the outputs.

use std::sync::Arc;
use std::time::SystemTime;

use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::level::{Severity, category};
use super::record::Record;
use super::{Hub, Plan};
use crate::config::log::LogCategory;

/// Gives every record to the outputs that take it.
#[derive(Debug)]
pub(super) struct Distributor(pub(super) Arc<Hub>);

impl Plan {
    /// The outputs that take records like this.
    fn takers(&self, metadata: &Metadata<'_>) -> impl Iterator<Item = &super::Output> {
        let severity = Severity::from(*metadata.level());
        let category = category(metadata).unwrap_or(LogCategory::Default);
        let level = self.levels.of(metadata, category);
        self.outputs.iter().filter(move |output| {
            let least = level.or_else(|| output.threshold.get()).unwrap_or(Severity::Info);
            severity >= least && output.categories.contains(&category)
        })
    }
}

impl<S: Subscriber> Layer<S> for Distributor {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        // What nobody takes costs its callsite one look at this.
        if !metadata.is_span() && self.0.plan.load().takers(metadata).next().is_some() {
            Interest::always()
        } else {
            Interest::never()
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.0.plan.load().takers(metadata).next().is_some()
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        None
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let plan = self.0.plan.load();
        let mut takers = plan.takers(event.metadata()).peekable();
        if takers.peek().is_none() {
            return;
        }
        let record = Arc::new(Record::of(event, SystemTime::now(), plan.has_fields));
        let octets = record.octets();
        self.0.recent.push(&record, octets);
        for output in takers {
            output.push(&record, octets);
        }
    }
}
