//! Opening the message log: what is in the files, what is repaired, what is kept aside.
//!
//! Reading comes first and changes nothing. Then every step leaves a folder that the next open understands, so that a crash
//! in here is a crash like any other.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use super::active::seal;
use super::directory::{Directory, Others};
use super::files::Spare;
use super::format::{
    DIRECTORY, FILE_NUMBER_MAX, FILES, HEADER_BYTES, Header, Name, Numbers, TRAILER_BYTES, Trailer, decode_header,
    decode_trailer, encode_header, encode_trailer, file_and_index, put_numbers, sequence,
};
use super::log::{MessageLog, Trouble};
use super::report::{Damage, Recovered, RecoveredQueue, Report, TornTail};
use super::scan::{Age, Scan, scan};
use super::state::{File, Index, Shared, State};
use super::{OpenError, Options};
use crate::disk::{Disk, DiskFile};
use crate::record::{self, Decoded};

/// How the folder is called in errors.
const FOLDER: &str = ".";

pub(super) fn open(disk: Arc<dyn Disk>, options: Options) -> Result<(MessageLog, Recovered), OpenError> {
    let folder = Folder::list(&*disk)?;
    if !options.is_synced {
        return begin_empty(disk, options, &folder);
    }
    let mut report = Report::default();
    let spares = folder.spares.iter().map(|name| SpareFile::read(&*disk, name)).collect::<Result<Vec<_>, _>>()?;
    let Files { files, unused } = Files::read(&*disk, &folder)?;
    let gone: BTreeSet<u64> = files.iter().flat_map(|file| file.directory.others.gone.iter().copied()).collect();
    let (gone, files): (Vec<_>, Vec<_>) = files.into_iter().partition(|file| gone.contains(&file.number));
    report.files = files.len();
    report.missing = missing(&files, &folder, &spares, [&gone, &unused]);
    let mut state = merge(&files);
    let queues = queues(&state);
    let mut unannounced = unannounced(&files);
    unannounced.retain(|number| !folder.logs.contains(number));

    // From here on, things are changed. What the last run saw before it ended may be a name that never reached the disk.
    disk.sync_folder().map_err(in_folder)?;
    keep_aside(&*disk, &folder, &files, &mut report)?;
    let number_max = folder.number_max(&spares);
    for file in files {
        repair(file, &mut state, &mut report)?;
    }
    report.leftovers.extend(gone.iter().map(|file| file.name.clone()));
    let leftovers = spares.into_iter().chain(unused.into_iter().chain(gone).map(SpareFile::of));
    let kept = clean_up(&*disk, options, leftovers, &unannounced)?;
    let mut log = MessageLog::new(disk, options, Shared::of(state), kept, number_max.saturating_add(1));
    match log.make_ready(&[0]) {
        // A node has to start on a full disk as well.
        Ok(()) | Err(Trouble::Full) => Ok((log, Recovered { queues, report })),
        Err(Trouble::Failed { error, .. }) => Err(in_folder(error)),
    }
}

/// An area to page out to: what is there is of no use.
fn begin_empty(disk: Arc<dyn Disk>, options: Options, folder: &Folder) -> Result<(MessageLog, Recovered), OpenError> {
    let logs = folder.logs.iter().map(|number| Name::Log(*number).to_string());
    for name in logs.chain(folder.spares.iter().cloned()) {
        disk.remove(&name).map_err(in_file(&name))?;
    }
    let next = folder.logs.last().map_or(1, |last| last.saturating_add(1));
    Ok((MessageLog::new(disk, options, Shared::of(State::default()), Vec::new(), next), Recovered::default()))
}

/// The log's files in the folder.
struct Folder {
    /// Oldest first.
    logs: Vec<u64>,
    spares: Vec<String>,
    kept_aside: Vec<u64>,
    unfinished: Vec<String>,
}

impl Folder {
    fn list(disk: &dyn Disk) -> Result<Self, OpenError> {
        let mut folder = Self { logs: Vec::new(), spares: Vec::new(), kept_aside: Vec::new(), unfinished: Vec::new() };
        for name in disk.list().map_err(in_folder)? {
            match Name::parse(&name) {
                Some(Name::Log(number)) => folder.logs.push(number),
                Some(Name::Spare(_)) => folder.spares.push(name),
                Some(Name::Damaged(number)) => folder.kept_aside.push(number),
                Some(Name::Unfinished(_)) => folder.unfinished.push(name),
                None => {}
            }
        }
        folder.logs.sort_unstable();
        folder.spares.sort_unstable();
        Ok(folder)
    }

