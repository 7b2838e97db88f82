//! Whether what a query says is true.

use std::collections::HashSet;
use std::future::Future;
use std::pin::Pin;

use super::directory::{Directory, DirectoryError, Entry, Filter, Search};
use super::query::{Case, Condition, Depth, Pattern, Value, compile};
use super::template::{Template, Variables, is_same_dn, normal_dn};

/// Groups that are looked at to find out whether somebody is in one of them.
const GROUPS_MAX: usize = 1_000;

/// Entries that are looked at for an attribute.
const ATTRIBUTE_ENTRIES_MAX: i32 = 100;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum EvaluationError {
    /// The directory gives none.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// A query asks for something that only exists elsewhere: a topic query for a routing key, say.
    #[error("the query asks for the variable {0}, which has no value here")]
    NoVariable(String),
    /// A `for` does not say what to do.
    #[error("no case of a for query is for {variable} = '{value}'")]
    NoCase {
        /// The last variable that was looked at.
        variable: String,
        /// Its value.
        value: String,
    },
    /// The `for` has none.
    #[error("a for query has no cases")]
    NoCases,
    /// Whether something matches cannot be said.
    #[error("a regular expression of a match query is none, or takes too many steps")]
    NoMatch,
    /// There is no end to the groups.
    #[error("more than {GROUPS_MAX} groups are members of each other")]
    TooManyGroups,
}

/// Evaluates queries about one user.
pub(super) struct Evaluator<'a, D> {
    pub(super) directory: &'a mut D,
    pub(super) variables: &'a Variables,
    pub(super) user_dn: &'a str,
    /// Below what groups are looked up.
    pub(super) group_base: Option<&'a str>,
    /// Called with what was found out.
    pub(super) log: &'a (dyn Fn(&str) + Sync),
}

/// What can be awaited in itself.
type Answer<'a> = Pin<Box<dyn Future<Output = Result<bool, EvaluationError>> + Send + 'a>>;

