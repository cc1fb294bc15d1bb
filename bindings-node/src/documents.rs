//! Analyses and files of procurement records.

use std::sync::Arc;

use ayni::procure::analysis::{self, Analysis, Question};
use ayni::procure::export::{FileChunks, FileFormat, PdfPage, tender_pdf};
use ayni::procure::store::RecordKind;
use ayni::procure::{GetRequest, ListRequest, Tender};
use futures_util::TryStreamExt;
use napi::Env;
use napi::bindgen_prelude::Buffer;
use napi_derive::napi;

use crate::call::{Call, Promised, blocking, promise};
use crate::chat::{Chat, Slot, drop_stream};
use crate::convert::{json_text, request};
use crate::failure::{Outcome, guarded};
use crate::procurement::Procurement;

/// A tender and a model's analysis of it.
#[napi]
pub struct AnalysedTender(Arc<(Tender, Analysis)>);

#[napi]
impl AnalysedTender {
    /// The analysis as JSON text.
    #[napi]
    pub fn json(&self) -> Outcome<String> {
        guarded(|| json_text(&self.0.1))
    }

    /// Both on one page of PDF.
    #[napi]
    pub fn pdf<'env>(&self, env: &'env Env, page: String) -> napi::Result<Promised<'env, Buffer>> {
        let both = Arc::clone(&self.0);
        blocking(env, move || {
            tender_pdf(&both.0, Some(&both.1), &request::<PdfPage>(&page)?).map(Buffer::from)
        })
    }
}

/// Reads a tender and asks a model about it.
#[napi]
pub fn analyse<'env>(
    env: &'env Env,
    procurement: &Procurement,
    fields: String,
    chat: &Chat,
    question: String,
    call: Option<&Call>,
) -> napi::Result<Promised<'env, AnalysedTender>> {
    let (handle, chat) = (procurement.0.handle().clone(), chat.0.clone());
    promise(env, call, move |cx| async move {
        let (wanted, question) = (request::<GetRequest>(&fields)?, request::<Question>(&question)?);
        question.check()?;
        let tender = handle.tender(&cx, wanted).await?.record;
        let analysis = analysis::analyse(&cx, &tender, &question, &chat).await?;
        Ok(AnalysedTender(Arc::new((tender, analysis))))
    })
}

/// Reads a tender and writes it as a file.
#[napi]
pub fn tender_file<'env>(
    env: &'env Env,
    procurement: &Procurement,
    fields: String,
    form: String,
    call: Option<&Call>,
) -> napi::Result<Promised<'env, Buffer>> {
    let handle = procurement.0.handle().clone();
    promise(env, call, move |cx| async move {
        let (wanted, form) = (request::<GetRequest>(&fields)?, request::<FileFormat>(&form)?);
        form.tender(handle.tender(&cx, wanted).await?.record).await.map(|bytes| Buffer::from(bytes.to_vec()))
    })
}

/// Lists records, page after page, and writes them as a file.
#[napi]
pub fn export_records<'env>(
    env: &'env Env,
    procurement: &Procurement,
    kind: String,
    fields: String,
    form: String,
    call: Option<&Call>,
) -> napi::Result<Promised<'env, Pieces>> {
    let handle = procurement.0.handle().clone();
    promise(env, call, move |cx| async move {
        let (kind, wanted) = (request::<RecordKind>(&kind)?, request::<ListRequest>(&fields)?);
        let pieces = request::<FileFormat>(&form)?.list(&cx, &handle, kind, wanted)?;
        Ok(Pieces(Slot::new(Some(pieces).into())))
    })
}

/// A file in pieces. Dropping it stops the work.
#[napi]
pub struct Pieces(Slot<FileChunks>);

#[napi]
impl Pieces {
    /// The next piece; null at the end.
    #[napi]
    pub fn next<'env>(&self, env: &'env Env) -> napi::Result<Promised<'env, Option<Buffer>>> {
        let slot = Arc::clone(&self.0);
        promise(env, None, move |_| async move {
            let mut slot = slot.lock().await;
            let Some(pieces) = slot.as_mut() else { return Ok(None) };
            let next = pieces.try_next().await;
            if !matches!(next, Ok(Some(_))) {
                *slot = None;
            }
            Ok(next?.map(|piece| Buffer::from(piece.to_vec())))
        })
    }

    /// Stops the work.
    #[napi]
    pub fn close(&self) {
        drop_stream(&self.0);
    }
}
