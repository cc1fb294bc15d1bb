//! What the policy costs around a backend that does nothing, and how fast streams are cut into events.

use ayni::backends::scripted::{Scripted, ScriptedConfig, ScriptedReply};
use ayni::http::{SseItem, SseParser};
use ayni::policy::Policy;
use ayni::{AnyChat, ChatRequest, Context, Error};
use bytes::Bytes;
use futures_util::StreamExt;

use crate::allocations;
use crate::report::{Report, Target, median, timed};

/// Runs every measurement.
pub(crate) fn run(quick: bool) -> Result<Report, Error> {
    let rounds = if quick { 9 } else { 31 };
    let mut report = Report::default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(|error| Error::config(format!("no runtime: {error}")))?;
    runtime.block_on(calls(&mut report, rounds))?;
    runtime.block_on(events(&mut report, rounds))?;
    parsing(&mut report, rounds)?;
    Ok(report)
}

/// One short question, bare and under the default policy.
async fn calls(report: &mut Report, rounds: usize) -> Result<(), Error> {
    const CALLS: u32 = 2_000;
    let bare = AnyChat::new(Scripted::default());
    let governed = Policy::default().chat(AnyChat::new(Scripted::default()), Vec::new())?;
    let cx = Context::new();
    let mut times = [Vec::new(), Vec::new()];
    let mut allocated = [0.0, 0.0];
    for _ in 0..rounds {
        for (which, chat) in [&bare, &governed].into_iter().enumerate() {
            let start = std::time::Instant::now();
            let before = allocations::count();
            for _ in 0..CALLS {
                chat.chat(&cx, ChatRequest::user("hola")).await?;
            }
            #[allow(clippy::cast_precision_loss)]
            {
                allocated[which] = (allocations::count() - before) as f64 / f64::from(CALLS);
            }
            times[which].push(start.elapsed().as_secs_f64() * 1e6 / f64::from(CALLS));
        }
    }
    let [bare_times, governed_times] = times;
    let (bare_time, governed_time) = (median(bare_times), median(governed_times));
    report.figure("call_scripted_bare", bare_time, "µs", Target::None);
    report.figure("call_scripted_with_policy", governed_time, "µs", Target::None);
    report.figure("policy_time_per_call", governed_time - bare_time, "µs", Target::AtMost(3.0));
    report.figure(
        "policy_allocations_per_call",
        allocated[1] - allocated[0],
        "allocations",
        Target::AtMost(12.0),
    );
    Ok(())
}

/// A long streamed answer, bare and under the default policy.
async fn events(report: &mut Report, rounds: usize) -> Result<(), Error> {
    const WORDS: usize = 20_000;
    let reply = ScriptedReply::new("palabra ".repeat(WORDS));
    let replies = vec![reply; rounds];
    let script = ScriptedConfig::default().with_replies(replies);
    let bare = AnyChat::new(Scripted::new(script.clone())?);
    let governed = Policy::default().chat(AnyChat::new(Scripted::new(script)?), Vec::new())?;
    let cx = Context::new();
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        for (which, chat) in [&bare, &governed].into_iter().enumerate() {
            let mut stream = chat.stream(&cx, ChatRequest::user("hola")).await?;
            let mut seen = 0_u32;
            let start = std::time::Instant::now();
            while let Some(event) = stream.next().await {
                event?;
                seen += 1;
            }
            times[which].push(start.elapsed().as_secs_f64() * 1e9 / f64::from(seen.max(1)));
        }
    }
    let [bare_times, governed_times] = times;
    let (bare_time, governed_time) = (median(bare_times), median(governed_times));
    report.figure("stream_event_bare", bare_time, "ns", Target::None);
    report.figure("stream_event_with_policy", governed_time, "ns", Target::AtMost(300.0));
    Ok(())
}

/// Chat-like frames in network-sized pieces.
fn parsing(report: &mut Report, rounds: usize) -> Result<(), Error> {
    const PIECE: usize = 16 << 10;
    let frame = "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"model\":\"m\",\"choices\":\
                 [{\"index\":0,\"delta\":{\"content\":\" palabra\"},\"finish_reason\":null}]}\n\n";
    let whole = Bytes::from(frame.repeat((32 << 20) / frame.len()));
    let expected = whole.len() / frame.len();
    let mut speeds = Vec::new();
    for _ in 0..rounds {
        let (time, events) = timed(|| {
            let mut parser = SseParser::new(1 << 20);
            let mut events = 0;
            for start in (0..whole.len()).step_by(PIECE) {
                parser.push(whole.slice(start..whole.len().min(start + PIECE)));
                events += parser.by_ref().filter(|item| matches!(item, Ok(SseItem::Event { .. }))).count();
            }
            events
        });
        if events != expected {
            return Err(Error::response_invalid(format!("{events} events where {expected} were sent")));
        }
        #[allow(clippy::cast_precision_loss)]
        speeds.push(whole.len() as f64 / time.as_secs_f64() / 1e6);
    }
    let speed = median(speeds);
    report.figure("sse_parsing", speed, "MB/s", Target::AtLeast(500.0));
    #[allow(clippy::cast_precision_loss)]
    report.ratio("sse_parsing_events_per_µs", speed / frame.len() as f64, Target::None);
    Ok(())
}