    /// The largest number that a file had. A number is not used again: records of its first use could look like ones of
    /// the second.
    fn number_max(&self, spares: &[SpareFile]) -> u64 {
        let of_spares = spares.iter().map(|spare| spare.numbers.number);
        let of_names = spares.iter().map(|spare| spare.named);
        let all = of_spares.filter(|number| *number <= FILE_NUMBER_MAX).chain(of_names);
        all.chain(self.logs.iter().copied()).chain(self.kept_aside.iter().copied()).max().unwrap_or_default()
    }
}

/// A file whose content is worthless.
struct SpareFile {
    name: String,
    /// Zeros if it was never written, or the last write of its header was torn.
    numbers: Numbers,
    /// What its name says that it was.
    named: u64,
    length: u64,
    is_spare: bool,
    /// Whether it ever had a record under its number.
    is_used: bool,
}

impl SpareFile {
    fn read(disk: &dyn Disk, name: &str) -> Result<Self, OpenError> {
        let read = || {
            let file = disk.open(name)?;
            let length = file.length()?;
            let mut first = [0; record::HEADER_BYTES];
            if length >= (HEADER_BYTES + first.len()) as u64 {
                file.read_at(HEADER_BYTES as u64, &mut first)?;
            }
            Ok((length, read_header(&*file, length)?, first))
        };
        let (length, header, first) = read().map_err(in_file(name))?;
        let numbers = match header {
            Header::Valid(numbers) => numbers,
            _ => Numbers { number: 0, before: 0 },
        };
        let is_used = first.get(8..16) == Some(&sequence(numbers.number, 1).0.to_le_bytes());
        let named = match Name::parse(name) {
            Some(Name::Spare(number)) => number,
            _ => 0,
        };
        Ok(Self { name: name.to_owned(), numbers, named, length, is_spare: true, is_used })
    }

    fn of(file: LogFile) -> Self {
        let broken = file.broken.as_ref();
        let numbers = broken.map_or(Numbers { number: file.number, before: 0 }, |broken| broken.numbers);
        let is_used = broken.is_none_or(|broken| broken.scan.has_records);
        Self { name: file.name, numbers, named: 0, length: file.length, is_spare: false, is_used }
    }

    /// The files that it may have been, itself included.
    fn lives(&self) -> [u64; 3] {
        [self.numbers.number, self.numbers.before, self.named]
    }

    /// Which of these files it was, if it is all that says that this one was given back.
    fn proves(&self, unannounced: &BTreeSet<u64>) -> Option<u64> {
        self.lives().into_iter().find(|number| *number > 0 && unannounced.contains(number))
    }

    fn into_spare(self, unannounced: &BTreeSet<u64>) -> Spare {
        let proven = self.proves(unannounced);
        let Self { name, numbers: Numbers { number, before }, length, is_used, .. } = self;
        // A number without records is in no list, unlike the one before perhaps.
        let had = proven.unwrap_or(if is_used { number } else { before });
        Spare { name, number: had, length, is_touched: number > 0 }
    }
}

/// A file with what is in it.
struct LogFile {
    number: u64,
    name: String,
    handle: Arc<dyn DiskFile>,
    length: u64,
    used: u64,
    directory: Directory,
    /// What has to be done about it; nothing, if its end told everything.
    broken: Option<Broken>,
}

/// A file that had to be read record by record.
struct Broken {
    scan: Scan,
    /// The records of which nothing proves that they are durable.
    unproven: Vec<u8>,
    numbers: Numbers,
    is_header_damaged: bool,
    damage: Vec<Damage>,
}

/// The files of the log, oldest first.
struct Files {
    files: Vec<LogFile>,
    /// Those that were made ready and never used.
    unused: Vec<LogFile>,
}

impl Files {
    fn read(disk: &dyn Disk, folder: &Folder) -> Result<Self, OpenError> {
        let (mut files, mut unused) = (Vec::new(), Vec::new());
        let mut is_newest = true;
        for number in folder.logs.iter().rev() {
            let file = LogFile::read(disk, *number, is_newest)?;
            let is_unused =
                file.broken.as_ref().is_some_and(|broken| !broken.scan.has_records && broken.damage.is_empty());
            if is_newest && is_unused {
                unused.push(file);
                continue;
            }
            // One that was blank says nothing about which is the newest.
            is_newest &= file.broken.as_ref().is_some_and(|broken| !broken.scan.has_records);
            files.push(file);
        }
        files.reverse();
        Ok(Self { files, unused })
    }
}

