//! A step of the model's thread: which tokens of which conversations are computed together, and what becomes of the logits.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::conversation::Conversation;
use super::model::ChatModel;
use super::scheduler::Line;
use super::speculation::MOST_GUESSED;
use crate::error::Result;
use crate::local::models::{Cached, TextCache, Tokens};
use crate::local::ops::Tensor;
use crate::local::runtime::thread_lost;

/// Tokens of prompts in a step that answers wait for.
const PREFILL_BESIDE_ANSWERS: usize = 256;

/// Tokens of prompts in a step without answers.
const PREFILL_ALONE: usize = 512;

/// A prompt gets at least so many tokens of a step.
const MIN_PIECE: usize = 32;

/// Tokens of answers in a step with guesses: more take much longer than one.
const ROWS_WITH_GUESSES: usize = 10;

/// What a conversation gets of a step; nothing if it finds no room.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) tokens: Vec<u32>,
    /// How many of these are guesses, at the end.
    guessed: usize,
}

impl Line<'_> {
    /// Computes one step.
    pub(super) fn step(&mut self) {
        // Answers first, as the kernels want them.
        self.running.sort_by_key(|conversation| !conversation.is_decoding());
        let mut pieces = self.pieces();
        self.make_room(&mut pieces);
        let members: Vec<usize> =
            (0..pieces.len()).filter(|index| !pieces[*index].tokens.is_empty()).collect();
        let answers = self.running.iter().take_while(|conversation| conversation.is_decoding()).count();
        let before: Vec<usize> = self.running.iter().map(Conversation::tokens).collect();
        let start = Instant::now();
        if self.compute(&members, &pieces).is_err() && members.len() > 1 {
            // Whoever's fault it is: alone, the others go on with the same bits.
            for member in &members {
                if let Err(error) = self.compute(&[*member], &pieces) {
                    self.running[*member].fail(error);
                }
            }
        } else if answers == pieces.len() {
            let time = start.elapsed();
            for ((conversation, piece), before) in self.running.iter_mut().zip(&pieces).zip(before) {
                conversation.speculation.took(time, conversation.tokens() - before, piece.guessed);
            }
        }
        // Prompts that were first are last the next time.
        if self.running.len() > answers + 1 {
            self.running[answers..].rotate_left(1);
        }
    }

    /// The piece of each; prompts that find no room wait for the next step.
    fn pieces(&mut self) -> Vec<Piece> {
        let answers = self.running.iter().take_while(|conversation| conversation.is_decoding()).count();
        let budget = if answers > 0 { PREFILL_BESIDE_ANSWERS } else { PREFILL_ALONE };
        let prompts = self.running.len() - answers;
        let piece = (budget / prompts.max(1)).max(MIN_PIECE);
        let guesses = ROWS_WITH_GUESSES.saturating_sub(answers) / answers.max(1);
        let mut rest = budget;
        let of = |conversation: &mut Conversation| {
            let is_decoding = conversation.is_decoding();
            let (tokens, guessed) = conversation.next_tokens(piece.min(rest), guesses.min(MOST_GUESSED));
            // An image is not cut: the last piece of a step may be longer than the rest by one.
            rest = rest.saturating_sub(if is_decoding { 0 } else { tokens.len() });
            Piece { tokens, guessed }
        };
        self.running.iter_mut().map(of).collect()
    }

    /// Computes some conversations together, by the pieces that they get. If that fails they are as they were; a single
    /// one ends with the error.
    fn compute(&mut self, members: &[usize], pieces: &[Piece]) -> Result<()> {
        let mut chosen: Vec<&mut Conversation> = Vec::new();
        for (index, conversation) in self.running.iter_mut().enumerate() {
            if members.contains(&index) {
                chosen.push(conversation);
            }
        }
        let pieces: Vec<&Piece> = members.iter().map(|member| &pieces[*member]).collect();
        let known: Vec<usize> = chosen.iter().map(|conversation| conversation.known()).collect();
        let computed = catch_unwind(AssertUnwindSafe(|| logits(self.model, &mut chosen, &pieces)));
        let computed = computed.unwrap_or_else(|_| Err(thread_lost())).and_then(|(logits, rows)| {
            let width = self.model.model.vocab_size();
            let values = logits.values()?;
            let mut next: Vec<Vec<&[f32]>> = vec![Vec::new(); chosen.len()];
            for (logits, (member, place)) in values.chunks_exact(width.max(1)).zip(rows) {
                match place {
                    Some(place) => chosen[member].score(place, logits, &self.model.tokenizer),
                    None => next[member].push(logits),
                }
            }
            let with_logits =
                chosen.iter_mut().zip(&pieces).zip(next).filter(|(_, logits)| !logits.is_empty());
            let mut answers: Vec<_> = with_logits.collect();
            // Choosing tokens takes a while with large vocabularies and grammars.
            self.model.device.cpu.pool.parallel_chunks(&mut answers, 1, |_, answers| {
                for ((conversation, piece), logits) in answers {
                    advance(conversation, piece, logits, self.model);
                }
            });
            Ok(())
        });
        if let Err(error) = computed {
            for (conversation, known) in chosen.iter_mut().zip(known) {
                conversation.cache.truncate(known);
            }
            match chosen.as_mut_slice() {
                [only] => only.fail(error),
                _ => return Err(error),
            }
        }
        Ok(())
    }
}

