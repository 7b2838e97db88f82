//! What an import comes to.

use serde_json::{Map, Value as Json, json};

/// Warnings that are given; of more only the number is.
const WARNINGS_MAX: usize = 1000;

/// What definitions are about, in the order in which they are imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Users,
    Vhosts,
    Permissions,
    Exchanges,
    TopicPermissions,
    GlobalParameters,
    Policies,
    OperatorPolicies,
    Parameters,
    Queues,
    Bindings,
}

impl Kind {
    const ALL: [Self; 11] = [
        Self::Users,
        Self::Vhosts,
        Self::Permissions,
        Self::Exchanges,
        Self::TopicPermissions,
        Self::GlobalParameters,
        Self::Policies,
        Self::OperatorPolicies,
        Self::Parameters,
        Self::Queues,
        Self::Bindings,
    ];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Users => "users",
            Self::Vhosts => "vhosts",
            Self::Permissions => "permissions",
            Self::Exchanges => "exchanges",
            Self::TopicPermissions => "topic_permissions",
            Self::GlobalParameters => "global_parameters",
            Self::Policies => "policies",
            Self::OperatorPolicies => "operator_policies",
            Self::Parameters => "parameters",
            Self::Queues => "queues",
            Self::Bindings => "bindings",
        }
    }
}

/// What became of the definitions of a kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// They were not there.
    pub created: usize,
    /// They were something else.
    pub changed: usize,
    /// They were as they should be.
    pub unchanged: usize,
    /// They were there with properties that cannot be changed, and stay as they are.
    pub kept: usize,
    /// There is nothing like that here, and they were left out.
    pub left_out: usize,
}

/// What an import comes to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    counts: [Counts; Kind::ALL.len()],
    warnings: Vec<String>,
    warnings_dropped: usize,
    /// A line for each change, if they were asked for.
    lines: Option<Vec<String>>,
}

/// Whether a report has a line for each change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lines {
    /// It has.
    Each,
    /// It has none.
    None,
}

impl Report {
    pub(super) fn new(lines: Lines) -> Self {
        Self { lines: (lines == Lines::Each).then(Vec::new), ..Self::default() }
    }

    /// The counts of each kind that the definitions had something of, in the order of the import.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, Counts)> {
        let all = Kind::ALL.iter().zip(&self.counts);
        all.filter(|(_, counts)| **counts != Counts::default()).map(|(kind, counts)| (kind.as_str(), *counts))
    }

    /// What somebody should know: what was left out or is not as the definitions have it. A sentence each.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// How many warnings there are beyond those.
    pub const fn warnings_dropped(&self) -> usize {
        self.warnings_dropped
    }

    /// A line for each change: `+` and what is created, or `~`, what is changed, and how.
    pub fn lines(&self) -> &[String] {
        self.lines.as_deref().unwrap_or_default()
    }

    /// Whether everything was there as it should be, or could not be changed.
    pub fn is_unchanged(&self) -> bool {
        self.counts.iter().all(|counts| counts.created == 0 && counts.changed == 0)
    }

    /// The same as JSON, without the lines.
    pub fn to_json(&self) -> Json {
        let counts = self.counts().map(|(kind, counts)| {
            let Counts { created, changed, unchanged, kept, left_out } = counts;
            let counts = json!({
                "created": created,
                "changed": changed,
                "unchanged": unchanged,
                "kept": kept,
                "left_out": left_out,
            });
            (kind.to_owned(), counts)
        });
        json!({
            "counts": counts.collect::<Map<_, _>>(),
            "unchanged": self.is_unchanged(),
            "warnings": self.warnings,
            "warnings_dropped": self.warnings_dropped,
        })
    }

    pub(super) fn warn(&mut self, warning: impl Into<String>) {
        if self.warnings.len() < WARNINGS_MAX {
            self.warnings.push(warning.into());
        } else {
            self.warnings_dropped += 1;
        }
    }

    pub(super) fn created(&mut self, kind: Kind, what: impl FnOnce() -> String) {
        self.of(kind).created += 1;
        if let Some(lines) = &mut self.lines {
            lines.push(format!("+ {}", what()));
        }
    }

    pub(super) fn changed(&mut self, kind: Kind, what: impl FnOnce() -> String, how: &[String]) {
        self.of(kind).changed += 1;
        if let Some(lines) = &mut self.lines {
            lines.push(format!("~ {}: {}", what(), how.join(", ")));
        }
    }

    pub(super) fn unchanged(&mut self, kind: Kind) {
        self.of(kind).unchanged += 1;
    }

    pub(super) fn kept(&mut self, kind: Kind, warning: String) {
        self.of(kind).kept += 1;
        self.warn(warning);
    }

    pub(super) fn left_out(&mut self, kind: Kind, warning: String) {
        self.of(kind).left_out += 1;
        self.warn(warning);
    }

    #[expect(clippy::indexing_slicing, reason = "there are as many counts as kinds")]
    const fn of(&mut self, kind: Kind) -> &mut Counts {
        &mut self.counts[kind as usize]
    }
}
