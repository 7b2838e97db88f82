//! Message files with something changed in them: no panic, nothing lost that is not damaged, nothing lost without a word.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use leveret_storage::disk::SimulatedDisk;
use leveret_storage::disk::simulated::Random;
use leveret_storage::messages::{Group, MessageLog, OpenError, Options, QueueKey, Reader, Report};
use leveret_storage::record::{self, Decoded, Kind, Sequence};

use crate::messages_history::World;
use crate::messages_model::{Messages, Queue, State};

#[test]
fn message_damage_in_one_place_costs_what_is_there_and_no_more() {
    crate::seeds(23 << 32, 700, |seed| {
        let mut random = Random::new(seed);
        let site = Site::random(seed);
        let which = random.below_usize(site.files.len());
        let mut files = site.files.clone();
        let name = &site.files[which].0;
        let bytes = &mut files[which].1;
        let start = random.below_usize(bytes.len());
        let longest = if random.below(2) == 0 { 4 } else { 600 };
        let hit = start..(start + 1 + random.below_usize(longest)).min(bytes.len());
        for byte in &mut bytes[hit.clone()] {
            // Every byte is another one than before.
            *byte ^= u8::try_from(random.below(255)).unwrap() + 1;
        }
        let toll = Toll::of(&site, name, &hit);
        let Some(opened) = open(&site, &files, &mut random) else {
            assert!(hit.start < FILE_HEADER_BYTES, "{name} {hit:?}: not in the header");
            return;
        };
        let missing: Vec<Place> = opened.missing(&site).collect();
        let extra: Vec<Place> = opened.extra(&site).collect();
        let report = &opened.report;
        let unhit = missing.iter().find(|place| !toll.messages.contains(place));
        assert_eq!(unhit, None, "{name} {hit:?}: lost though not damaged; {report}");
        assert!(extra.is_empty() || toll.brings_back, "{name} {hit:?}: {extra:?} came back; {report}");
        // Of the last write nobody can say whether it was ever complete.
        let is_silent = !report.is_damaged() && report.torn_tail.is_none() && !toll.is_torn;
        let untold = missing.iter().find(|place| is_silent && !opened.lost.contains(place));
        assert_eq!(untold, None, "{name} {hit:?}: lost without a word");
        assert!(extra.is_empty() || !is_silent, "{name} {hit:?}: {extra:?} came back without a word");
    });
}

#[test]
fn message_damage_in_several_places_is_survived() {
    crate::seeds(24 << 32, 700, |seed| {
        let mut random = Random::new(seed);
        let site = Site::random(seed);
        let mut files = site.files.clone();
        let which = random.below_usize(files.len());
        for _ in 0..=random.below(4) {
            let which = if random.below(2) == 0 { which } else { random.below_usize(files.len()) };
            crate::damage::mutate(&mut files[which].1, &mut random);
        }
        if random.below(6) == 0 {
            files.remove(random.below_usize(files.len()));
        }
        if random.below(6) == 0 {
            let [one, other] = [(); 2].map(|()| random.below_usize(files.len().max(1)));
            if one < files.len() && other < files.len() && one != other {
                let bytes = std::mem::take(&mut files[one].1);
                files[one].1 = std::mem::replace(&mut files[other].1, bytes);
            }
        }
        let Some(opened) = open(&site, &files, &mut random) else { return };
        let is_told = opened.report.is_damaged() || opened.report.torn_tail.is_some() || !opened.lost.is_empty();
        // Of the last write nobody can say whether it was ever complete, nor that there was a newer file.
        let is_newest = |(name, _): &&(String, Vec<u8>)| Some(name) == site.newest();
        let is_newest_whole = files.iter().find(is_newest) == site.files.iter().find(is_newest);
        assert!(is_told || !is_newest_whole || opened.missing(&site).next().is_none(), "lost without a word");
    });
}

#[test]
fn a_missing_message_file_is_told_and_costs_nothing_else() {
    crate::seeds(26 << 32, 200, |seed| {
        let mut random = Random::new(seed);
        let site = Site::random(seed);
        let mut files = site.files.clone();
        let (name, bytes) = files.remove(random.below_usize(files.len()));
        let Some(opened) = open(&site, &files, &mut random) else { panic!("refused without {name}") };
        if !name.starts_with("messages-") || Some(&name) > site.newest() {
            assert!(!opened.report.is_damaged(), "{name}: {}", opened.report);
            assert_eq!(opened.missing(&site).next(), None, "{name}");
            return;
        }
        let stood_there: BTreeSet<Place> = Written::read(&bytes).flat_map(|written| written.places).collect();
        let unhit = opened.missing(&site).find(|place| !stood_there.contains(place));
        assert_eq!(unhit, None, "not in {name}");
        // Nothing can say that there was a newer one.
        assert!(opened.report.missing.contains(&name) || site.newest() == Some(&name), "{name}: {}", opened.report);
    });
}

