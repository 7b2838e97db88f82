//! Writing metrics in the text format of Prometheus, version 0.0.4.

use std::io::{self, Write};

use super::{Family, Number};
use crate::Histogram;

/// Octets that are gathered before they go on.
const BUFFER: usize = 32 * 1024;

/// Where metrics are written to.
#[derive(Debug)]
pub(super) struct Text<W> {
    to: W,
    buffer: Vec<u8>,
    /// What comes before the names of the families.
    prefix: &'static str,
}

impl<W: Write> Text<W> {
    /// Writes there, names without anything before them.
    pub(super) fn new(to: W) -> Self {
        Self { to, buffer: Vec::with_capacity(BUFFER + BUFFER / 4), prefix: "" }
    }

    /// What comes before names from now on.
    pub(super) const fn set_prefix(&mut self, prefix: &'static str) {
        self.prefix = prefix;
    }

    /// Begins a family, whose numbers have to follow.
    pub(super) fn begin(&mut self, family: &Family) -> io::Result<()> {
        let Family { name, kind, help } = family;
        for part in ["# TYPE ", self.prefix, name, " ", kind.as_str(), "\n# HELP ", self.prefix, name, " "] {
            self.buffer.extend_from_slice(part.as_bytes());
        }
        escape(&mut self.buffer, help, Quotes::Plain);
        self.buffer.push(b'\n');
        self.pass_on()
    }

    /// A number of the family. What is not known has none.
    pub(super) fn number(&mut self, family: &Family, labels: &Labels, number: Number) -> io::Result<()> {
        self.sample(family.name, "", labels.text(), number)
    }

    /// The same with labels that were written before.
    pub(super) fn labelled(&mut self, family: &Family, labels: &str, number: Number) -> io::Result<()> {
        self.sample(family.name, "", labels, number)
    }

    /// A family with one number and no labels.
    pub(super) fn single(&mut self, family: &Family, number: Number) -> io::Result<()> {
        self.begin(family)?;
        self.sample(family.name, "", "", number)
    }

    /// How values are spread. `scale` is what their unit is in that of the family.
    #[expect(clippy::cast_precision_loss, reason = "Prometheus knows no other numbers")]
    pub(super) fn histogram(
        &mut self,
        family: &Family,
        labels: &Labels,
        histogram: &Histogram,
        scale: Scale,
    ) -> io::Result<()> {
        let scaled = |value: u64| match scale {
            Scale::One => Number::Whole(value),
            Scale::Micro => Number::Real(value as f64 / 1e6),
        };
        let mut below = 0;
        let bounds = histogram.bounds.iter().map(|bound| Some(*bound)).chain([None]);
        for (bound, count) in bounds.zip(&histogram.counts) {
            below += count;
            let mut with_bound = labels.clone();
            let mut text = Vec::new();
            match bound {
                Some(bound) => put_number(&mut text, scaled(bound)),
                None => text.extend_from_slice(b"+Inf"),
            }
            with_bound.add("le", &String::from_utf8_lossy(&text));
            self.sample(family.name, "_bucket", with_bound.text(), Number::Whole(below))?;
        }
        self.sample(family.name, "_sum", labels.text(), scaled(histogram.sum))?;
        self.sample(family.name, "_count", labels.text(), Number::Whole(below))
    }

    /// Hands over what is left.
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.to.write_all(&self.buffer)?;
        Ok(self.to)
    }

    fn sample(&mut self, name: &str, suffix: &str, labels: &str, number: Number) -> io::Result<()> {
        if number == Number::Unknown {
            return Ok(());
        }
        for part in [self.prefix, name, suffix] {
            self.buffer.extend_from_slice(part.as_bytes());
        }
        if !labels.is_empty() {
            self.buffer.push(b'{');
            self.buffer.extend_from_slice(labels.as_bytes());
            self.buffer.push(b'}');
        }
        self.buffer.push(b' ');
        put_number(&mut self.buffer, number);
        self.buffer.push(b'\n');
        self.pass_on()
    }

    fn pass_on(&mut self) -> io::Result<()> {
        if self.buffer.len() >= BUFFER {
            self.to.write_all(&self.buffer)?;
            self.buffer.clear();
        }
        Ok(())
    }
}

/// What the unit of values is in that of their family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scale {
    /// It is the same.
    One,
    /// It is a millionth of it.
    Micro,
}

/// Labels as they stand between braces.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Labels(String);