impl LogFile {
    fn read(disk: &dyn Disk, number: u64, is_newest: bool) -> Result<Self, OpenError> {
        let name = Name::Log(number).to_string();
        let shown = name.clone();
        let on_disk = in_file(&shown);
        let handle: Arc<dyn DiskFile> = Arc::from(disk.open(&name).map_err(&on_disk)?);
        let length = handle.length().map_err(&on_disk)?;
        let header = read_header(&*handle, length).map_err(&on_disk)?;
        let foreign = || OpenError::Foreign { file: name.clone() };
        match header {
            Header::Version(version) => return Err(OpenError::Version { file: name, version }),
            Header::Valid(numbers) if numbers.number != number => return Err(foreign()),
            _ => {}
        }
        let trailer = read_trailer(&*handle, length, number).map_err(&on_disk)?;
        if let (Header::Valid(_), false, Some(trailer)) = (header, is_newest, trailer)
            && let Some(directory) = read_directory(&*handle, length, trailer).map_err(&on_disk)?
        {
            let used = trailer.offset + u64::from(trailer.bytes);
            return Ok(Self { number, name, handle, length, used, directory, broken: None });
        }
        let mut bytes = handle.read_all().map_err(&on_disk)?;
        let is_new = matches!(header, Header::Valid(Numbers { before: 0, .. }));
        let scan = scan(&bytes, number, if is_newest { Age::Newest { is_new } } else { Age::Older });
        let damage_at = |start: u64, end: u64, records| Damage { file: name.clone(), range: start..end, records };
        let mut damage: Vec<Damage> = scan
            .damage
            .iter()
            .map(|(range, records)| damage_at(range.start as u64, range.end as u64, *records))
            .collect();
        let (numbers, is_header_damaged) = match header {
            Header::Valid(numbers) => (numbers, false),
            Header::Unknown if !scan.has_records => return Err(foreign()),
            Header::Blank if !scan.has_records => {
                damage = vec![damage_at(0, length, None)];
                (Numbers { number, before: 0 }, true)
            }
            _ => {
                damage.insert(0, damage_at(0, HEADER_BYTES as u64, Some(0)));
                (Numbers { number, before: 0 }, true)
            }
        };
        if !is_newest && damage.is_empty() {
            // All records are there; what was at the end is not.
            damage.push(damage_at(scan.end as u64, length, Some(0)));
        }
        let directory = Directory { offsets_at: 0, runs: scan.index.runs(), others: scan.others.clone() };
        let used = scan.end as u64;
        // Of the rest of a file there is no need to keep a copy.
        bytes.truncate(scan.end);
        bytes.drain(..scan.unproven.min(bytes.len()));
        bytes.shrink_to_fit();
        let broken = Some(Broken { scan, unproven: bytes, numbers, is_header_damaged, damage });
        Ok(Self { number, name, handle, length, used, directory, broken })
    }
}

pub(super) fn read_header(file: &dyn DiskFile, length: u64) -> io::Result<Header> {
    let mut bytes = [0; HEADER_BYTES];
    let there = usize::try_from(length).unwrap_or(HEADER_BYTES).min(HEADER_BYTES);
    let there = bytes.get_mut(..there).unwrap_or_default();
    file.read_at(0, there)?;
    Ok(decode_header(there))
}

pub(super) fn read_trailer(file: &dyn DiskFile, length: u64, number: u64) -> io::Result<Option<Trailer>> {
    let Some(at) = length.checked_sub(TRAILER_BYTES as u64) else { return Ok(None) };
    let mut bytes = [0; TRAILER_BYTES];
    file.read_at(at, &mut bytes)?;
    Ok(decode_trailer(&bytes).filter(|trailer| trailer.number == number))
}

pub(super) fn read_directory(file: &dyn DiskFile, length: u64, trailer: Trailer) -> io::Result<Option<Directory>> {
    if trailer.offset.saturating_add(u64::from(trailer.bytes)) > length {
        return Ok(None);
    }
    let mut bytes = vec![0; trailer.bytes as usize];
    file.read_at(trailer.offset, &mut bytes)?;
    let Decoded::Complete { record, .. } = record::decode(&bytes) else { return Ok(None) };
    let is_directory = record.kind == DIRECTORY && file_and_index(record.sequence).0 == trailer.number;
    Ok(Directory::decode(record.payload).filter(|_| is_directory))
}

/// The files that the newest list has, without those that were given back since.
fn unannounced(files: &[LogFile]) -> BTreeSet<u64> {
    let all = || files.iter().map(|file| &file.directory.others);
    let list = all().rev().map(|others| &others.files).find(|list| !list.is_empty());
    let mut list: BTreeSet<u64> = list.into_iter().flatten().copied().collect();
    for gone in all().flat_map(|others| &others.gone) {
        list.remove(gone);
    }
    list
}