/// Bytes before the first record of a file.
const FILE_HEADER_BYTES: usize = 32;

const MARK: Kind = Kind(1);
const MESSAGE: Kind = Kind(2);
const SETTLED: Kind = Kind(3);
const DELETED: Kind = Kind(5);

type Place = (u64, u64);

/// A folder as the log wrote it, synced, and what has to be in it.
pub(crate) struct Site {
    pub(crate) files: Vec<(String, Vec<u8>)>,
    pub(crate) options: Options,
    pub(crate) expected: State,
    /// Every message that was ever given to a place.
    pub(crate) given: BTreeMap<Place, Vec<Arc<[u8]>>>,
}

impl Site {
    pub(crate) fn random(seed: u64) -> Self {
        World::site(seed)
    }

    /// The newest file that was written to.
    fn newest(&self) -> Option<&String> {
        let used = self.files.iter().filter(|(_, bytes)| Written::read(bytes).next().is_some());
        used.map(|(name, _)| name).filter(|name| name.starts_with("messages-")).max()
    }
}

/// What was found in a folder with damage.
struct Opened {
    found: State,
    lost: BTreeSet<Place>,
    report: Report,
}

impl Opened {
    fn missing<'a>(&'a self, site: &'a Site) -> impl Iterator<Item = Place> + 'a {
        places(&site.expected).filter(|place| !has(&self.found, *place))
    }

    fn extra<'a>(&'a self, site: &'a Site) -> impl Iterator<Item = Place> + 'a {
        places(&self.found).filter(|place| !has(&site.expected, *place))
    }
}

fn places(state: &State) -> impl Iterator<Item = Place> {
    state.queues.iter().flat_map(|(number, queue)| queue.live.keys().map(|position| (*number, *position)))
}

fn has(state: &State, (queue, position): Place) -> bool {
    state.queues.get(&queue).is_some_and(|queue| queue.live.contains_key(&position))
}

/// Opens a folder, and checks what holds for all folders: refused ones are left alone, and in others the log goes on.
fn open(site: &Site, files: &[(String, Vec<u8>)], random: &mut Random) -> Option<Opened> {
    let disk = SimulatedDisk::new(0);
    for (name, bytes) in files {
        disk.put(name, bytes.clone());
    }
    let (mut log, recovered) = match MessageLog::open(Arc::new(disk.clone()), site.options) {
        Ok(opened) => opened,
        Err(error) => {
            assert!(!matches!(error, OpenError::Disk { .. }), "{error}");
            assert_eq!(disk.names(), files.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), "{error}");
            assert!(files.iter().all(|(name, bytes)| disk.bytes(name).unwrap() == *bytes), "{error}");
            return None;
        }
    };
    for kept in &recovered.report.kept_aside {
        let original = files.iter().find(|(name, _)| *name == kept.trim_end_matches(".damaged"));
        assert!(disk.bytes(kept).unwrap() == original.unwrap().1, "{kept}");
    }
    if random.below(2) == 0 {
        maintain(&mut log);
    }
    let reader = log.reader();
    let mut found = State::default();
    let mut lost = BTreeSet::new();
    let mut group: Group<Vec<u8>> = Group::default();
    for queue in &recovered.queues {
        let (live, damaged) = load(&reader, queue.queue);
        assert_eq!(live.len() as u64 + damaged.len() as u64, queue.messages, "{queue:?}");
        for (position, message) in &live {
            let given = site.given.get(&(queue.queue.0, *position));
            assert!(given.is_some_and(|given| given.contains(message)), "{queue:?}: an unknown {position}");
        }
        for position in damaged {
            group.settle(queue.queue, position..position + 1);
            lost.insert((queue.queue.0, position));
        }
        let live = live.into_iter().collect();
        found.queues.insert(queue.queue.0, Queue { live, delivered: queue.delivered_before });
    }
    let opened = Opened { found, lost, report: recovered.report };
    // And it goes on from there.
    for queue in &recovered.queues {
        group.publish(queue.queue, false, [(queue.next, b"more".to_vec())].into_iter());
    }
    log.write(&mut group).unwrap();
    log.sync().unwrap();
    maintain(&mut log);
    drop(log);
    disk.crash(random.next_u64());
    let (log, again) = MessageLog::open(Arc::new(disk), site.options).unwrap();
    assert!(!again.report.is_damaged(), "{}, before {}", again.report, opened.report);
    let reader = log.reader();
    for queue in &recovered.queues {
        let (live, damaged) = load(&reader, queue.queue);
        assert_eq!(damaged, [], "{queue:?}");
        let more = (queue.next, Arc::from(b"more".as_slice()));
        let before = opened.found.queues[&queue.queue.0].live.clone().into_iter();
        assert!(live.into_iter().eq(before.chain([more])), "{queue:?}");
    }
    Some(opened)
}

