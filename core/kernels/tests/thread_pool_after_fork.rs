//! A forked child has none of its parent's threads: the pool of the process must be made anew there.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(unsafe_code, reason = "there is no safe fork")]

use std::process::Command;
use std::sync::Barrier;

use ayni_kernels::Pool;

/// Set in the process that forks, so that nothing else runs in it.
const HELPER: &str = "AYNI_TEST_FORKS";

/// Whether two threads take a part each: every part waits for the other.
fn two_threads_work() -> bool {
    let Ok(pool) = Pool::of_process(Some(2)) else { return false };
    let both = Barrier::new(2);
    pool.parallel(2, |_| {
        both.wait();
    });
    pool.threads() == 2
}

#[test]
fn a_forked_child_computes_with_threads_of_its_own() {
    if std::env::var_os(HELPER).is_some() {
        return fork_and_compute();
    }
    let program = std::env::current_exe().unwrap();
    let status = Command::new(program).env(HELPER, "1").status().unwrap();
    assert!(status.success(), "{status}");
}

fn fork_and_compute() {
    assert!(two_threads_work());
    // SAFETY: the child only computes and leaves by `_exit`; an alarm ends either process if it hangs.
    unsafe {
        libc::alarm(60);
        let child = libc::fork();
        assert!(child >= 0, "fork failed");
        if child == 0 {
            libc::alarm(30);
            let works = (0..3).all(|_| two_threads_work());
            libc::_exit(if works { 0 } else { 1 });
        }
        let mut status = -1;
        assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
        assert_eq!(status, 0, "the child failed or hung");
    }
    assert!(two_threads_work(), "the parent's pool works on");
}
