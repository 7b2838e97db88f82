//! How much memory this machine, or the container around this process, has.

use std::fs;
use std::path::Path;

/// The part of memory that waiting messages may take: 40 %, which is where RabbitMQ puts its high watermark.
const PERCENT: u64 = 40;
/// What is assumed where nothing tells.
const UNKNOWN: u64 = 1024 * 1024 * 1024;

/// Octets that waiting messages may take unless somebody says otherwise.
pub(crate) fn budget() -> u64 {
    total().unwrap_or(UNKNOWN) / 100 * PERCENT
}

/// Octets of memory that this machine has, or the container around this process.
pub(crate) fn total() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| installed(&text));
    let own = fs::read_to_string("/proc/self/cgroup").ok();
    let groups = own.as_deref().map(groups).unwrap_or_default();
    let limits = groups.iter().filter_map(|group| {
        let limit = fs::read_to_string(Path::new("/sys/fs/cgroup").join(group).join("memory.max"));
        limit.ok()?.trim().parse().ok()
    });
    machine.into_iter().chain(limits).min()
}

/// The control group of this process, and those around it, each of which may have a limit: a service has one of its own, a container
/// sees its own as the root.
fn groups(own: &str) -> Vec<&Path> {
    let path = own.lines().find_map(|line| line.strip_prefix("0::/"));
    path.map(|path| Path::new(path).ancestors().collect()).unwrap_or_default()
}

/// The machine's memory, as the kernel lists it.
fn installed(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_list_is_understood() {
        for (text, expected) in [
            ("MemTotal:       24686124 kB\nMemFree:  1 kB\n", Some(24_686_124 * 1024)),
            ("MemFree:  1 kB\n", None),
            ("MemTotal: many kB\n", None),
            ("", None),
        ] {
            assert_eq!(installed(text), expected, "{text}");
        }
        assert!(budget() > 0);
    }

    #[test]
    fn a_service_has_the_limits_of_all_groups_around_it() {
        for (own, expected) in [
            ("0::/system.slice/leveret.service\n", &["system.slice/leveret.service", "system.slice", ""][..]),
            ("0::/\n", &[""]),
            ("1:memory:/x\n", &[]),
            ("", &[]),
        ] {
            assert_eq!(groups(own), expected.iter().map(Path::new).collect::<Vec<_>>(), "{own}");
        }
    }
}
