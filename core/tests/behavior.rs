//! Runs the behaviour suite of `conformance/` on ayni's own backends. Whatever they answer must also follow
//! `docs/reference/answers.schema.json`, of which the types of the bindings are made.

use std::process::ExitCode;

use ayni_testkit::{Capability, Case};
use serde_json::Value;

#[path = "answers/mod.rs"]
mod answers;

fn main() -> ExitCode {
    let schemas = answers::Schemas::read();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/conformance");
    ayni_testkit::test_main_with(folder, ayni_testkit::open, move |case, outcome| {
        check(&schemas, case, outcome)
    })
}

/// Where answers, events and progress differ from their schemas.
fn check(schemas: &answers::Schemas, case: &Case, outcome: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let progress = outcome["progress"].as_array().into_iter().flatten();
    found.extend(progress.flat_map(|event| schemas.faults("Progress", event)));
    let outcomes = outcome["outcomes"].as_array().into_iter().flatten();
    for ((call, _), outcome) in case.calls().zip(outcomes) {
        let failed = outcome["error"]["events"].as_array().into_iter().flatten();
        found.extend(failed.flat_map(|event| schemas.faults("ChatEvent", event)));
        let Some(mut answer) = outcome.get("ok").cloned() else { continue };
        let definition = match (case.capability, call.operation.as_str()) {
            (Capability::Embed, "embed") => "EmbedResponse",
            (Capability::Chat | Capability::Modes, "chat" | "stream") => "ChatResponse",
            (Capability::Image, "generate" | "refine") => "ImageResponse",
            _ => {
                found
                    .extend(answer.get("route").into_iter().flat_map(|route| schemas.faults("Route", route)));
                continue;
            }
        };
        // The suite puts the events of a stream beside what they come to.
        let events = answer.as_object_mut().and_then(|fields| fields.remove("events"));
        let events = events.iter().filter_map(Value::as_array).flatten();
        found.extend(events.flat_map(|event| schemas.faults("ChatEvent", event)));
        found.extend(schemas.faults(definition, &answer));
    }
    found
}
