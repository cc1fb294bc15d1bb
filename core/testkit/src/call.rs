//! Makes the calls of a case.

use futures_util::{StreamExt, stream};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::case::Call;
use crate::open::Opened;
use crate::results;
use ayni::Result;
use ayni::context::{BoxFuture, Cancellation, Context};
use ayni::procure::AnyProcurement;
use ayni::{AnyChat, ChatRequest, ChatStream};

/// Operations that belong to no trait, such as `models` and `health`.
pub trait OtherCalls: Send + Sync {
    /// Makes `call` and gives its result in the form that cases expect.
    fn call<'a>(&'a self, cx: &'a Context, call: &'a Call) -> BoxFuture<'a, Result<Value>>;
}

/// Cancels a call once its stream has delivered so many events.
pub(crate) type CancelAfterEvents = Option<(usize, Cancellation)>;

/// Makes `call` and gives `{"ok": …}` or `{"error": …}`.
///
/// # Errors
/// A faulty case: an unknown operation, an invalid request.
pub(crate) async fn perform(
    opened: &Opened,
    cx: &Context,
    call: &Call,
    cancel: CancelAfterEvents,
) -> Result<Value, String> {
    let outcome = match (opened, call.operation.as_str()) {
        (Opened::Embedder(embedder), "embed") => as_json(embedder.embed(cx, request(call)?).await),
        (Opened::Chat(chat), "chat" | "stream") => return call_chat(chat, cx, call, cancel).await,
        (Opened::Modes(pick), "chat" | "stream") => match pick(call.mode.as_deref()) {
            Ok(chat) => return call_chat(&chat, cx, call, cancel).await,
            Err(error) => Err(error),
        },
        (Opened::Images(images), "generate") => as_json(images.generate(cx, request(call)?).await),
        (Opened::Images(images), "refine") => as_json(images.refine(cx, request(call)?).await),
        (Opened::Procurement(client), _) => procure(client, cx, call).await?,
        (Opened::Other(other), _) => other.call(cx, call).await,
        (opened, operation) => return Err(format!("{opened:?} has no operation '{operation}'")),
    };
    Ok(as_outcome(outcome))
}

async fn call_chat(
    chat: &AnyChat,
    cx: &Context,
    call: &Call,
    cancel: CancelAfterEvents,
) -> Result<Value, String> {
    let request = request(call)?;
    Ok(match call.operation.as_str() {
        "stream" => streamed(chat, cx, request, cancel).await,
        _ => as_outcome(as_json(chat.chat(cx, request).await)),
    })
}

fn as_outcome(outcome: Result<Value>) -> Value {
    match outcome {
        Ok(result) => json!({ "ok": result }),
        Err(error) => json!({ "error": results::error(&error) }),
    }
}

fn request<T: DeserializeOwned>(call: &Call) -> Result<T, String> {
    let request = match &call.request {
        Value::Null => Value::Object(Map::new()),
        given => given.clone(),
    };
    serde_json::from_value(request).map_err(|error| format!("the request of '{}': {error}", call.operation))
}

async fn procure(client: &AnyProcurement, cx: &Context, call: &Call) -> Result<Result<Value>, String> {
    Ok(match call.operation.as_str() {
        "tenders" => as_json(client.tenders(cx, request(call)?).await),
        "tender" => as_json(client.tender(cx, request(call)?).await),
        "purchase_orders" => as_json(client.purchase_orders(cx, request(call)?).await),
        "purchase_order" => as_json(client.purchase_order(cx, request(call)?).await),
        "quick_purchases" => as_json(client.quick_purchases(cx, request(call)?).await),
        "quick_purchase" => as_json(client.quick_purchase(cx, request(call)?).await),
        "buyers" => as_json(client.buyers(cx, request(call)?).await),
        "plan" => as_json(client.plan(cx, request(call)?).await),
        "suppliers" => as_json(client.suppliers(cx, request(call)?).await),
        operation => return Err(format!("a procurement client has no operation '{operation}'")),
    })
}

fn as_json<T: Serialize>(outcome: Result<T>) -> Result<Value> {
    outcome.map(|response| results::data(&response))
}

/// Reads a stream to its end. Events before an error are in the error's `events`.
async fn streamed(chat: &AnyChat, cx: &Context, request: ChatRequest, cancel: CancelAfterEvents) -> Value {
    let mut stream = match chat.stream(cx, request).await {
        Ok(stream) => stream,
        Err(error) => return json!({ "error": results::error(&error) }),
    };
    let mut events = Vec::new();
    while let Some(event) = stream.next().await {
        match event {
            Ok(event) => events.push(event),
            Err(error) => {
                let mut failed = results::error(&error);
                failed["events"] = events.iter().map(results::data).collect();
                return json!({ "error": failed });
            }
        }
        if let Some((after, cancellation)) = &cancel
            && events.len() >= *after
        {
            cancellation.cancel();
        }
    }
    let listed: Value = events.iter().map(results::data).collect();
    let again = ChatStream::new(stream::iter(events.into_iter().map(Ok)));
    as_outcome(again.collect_response(chat.info()).await.map(|response| {
        let mut joined = results::data(&response);
        joined["events"] = listed;
        joined
    }))
}
