//! The same calls for programs without async: each waits for its answer on the calling thread.
//!
//! ```
//! use ayni::backends::scripted::ScriptedConfig;
//! use ayni::blocking::Blocking;
//! use ayni::{ChatConfig, ChatEvent, ChatRequest, Context, Setup};
//!
//! let chat = Blocking::new(ayni::open_chat(Setup::<ChatConfig>::new(ScriptedConfig::default()))?);
//! let answer = chat.chat(&Context::new(), ChatRequest::user("hola"))?;
//! assert!(answer.text.contains("hola"));
//!
//! for event in chat.stream(&Context::new(), ChatRequest::user("hola"))? {
//!     if let ChatEvent::Text(piece) = event? {
//!         print!("{piece}");
//!     }
//! }
//! # Ok::<_, ayni::Error>(())
//! ```
//!
//! One background thread a process drives timers and connections; it starts with the first call, and again in a forked
//! child. In async code the calls fail with `config_invalid`: there, use the handles themselves.

use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::sync::{Mutex, PoisonError};

use futures_util::StreamExt;
use tokio::runtime::{Builder, Handle};

use crate::chat::{AnyChat, ChatEvent, ChatRequest, ChatResponse, ChatStream, Content};
use crate::context::Context;
use crate::embed::{AnyEmbedder, EmbedRequest, EmbedResponse};
use crate::error::{Error, ErrorKind, Result};
use crate::image::{AnyImageGenerator, GenerateRequest, ImageResponse, RefineRequest};
use crate::media::ImageData;

/// A handle whose calls wait for their answer. What doesn't wait (`info()`, …) is the handle's own, by `Deref`.
#[derive(Clone, Debug)]
pub struct Blocking<H>(H);

impl<H> Blocking<H> {
    /// Wraps a handle.
    pub fn new(handle: H) -> Self {
        Self(handle)
    }

    /// The handle itself.
    pub fn into_inner(self) -> H {
        self.0
    }
}

impl<H> Deref for Blocking<H> {
    type Target = H;

    fn deref(&self) -> &H {
        &self.0
    }
}

