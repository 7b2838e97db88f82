//! Processes as /proc shows them: their CPU time and memory, and who listens on a port.

use std::fs;

use crate::clock::SECOND_NS;
use crate::error::Error;
use crate::options::{BrokerPid, Options};

/// A process to watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Process {
    /// Its id.
    pub(crate) pid: u32,
}

/// CPU time of all threads, in nanoseconds, in steps of a clock tick (mostly 10 ms).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Cpu {
    /// In the program.
    pub(crate) user_ns: u64,
    /// In the kernel on its behalf.
    pub(crate) system_ns: u64,
}

impl Cpu {
    /// Both.
    pub(crate) fn total_ns(self) -> u64 {
        self.user_ns + self.system_ns
    }

    /// What was used after `earlier`.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            user_ns: self.user_ns.saturating_sub(earlier.user_ns),
            system_ns: self.system_ns.saturating_sub(earlier.system_ns),
        }
    }
}

impl Process {
    /// The broker that the options name, if they name one; it must exist.
    pub(crate) fn broker(options: &Options) -> Result<Option<Self>, Error> {
        let process = match options.broker_pid {
            None => return Ok(None),
            Some(BrokerPid::Pid(pid)) => Self { pid },
            Some(BrokerPid::Auto) => listener(options.url.port)?,
        };
        if process.cpu().is_none() {
            return Err(Error::Process(format!("there is no /proc/{}/stat", process.pid)));
        }
        Ok(Some(process))
    }

    /// This process.
    pub(crate) fn own() -> Self {
        Self { pid: std::process::id() }
    }

    /// CPU time so far; `None` if the process is gone.
    pub(crate) fn cpu(self) -> Option<Cpu> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).ok()?;
        cpu_of(&stat, rustix::param::clock_ticks_per_second())
    }

    /// Resident memory in KiB; `None` if the process is gone.
    pub(crate) fn rss_kib(self) -> Option<u64> {
        rss_of(&fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?)
    }

    /// Octets that the process has had written to disks, or will have once the kernel gets to it; `None` if it is gone or
    /// somebody else's. What it writes to file systems in memory does not count.
    pub(crate) fn written(self) -> Option<u64> {
        written_of(&fs::read_to_string(format!("/proc/{}/io", self.pid)).ok()?)
    }
}

/// Octets for disks in a text of /proc/PID/io.
fn written_of(io: &str) -> Option<u64> {
    io.lines().find_map(|line| line.strip_prefix("write_bytes:"))?.trim().parse().ok()
}

/// The process that listens on a TCP port of this machine.
fn listener(port: u16) -> Result<Process, Error> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| fs::read_to_string(path).unwrap_or_default());
    let sockets: Vec<String> = tables
        .iter()
        .flat_map(|table| listening_inodes(table, port))
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    if sockets.is_empty() {
        return Err(Error::Process(format!("nobody on this machine listens on port {port}")));
    }
    let processes = fs::read_dir("/proc").map_err(|error| Error::Process(error.to_string()))?;
    for process in processes.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // Unreadable ones belong to somebody else.
        let Ok(descriptors) = fs::read_dir(process.path().join("fd")) else { continue };
        let mut targets = descriptors.flatten().filter_map(|descriptor| fs::read_link(descriptor.path()).ok());
        if targets.any(|target| sockets.iter().any(|socket| target.as_os_str() == socket.as_str())) {
            return Ok(Process { pid });
        }
    }
    Err(Error::Process(format!("whoever listens on port {port} is not ours to look at; give --broker-pid a number")))
}

/// Inodes of the sockets in a table of /proc/net that listen on `port`.
fn listening_inodes(table: &str, port: u16) -> impl Iterator<Item = u64> {
    const LISTEN: &str = "0A";
    table.lines().skip(1).filter_map(move |line| {
        let mut fields = line.split_whitespace();
        let local = fields.nth(1)?;
        let (_, local_port) = local.rsplit_once(':')?;
        let state = fields.nth(1)?;
        let inode = fields.nth(5)?.parse().ok()?;
        (u16::from_str_radix(local_port, 16) == Ok(port) && state == LISTEN).then_some(inode)
    })
}

/// CPU time in a line of /proc/PID/stat. The name in parentheses may hold anything, so fields count from its end.
fn cpu_of(stat: &str, ticks_per_second: u64) -> Option<Cpu> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut ns = || Some(fields.next()?.parse::<u64>().ok()? * (SECOND_NS / ticks_per_second.max(1)));
    Some(Cpu { user_ns: ns()?, system_ns: ns()? })
}

fn rss_of(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_read_whatever_the_process_is_called() {
        let rest = "S 1 3223 3223 0 -1 4194560 29000 10 5 0 250 75 0 0 20 0 28 0 2243 1234567 33000";
        for name in ["beam.smp", "a b) c", "(x"] {
            let cpu = cpu_of(&format!("3223 ({name}) {rest}\n"), 100);
            assert_eq!(cpu, Some(Cpu { user_ns: 2_500_000_000, system_ns: 750_000_000 }), "{name}");
        }
        assert_eq!(cpu_of("3223 (x) S 1", 100), None);
        assert_eq!(cpu_of("", 100), None);
    }

    #[test]
    fn memory_is_read_in_kib() {
        for (status, rss) in [
            ("Name:\tbeam\nVmHWM:\t  99 kB\nVmRSS:\t  146120 kB\nThreads:\t3\n", Some(146_120)),
            ("Name:\tkthreadd\n", None),
            ("VmRSS:\tmuch\n", None),
        ] {
            assert_eq!(rss_of(status), rss, "{status}");
        }
    }

    #[test]
    fn octets_for_disks_are_read() {
        let io = "rchar: 9\nwchar: 8\nsyscr: 7\nsyscw: 6\nread_bytes: 5\nwrite_bytes: 4096\ncancelled_write_bytes: 3\n";
        assert_eq!(written_of(io), Some(4096));
        assert_eq!(written_of("wchar: 8\n"), None);
    }

    #[test]
    fn only_sockets_that_listen_on_the_port_count() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
             0: 00000000:1628 00000000:0000 0A 00000000:00000000 00:00000000 00000000   113        0 21345 1 0\n   \
             1: 0100007F:1628 0100007F:D431 01 00000000:00000000 00:00000000 00000000   113        0 21346 1 0\n   \
             2: 00000000:6448 00000000:0000 0A 00000000:00000000 00:00000000 00000000   113        0 21347 1 0\n   \
             3: 00000000000000000000000001000000:1628 00000000000000000000000000000000:0000 0A \
             00000000:00000000 00:00000000 00000000   113        0 21348 1 0\n broken line";
        assert_eq!(listening_inodes(table, 5672).collect::<Vec<_>>(), [21345, 21348]);
        assert_eq!(listening_inodes(table, 80).count(), 0);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_can_be_watched_and_found() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(listener(socket.local_addr().unwrap().port()).unwrap(), Process::own());
        assert!(Process::own().rss_kib().unwrap() > 0);
        assert!(Process::own().cpu().is_some());
    }
}
