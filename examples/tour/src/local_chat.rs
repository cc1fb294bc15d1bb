//! The triage question, answered by a real model in this process.

use std::time::Instant;

use ayni::local::LocalChatConfig;
use ayni::{ChatConfig, ChatEvent, ChatRequest, Context, Result, Setup};
use futures_util::StreamExt;

use crate::models::folder_of;
use crate::show;

const FILE: &str = "SmolLM2-135M-Instruct.Q4_1.gguf";

const INSTRUCTION: &str = "You answer a patient from the summary of their record. Summary: Ana takes metformin 500 mg twice a \
     day and lisinopril 10 mg once a day.";

/// A streamed answer with route, latency and speed.
pub(crate) async fn triage() -> Result<()> {
    show::section(
        "Chat in this process",
        "SmolLM2-135M from a GGUF file: the smallest model that talks, not one to trust",
    );
    let Some(folder) = folder_of("smollm2-135m-instruct", FILE) else { return Ok(()) };
    let file = folder.join(FILE);
    let cx = Context::new();
    let start = Instant::now();
    let config = LocalChatConfig::new(file.display().to_string()).with_device("cpu");
    let chat = ayni::open_chat(Setup::<ChatConfig>::new(config))?;
    chat.ready(&cx).await?;
    show::fact("loaded", format!("{:.0} ms", start.elapsed().as_secs_f64() * 1e3));
    let request = ChatRequest::user("What medications am I taking?")
        .with_system(INSTRUCTION)
        .with_temperature(0.0)
        .with_max_tokens(64);
    let start = Instant::now();
    let mut events = chat.stream(&cx, request).await?;
    let (mut answer, mut first) = (String::new(), None);
    while let Some(event) = events.next().await {
        match event? {
            ChatEvent::Started { route } => {
                show::fact("served by", format!("{} / {}", route.backend, route.model));
            }
            ChatEvent::Text(piece) => {
                first.get_or_insert_with(Instant::now);
                answer.push_str(&piece);
            }
            ChatEvent::Finish { reason, usage, .. } => {
                show::fact("answer", answer.trim());
                let first = first.unwrap_or_else(Instant::now);
                show::fact("first piece after", format!("{:.0} ms", (first - start).as_secs_f64() * 1e3));
                let written = usage.output_tokens.and_then(|tokens| u32::try_from(tokens).ok()).unwrap_or(0);
                let speed = f64::from(written) / first.elapsed().as_secs_f64().max(1e-3);
                show::fact("finished", format!("{}; {written} tokens, {speed:.0} a second", reason.as_str()));
            }
            _ => {}
        }
    }
    Ok(())
}
