//! A job that runs at a provider, cancelled there when nobody waits for it any more.

use std::fmt;
use std::sync::Arc;

use crate::context::Context;
use crate::error::Error;
use crate::http::Method;
use crate::http::client::ApiClient;
use crate::runtime;

/// Cancels a queued job when it is dropped before [`done`](Self::done): on a failure, a deadline, a
/// cancellation, or because the caller dropped the call. Then the cancellation goes out in the background,
/// which needs a tokio runtime; without one the job runs to its end at the provider.
pub(in super::super) struct CancelOnDrop(Option<Cancel>);

struct Cancel {
    /// The call's own context, which may have ended.
    call: Context,
    /// The context of the request that cancels.
    own: Context,
    api: ApiClient,
    method: Method,
    path: String,
    /// Whether `path` is a whole URL on the API's own host.
    is_url: bool,
}

impl CancelOnDrop {
    /// A guard for the job that `cancel_url` cancels; it does nothing if there is no such URL.
    pub(in super::super) fn new(
        call: &super::ImageCall<'_>,
        method: Method,
        cancel_url: Option<&str>,
    ) -> Self {
        let Some(Ok((path, is_url))) = cancel_url.map(|url| call.named_path(url)) else {
            return Self(None);
        };
        let mut own = Context::new().with_clock(call.cx.clock().clone());
        if let Some(transport) = call.cx.transport() {
            own = own.with_transport(Arc::clone(transport));
        }
        let api = call.backend.0.api.clone();
        Self(Some(Cancel { call: call.cx.clone(), own, api, method, path, is_url }))
    }

    /// The job has ended by itself.
    pub(in super::super) fn done(&mut self) {
        self.0 = None;
    }

    /// The wait for the job has ended with `error`. While the call itself goes on, the job is cancelled before
    /// the error is returned; a call that has ended does not wait for that.
    pub(in super::super) async fn give_up(&mut self, error: Error) -> Error {
        if let Some(cancel) = self.0.take_if(|cancel| cancel.call.check().is_ok()) {
            cancel.send().await;
        }
        error
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        if let (Some(cancel), Ok(runtime)) = (self.0.take(), runtime::current()) {
            runtime.spawn(cancel.send());
        }
    }
}

impl Cancel {
    async fn send(self) {
        let call = if self.is_url {
            self.api.call_named(self.method, &self.path)
        } else {
            Ok(self.api.call(self.method, &self.path))
        };
        let outcome = match call {
            Ok(call) => call.send(&self.own).await.map(|_| ()),
            Err(error) => Err(error),
        };
        if let Err(error) = outcome {
            let kind = error.kind().as_str();
            tracing::debug!(kind, "the provider did not confirm that it cancelled the job");
        }
    }
}

impl fmt::Debug for CancelOnDrop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelOnDrop").field("armed", &self.0.is_some()).finish()
    }
}
