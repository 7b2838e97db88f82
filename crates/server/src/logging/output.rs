//! Where records go: the console, a file, or an exchange. Each output has a thread that formats and writes, so that whoever logs waits for
//! neither a disk nor a terminal that somebody halted.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use parking_lot::{Condvar, Mutex};

use super::exchange::{self, LogExchange};
use super::file::RotatingFile;
use super::format::Formatter;
use super::level::{Severity, Threshold};
use super::record::Record;
use crate::config::log::LogCategory;

/// Octets of records that may wait for an output; what comes beyond is lost, and counted.
const WAITING_MAX: usize = 8 * 1024 * 1024;
/// How long an idle output gathers records before it writes, so that many cost one wake-up and one write.
const GATHER: Duration = Duration::from_millis(2);
/// Room that the buffer of an output keeps.
const BUFFER_KEPT: usize = 256 * 1024;

/// What an output writes to.
#[derive(Debug)]
pub(super) enum Sink {
    Stdout,
    Stderr,
    File(Box<RotatingFile>),
    Exchange(Arc<LogExchange>),
}

/// An output at work.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) threshold: Threshold,
    /// The categories it takes.
    pub(super) categories: Vec<LogCategory>,
    pub(super) formatter: Formatter,
    pub(super) place: Place,
    queue: Arc<Queue>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Where an output is, for operators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    Stdout,
    Stderr,
    File(PathBuf),
    Exchange,
}

impl Output {
    pub(super) fn start(
        place: Place,
        sink: Sink,
        level: Severity,
        categories: Vec<LogCategory>,
        formatter: Formatter,
    ) -> io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let writer = Writer {
            sink,
            formatter: formatter.clone(),
            queue: Arc::clone(&queue),
            place: place.clone(),
            is_failing: false,
        };
        let thread = std::thread::Builder::new().name("leveret-logs".into()).spawn(move || writer.run())?;
        Ok(Self {
            threshold: Threshold::new(Some(level)),
            categories,
            formatter,
            place,
            queue,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Takes a record to be written.
    pub(super) fn push(&self, record: &Arc<Record>, octets: usize) {
        if self.place == Place::Exchange && exchange::is_publishing() {
            return;
        }
        self.queue.push(record, octets);
    }

    /// Begins a new file.
    pub(super) fn rotate(&self) {
        self.queue.state.lock().rotations += 1;
        self.queue.changed.notify_one();
    }

    /// Waits until all that was taken is written, but not for longer than this.
    pub(super) fn flush(&self, within: Duration) {
        let deadline = std::time::Instant::now() + within;
        let mut state = self.queue.state.lock();
        let awaited = state.taken;
        state.is_urgent = true;
        self.queue.changed.notify_one();
        while state.written < awaited {
            if self.queue.progressed.wait_until(&mut state, deadline).timed_out() {
                return;
            }
        }
    }

    /// Ends it once it has written what it took, or leaves it to itself if that takes too long.
    pub(super) fn stop(&self, within: Duration) {
        self.flush(within);
        let mut state = self.queue.state.lock();
        state.is_stopping = true;
        let is_done = state.written == state.taken;
        drop(state);
        self.queue.changed.notify_one();
        if let Some(thread) = self.thread.lock().take().filter(|_| is_done) {
            let _ = thread.join();
        }
    }
}

#[derive(Debug, Default)]
struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    progressed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    records: Vec<Arc<Record>>,
    octets: usize,
    /// Records that were not taken since the last time somebody was told.
    lost: u64,
    taken: u64,
    written: u64,
    is_asleep: bool,
    is_urgent: bool,
    /// New files that were asked for.
    rotations: u32,
    is_stopping: bool,
}

impl State {
    fn has_work(&self) -> bool {
        !self.records.is_empty() || self.rotations > 0 || self.is_stopping
    }
}

impl Queue {
    fn push(&self, record: &Arc<Record>, octets: usize) {
        let mut state = self.state.lock();
        if state.octets + octets > WAITING_MAX {
            state.lost += 1;
            return;
        }
        state.records.push(Arc::clone(record));
        state.octets += octets;
        state.taken += 1;
        // Who gathers or writes will look again.
        if std::mem::take(&mut state.is_asleep) {
            drop(state);
            self.changed.notify_one();
        }
    }
}

/// The thread of an output.
struct Writer {
    sink: Sink,
    formatter: Formatter,
    queue: Arc<Queue>,
    place: Place,
    is_failing: bool,
}

impl Writer {
    fn run(mut self) {
        let mut buffer = String::new();
        loop {
            let (records, lost, is_to_rotate, is_stopping) = self.next();
            let now = SystemTime::now();
            if is_to_rotate && let Sink::File(file) = &mut self.sink {
                let result = file.rotate(now);
                self.note(result);
            }
            let count = records.len() as u64;
            for record in &records {
                if let Sink::Exchange(exchange) = &self.sink {
                    exchange.publish(record, &self.formatter);
                    continue;
                }
                self.formatter.write(record, &mut buffer);
                // A file that is full ends with a whole record.
                if let Sink::File(file) = &self.sink
                    && buffer.len() as u64 >= file.room()
                {
                    self.write(&mut buffer, now);
                }
            }
            if lost > 0 {
                let text =
                    format!("{lost} log records are missing here, as they came faster than they could be written");
                let record = Record::own(Severity::Warning, now, text);
                match &self.sink {
                    Sink::Exchange(exchange) => exchange.publish(&record, &self.formatter),
                    Sink::Stdout | Sink::Stderr | Sink::File(_) => self.formatter.write(&record, &mut buffer),
                }
            }
            self.write(&mut buffer, now);
            let mut state = self.queue.state.lock();
            state.written += count;
            let is_done = is_stopping && state.records.is_empty();
            drop(state);
            self.queue.progressed.notify_all();
            if is_done {
                return;
            }
        }
    }

