//! Which provider serves a model, and under which id: the Hub's mapping, cached for a while.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::Mutex;

use super::providers::{self, AUTO, HF_INFERENCE};
use super::space::encode_path;
use crate::context::Context;
use crate::error::{Error, ErrorKind, Result, Sent};
use crate::http::client::ApiClient;

/// How long a mapping is cached. Providers come and go within hours; a wrong mapping is dropped at once.
const KEPT: Duration = Duration::from_secs(600);

/// What a model does, as the Hub names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    TextGeneration,
    FeatureExtraction,
    TextToImage,
    ImageToImage,
}

impl Task {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::TextGeneration => "text-generation",
            Self::FeatureExtraction => "feature-extraction",
            Self::TextToImage => "text-to-image",
            Self::ImageToImage => "image-to-image",
        }
    }

    /// Whether `task` of the mapping is this one. At hf-inference two tasks count as the same.
    fn is_served_by(self, task: &str, provider: &str) -> bool {
        task == self.as_str()
            || (self == Self::FeatureExtraction && task == "sentence-similarity" && provider == HF_INFERENCE)
    }
}

/// One provider of a model.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct MappingEntry {
    pub(super) provider: String,
    pub(super) model: String,
    pub(super) task: String,
    pub(super) status: String,
    /// The file of LoRA weights in the model's repository, where the model is an adapter.
    pub(super) adapter_weights: Option<String>,
}

/// The mapping of one model, looked up when it is first needed.
#[derive(Debug, Default)]
pub(super) struct Mapping(Mutex<Option<(Instant, Arc<[MappingEntry]>)>>);

impl Mapping {
    /// The provider that serves `model` for `task`. Concurrent calls share one look-up.
    pub(super) async fn find(
        &self,
        cx: &Context,
        hub: &ApiClient,
        (model, provider): (&str, &str),
        task: Task,
    ) -> Result<MappingEntry> {
        let (entries, is_new) = cx.guard(self.entries(cx, hub, model)).await?;
        let entry = match provider {
            AUTO => first(&entries, model, task)?,
            provider => named(&entries, model, provider, task)?,
        };
        if is_new && entry.status != "live" {
            let (provider, status) = (&entry.provider, &entry.status);
            tracing::warn!(
                provider,
                model,
                status,
                "the Hub does not list the provider as live for the model"
            );
        }
        Ok(entry)
    }

    /// The mapping, and whether it was looked up for this call.
    async fn entries(
        &self,
        cx: &Context,
        hub: &ApiClient,
        model: &str,
    ) -> Result<(Arc<[MappingEntry]>, bool)> {
        let mut kept = self.0.lock().await;
        let now = cx.clock().now();
        match &*kept {
            Some((since, entries)) if now.saturating_duration_since(*since) < KEPT => {
                Ok((Arc::clone(entries), false))
            }
            _ => {
                let entries = look_up(cx, hub, model).await?;
                *kept = Some((now, Arc::clone(&entries)));
                Ok((entries, true))
            }
        }
    }

    /// Forgets the mapping, because a provider said that it is wrong.
    pub(super) async fn forget(&self) {
        *self.0.lock().await = None;
    }
}

async fn look_up(cx: &Context, hub: &ApiClient, model: &str) -> Result<Arc<[MappingEntry]>> {
    let path = format!("/api/models/{}?expand[]=inferenceProviderMapping", encode_path(model));
    let answer = hub.get(&path).json_reply::<Value>(cx).await;
    // The request itself was not sent, so a retry repeats nothing.
    let value = answer
        .map_err(|error| error.with_context("looked_up", "provider mapping").with_sent(Sent::No))?
        .value;
    Ok(read(value.get("inferenceProviderMapping").unwrap_or(&Value::Null)).into())
}

/// The entries in either of the two forms: an object by provider, or a list. Entries without a
/// provider or a model are skipped.
pub(super) fn read(mapping: &Value) -> Vec<MappingEntry> {
    let entry = |provider: Option<&str>, value: &Value| {
        let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
        Some(MappingEntry {
            provider: provider.map(str::to_owned).or_else(|| text("provider"))?,
            model: text("providerId")?,
            task: text("task").unwrap_or_default(),
            status: text("status").unwrap_or_else(|| "live".to_owned()),
            adapter_weights: text("adapterWeightsPath"),
        })
    };
    match mapping {
        Value::Object(by_provider) => {
            by_provider.iter().filter_map(|(provider, value)| entry(Some(provider), value)).collect()
        }
        Value::Array(list) => list.iter().filter_map(|value| entry(None, value)).collect(),
        _ => Vec::new(),
    }
}

