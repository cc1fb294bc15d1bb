//! Procurement clients. Answers cross as JSON text, which keeps every digit of the source.

use ayni::config::ProcurementOperations;
use ayni::{ProcurementConfig, Setup};
use napi::Env;
use napi_derive::napi;

use crate::call::{Call, Promised, blocking, promise};
use crate::convert::{json_text, open_handle, request};
use crate::embedder::Embedder;
use crate::failure::{Outcome, guarded};

/// A handle on a procurement client.
#[napi]
pub struct Procurement(pub(crate) ProcurementOperations);

#[napi]
impl Procurement {
    /// Opens a backend; without a configuration the one that the environment names.
    #[napi]
    pub fn open(
        env: &Env,
        fields: Option<String>,
        variables: Option<String>,
    ) -> napi::Result<Promised<'_, Self>> {
        let from_env = Setup::<ProcurementConfig>::from_env_with;
        blocking(env, move || {
            let (fields, variables) = (fields.as_deref(), variables.as_deref());
            let open = ProcurementOperations::open;
            open_handle(fields, variables, ProcurementConfig::BACKENDS, from_env, open).map(Self)
        })
    }

    /// Who the backend is, as JSON.
    #[napi]
    pub fn info(&self) -> Outcome<String> {
        guarded(|| json_text(&self.0.info()))
    }

    /// The same client, with which similar tenders are found by this embedder's vectors.
    #[napi]
    pub fn with_embedder(&self, embedder: &Embedder) -> Self {
        Self(self.0.with_embedder(embedder.0.clone()))
    }

    /// Makes the call that `operation` names. Gives JSON text.
    #[napi]
    pub fn call<'env>(
        &self,
        env: &'env Env,
        operation: String,
        fields: String,
        call: Option<&Call>,
    ) -> napi::Result<Promised<'env, String>> {
        let operations = self.0.clone();
        promise(env, call, move |cx| async move { operations.call(&cx, &operation, request(&fields)?).await })
    }
}
