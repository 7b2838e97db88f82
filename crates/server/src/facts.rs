//! What the system says of this process and of the machine.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use leveret_management::MemoryUse;
use rustix::fs::statvfs;
use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};

/// Open files, how many there may be, and how many of them are sockets.
pub(crate) fn files() -> (u64, u64, u64) {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let Ok(entries) = fs::read_dir("/proc/self/fd") else { return (0, limit, 0) };
    let (mut open, mut sockets) = (0, 0);
    for entry in entries.flatten() {
        open += 1;
        let is_socket = fs::read_link(entry.path())
            .is_ok_and(|target| target.as_os_str().as_encoded_bytes().starts_with(b"socket:"));
        sockets += u64::from(is_socket);
    }
    // One of them was there to look.
    (open.max(1) - 1, limit, sockets)
}

/// Octets of memory that the process has, and those of them that are parts of files, such as the program.
pub(crate) fn memory() -> (u64, u64) {
    let text = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let mut pages = text.split(' ').skip(1).map(|number| number.parse::<u64>().unwrap_or(0));
    let page = page_size() as u64;
    let (resident, shared) = (pages.next().unwrap_or(0), pages.next().unwrap_or(0));
    (resident * page, shared * page)
}

/// Threads of the process, and how many there may be.
pub(crate) fn tasks() -> (u64, u64) {
    let count = fs::read_dir("/proc/self/task").map_or(0, |entries| entries.count() as u64);
    let most = number_in("/proc/sys/kernel/threads-max", |text| text.trim().parse().ok());
    (count, getrlimit(Resource::Nproc).current.map_or(most, |limit| limit.min(most)))
}

/// Threads of the whole machine that want a processor.
pub(crate) fn run_queue() -> u64 {
    number_in("/proc/loadavg", |text| text.split(' ').nth(3)?.split('/').next()?.parse().ok())
}

/// How often threads of the process that still run gave up their processor.
pub(crate) fn context_switches() -> u64 {
    let Ok(entries) = fs::read_dir("/proc/self/task") else { return 0 };
    let of = |status: &str| {
        let lines = status.lines().filter_map(|line| line.split_once("ctxt_switches:"));
        lines.filter_map(|(_, number)| number.trim().parse::<u64>().ok()).sum()
    };
    entries.flatten().map(|entry| fs::read_to_string(entry.path().join("status")).map_or(0, |text| of(&text))).sum()
}

/// Octets that the process had read from disks, and written to them.
pub(crate) fn disk_io() -> (u64, u64) {
    let text = fs::read_to_string("/proc/self/io").unwrap_or_default();
    let value = |name: &str| {
        let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        found.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
    };
    (value("read_bytes"), value("write_bytes"))
}

fn number_in(path: &str, find: impl Fn(&str) -> Option<u64>) -> u64 {
    fs::read_to_string(path).ok().and_then(|text| find(&text)).unwrap_or(0)
}

/// The time that the threads of the process have worked, by their names, in order.
pub(crate) fn threads() -> Vec<(String, Duration)> {
    let ticks = clock_ticks_per_second().max(1);
    let mut threads = BTreeMap::<String, u64>::new();
    for entry in fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let Ok(text) = fs::read_to_string(entry.path().join("stat")) else { continue };
        if let Some((name, worked)) = thread(&text) {
            *threads.entry(name.to_owned()).or_default() += worked;
        }
    }
    threads.into_iter().map(|(name, worked)| (name, Duration::from_millis(worked * 1000 / ticks))).collect()
}

/// Name and ticks of work in what the kernel says of a thread.
fn thread(stat: &str) -> Option<(&str, u64)> {
    // The name may have anything in it, parentheses included.
    let (before, behind) = stat.rsplit_once(')')?;
    let (_, name) = before.split_once('(')?;
    let mut fields = behind.split_whitespace().skip(11).map(str::parse::<u64>);
    let (user, system) = (fields.next()?.ok()?, fields.next()?.ok()?);
    Some((name, user + system))
}

/// What takes memory; `messages` are the octets of those in memory.
pub(crate) fn breakdown(messages: u64) -> Vec<MemoryUse> {
    let (resident, files) = memory();
    vec![
        MemoryUse { what: "messages", bytes: messages },
        MemoryUse { what: "program", bytes: files },
        MemoryUse { what: "other", bytes: resident.saturating_sub(files).saturating_sub(messages) },
    ]
}

/// Free octets where a folder is, for those who are not root.
pub(crate) fn disk_free(path: &Path) -> u64 {
    statvfs(path).map_or(0, |found| found.f_bavail.saturating_mul(found.f_frsize))
}

/// The system, such as `Linux 6.1`.
pub(crate) fn system() -> String {
    let system = rustix::system::uname();
    format!("{} {}", system.sysname().to_string_lossy(), system.release().to_string_lossy())
}

/// The certificates in a file, and nothing else that may be in it.
pub(crate) fn certificates(path: &Path) -> Vec<u8> {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";
    let text = zeroize::Zeroizing::new(fs::read_to_string(path).unwrap_or_default());
    let mut found = Vec::new();
    let mut inside = false;
    for line in text.lines().map(str::trim_end) {
        inside |= line == BEGIN;
        if inside {
            found.extend_from_slice(line.as_bytes());
            found.push(b'\n');
        }
        inside &= line != END;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_tells_something() {
        let (open, limit, _) = files();
        assert!(open >= 3 && limit > open, "{open} of {limit}");
        let (resident, files) = memory();
        assert!(resident > files && files > 0, "{resident}, {files}");
        assert!(disk_free(Path::new("/")) > 0);
        assert_eq!(disk_free(Path::new("/no/such/folder")), 0);
        let parts = breakdown(0);
        assert!(parts.iter().map(|part| part.bytes).sum::<u64>() > 0);
        assert!(system().starts_with("Linux "));
        let (threads, most) = tasks();
        assert!(threads >= 1 && most > threads, "{threads} of {most}");
        assert!(run_queue() >= 1);
        assert!(context_switches() > 0);
        let before = disk_io();
        assert!(disk_io() >= before);
    }

    #[test]
    fn threads_say_how_long_they_have_worked() {
        let stat = "12 (a) b) S 1 2 3 4 5 6 7 8 9 10 30 12 0 0 20 0 9";
        assert_eq!(thread(stat), Some(("a) b", 42)));
        for text in ["", "12 (a) S 1", "12 a S"] {
            assert_eq!(thread(text), None, "{text}");
        }
        assert!(!threads().is_empty());
    }

    #[test]
    fn a_key_in_the_same_file_is_not_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("both.pem");
        let certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let key = "-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY-----\n";
        fs::write(&path, format!("text\n{certificate}{key}{certificate}")).unwrap();
        assert_eq!(String::from_utf8(certificates(&path)).unwrap(), format!("{certificate}{certificate}"));
        assert!(certificates(Path::new("/no/such/file")).is_empty());
    }
}
