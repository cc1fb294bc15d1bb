//! A forked child has the model of its parent, but not the thread that it worked on: it gets a new one.
#![cfg(all(unix, feature = "candle"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(unsafe_code, reason = "there is no safe fork")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use ayni::local::{LocalEmbedder, LocalEmbedderConfig};
use ayni::{AnyEmbedder, Context, Environment};

fn embed(embedder: &AnyEmbedder) -> Vec<f32> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(embedder.embed_text(&Context::new(), "the road")).unwrap()
}

// The only test of this file: nothing else runs in the process that forks.
#[test]
fn a_forked_child_embeds_with_the_model_of_its_parent() {
    let base = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/repositories/base");
    let embedder = AnyEmbedder::new(
        LocalEmbedder::open(&LocalEmbedderConfig::new(base), &Environment::empty()).unwrap(),
    );
    let before = embed(&embedder);
    // SAFETY: the child uses nothing that another thread of the parent may hold, and leaves by `_exit`.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let same = catch_unwind(AssertUnwindSafe(|| embed(&embedder) == before));
        // SAFETY: ends the child at once.
        unsafe { libc::_exit(i32::from(!matches!(same, Ok(true)))) };
    }
    let (mut status, start) = (0, Instant::now());
    // SAFETY: `status` outlives the call.
    while unsafe { libc::waitpid(child, &raw mut status, libc::WNOHANG) } != child {
        assert!(start.elapsed() < Duration::from_secs(60), "the child hangs");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(status, 0);
    assert_eq!(embed(&embedder), before);
}