/// Goes on by a token, and by those that were guessed right; whatever breaks, breaks this conversation alone.
fn advance(conversation: &mut Conversation, piece: &Piece, logits: &[&[f32]], model: &ChatModel) {
    let guesses = &piece.tokens[piece.tokens.len() - piece.guessed..];
    let advanced = catch_unwind(AssertUnwindSafe(|| {
        for (number, logits) in logits.iter().enumerate() {
            conversation.advance(logits, &model.tokenizer);
            // The next logits follow the guess.
            if conversation.is_over() || conversation.last() != guesses.get(number).copied() {
                break;
            }
            model.counts.guessed.fetch_add(1, Ordering::Relaxed);
        }
        if piece.guessed > 0 {
            conversation.cache.truncate(conversation.tokens() - 1);
        }
    }));
    if advanced.is_err() {
        conversation.fail(thread_lost());
    }
}

/// Whose logits a row has, and of which token of the prompt; without one, of the next token of the answer.
type Row = (usize, Option<usize>);

/// The logits of those whose prompt is complete, and of prompts that are scored.
fn logits(
    model: &ChatModel,
    chosen: &mut [&mut Conversation],
    pieces: &[&Piece],
) -> Result<(Tensor, Vec<Row>)> {
    let mut tokens = Tokens::new(pieces.iter().map(|piece| &piece.tokens[..]));
    let (mut rows, mut members, mut end) = (Vec::new(), Vec::new(), 0_u32);
    for (member, (conversation, piece)) in chosen.iter().zip(pieces).enumerate() {
        let (known, length, start) = (conversation.known(), piece.tokens.len(), end);
        end += u32::try_from(length).unwrap_or(u32::MAX);
        if !conversation.is_decoding() {
            for image in conversation.images_in(known..known + length) {
                tokens.put_image(start as usize + image.tokens.start - known, image.states.clone());
            }
        }
        if conversation.job.scores_prompt && !conversation.is_decoding() {
            let places = (known + 1..conversation.job.prompt.len()).take(length);
            members.extend(places.clone().map(|place| (member, Some(place))));
            rows.extend((start..).take(places.len()));
        }
        // From the last token that is certain on.
        let first = conversation.tokens() - 1 - known;
        let count = length.saturating_sub(first);
        rows.extend((start..end).skip(first));
        members.extend(std::iter::repeat_n((member, None), count));
    }
    let decoding = chosen.iter().take_while(|conversation| conversation.is_decoding()).count();
    let mut caches: Vec<&mut TextCache> =
        chosen.iter_mut().map(|conversation| &mut conversation.cache).collect();
    let cached = Cached { caches: &mut caches, decoding };
    let logits = model.model.logits(&tokens, Some(cached), &rows)?;
    Ok((logits, members))
}