/// The first entry that does the task and that ayni can call; entries that the Hub reports as broken come last.
fn first(entries: &[MappingEntry], model: &str, task: Task) -> Result<MappingEntry> {
    let fits = |entry: &&MappingEntry| {
        task.is_served_by(&entry.task, &entry.provider) && providers::serves(&entry.provider, task)
    };
    let sound = entries.iter().filter(fits).find(|entry| entry.status != "error");
    let entry = sound.or_else(|| entries.iter().find(fits));
    entry.cloned().ok_or_else(|| not_served(entries, model, task, None))
}

fn named(entries: &[MappingEntry], model: &str, provider: &str, task: Task) -> Result<MappingEntry> {
    let of_provider: Vec<&MappingEntry> = entries.iter().filter(|entry| entry.provider == provider).collect();
    let fitting = of_provider.iter().find(|entry| task.is_served_by(&entry.task, provider));
    match (fitting, of_provider.first()) {
        (Some(entry), _) => Ok((*entry).clone()),
        (None, Some(other)) => Err(Error::unsupported(format!(
            "provider '{provider}' serves model '{model}' for {}, not for {}",
            other.task,
            task.as_str()
        ))),
        (None, None) => Err(not_served(entries, model, task, Some(provider))),
    }
}

fn not_served(entries: &[MappingEntry], model: &str, task: Task, provider: Option<&str>) -> Error {
    let fitting = entries.iter().filter(|entry| task.is_served_by(&entry.task, &entry.provider));
    let others: Vec<&str> = fitting.map(|entry| entry.provider.as_str()).collect();
    let who = provider
        .map_or("no provider that ayni can call".to_owned(), |name| format!("provider '{name}' does not"));
    let verb = if provider.is_some() { "serve" } else { "serves" };
    let rest = if others.is_empty() {
        "the Hub names none".to_owned()
    } else {
        format!("the Hub names {}", others.join(", "))
    };
    Error::new(ErrorKind::NotFound, format!("{who} {verb} model '{model}' for {}; {rest}", task.as_str()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_forms_of_a_mapping_read_the_same_and_damaged_entries_are_skipped() {
        let object = json!({
            "together": {"status": "live", "providerId": "a/b", "task": "text-to-image"},
            "some-new-provider": {"status": "staging", "providerId": "c", "task": "text-to-image", "extra": 1},
            "damaged": {"status": "live"},
        });
        let list = json!([
            {"provider": "together", "status": "live", "providerId": "a/b", "task": "text-to-image"},
            {"provider": "some-new-provider", "status": "staging", "providerId": "c", "task": "text-to-image"},
            {"status": "live", "providerId": "nobody"},
            7,
        ]);
        let read_object = read(&object);
        assert_eq!(read_object, read(&list));
        assert_eq!(read_object.len(), 2);
        assert_eq!(read(&Value::Null), []);
    }

    #[test]
    fn auto_takes_the_first_known_provider_of_the_task_and_a_broken_one_only_last() {
        let entry = |provider: &str, task: &str, status: &str| MappingEntry {
            provider: provider.into(),
            model: "m".into(),
            task: task.into(),
            status: status.into(),
            adapter_weights: None,
        };
        let entries = [
            entry("some-new-provider", "text-to-image", "live"),
            entry("replicate", "text-to-video", "live"),
            entry("together", "text-to-image", "error"),
            entry("fal-ai", "text-to-image", "live"),
        ];
        assert_eq!(first(&entries, "m", Task::TextToImage).expect("one").provider, "fal-ai");
        assert_eq!(first(&entries[..3], "m", Task::TextToImage).expect("one").provider, "together");
        let error = first(&entries[..2], "m", Task::TextToImage).expect_err("none");
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.message().contains("some-new-provider"), "{error}");
    }
}
