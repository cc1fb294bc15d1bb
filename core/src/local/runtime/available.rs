//! How much memory this process may still take: of the machine, of its cgroup, of its own limits.

use std::fs::read_to_string;
use std::path::Path;

/// Bytes that can be had now; `None` where the system does not say.
pub(crate) fn available_memory() -> Option<u64> {
    [
        machine(Path::new("/proc")),
        cgroup(Path::new("/proc"), Path::new("/sys/fs/cgroup")),
        limits(Path::new("/proc")),
    ]
    .into_iter()
    .flatten()
    .min()
}

/// The first number of the line that begins so.
fn number(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().find_map(|word| word.parse().ok())
}

fn machine(proc: &Path) -> Option<u64> {
    let text = read_to_string(proc.join("meminfo")).ok()?;
    number(&text, "MemAvailable:").map(|kilobytes| kilobytes.saturating_mul(1024))
}

/// What the groups of this process leave, of both versions: each group's limit holds for those inside it.
fn cgroup(proc: &Path, sys: &Path) -> Option<u64> {
    let groups = read_to_string(proc.join("self/cgroup")).ok()?;
    let mut least = None;
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        let (root, names) = match controllers {
            "" => (sys.to_owned(), ["memory.max", "memory.current", "inactive_file"]),
            _ if controllers.split(',').any(|controller| controller == "memory") => {
                let names = ["memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"];
                (sys.join("memory"), names)
            }
            _ => continue,
        };
        // In a container the path is often that of the host, and the group is the root of what is seen.
        let own = Path::new(path.trim_start_matches('/'));
        for group in own.ancestors() {
            let left = group_left(&root.join(group), names);
            least = [least, left].into_iter().flatten().min();
        }
    }
    least
}

fn group_left(group: &Path, [limit, usage, reclaimable]: [&str; 3]) -> Option<u64> {
    let value = |name: &str| read_to_string(group.join(name)).ok()?.trim().parse::<u64>().ok();
    let stat = read_to_string(group.join("memory.stat")).unwrap_or_default();
    // Pages of files that nobody uses are dropped before anything fails.
    let used = value(usage)?.saturating_sub(number(&stat, &format!("{reclaimable} ")).unwrap_or(0));
    Some(value(limit)?.saturating_sub(used))
}

/// `ulimit -v` and `ulimit -d`.
fn limits(proc: &Path) -> Option<u64> {
    let limits = read_to_string(proc.join("self/limits")).ok()?;
    let status = read_to_string(proc.join("self/status")).ok()?;
    let left = |limit: &str, used: &str| {
        let line = limits.lines().find_map(|line| line.strip_prefix(limit))?;
        let bytes: u64 = line.split_whitespace().next()?.parse().ok()?;
        Some(bytes.saturating_sub(number(&status, used)?.saturating_mul(1024)))
    };
    [left("Max address space", "VmSize:"), left("Max data size", "VmData:")].into_iter().flatten().min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        folder
    }

    #[test]
    fn the_machine_says_what_is_available() {
        let proc = folder(&[("meminfo", "MemTotal:  16 kB\nMemAvailable:       8 kB\n")]);
        assert_eq!(machine(proc.path()), Some(8192));
        assert!(cfg!(not(target_os = "linux")) || available_memory().is_some_and(|bytes| bytes > 1 << 20));
    }

    #[test]
    fn the_narrowest_group_counts_without_pages_that_can_be_dropped() {
        let proc = folder(&[("self/cgroup", "4:cpu,memory:/a/b\n3:pids:/x\n0::/c\n")]);
        let sys = folder(&[
            ("memory/a/b/memory.limit_in_bytes", "9223372036854771712\n"),
            ("memory/a/b/memory.usage_in_bytes", "100\n"),
            ("memory/a/memory.limit_in_bytes", "1000\n"),
            ("memory/a/memory.usage_in_bytes", "700\n"),
            ("memory/a/memory.stat", "inactive_file 1\ntotal_inactive_file 300\n"),
            ("c/memory.max", "max\n"),
            ("c/memory.current", "5\n"),
        ]);
        assert_eq!(cgroup(proc.path(), sys.path()), Some(600));
        std::fs::write(sys.path().join("c/memory.max"), "205\n").unwrap();
        assert_eq!(cgroup(proc.path(), sys.path()), Some(200));
    }

    #[test]
    fn a_limit_of_the_shell_counts() {
        let proc = folder(&[
            (
                "self/limits",
                "Max data size             unlimited            unlimited            bytes\nMax address space         8192000              unlimited            bytes\n",
            ),
            ("self/status", "VmSize:\t    4000 kB\nVmData:\t 12 kB\n"),
        ]);
        assert_eq!(limits(proc.path()), Some(4_096_000));
    }
}