/// Files that should be there.
fn missing(files: &[LogFile], folder: &Folder, spares: &[SpareFile], others: [&[LogFile]; 2]) -> Vec<String> {
    let mut known: BTreeSet<u64> = folder.logs.iter().chain(&folder.kept_aside).copied().collect();
    // A file that is written again says what it was.
    known.extend(spares.iter().flat_map(SpareFile::lives));
    let all = files.iter().chain(others.into_iter().flatten());
    let broken = all.filter_map(|file| file.broken.as_ref());
    known.extend(broken.map(|broken| broken.numbers.before));
    unannounced(files).difference(&known).map(|number| Name::Log(*number).to_string()).collect()
}

/// What is live: everything that is in some file, without what some file calls settled.
fn merge(files: &[LogFile]) -> State {
    let mut state = State::default();
    for file in files {
        let LogFile { number, handle, length, used, directory, broken, .. } = file;
        let index = Index::Sealed(Arc::new(directory.clone()));
        let mut about: BTreeSet<u64> = directory.others.about.iter().copied().collect();
        if broken.is_some() {
            about.extend(settles(directory, &state));
        }
        about.retain(|other| state.files.contains_key(other));
        let references = directory.references();
        let (handle, length, used) = (Arc::clone(handle), *length, *used);
        state.files.insert(
            *number,
            File { handle, index, references, live: 0, about, length, used, is_checked: false, places: None },
        );
        for run in &directory.runs {
            // In two files, it was being copied, and the newer one counts.
            state.insert(run.queue, run.first..run.end(), *number);
        }
    }
    for others in files.iter().map(|file| &file.directory.others) {
        for (queue, range) in &others.settled {
            let entry = state.queues.entry(*queue).or_default();
            entry.next = entry.next.max(range.end);
            state.settle(*queue, range.clone(), &mut Vec::new());
        }
        for (queue, before) in &others.delivered {
            let entry = state.queues.entry(*queue).or_default();
            entry.next = entry.next.max(*before);
            entry.delivered_before = entry.delivered_before.max(*before);
        }
    }
    for queue in files.iter().flat_map(|file| &file.directory.others.deleted) {
        state.delete(*queue);
    }
    state
}

/// The older files that the settlements of a file can be about.
fn settles(directory: &Directory, older: &State) -> BTreeSet<u64> {
    let Others { settled, deleted, .. } = &directory.others;
    let all = deleted.iter().map(|queue| (*queue, 0..u64::MAX)).chain(settled.iter().cloned());
    let all: Vec<_> = all.collect();
    let is_about = |file: &&u64| {
        let Some(Index::Sealed(directory)) = older.files.get(file).map(|file| &file.index) else { return false };
        all.iter().any(|(queue, range)| directory.overlaps(*queue, range))
    };
    older.files.keys().filter(is_about).copied().collect()
}

fn queues(state: &State) -> Vec<RecoveredQueue> {
    let of = |(key, queue): (&super::QueueKey, &super::state::Queue)| RecoveredQueue {
        queue: *key,
        first: queue.first(),
        next: queue.next,
        messages: queue.messages,
        delivered_before: queue.delivered_before,
    };
    state.queues.iter().map(of).collect()
}

/// Copies damaged files, before anything is changed in them.
fn keep_aside(disk: &dyn Disk, folder: &Folder, files: &[LogFile], report: &mut Report) -> Result<(), OpenError> {
    for name in &folder.unfinished {
        disk.remove(name).map_err(in_file(name))?;
    }
    for file in files {
        if file.broken.as_ref().is_none_or(|broken| broken.damage.is_empty()) {
            continue;
        }
        let name = Name::Damaged(file.number).to_string();
        report.kept_aside.push(name.clone());
        // A crash may have come between: what is there now may be repaired in part.
        if folder.kept_aside.contains(&file.number) {
            continue;
        }
        // Under its name, a copy is complete.
        let unfinished = Name::Unfinished(file.number).to_string();
        let copy = || {
            let copy = disk.create(&unfinished)?;
            copy.write_at(0, &file.handle.read_all()?)?;
            copy.sync_data()?;
            disk.rename(&unfinished, &name)
        };
        copy().map_err(in_file(&name))?;
    }
    if report.kept_aside.is_empty() && folder.unfinished.is_empty() {
        return Ok(());
    }
    disk.sync_folder().map_err(in_folder)
}

