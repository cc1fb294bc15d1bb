//! Answers that keep to a grammar: JSON that follows a schema, a regular expression, Lark, and calls of tools.
//!
//! Everything here is fail-closed: what can't be enforced is an error before the first token, and an error later ends the
//! answer. Grammars are compiled within [`limits`], once for each tokenizer, and kept.

mod lark;
mod schema;
mod vocabulary;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use llguidance::api::{ParserLimits, TopLevelGrammar};
use llguidance::toktrie::{InferenceCapabilities, SimpleVob};
use llguidance::{Matcher, ParserFactory};
use sha2::{Digest, Sha256};

use super::output::Dialect;
use super::stack::within;
use crate::chat::ChatRequest;
use crate::error::{Error, ErrorKind, Result};
use crate::local::tokenizer::{ChatTokenizer, Prompt};

/// How many compiled grammars are kept.
const MAX_KEPT: usize = 32;

/// The most bytes of a grammar: a schema of this size has thousands of fields.
const MAX_BYTES: usize = 256 << 10;

/// How long a grammar may take to compile. Real ones take milliseconds.
const COMPILE_TIMEOUT: Duration = Duration::from_secs(10);

/// What compiling a grammar and computing a mask may cost.
fn limits() -> ParserLimits {
    ParserLimits {
        max_items_in_row: 2_000,
        initial_lexer_fuel: 500_000,
        step_lexer_fuel: 200_000,
        step_max_items: 50_000,
        max_lexer_states: 50_000,
        max_grammar_size: 200_000,
        precompute_large_lexemes: true,
        // Errors would show the answer so far.
        verbose_errors: false,
    }
}

/// The grammars of one tokenizer. Shared by all threads.
pub(crate) struct Grammars {
    tokenizer: Arc<ChatTokenizer>,
    /// Made with the first grammar: it takes tens of milliseconds.
    factory: OnceLock<Result<Arc<ParserFactory>, String>>,
    /// Compiled and untouched, by the hash of their source; the last used is the last.
    kept: Mutex<Vec<([u8; 32], Matcher)>>,
}

impl Grammars {
    /// No grammar yet.
    pub(crate) fn new(tokenizer: Arc<ChatTokenizer>) -> Self {
        Self { tokenizer, factory: OnceLock::new(), kept: Mutex::new(Vec::new()) }
    }

    /// What the answer to `request` must keep to; nothing where it is free.
    ///
    /// Compiles what is not kept yet: call it where waiting does not hold up others.
    ///
    /// # Errors
    /// `invalid_request` for a schema or grammar that is wrong, too large, or not supported; `unsupported` for calls of tools
    /// that must be made by a model whose way to call them is not known.
    pub(crate) fn constraint(
        &self,
        request: &ChatRequest,
        dialect: &Dialect,
        prompt: &Prompt,
    ) -> Result<Option<Constraint>> {
        let Some(source) = lark::source(request, dialect, prompt, &self.tokenizer)? else { return Ok(None) };
        if source.len() > MAX_BYTES {
            return Err(Error::invalid_request(format!(
                "the grammar of the answer has {} bytes, {MAX_BYTES} are allowed",
                source.len()
            )));
        }
        let key: [u8; 32] = Sha256::digest(source.as_bytes()).into();
        let matcher = match self.kept(&key) {
            Some(matcher) => matcher,
            None => {
                let matcher = self.compile(source)?;
                let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
                if kept.len() >= MAX_KEPT {
                    kept.remove(0);
                }
                kept.push((key, matcher.deep_clone()));
                matcher
            }
        };
        Ok(Some(Constraint { matcher, mask: None }))
    }

