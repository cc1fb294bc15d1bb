//! A minute of random requests to the real SmolLM2-135M: some are cancelled, some are dropped, some run out of time. Each prompt
//! has a number that its answer must echo through a grammar, so an answer in the wrong conversation is seen. `make models` fetches
//! the model; `AYNI_SOAK_SECONDS=3600` makes it an hour.
#![cfg(feature = "candle")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ayni::local::LocalChatConfig;
use ayni::{AnyChat, Cancellation, ChatRequest, Context, Environment, ErrorKind};
use ayni_testkit::real_models::smollm2;
use futures_util::StreamExt;
use futures_util::future::join_all;

/// Callers at once: more than the model answers at a time, fewer than it lets in.
const CALLERS: u64 = 10;
const RUNNING: usize = 4;
const QUEUED: usize = 4;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((x ^ (x >> 31)) % end as u64).unwrap()
    }
}

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().split(' ').next()?.parse().ok()).unwrap_or(0)
}

#[derive(Debug, Default)]
struct Seen {
    whole: AtomicUsize,
    cancelled: AtomicUsize,
    dropped: AtomicUsize,
    late: AtomicUsize,
    sent_away: AtomicUsize,
}

fn count(counter: &AtomicUsize) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// A question whose answer holds `nonce`, between texts that the model chooses.
fn question(random: &mut Random, nonce: u64) -> ChatRequest {
    // Some share their beginning, some are long.
    let start = [
        "Be brief.",
        "You are a patient teacher who answers in plain words and never lies, whatever is asked.",
    ];
    let padding = "The road to the sea is long. ".repeat(random.below(12));
    let start = start[random.below(2)];
    let mut request = ChatRequest::user(format!("{padding}Say the number {nonce}."))
        .with_system(start)
        .with_max_tokens(40)
        .with_seed(nonce)
        .with_extra("guided_regex", format!("[a-z ]{{0,12}}N{nonce}[a-z ]{{0,12}}"));
    request.temperature = Some(if random.below(2) == 0 { 0.0 } else { 1.2 });
    request
}

/// One request, and what becomes of it.
async fn call(chat: &AnyChat, seen: &Seen, random: &mut Random, nonce: u64) {
    let request = question(random, nonce);
    let cancellation = Cancellation::new();
    let way = random.below(8);
    let cx = Context::new().with_cancellation(cancellation.clone());
    let cx = if way == 2 { cx.with_timeout(Duration::from_millis(30)) } else { cx };
    let mut stream = match chat.stream(&cx, request).await {
        Ok(stream) => stream,
        Err(error) => {
            match error.kind() {
                ErrorKind::RateLimited => count(&seen.sent_away),
                ErrorKind::Timeout => count(&seen.late),
                other => panic!("{other:?}: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
            return;
        }
    };
    let (mut text, stops_after) = (String::new(), random.below(6));
    let mut events = 0;
    while let Some(event) = stream.next().await {
        match event {
            Ok(ayni::ChatEvent::Text(piece)) => text.push_str(&piece),
            Ok(_) => {}
            Err(error) => {
                match (way, error.kind()) {
                    (0, ErrorKind::Cancelled) => count(&seen.cancelled),
                    (2, ErrorKind::Timeout) => count(&seen.late),
                    (_, other) => panic!("{other:?}: {error}"),
                }
                return;
            }
        }
        events += 1;
        if events > stops_after && way == 0 {
            cancellation.cancel();
        }
        if events > stops_after && way == 1 {
            count(&seen.dropped);
            return;
        }
    }
    assert!(text.contains(&format!("N{nonce}")), "the answer to {nonce} is {text:?}");
    count(&seen.whole);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_minute_of_everything_leaves_nothing_behind() {
    let seconds = std::env::var("AYNI_SOAK_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(60);
    let config = LocalChatConfig::new(smollm2().to_str().unwrap())
        .with_device("cpu")
        .with_context(512)
        .with_cache_bytes(32 << 20)
        .with_max_running(RUNNING)
        .with_max_queued(QUEUED);
    let chat = config.open(&Environment::empty()).unwrap();
    chat.ready(&Context::new()).await.unwrap();
    let (seen, start) = (Seen::default(), Instant::now());
    let total = Duration::from_secs(seconds);
    let half = AtomicUsize::new(0);
    let callers = (0..CALLERS).map(|caller| {
        let (chat, seen, half) = (&chat, &seen, &half);
        async move {
            let mut random = Random(20_261_129 + caller);
            for turn in 0.. {
                if start.elapsed() >= total {
                    return;
                }
                if caller == 0 && start.elapsed() >= total / 2 && half.load(Ordering::Relaxed) == 0 {
                    half.store(usize::try_from(resident()).unwrap(), Ordering::Relaxed);
                }
                call(chat, seen, &mut random, caller * 100_000 + turn).await;
            }
        }
    });
    join_all(callers).await;
    println!("{seen:?}, {} KiB at the half, {} KiB at the end", half.load(Ordering::Relaxed), resident());
    for counter in [&seen.whole, &seen.cancelled, &seen.dropped, &seen.late, &seen.sent_away] {
        assert!(counter.load(Ordering::Relaxed) > 0, "{seen:?}");
    }
    // Every place is free again: as many as ever fit are let in at once, and all are answered.
    let cx = Context::new();
    let all = (0..RUNNING + QUEUED).map(|_| chat.chat(&cx, ChatRequest::user("hi").with_max_tokens(2)));
    for answer in join_all(all).await {
        answer.unwrap();
    }
    let (half, end) = (half.load(Ordering::Relaxed), usize::try_from(resident()).unwrap());
    assert!(end as f64 <= half as f64 * 1.1, "memory grew from {half} to {end} KiB");
}
