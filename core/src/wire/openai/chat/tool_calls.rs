//! Tool calls put together from their chunks.

use std::collections::VecDeque;

use serde_json::Value;

use super::delta::ToolCallDelta;
use super::reasoning_details;
use crate::chat::{ChatEvent, ProviderData, ToolCall};
use crate::error::{Error, Result};

/// The tool calls of one response, in the order in which they began.
#[derive(Debug, Default)]
pub(super) struct ToolCallAssembly(Vec<PartialCall>);

#[derive(Debug)]
struct PartialCall {
    wire_index: Option<u64>,
    call: ToolCall,
    /// How many bytes of the arguments were reported; `None` before the call's name is known.
    reported: Option<usize>,
}

impl ToolCallAssembly {
    /// The calls of a whole response, each complete in itself.
    ///
    /// # Errors
    /// `response_invalid` if a call has no name.
    pub(super) fn whole(deltas: Vec<ToolCallDelta>) -> Result<Vec<ToolCall>> {
        let deltas = deltas.into_iter().enumerate();
        let call = |(index, delta): (usize, ToolCallDelta)| {
            let id = if delta.id.is_empty() { made_up_id(index) } else { delta.id };
            match delta.name.is_empty() {
                true => Err(nameless()),
                false => {
                    Ok(ToolCall::new(id, delta.name, delta.arguments).with_provider_data(delta.provider_data))
                }
            }
        };
        deltas.map(call).collect()
    }

    /// Adds a chunk and reports what is new about its call.
    pub(super) fn push(&mut self, delta: ToolCallDelta, events: &mut VecDeque<ChatEvent>) {
        let index = self.index_of(&delta).unwrap_or_else(|| {
            let call = ToolCall::default();
            self.0.push(PartialCall { wire_index: delta.index, call, reported: None });
            self.0.len() - 1
        });
        let Some(partial) = self.0.get_mut(index) else { return };
        let begun = partial.reported.is_some();
        if partial.call.id.is_empty() && !begun {
            partial.call.id = delta.id;
        }
        if partial.call.name.is_empty() {
            partial.call.name = delta.name;
        }
        partial.call.arguments.push_str(&delta.arguments);
        merge(&mut partial.call.provider_data, delta.provider_data);
        partial.report(index, events);
    }

    /// The call that a chunk continues; none if it begins another.
    fn index_of(&self, delta: &ToolCallDelta) -> Option<usize> {
        let found = match delta.index {
            Some(_) => self.0.iter().rposition(|partial| partial.wire_index == delta.index),
            // Without an index the name is what begins a call: some servers make up a new id for every chunk.
            None if !delta.id.is_empty() && !delta.name.is_empty() => {
                return self.0.iter().rposition(|partial| partial.call.id == delta.id);
            }
            None => self.0.len().checked_sub(1),
        }?;
        let call = &self.0.get(found)?.call;
        (!begins_another(delta, call)).then_some(found)
    }

    /// Reports the complete calls, at the end of the response.
    ///
    /// # Errors
    /// `response_invalid` if a call never got a name.
    pub(super) fn finish(&mut self, events: &mut VecDeque<ChatEvent>) -> Result<()> {
        for (index, partial) in std::mem::take(&mut self.0).into_iter().enumerate() {
            if partial.call.name.is_empty() {
                return Err(nameless());
            }
            events.push_back(ChatEvent::ToolCall { index, call: partial.call });
        }
        Ok(())
    }
}

/// Servers without indices, or with the same index for every call, begin a call by naming a tool. Others
/// repeat the name, or send a new id, in every chunk of one call.
fn begins_another(delta: &ToolCallDelta, call: &ToolCall) -> bool {
    if delta.name.is_empty() || call.name.is_empty() {
        return false;
    }
    let other_id = !delta.id.is_empty() && !call.id.is_empty() && delta.id != call.id;
    let other = delta.name != call.name || serde_json::from_str::<Value>(&call.arguments).is_ok();
    other && (other_id || delta.index.is_none())
}

impl PartialCall {
    fn report(&mut self, index: usize, events: &mut VecDeque<ChatEvent>) {
        if self.reported.is_none() && !self.call.name.is_empty() {
            if self.call.id.is_empty() {
                self.call.id = made_up_id(index);
            }
            let (id, name) = (self.call.id.clone(), self.call.name.clone());
            events.push_back(ChatEvent::ToolCallStarted { index, id, name });
            self.reported = Some(0);
        }
        let Some(reported) = self.reported else { return };
        let piece = self.call.arguments.get(reported..).unwrap_or_default().to_owned();
        if !piece.is_empty() {
            self.reported = Some(self.call.arguments.len());
            events.push_back(ChatEvent::ToolCallArguments { index, piece });
        }
    }
}

fn made_up_id(index: usize) -> String {
    format!("call_{index}")
}

fn nameless() -> Error {
    Error::response_invalid("the response calls a tool without naming it")
}

/// Merges later provider data: objects field by field, lists appended, anything else replaced.
pub(super) fn merge(into: &mut ProviderData, from: ProviderData) {
    for (name, value) in from {
        match (into.get_mut(&name), value) {
            (Some(Value::Array(old)), Value::Array(new)) if name == "reasoning_details" => {
                reasoning_details::merge(old, new);
            }
            (Some(Value::Object(old)), Value::Object(new)) => merge(old, new),
            (Some(Value::Array(old)), Value::Array(new)) => old.extend(new),
            (Some(old), new) => *old = new,
            (None, new) => {
                into.insert(name, new);
            }
        }
    }
}
