//! The size of the L2 cache, by which work is cut into blocks. Results have the same bits with any.
//!
//! Blocks by which the bits of a result do depend are constants, small enough for all CPUs. Nothing is cut by the L1 cache:
//! what is meant for it fits 32 KiB, the least that a CPU with vectors has.

use std::sync::OnceLock;

/// Where the CPU does not say, or what cannot be: that of AMD's Zen 4 and 5, Intel's servers before Ice Lake, most of ARM's.
const UNKNOWN: usize = 1 << 20;

/// From half of Haswell's, for two hyperthreads, to a core's of Intel's newest laptops and Apple's. QEMU claims 4 MiB.
const BELIEVABLE: std::ops::RangeInclusive<usize> = 128 << 10..=3 << 20;

/// Bytes of L2 cache for each thread, if all threads that share one compute. Read once a process.
pub(crate) fn l2_bytes() -> usize {
    static BYTES: OnceLock<usize> = OnceLock::new();
    *BYTES.get_or_init(|| believable(read()))
}

fn believable(bytes: Option<usize>) -> usize {
    bytes.filter(|bytes| BELIEVABLE.contains(bytes)).unwrap_or(UNKNOWN)
}

/// By CPUID: Intel's leaf 4, or AMD's leaf of the same layout.
#[cfg(target_arch = "x86_64")]
fn read() -> Option<usize> {
    use std::arch::x86_64::{__cpuid, __cpuid_count};

    const TOPOLOGY_EXTENSIONS: u32 = 1 << 22;
    #[allow(unused_unsafe, reason = "safe functions since Rust 1.92")]
    // SAFETY: every 64-bit x86 CPU has CPUID and leaf 0x80000001; other leaves are read if it has them.
    unsafe {
        let has_amds =
            __cpuid(0x8000_0000).eax >= 0x8000_001d && __cpuid(0x8000_0001).ecx & TOPOLOGY_EXTENSIONS != 0;
        let leaf = match has_amds {
            true => 0x8000_001d,
            false if __cpuid(0).eax >= 4 => 4,
            false => return None,
        };
        // CPUs have four or five caches; a hypervisor might never end its list.
        (0..16).map(|number| __cpuid_count(leaf, number)).find_map(|of| l2_share([of.eax, of.ebx, of.ecx]))
    }
}

/// A thread's share of the cache that a leaf describes, if it is an L2 cache with data.
#[cfg(target_arch = "x86_64")]
fn l2_share([eax, ebx, ecx]: [u32; 3]) -> Option<usize> {
    const DATA: u32 = 1;
    const UNIFIED: u32 = 3;
    let (kind, level, sharing) = (eax & 0x1f, eax >> 5 & 7, (eax >> 14 & 0xfff) + 1);
    if level != 2 || ![DATA, UNIFIED].contains(&kind) {
        return None;
    }
    let (ways, partitions, line, sets) = (ebx >> 22, ebx >> 12 & 0x3ff, ebx & 0xfff, ecx);
    let bytes = [ways, partitions, line, sets].map(|less_one| u64::from(less_one) + 1);
    usize::try_from(bytes.into_iter().fold(1, u64::saturating_mul) / u64::from(sharing)).ok()
}

/// As Linux describes the first CPU.
#[cfg(all(target_os = "linux", not(target_arch = "x86_64")))]
fn read() -> Option<usize> {
    l2_share_in(std::path::Path::new("/sys/devices/system/cpu/cpu0/cache"))
}

#[cfg(not(any(target_os = "linux", target_arch = "x86_64")))]
fn read() -> Option<usize> {
    None
}

/// A thread's share of the L2 cache in a folder with one folder a cache.
#[cfg(any(test, all(target_os = "linux", not(target_arch = "x86_64"))))]
fn l2_share_in(folder: &std::path::Path) -> Option<usize> {
    std::fs::read_dir(folder).ok()?.flatten().find_map(|cache| {
        let text = |name: &str| std::fs::read_to_string(cache.path().join(name)).ok();
        if text("level")?.trim() != "2" || text("type")?.trim() == "Instruction" {
            return None;
        }
        let kib: usize = text("size")?.trim().strip_suffix('K')?.parse().ok()?;
        let sharing = text("shared_cpu_list").map_or(1, |list| count(list.trim()));
        kib.checked_mul(1024)?.checked_div(sharing)
    })
}

/// How many CPUs a list such as `0-3,8` names.
#[cfg(any(test, all(target_os = "linux", not(target_arch = "x86_64"))))]
fn count(list: &str) -> usize {
    let of = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some((last.parse::<usize>().ok()?).checked_sub(first.parse().ok()?)? + 1)
    };
    list.split(',').filter_map(of).sum()
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
