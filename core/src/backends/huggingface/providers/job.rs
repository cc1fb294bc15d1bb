//! A job that runs at a provider, and what becomes of it when nobody waits for it any more.

use std::fmt;

use crate::context::Context;
use crate::http::Method;
use crate::http::client::ApiClient;
use crate::info::Operation;

/// Cancels a queued job when it is dropped before [`done`](Self::done): on a failure, a deadline, a
/// cancellation, or because the caller dropped the call. It needs a tokio runtime around the call; without
/// one the job runs to its end at the provider.
pub(in super::super) struct CancelOnDrop(Option<Cancel>);

struct Cancel {
    cx: Context,
    api: ApiClient,
    method: Method,
    path: String,
    /// Whether `path` is a whole URL on the API's own host.
    is_url: bool,
    operation: Operation,
}

impl CancelOnDrop {
    /// Nothing to cancel.
    pub(in super::super) fn nothing() -> Self {
        Self(None)
    }

    /// The job that a call to the URL `cancel_url` cancels.
    pub(in super::super) fn new(
        call: &super::ImageCall<'_>,
        method: Method,
        cancel_url: Option<&str>,
    ) -> Self {
        let Some(Ok((path, is_url))) = cancel_url.map(|url| call.named_path(url)) else {
            return Self::nothing();
        };
        // The call's own context has ended by the time this one is used.
        let mut cx = Context::new().with_clock(call.cx.clock().clone());
        if let Ok(transport) = call.cx.transport() {
            cx = cx.with_transport(transport);
        }
        let api = call.backend.0.api.clone();
        Self(Some(Cancel { cx, api, method, path, is_url, operation: call.operation }))
    }

    /// The job has ended by itself.
    pub(in super::super) fn done(&mut self) {
        self.0 = None;
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        #[cfg(feature = "http")]
        if let (Some(cancel), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(cancel.send());
        }
    }
}

#[cfg(feature = "http")]
impl Cancel {
    async fn send(self) {
        let call = if self.is_url {
            self.api.call_named(self.method, &self.path)
        } else {
            Ok(self.api.call(self.method, &self.path))
        };
        let outcome = match call {
            Ok(call) => call.send(&self.cx, self.operation).await.map(|_| ()),
            Err(error) => Err(error),
        };
        if let Err(error) = outcome {
            tracing::debug!(
                kind = error.kind().as_str(),
                "the provider did not confirm that the job is cancelled"
            );
        }
    }
}

impl fmt::Debug for CancelOnDrop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelOnDrop").field("armed", &self.0.is_some()).finish()
    }
}
