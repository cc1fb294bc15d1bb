//! Tool calls put together from their chunks.

use std::collections::VecDeque;

use serde_json::Value;

use super::piece::CallPiece;
use crate::chat::{ChatEvent, ProviderData, ToolCall};
use crate::error::{Error, Result};

/// The calls of one answer, in the order in which they began.
#[derive(Debug, Default)]
pub(in super::super) struct Calls(Vec<Slot>);

#[derive(Debug)]
struct Slot {
    wire_index: Option<u64>,
    call: ToolCall,
    /// How much of the arguments has been told; nothing before the call's name is known.
    told: Option<usize>,
}

impl Calls {
    /// The calls of a whole answer, each complete in itself.
    ///
    /// # Errors
    /// `response_invalid` if a call has no name.
    pub(in super::super) fn whole(pieces: Vec<CallPiece>) -> Result<Vec<ToolCall>> {
        let pieces = pieces.into_iter().enumerate();
        let call = |(index, piece): (usize, CallPiece)| {
            let id = if piece.id.is_empty() { made_up_id(index) } else { piece.id };
            match piece.name.is_empty() {
                true => Err(nameless()),
                false => {
                    Ok(ToolCall::new(id, piece.name, piece.arguments).with_provider_data(piece.provider_data))
                }
            }
        };
        pieces.map(call).collect()
    }

    /// Takes a chunk in and tells what is new about its call.
    pub(in super::super) fn push(&mut self, piece: CallPiece, events: &mut VecDeque<ChatEvent>) {
        let index = self.slot_of(&piece).unwrap_or_else(|| {
            let call = ToolCall::default();
            self.0.push(Slot { wire_index: piece.index, call, told: None });
            self.0.len() - 1
        });
        let Some(slot) = self.0.get_mut(index) else { return };
        let begun = slot.told.is_some();
        if slot.call.id.is_empty() && !begun {
            slot.call.id = piece.id;
        }
        if slot.call.name.is_empty() {
            slot.call.name = piece.name;
        }
        slot.call.arguments.push_str(&piece.arguments);
        merge(&mut slot.call.provider_data, piece.provider_data);
        slot.tell(index, events);
    }

    /// Which call a chunk goes on with; none if it begins another.
    fn slot_of(&self, piece: &CallPiece) -> Option<usize> {
        let found = match piece.index {
            Some(_) => self.0.iter().rposition(|slot| slot.wire_index == piece.index),
            // Without an index the name is what begins a call: some servers make up a new id for every chunk.
            None if !piece.id.is_empty() && !piece.name.is_empty() => {
                return self.0.iter().rposition(|slot| slot.call.id == piece.id);
            }
            None => self.0.len().checked_sub(1),
        }?;
        let call = &self.0.get(found)?.call;
        (!begins_another(piece, call)).then_some(found)
    }

    /// The complete calls, told at the end of the answer.
    ///
    /// # Errors
    /// `response_invalid` if a call never got a name.
    pub(in super::super) fn finish(&mut self, events: &mut VecDeque<ChatEvent>) -> Result<()> {
        for (index, slot) in std::mem::take(&mut self.0).into_iter().enumerate() {
            if slot.call.name.is_empty() {
                return Err(nameless());
            }
            events.push_back(ChatEvent::ToolCall { index, call: slot.call });
        }
        Ok(())
    }
}

/// Servers without indices, or with the same index for every call, begin a call by naming a tool. Others
/// repeat the name, or a new id, in every chunk of one call.
fn begins_another(piece: &CallPiece, call: &ToolCall) -> bool {
    if piece.name.is_empty() || call.name.is_empty() {
        return false;
    }
    let other_id = !piece.id.is_empty() && !call.id.is_empty() && piece.id != call.id;
    let other = piece.name != call.name || serde_json::from_str::<Value>(&call.arguments).is_ok();
    other && (other_id || piece.index.is_none())
}

impl Slot {
    fn tell(&mut self, index: usize, events: &mut VecDeque<ChatEvent>) {
        if self.told.is_none() && !self.call.name.is_empty() {
            if self.call.id.is_empty() {
                self.call.id = made_up_id(index);
            }
            let (id, name) = (self.call.id.clone(), self.call.name.clone());
            events.push_back(ChatEvent::ToolCallStarted { index, id, name });
            self.told = Some(0);
        }
        let Some(told) = self.told else { return };
        let piece = self.call.arguments.get(told..).unwrap_or_default().to_owned();
        if !piece.is_empty() {
            self.told = Some(self.call.arguments.len());
            events.push_back(ChatEvent::ToolCallArguments { index, piece });
        }
    }
}

fn made_up_id(index: usize) -> String {
    format!("call_{index}")
}

fn nameless() -> Error {
    Error::response_invalid("the answer calls a tool without naming it")
}

/// Takes later provider data in: objects field by field, lists one behind the other, anything else replaced.
pub(in super::super) fn merge(into: &mut ProviderData, from: ProviderData) {
    for (name, value) in from {
        match (into.get_mut(&name), value) {
            (Some(Value::Object(old)), Value::Object(new)) => merge(old, new),
            (Some(Value::Array(old)), Value::Array(new)) => old.extend(new),
            (Some(old), new) => *old = new,
            (None, new) => {
                into.insert(name, new);
            }
        }
    }
}
