use super::*;

#[test]
fn what_cannot_be_is_not_believed() {
    for told in [None, Some(0), Some(64 << 10), Some(4 << 20), Some(usize::MAX)] {
        assert_eq!(believable(told), UNKNOWN, "{told:?}");
    }
    for told in [128 << 10, 1280 << 10, 3 << 20] {
        assert_eq!(believable(Some(told)), told);
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn a_leaf_of_cpuid_tells_a_threads_share() {
    // Registers as CPUs and hypervisors give them; KiB.
    for (registers, wanted) in [
        ([0x1c00_4143, 0x01c0_003f, 0x1ff], Some(128)), // Intel's desktops until 2018, two hyperthreads
        ([0x1c00_4143, 0x03c0_003f, 0x3ff], Some(512)), // Skylake-X, two hyperthreads
        ([0x0000_0143, 0x01c0_003f, 0x3ff], Some(512)), // EPYC Milan in a virtual machine without hyperthreads
        ([0x0400_4143, 0x03c0_003f, 0xfff], Some(2048)), // an emulator's 4 MiB for two
        ([0x1c00_4121, 0x01c0_003f, 0x03f], None),      // L1 data
        ([0x1c00_4122, 0x01c0_003f, 0x03f], None),      // L1 instructions
        ([0x0002_c163, 0x03c0_003f, 0x3fff], None),     // L3
        ([0x0000_0142, 0x01c0_003f, 0x3ff], None),      // instructions only
        ([0, 0, 0], None),
    ] {
        assert_eq!(l2_share(registers), wanted.map(|kib: usize| kib << 10), "{registers:x?}");
    }
    // More than a number of 64 bits can say.
    assert_eq!(believable(l2_share([0x143, u32::MAX, u32::MAX])), UNKNOWN);
}

#[test]
fn folders_of_linux_tell_a_threads_share() {
    let folder = std::env::temp_dir().join(format!("ayni-cache-{}", std::process::id()));
    let caches = [
        ("index0", "1", "Data", "64K", "0-3"),
        ("index1", "2", "Instruction", "512K", "0"),
        ("index2", "2", "Unified", "3072K", "0,4-5"),
        ("index3", "3", "Unified", "32768K", "0-7"),
    ];
    for (name, level, kind, size, list) in caches {
        std::fs::create_dir_all(folder.join(name)).unwrap();
        for (file, text) in [("level", level), ("type", kind), ("size", size), ("shared_cpu_list", list)] {
            std::fs::write(folder.join(name).join(file), format!("{text}\n")).unwrap();
        }
    }
    let of = |list: &str| {
        std::fs::write(folder.join("index2/shared_cpu_list"), list).unwrap();
        l2_share_in(&folder)
    };
    let found = [l2_share_in(&folder), of("7"), of("no list")];
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(found, [Some(1 << 20), Some(3 << 20), None]);
    assert_eq!(l2_share_in(&folder), None);
}

/// The kernel reads CPUID too, by code that is not ours. It counts only the threads that are switched on.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[test]
fn cpuid_is_read_as_linux_reads_it() {
    let cpus = std::fs::read_dir("/sys/devices/system/cpu").unwrap().flatten();
    let shares: Vec<usize> = cpus.filter_map(|cpu| l2_share_in(&cpu.path().join("cache"))).collect();
    match read() {
        Some(ours) => assert!(shares.iter().any(|share| share.is_multiple_of(ours)), "{ours} of {shares:?}"),
        None => assert!(shares.is_empty(), "{shares:?}"),
    }
}
