//! How much memory this process has.

use ayni::{Error, ErrorKind};

/// Resident bytes.
pub(super) fn resident() -> Result<u64, Error> {
    read("VmRSS:")
}

/// The most bytes that ever were resident.
pub(crate) fn peak() -> Result<u64, Error> {
    read("VmHWM:")
}

fn read(name: &str) -> Result<u64, Error> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kibibytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    let unknown =
        || Error::new(ErrorKind::Unsupported, "this system does not say how much memory a process has");
    Ok(kibibytes.ok_or_else(unknown)? * 1024)
}