impl<D: Directory> Evaluator<'_, D> {
    /// Whether a condition holds.
    pub(super) fn holds<'b>(&'b mut self, condition: &'b Condition) -> Answer<'b> {
        Box::pin(async move {
            match condition {
                Condition::Constant(value) => Ok(*value),
                Condition::For(cases) => self.case_holds(cases).await,
                Condition::Exists(entry) => {
                    let entry = entry.fill_dn(self.variables);
                    let exists = self.exists(&entry, Filter::Any).await?;
                    (self.log)(&format!("exists \"{entry}\": {exists}"));
                    Ok(exists)
                }
                Condition::InGroup { group, attribute } => {
                    let group = group.fill_dn(self.variables);
                    let filter = Filter::Has { attribute: attribute.clone(), value: self.user_dn.into() };
                    let is_in = self.exists(&group, filter).await?;
                    (self.log)(&format!("in_group \"{group}\": {is_in}"));
                    Ok(is_in)
                }
                Condition::InNestedGroup { group, attribute, depth } => {
                    self.is_in_nested_group(group, attribute, *depth).await
                }
                Condition::Not(inner) => Ok(!self.holds(inner).await?),
                Condition::And(all) => {
                    for each in all {
                        if !self.holds(each).await? {
                            return Ok(false);
                        }
                    }
                    Ok(true)
                }
                Condition::Or(all) => self.any_holds(all).await,
                Condition::Equals(one, other) => {
                    let values = (self.values(one).await?, self.values(other).await?);
                    let is_equal = matches!(values, (Some(one), Some(other)) if one.equals(&other));
                    (self.log)(&format!("equals {} and {}: {is_equal}", self.shown(one), self.shown(other)));
                    Ok(is_equal)
                }
                Condition::Match { subject, pattern } => {
                    let is_match = self.matches(subject, pattern).await?;
                    let shown = match pattern {
                        Pattern::Known(known) => format!("\"{known}\""),
                        Pattern::Asked(value) => self.shown(value),
                    };
                    (self.log)(&format!("match {} and {shown}: {is_match}", self.shown(subject)));
                    Ok(is_match)
                }
            }
        })
    }

    async fn case_holds(&mut self, cases: &[Case]) -> Result<bool, EvaluationError> {
        let mut error = EvaluationError::NoCases;
        for case in cases {
            let Some(value) = self.variables.value(&case.variable) else {
                return Err(EvaluationError::NoVariable(case.variable.clone()));
            };
            if value == case.value {
                return self.holds(&case.then).await;
            }
            error = EvaluationError::NoCase { variable: case.variable.clone(), value: value.into() };
        }
        Err(error)
    }

    /// Goes on after an error, as what comes then may hold all the same.
    async fn any_holds(&mut self, conditions: &[Condition]) -> Result<bool, EvaluationError> {
        let mut answer = Ok(false);
        for each in conditions {
            match self.holds(each).await {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                Err(error) => answer = Err(error),
            }
        }
        answer
    }

    async fn exists(&mut self, entry: &str, filter: Filter) -> Result<bool, DirectoryError> {
        let search = Search { base: entry.into(), depth: Depth::Entry, filter, attribute: None, entries_max: 1 };
        match self.directory.search(&search).await {
            Ok(entries) => Ok(!entries.is_empty()),
            Err(error) if error.is_missing_entry() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Goes from the user to its groups, to their groups and so on, to each of them once.
    async fn is_in_nested_group(
        &mut self,
        group: &Template,
        attribute: &str,
        depth: Depth,
    ) -> Result<bool, EvaluationError> {
        let wanted = group.fill_dn(self.variables);
        let base = self.group_base.ok_or_else(|| EvaluationError::NoVariable("group_lookup_base".into()))?;
        let mut seen = HashSet::from([normal_dn(self.user_dn)]);
        let mut open = vec![self.user_dn.to_owned()];
        while let Some(member) = open.pop() {
            let search = Search {
                base: base.into(),
                depth,
                filter: Filter::Has { attribute: attribute.into(), value: member },
                attribute: None,
                entries_max: i32::try_from(GROUPS_MAX).unwrap_or(i32::MAX),
            };
            for Entry { dn, .. } in self.directory.search(&search).await? {
                if is_same_dn(&dn, &wanted) {
                    (self.log)(&format!("in_group_nested \"{wanted}\": true"));
                    return Ok(true);
                }
                if seen.insert(normal_dn(&dn)) {
                    open.push(dn);
                }
            }
            if seen.len() > GROUPS_MAX {
                return Err(EvaluationError::TooManyGroups);
            }
        }
        (self.log)(&format!("in_group_nested \"{wanted}\": false"));
        Ok(false)
    }

    async fn matches(&mut self, subject: &Value, pattern: &Pattern) -> Result<bool, EvaluationError> {
        let Some(subject) = self.values(subject).await? else { return Ok(false) };
        let patterns = match pattern {
            Pattern::Known(known) => vec![Ok(known.clone())],
            Pattern::Asked(Value::Text(text)) => vec![compile(&text.fill_pattern(self.variables))],
            Pattern::Asked(value @ Value::Attribute { .. }) => match self.values(value).await? {
                None => return Ok(false),
                // What RabbitMQ does with several on both sides: nothing.
                Some(Values::Several(_)) if matches!(subject, Values::Several(_)) => return Ok(false),
                Some(values) => values.as_slice().iter().map(|text| compile(text)).collect(),
            },
        };
        // What cannot be said is no refusal: under a `not` that would be a permission.
        let mut answer = Ok(false);
        for pattern in &patterns {
            for subject in subject.as_slice() {
                match pattern.as_ref().map(|pattern| pattern.is_match(subject)) {
                    Ok(Ok(true)) => return Ok(true),
                    Ok(Ok(false)) => {}
                    Ok(Err(_)) | Err(_) => answer = Err(EvaluationError::NoMatch),
                }
            }
        }
        answer
    }

    /// A value for the log: of an attribute only where it is from, as it may be a password.
    fn shown(&self, value: &Value) -> String {
        match value {
            Value::Text(text) => format!("\"{}\"", text.fill(self.variables)),
            Value::Attribute { entry, attribute } => {
                format!("{attribute} of \"{}\"", entry.fill_dn(self.variables))
            }
        }
    }

    /// What a value is; `None` if there is no such attribute or entry.
    async fn values(&mut self, value: &Value) -> Result<Option<Values>, EvaluationError> {
        let (entry, attribute) = match value {
            Value::Text(text) => return Ok(Some(Values::One([text.fill(self.variables)]))),
            Value::Attribute { entry, attribute } => (entry, attribute),
        };
        let search = Search {
            base: entry.fill_dn(self.variables),
            depth: Depth::Subtree,
            filter: Filter::Any,
            attribute: Some(attribute.clone()),
            entries_max: ATTRIBUTE_ENTRIES_MAX,
        };
        let entries = match self.directory.search(&search).await {
            Ok(entries) => entries,
            Err(error) if error.is_missing_entry() => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        let values = entries.into_iter().map(|entry| entry.values).find(|values| !values.is_empty());
        Ok(values.map(|values| <[String; 1]>::try_from(values).map_or_else(Values::Several, Values::One)))
    }
}

/// A text, or the texts of an attribute that has several.
#[derive(Debug, PartialEq, Eq)]
enum Values {
    One([String; 1]),
    Several(Vec<String>),
}

impl Values {
    fn as_slice(&self) -> &[String] {
        match self {
            Self::One(one) => one,
            Self::Several(several) => several,
        }
    }

    /// Whether they are the same, or one is among the others.
    fn equals(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::One([one]), several) | (several, Self::One([one])) => several.as_slice().contains(one),
            (Self::Several(one), Self::Several(other)) => one == other,
        }
    }
}

#[cfg(test)]
mod tests;