macro_rules! waiting_calls {
    ($($handle:ty { $($(#[doc = $doc:literal])+ $method:ident($($argument:ident: $type:ty),*) -> $answer:ty;)+ })+) => {$(
        impl Blocking<$handle> {$(
            $(#[doc = $doc])+
            ///
            /// # Errors
            /// Those of the handle's own method; `config_invalid` in async code.
            pub fn $method(&self, cx: &Context $(, $argument: $type)*) -> Result<$answer> {
                wait_for(self.0.$method(cx $(, $argument)*))?
            }
        )+}
    )+};
}

waiting_calls! {
    AnyEmbedder {
        /// Waits until the backend can serve: a local model is loaded.
        ready() -> ();
        /// Embeds any number of inputs.
        embed(request: EmbedRequest) -> EmbedResponse;
        /// Embeds one text.
        embed_text(text: impl Into<String>) -> Vec<f32>;
        /// Embeds one encoded image.
        embed_image(image: ImageData) -> Vec<f32>;
    }
    AnyChat {
        /// Waits until the backend can serve: a local model is loaded.
        ready() -> ();
        /// Answers in one piece.
        chat(request: ChatRequest) -> ChatResponse;
        /// Asks one question and gives the text of the answer.
        ask(question: impl Into<Content>) -> String;
    }
    AnyImageGenerator {
        /// Waits until the backend can serve: a local model is loaded.
        ready() -> ();
        /// Makes images from a prompt.
        generate(request: GenerateRequest) -> ImageResponse;
        /// Makes images from images and a prompt.
        refine(request: RefineRequest) -> ImageResponse;
    }
}

#[cfg(feature = "procurement")]
mod procurement {
    use super::{Blocking, Context, Result, wait_for};
    use crate::procure::{
        Answer, AnyProcurement, Buyer, GetRequest, ListRequest, Listing, Plan, PlanRequest, PurchaseOrder,
        PurchaseOrderRow, QuickPurchase, QuickPurchaseRow, Supplier, Tender, TenderRow,
    };

    waiting_calls! {
        AnyProcurement {
            /// Tenders of a day or a search.
            tenders(request: ListRequest) -> Listing<TenderRow>;
            /// One tender in full.
            tender(request: GetRequest) -> Answer<Tender>;
            /// Purchase orders of a day or a search.
            purchase_orders(request: ListRequest) -> Listing<PurchaseOrderRow>;
            /// One purchase order in full.
            purchase_order(request: GetRequest) -> Answer<PurchaseOrder>;
            /// Quick purchases (Compra Ágil) of a search.
            quick_purchases(request: ListRequest) -> Listing<QuickPurchaseRow>;
            /// One quick purchase in full.
            quick_purchase(request: GetRequest) -> Answer<QuickPurchase>;
            /// Public buyers.
            buyers(request: ListRequest) -> Listing<Buyer>;
            /// Suppliers by tax number.
            suppliers(request: ListRequest) -> Listing<Supplier>;
            /// What a listing costs, before it is made.
            plan(request: PlanRequest) -> Answer<Plan>;
        }
    }
}

impl Blocking<AnyChat> {
    /// Answers piece by piece. Dropping the iterator ends the answer and closes its connection.
    ///
    /// # Errors
    /// Those of the handle's own method; `config_invalid` in async code.
    pub fn stream(&self, cx: &Context, request: ChatRequest) -> Result<ChatEvents> {
        Ok(ChatEvents { stream: wait_for(self.0.stream(cx, request))?? })
    }
}

/// The events of a streamed answer; each call of `next` waits for one.
pub struct ChatEvents {
    stream: ChatStream,
}

impl Iterator for ChatEvents {
    type Item = Result<ChatEvent>;

    fn next(&mut self) -> Option<Self::Item> {
        wait_for(self.stream.next()).unwrap_or_else(|error| Some(Err(error)))
    }
}

impl fmt::Debug for ChatEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChatEvents").finish_non_exhaustive()
    }
}

/// Waits for `work` on the calling thread.
///
/// # Errors
/// `config_invalid` in async code, which must not wait; `unavailable` if the system gives no thread.
pub fn wait_for<T>(work: impl Future<Output = T>) -> Result<T> {
    if Handle::try_current().is_ok() {
        return Err(Error::config(
            "a blocking call was made in async code; call the handle itself and await it",
        ));
    }
    Ok(runtime()?.block_on(work))
}

/// The runtime of this process, driven by a thread of its own.
fn runtime() -> Result<Handle> {
    static RUNTIME: Mutex<Option<(u32, Handle)>> = Mutex::new(None);
    let process = std::process::id();
    let mut current = RUNTIME.lock().unwrap_or_else(PoisonError::into_inner);
    match &*current {
        Some((owner, handle)) if *owner == process => Ok(handle.clone()),
        _ => {
            let handle = start().map_err(|error| {
                let text = format!("no thread for blocking calls: {error}");
                Error::new(ErrorKind::Unavailable, text).with_source(error)
            })?;
            *current = Some((process, handle.clone()));
            Ok(handle)
        }
    }
}

fn start() -> std::io::Result<Handle> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    std::thread::Builder::new()
        .name("ayni-blocking".to_owned())
        .spawn(move || runtime.block_on(std::future::pending::<()>()))?;
    Ok(handle)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::backends::scripted::Scripted;

    #[test]
    fn calls_wait_for_their_answers_on_any_thread() {
        let embedder = Blocking::new(AnyEmbedder::new(Scripted::default()));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let vector = embedder.embed_text(&Context::new(), "hola").unwrap();
                    assert_eq!(vector.len(), 16);
                });
            }
        });
        assert_eq!(&*embedder.info().backend, "scripted");
    }

    #[test]
    fn deadlines_end_a_call_that_waits() {
        let cx = Context::new().with_timeout(Duration::from_millis(20));
        let error = wait_for(cx.guard(std::future::pending::<Result<()>>())).unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
    }

    #[tokio::test]
    async fn in_async_code_the_error_says_what_to_do() {
        let chat = Blocking::new(AnyChat::new(Scripted::default()));
        let error = chat.ask(&Context::new(), "hola").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConfigInvalid);
        assert!(error.message().contains("await"), "{error}");
    }
}
