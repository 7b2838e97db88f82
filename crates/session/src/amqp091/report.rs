//! What a connection says of itself when somebody asks.

use leveret_broker::Name;
use leveret_broker::queue::SharedPrefetch;
use leveret_broker::report::{ChannelReport, ChannelState, ConnectionReport, ConnectionState, Question, Subject};

use super::channel::{Channel, ChannelPhase, Mode};
use super::{Phase, Session};

impl Session {
    pub(super) fn answer(&self, question: Question) {
        if question.is_late() {
            return;
        }
        let channels = match question.subject() {
            Subject::Connection => Vec::new(),
            Subject::Channels => {
                let state = self.channel_state();
                let numbers = self.channels.numbers().into_iter();
                numbers.filter_map(|number| Some(self.channels.get(number)?.report(number, state))).collect()
            }
        };
        let known = |name: &Name| (!name.is_empty()).then(|| Name::clone(name));
        let report = ConnectionReport {
            state: self.state(),
            protocol: (0, 9, 1),
            mechanism: self.has_attempted().then(|| self.mechanism.as_str().into()),
            user: known(&self.user),
            vhost: known(&self.vhost),
            heartbeat_seconds: self.limits.heartbeat_seconds,
            frame_max: self.limits.frame_max,
            channel_max: self.limits.channel_max,
            client_properties: self.client_properties.clone(),
            channel_count: self.channels.len(),
            channels,
        };
        question.answer(self.id, report);
    }

    fn state(&self) -> ConnectionState {
        match self.phase {
            Phase::Header => ConnectionState::PreInit,
            Phase::Starting => ConnectionState::Starting,
            Phase::Verifying => ConnectionState::Securing,
            Phase::Tuning => ConnectionState::Tuning,
            Phase::Opening | Phase::Asking => ConnectionState::Opening,
            Phase::Running if self.log.is_blocked => ConnectionState::Blocked,
            Phase::Running if self.is_slowed() => ConnectionState::Flow,
            Phase::Running => ConnectionState::Running,
            Phase::Closing => ConnectionState::Closing,
            Phase::Over => ConnectionState::Closed,
        }
    }

    /// Whether the client is not read because somebody cannot follow.
    fn is_slowed(&self) -> bool {
        self.is_paused || self.is_stuck()
    }

    fn channel_state(&self) -> ChannelState {
        if self.phase == Phase::Running && (self.log.is_blocked || self.is_slowed()) {
            ChannelState::Flow
        } else {
            ChannelState::Running
        }
    }

    /// Whether the client has said who it is.
    fn has_attempted(&self) -> bool {
        !matches!(self.phase, Phase::Header | Phase::Starting)
    }
}

impl Channel {
    fn report(&self, number: u16, state: ChannelState) -> ChannelReport {
        let mut report = ChannelReport {
            number,
            state: if self.phase == ChannelPhase::Closing { ChannelState::Closing } else { state },
            is_transactional: false,
            is_confirming: false,
            is_parked: self.parked.is_some(),
            consumers: self.consumers.len(),
            unsettled: self.unsettled.len(),
            uncommitted: 0,
            uncommitted_settlements: 0,
            unconfirmed: 0,
            prefetch: u32::from(self.prefetch),
            shared_prefetch: self.shared_prefetch.as_ref().map_or(0, |shared| SharedPrefetch::limit(shared)),
            stats: self.stats,
        };
        match &self.mode {
            Mode::Plain => {}
            Mode::Confirm(confirms) => {
                report.is_confirming = true;
                report.unconfirmed = confirms.unconfirmed();
            }
            Mode::Transaction(transaction) => {
                report.is_transactional = true;
                report.uncommitted = transaction.published.len();
                report.uncommitted_settlements = transaction.settled.iter().map(|(_, delivered)| delivered.len()).sum();
            }
        }
        report
    }
}