    fn kept(&self, key: &[u8; 32]) -> Option<Matcher> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let at = kept.iter().position(|(kept, _)| kept == key)?;
        let entry = kept.remove(at);
        let matcher = entry.1.deep_clone();
        kept.push(entry);
        Some(matcher)
    }

    fn compile(&self, source: String) -> Result<Matcher> {
        let factory = self.factory.get_or_init(|| self.make_factory());
        let factory = factory.as_ref().map_err(|why| {
            Error::new(ErrorKind::ModelLoad, format!("the model's tokenizer takes no grammars: {why}"))
        })?;
        let factory = Arc::clone(factory);
        let compiled = within(COMPILE_TIMEOUT, move || {
            let matcher = Matcher::new(factory.create_parser(TopLevelGrammar::from_lark(source)));
            let failure = matcher.get_error();
            (matcher, failure)
        })?;
        match compiled {
            Some((matcher, None)) => Ok(matcher),
            Some((_, Some(why))) => Err(refused(&why)),
            None => Err(refused("its grammar is too complex to be compiled")),
        }
    }

    fn make_factory(&self) -> Result<Arc<ParserFactory>, String> {
        let made = catch_unwind(AssertUnwindSafe(|| {
            let slices = llguidance::earley::SlicedBiasComputer::general_slices();
            ParserFactory::new(
                &vocabulary::environment(&self.tokenizer)?,
                InferenceCapabilities::default(),
                &slices,
            )
            .map_err(|error| error.to_string())
        }));
        let mut factory = made.unwrap_or_else(|_| Err("its vocabulary is damaged".to_owned()))?;
        factory.quiet();
        *factory.limits_mut() = limits();
        Ok(Arc::new(factory))
    }
}

fn refused(why: &str) -> Error {
    let first: String = why.lines().next().unwrap_or_default().chars().take(300).collect();
    Error::invalid_request(format!("the format of the answer can't be enforced: {first}"))
}

impl fmt::Debug for Grammars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grammars").field("is_ready", &self.factory.get().is_some()).finish_non_exhaustive()
    }
}

/// Which tokens may come next.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct TokenMask(SimpleVob);

impl TokenMask {
    /// A bit for each token. Rows of the model beyond the vocabulary have none.
    pub(crate) fn words(&self) -> &[u32] {
        self.0.as_slice()
    }

    /// Whether a token may come next.
    #[cfg(test)]
    pub(crate) fn allows(&self, token: u32) -> bool {
        (token as usize) < self.0.len() && self.0.is_allowed(token)
    }

    /// The tokens that may come next, in order.
    #[cfg(test)]
    pub(crate) fn tokens(&self) -> impl Iterator<Item = u32> {
        self.0.iter()
    }
}

impl fmt::Debug for TokenMask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenMask({} of {})", self.0.num_set(), self.0.len())
    }
}

/// What one answer must keep to, and how far it has come.
#[derive(Clone)]
pub(crate) struct Constraint {
    matcher: Matcher,
    /// The mask of the present state, once it was asked for.
    mask: Option<TokenMask>,
}

impl Constraint {
    /// The tokens that may come next. Never empty: an answer that is complete may only end.
    ///
    /// # Errors
    /// `invalid_request` if the grammar costs more than is allowed at this point.
    pub(crate) fn mask(&mut self) -> Result<&TokenMask> {
        let mask = match self.mask.take() {
            Some(mask) => mask,
            None => {
                let mask = guarded(|| self.matcher.compute_mask_or_eos().ok())?;
                if mask.is_zero() {
                    return Err(too_complex());
                }
                TokenMask(mask)
            }
        };
        Ok(self.mask.insert(mask))
    }

    /// Goes on to the next state, after this token.
    ///
    /// # Errors
    /// `invalid_request` if the grammar does not allow it, or costs more than is allowed at this point.
    pub(crate) fn accept(&mut self, token: u32) -> Result<()> {
        self.mask = None;
        guarded(|| self.matcher.consume_token(token).ok())
    }

    /// How many of these tokens, from the first on, the grammar allows one after the other. The state stays.
    ///
    /// # Errors
    /// `invalid_request` if the grammar costs more than is allowed at this point.
    #[cfg(test)]
    pub(crate) fn allowed_prefix(&mut self, tokens: &[u32]) -> Result<usize> {
        guarded(|| self.matcher.validate_tokens(tokens).ok())
    }

    /// Whether the answer is complete, and nothing may follow.
    pub(crate) fn is_done(&self) -> bool {
        self.matcher.is_stopped() && !self.matcher.is_error()
    }

    /// Whether the answer could end here.
    #[cfg(test)]
    pub(crate) fn may_end(&mut self) -> bool {
        self.is_done() || self.matcher.is_accepting().unwrap_or(false)
    }
}

/// Runs a step of the matcher, which asserts what it believes.
fn guarded<T>(step: impl FnOnce() -> Option<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(step)).ok().flatten().ok_or_else(too_complex)
}

fn too_complex() -> Error {
    Error::invalid_request("the answer left its grammar, or the grammar is too complex to be followed")
}

impl fmt::Debug for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Constraint").field("is_done", &self.is_done()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