/// Ends a file that has no end, or not the right one, durably.
fn repair(file: LogFile, state: &mut State, report: &mut Report) -> Result<(), OpenError> {
    let LogFile { number, name, handle, length, broken, .. } = file;
    let Some(Broken { mut scan, unproven, numbers, is_header_damaged, damage }) = broken else { return Ok(()) };
    scan.others.about = state.files.get(&number).map(|file| file.about.iter().copied().collect()).unwrap_or_default();
    report.damaged.extend(damage);
    if let Some((offset, records)) = scan.torn {
        report.torn_tail = Some(TornTail { file: name.clone(), offset: offset as u64, records });
    }
    let mut ending = Vec::new();
    let mut last = scan.last;
    let mut files_record = Vec::new();
    if scan.others.files.is_empty() {
        // Its first record did not survive, and the next one to miss a file would have only an older list.
        scan.others.files = state.files.range(..=number).map(|(number, _)| *number).collect();
        put_numbers(scan.others.files.iter().copied(), &mut files_record);
    }
    let mut end = || {
        if is_header_damaged {
            handle.write_at(0, &encode_header(numbers))?;
        }
        // Written again, not only synced: the last run may have ended because its sync failed, and what a system failed to
        // write it does not write at the next sync, though it shows it until then.
        if !unproven.is_empty() {
            handle.write_at(scan.unproven as u64, &unproven)?;
        }
        if !files_record.is_empty() {
            last = last.saturating_add(1);
            record::encode(sequence(number, last), FILES, &[&files_record], &mut ending).map_err(io::Error::other)?;
        }
        let offsets_at = (scan.end + ending.len()) as u64;
        let sealed = seal(&mut ending, number, &mut last, offsets_at, &scan.index, &scan.others)?;
        let directory_at = offsets_at + sealed.offset;
        let directory_bytes = u32::try_from(sealed.bytes - sealed.offset).map_err(io::Error::other)?;
        // What was cut off must not be found behind it.
        ending.resize(ending.len().max(scan.stale_end.saturating_sub(scan.end)), 0);
        handle.write_at(scan.end as u64, &ending)?;
        let end = scan.end as u64 + ending.len() as u64 + TRAILER_BYTES as u64;
        // What is much too long is not written to again.
        let length = if length.saturating_sub(end) > length / 8 { end } else { length.max(end) };
        handle.truncate(length)?;
        let trailer = encode_trailer(Trailer { number, offset: directory_at, bytes: directory_bytes });
        handle.write_at(length - TRAILER_BYTES as u64, &trailer)?;
        handle.sync_data()?;
        Ok((sealed.directory, length, end))
    };
    let (directory, length, used) = end().map_err(in_file(&name))?;
    if let Some(file) = state.files.get_mut(&number) {
        file.index = Index::Sealed(Arc::new(directory));
        file.length = length;
        file.used = used;
    }
    Ok(())
}

/// Keeps as many files to be written again as are wanted, and removes the others. Those that prove that a file was given
/// back stay until a newer list does not have it.
fn clean_up(
    disk: &dyn Disk,
    options: Options,
    leftovers: impl Iterator<Item = SpareFile>,
    unannounced: &BTreeSet<u64>,
) -> Result<Vec<Spare>, OpenError> {
    let (proofs, others): (Vec<_>, Vec<_>) = leftovers.partition(|file| file.proves(unannounced).is_some());
    let mut names: BTreeSet<u64> = proofs.iter().chain(&others).map(|file| file.named).collect();
    let proof_count = proofs.len();
    let mut kept = Vec::new();
    for (place, mut leftover) in proofs.into_iter().chain(others).enumerate() {
        let is_wanted = kept.len() < options.spare_files && leftover.length == options.file_bytes;
        // A header may be torn when it is written anew, the name is not.
        let mut free = [leftover.proves(unannounced), Some(leftover.numbers.number)].into_iter().flatten();
        let name = match leftover.is_spare {
            _ if !is_wanted && place >= proof_count => None,
            true => Some(leftover.name.clone()),
            false => free.find(|number| names.insert(*number)).map(|number| Name::Spare(number).to_string()),
        };
        let Some(name) = name else {
            disk.remove(&leftover.name).map_err(in_file(&leftover.name))?;
            continue;
        };
        if !leftover.is_spare {
            disk.rename(&leftover.name, &name).map_err(in_file(&leftover.name))?;
            leftover.name = name;
        }
        kept.push(leftover.into_spare(unannounced));
    }
    disk.sync_folder().map_err(in_folder)?;
    Ok(kept)
}

fn in_folder(source: io::Error) -> OpenError {
    OpenError::Disk { file: FOLDER.to_owned(), source }
}

fn in_file(name: &str) -> impl Fn(io::Error) -> OpenError {
    move |source| OpenError::Disk { file: name.to_owned(), source }
}