fn maintain(log: &mut MessageLog) {
    let mut calls = 0;
    while log.maintain().unwrap() {
        calls += 1;
        assert!(calls < 2000, "it never ends");
    }
}

/// All messages of a queue, and the positions of those that are damaged.
fn load(reader: &Reader, queue: QueueKey) -> (Messages, Vec<u64>) {
    let (mut live, mut lost, mut start) = (Vec::new(), Vec::new(), 0);
    while start < u64::MAX {
        let loaded = reader.load(queue, start..u64::MAX, 2000).unwrap();
        assert!(loaded.up_to > start, "{queue:?} {start}");
        start = loaded.up_to;
        live.extend(loaded.messages);
        lost.extend(loaded.lost);
    }
    (live, lost)
}

/// What damage in one place may cost.
struct Toll {
    messages: BTreeSet<Place>,
    /// Whether it is in a write of which nothing proves that it was synced.
    is_torn: bool,
    /// Whether settled messages may be there again.
    brings_back: bool,
}

impl Toll {
    fn of(site: &Site, name: &String, hit: &Range<usize>) -> Self {
        let (_, bytes) = site.files.iter().find(|(file, _)| file == name).unwrap();
        let records: Vec<Written> = Written::read(bytes).collect();
        let is_hit = |record: &&Written| record.range.start < hit.end && hit.start < record.range.end;
        // The end of the newest file, of which nothing says that it was ever synced: it may have been cut off.
        let first_hit = records.iter().find(is_hit).map(|record| record.sequence);
        let behind = records.iter().filter(|record| record.range.start >= hit.end);
        let proven = behind.filter_map(|record| record.proves).max();
        let is_torn = site.newest() == Some(name) && first_hit.is_none_or(|sequence| proven < Some(sequence));
        let is_spent = |record: &&Written| is_hit(record) || (is_torn && record.range.end > hit.start);
        let spent = || records.iter().filter(is_spent);
        Self {
            messages: spent().flat_map(|record| record.places.iter().copied()).collect(),
            is_torn,
            brings_back: spent().any(|record| matches!(record.kind, SETTLED | DELETED)),
        }
    }
}

/// A record where it stands.
struct Written {
    range: Range<usize>,
    kind: Kind,
    sequence: Sequence,
    /// Up to which record this one says that all are synced.
    proves: Option<Sequence>,
    /// Of a message.
    places: Vec<Place>,
}

impl Written {
    fn read(bytes: &[u8]) -> impl Iterator<Item = Self> {
        let mut start = FILE_HEADER_BYTES;
        let number = bytes.get(12..).and_then(|rest| rest.first_chunk()).map(|number| u64::from_le_bytes(*number));
        std::iter::from_fn(move || {
            let Decoded::Complete { record, bytes: length } = record::decode(bytes.get(start..)?) else { return None };
            // What the file has from an earlier life does not count.
            if number != Some(record.sequence.0 >> 32) {
                return None;
            }
            let range = start..start + length;
            start = range.end;
            let mut rest = record.payload;
            let mut places = Vec::new();
            if record.kind == MESSAGE {
                places = (0..varint(&mut rest)).map(|_| (varint(&mut rest), varint(&mut rest))).collect();
            }
            let proves = (record.kind == MARK).then(|| Sequence(u64::from_le_bytes(*rest.first_chunk().unwrap())));
            Some(Self { range, kind: record.kind, sequence: record.sequence, proves, places })
        })
    }
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first().unwrap();
        *bytes = rest;
        number |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    number
}