impl Labels {
    /// No labels.
    pub(super) const fn none() -> Self {
        Self(String::new())
    }

    /// These, with their values.
    pub(super) fn of(labels: &[(&str, &str)]) -> Self {
        let mut text = Self::none();
        for (name, value) in labels {
            text.add(name, value);
        }
        text
    }

    /// Adds one.
    pub(super) fn add(&mut self, name: &str, value: &str) {
        let mut octets = std::mem::take(&mut self.0).into_bytes();
        if !octets.is_empty() {
            octets.push(b',');
        }
        octets.extend_from_slice(name.as_bytes());
        octets.extend_from_slice(b"=\"");
        escape(&mut octets, value, Quotes::Escaped);
        octets.push(b'"');
        // Made of texts, cut between none of their characters.
        self.0 = String::from_utf8(octets).unwrap_or_default();
    }

    /// What stands between the braces.
    pub(super) fn text(&self) -> &str {
        &self.0
    }
}

/// What becomes of quotes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Quotes {
    Plain,
    Escaped,
}

/// Writes a text so that it stays on its line, and within its quotes.
fn escape(to: &mut Vec<u8>, text: &str, quotes: Quotes) {
    for octet in text.bytes() {
        match octet {
            b'\\' => to.extend_from_slice(b"\\\\"),
            b'\n' => to.extend_from_slice(b"\\n"),
            b'"' if quotes == Quotes::Escaped => to.extend_from_slice(b"\\\""),
            octet => to.push(octet),
        }
    }
}

fn put_number(to: &mut Vec<u8>, number: Number) {
    // Writing to a vector cannot fail.
    let _ = match number {
        Number::Whole(number) => write!(to, "{number}"),
        Number::Real(number) => write!(to, "{number}"),
        Number::Unknown => Ok(()),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Text<Vec<u8>>) -> io::Result<()>) -> String {
        let mut text = Text::new(Vec::new());
        write(&mut text).unwrap();
        String::from_utf8(text.finish().unwrap()).unwrap()
    }

    #[test]
    fn families_are_written_as_prometheus_reads_them() {
        let text = written(|text| {
            text.set_prefix("rabbitmq_");
            let family = Family::gauge("queue_messages", "Back\\slash,\nline and \"quotes\"");
            text.begin(&family)?;
            text.number(&family, &Labels::of(&[("vhost", "/"), ("queue", "a\"b\\c\nd ü")]), Number::Whole(7))?;
            text.number(&family, &Labels::none(), Number::Real(0.000_186))?;
            text.number(&family, &Labels::none(), Number::Unknown)?;
            text.single(&Family::untyped("build_info", "x"), Number::Real(f64::NAN))
        });
        let expected = "# TYPE rabbitmq_queue_messages gauge\n\
                        # HELP rabbitmq_queue_messages Back\\\\slash,\\nline and \"quotes\"\n\
                        rabbitmq_queue_messages{vhost=\"/\",queue=\"a\\\"b\\\\c\\nd ü\"} 7\n\
                        rabbitmq_queue_messages 0.000186\n\
                        # TYPE rabbitmq_build_info untyped\n\
                        # HELP rabbitmq_build_info x\n\
                        rabbitmq_build_info NaN\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_histogram_counts_what_is_not_above_each_bound() {
        let family = Family::histogram("sync_seconds", "x");
        let histogram = Histogram { bounds: &[100, 2_500_000], counts: vec![1, 2, 3], sum: 7_000_001 };
        let text = written(|text| text.histogram(&family, &Labels::of(&[("log", "m")]), &histogram, Scale::Micro));
        let expected = "sync_seconds_bucket{log=\"m\",le=\"0.0001\"} 1\n\
                        sync_seconds_bucket{log=\"m\",le=\"2.5\"} 3\n\
                        sync_seconds_bucket{log=\"m\",le=\"+Inf\"} 6\n\
                        sync_seconds_sum{log=\"m\"} 7.000001\n\
                        sync_seconds_count{log=\"m\"} 6\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn much_is_handed_over_piece_by_piece() {
        let family = Family::counter("a", "x");
        let text = written(|text| {
            for number in 0..10_000 {
                text.number(&family, &Labels::none(), Number::Whole(number))?;
                assert!(text.buffer.len() < 2 * BUFFER);
            }
            Ok(())
        });
        assert_eq!(text.lines().count(), 10_000);
        assert!(text.ends_with("a 9999\n"));
    }
}
