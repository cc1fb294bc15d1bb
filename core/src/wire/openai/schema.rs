//! The JSON Schemas of the request bodies, for a server's documentation.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::chat::{CompletionBody, TextCompletionBody};
use super::embeddings::EmbeddingsBody;
use super::images::ImagesBody;
use super::responses::ResponsesBody;
use super::tokens::TokensBody;

/// The schema of each request body that servers read as JSON: `chat`, `completions`, `responses`, `embeddings`, `images`,
/// `tokens`. Each is complete in
/// itself and has an example.
pub fn request_schemas() -> Map<String, Value> {
    let chat =
        json!({ "model": "scripted", "messages": [{ "role": "user", "content": "hola" }], "max_tokens": 64 });
    let embeddings = json!({ "model": "scripted", "input": ["hola", "hello"], "encoding_format": "float" });
    let images = json!({ "model": "scripted", "prompt": "a red fox in the snow", "size": "64x64" });
    let text = json!({ "model": "scripted", "prompt": "Once upon a time", "max_tokens": 64 });
    let responses = json!({ "model": "scripted", "input": "hola", "max_output_tokens": 64 });
    let tokens = json!({ "model": "scripted", "prompt": "hola" });
    Map::from_iter([
        ("chat".to_owned(), schema::<CompletionBody<'_>>(chat)),
        ("completions".to_owned(), schema::<TextCompletionBody<'_>>(text)),
        ("responses".to_owned(), schema::<ResponsesBody<'_>>(responses)),
        ("tokens".to_owned(), schema::<TokensBody<'_>>(tokens)),
        ("embeddings".to_owned(), schema::<EmbeddingsBody<'_>>(embeddings)),
        ("images".to_owned(), schema::<ImagesBody<'_>>(images)),
    ])
}

fn schema<T: schemars::JsonSchema>(example: Value) -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    if let Some(fields) = schema.as_object_mut() {
        fields.shift_remove("$schema");
        fields.insert("examples".to_owned(), json!([example]));
    }
    schema
}