    /// Waits for something to do.
    fn next(&self) -> (Vec<Arc<Record>>, u64, bool, bool) {
        let mut state = self.queue.state.lock();
        while !state.has_work() {
            state.is_asleep = true;
            self.queue.changed.wait(&mut state);
            state.is_asleep = false;
            if !state.is_urgent && !state.is_stopping && state.rotations == 0 {
                self.queue.changed.wait_for(&mut state, GATHER);
            }
        }
        state.is_urgent = false;
        state.octets = 0;
        let is_to_rotate = std::mem::take(&mut state.rotations) > 0;
        (std::mem::take(&mut state.records), std::mem::take(&mut state.lost), is_to_rotate, state.is_stopping)
    }

    fn write(&mut self, buffer: &mut String, now: SystemTime) {
        if buffer.is_empty() {
            return;
        }
        let octets = buffer.as_bytes();
        let result = match &mut self.sink {
            Sink::Stdout => to_console(&mut io::stdout().lock(), octets),
            Sink::Stderr => to_console(&mut io::stderr().lock(), octets),
            Sink::File(file) => file.write(octets, now),
            // Its records go one by one.
            Sink::Exchange(_) => Ok(()),
        };
        self.note(result);
        buffer.clear();
        if buffer.capacity() > BUFFER_KEPT {
            *buffer = String::new();
        }
    }

    /// Says once that something cannot be written, and once that it can again. The broker goes on without.
    fn note(&mut self, result: io::Result<()>) {
        let Place::File(path) = &self.place else { return };
        match result {
            Err(error) if !self.is_failing => {
                self.is_failing = true;
                tracing::error!("cannot write to the log file {}, records are lost: {error}", path.display());
                // With no other output, nobody would see that.
                eprintln!("leveret: cannot write to the log file {}, records are lost: {error}", path.display());
            }
            Ok(()) if self.is_failing => {
                self.is_failing = false;
                tracing::warn!(
                    "the log file {} can be written again; records before this one are missing",
                    path.display()
                );
            }
            Ok(()) | Err(_) => {}
        }
    }
}

fn to_console(console: &mut impl Write, octets: &[u8]) -> io::Result<()> {
    console.write_all(octets)?;
    console.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::log::{LogFormatter, Rotation};

    fn to_file(path: &std::path::Path) -> Output {
        let file = RotatingFile::open(path, &Rotation::default(), SystemTime::now()).unwrap();
        let formatter = Formatter::new(&LogFormatter { text: "$msg".into(), ..LogFormatter::default() });
        let sink = Sink::File(Box::new(file));
        Output::start(Place::File(path.into()), sink, Severity::Info, vec![LogCategory::Default], formatter).unwrap()
    }

    fn record(text: &str) -> Arc<Record> {
        Arc::new(Record::own(Severity::Info, SystemTime::now(), text.to_owned()))
    }

    #[test]
    fn a_flush_waits_for_what_was_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.log");
        let output = to_file(&path);
        for number in 0..1000 {
            output.push(&record(&number.to_string()), 1);
        }
        output.flush(Duration::from_mins(1));
        let lines = std::fs::read_to_string(&path).unwrap();
        assert!(lines.lines().map(|line| line.parse::<u32>().unwrap()).eq(0..1000));
        output.rotate();
        output.push(&record("after"), 1);
        output.stop(Duration::from_mins(1));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "after\n");
        assert_eq!(std::fs::read_to_string(folder.path().join("x.log.0")).unwrap(), lines);
    }

    #[test]
    fn what_comes_beyond_the_bound_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.log");
        let output = to_file(&path);
        for _ in 0..3 {
            output.push(&record("too large"), WAITING_MAX + 1);
        }
        output.push(&record("fits"), 1);
        output.stop(Duration::from_mins(1));
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, "fits\n3 log records are missing here, as they came faster than they could be written\n");
    }

    #[test]
    fn a_file_that_cannot_be_written_is_no_reason_to_stop() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("inner");
        let path = inner.join("x.log");
        let output = to_file(&path);
        std::fs::remove_dir_all(&inner).unwrap();
        output.rotate();
        output.push(&record("lost"), 1);
        output.flush(Duration::from_mins(1));
        std::fs::create_dir(&inner).unwrap();
        output.push(&record("kept"), 1);
        output.stop(Duration::from_mins(1));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "kept\n");
    }
}
