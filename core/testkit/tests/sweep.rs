//! A sweep finds what breaks a process: here four attempts do, each in its own way, and the others are done all the same.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::process::ExitCode;
use std::time::Duration;

use ayni_testkit::fuzz::Sweep;

const ATTEMPTS: u64 = 12;

fn main() -> ExitCode {
    if let Some(code) = Sweep::child(attempt) {
        return code;
    }
    let mut sweep = Sweep::new(1, ATTEMPTS);
    (sweep.timeout, sweep.max_bytes, sweep.children) = (Duration::from_secs(2), 100 << 20, 2);
    let report = sweep.run().unwrap();
    let found: Vec<u64> = report.findings.iter().map(|(number, _)| *number).collect();
    // Memory is counted by Linux only.
    let expected: &[u64] = if cfg!(target_os = "linux") { &[3, 5, 7, 8, 9] } else { &[3, 5, 7, 8] };
    assert_eq!(found, expected, "{:?}", report.findings);
    for (number, says) in
        [(3, "ended the process"), (5, "more than 2s"), (7, "ended the process"), (8, "a promise")]
    {
        let (_, what) = report.findings.iter().find(|(found, _)| *found == number).unwrap();
        assert!(what.contains(says), "{number}: {what}");
    }
    assert_eq!(report.outcomes.get("fine"), Some(&(ATTEMPTS - expected.len() as u64)));
    ExitCode::SUCCESS
}

fn attempt(seed: u64, number: u64) -> Result<String, String> {
    assert_eq!(seed, 1);
    match number {
        3 => std::process::abort(),
        5 => loop {
            std::thread::park();
        },
        7 => Err(format!("{:?}", std::panic::catch_unwind(|| panic!("caught, but not everywhere")))),
        8 => Err("a promise is broken".to_owned()),
        9 => Ok(vec![number; 25 << 20].iter().map(|_| "").collect::<String>() + "fine"),
        _ => Ok("fine".to_owned()),
    }
}
