//! Writes `docs/reference/` from the code: `make gen`.
#![allow(clippy::print_stdout, reason = "a command-line tool")]

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use ayni::backends::mercado_publico::{EventPage, Quota, SyncReport};
use ayni::chat::ChatEvent;
use ayni::config::{ModeInfo, ProcurementInfo};
use ayni::embed::{KnownModel, Match, Parity};
use ayni::procure::rates::Converted;
use ayni::procure::similar::{IndexReport, SimilarTender};
use ayni::procure::store::{MonthLine, StoredMonth, StoredRecord};
use ayni::procure::{CallCount, DayReport, ListRequest, Plan, PurchaseOrder, QuickPurchase, Tender};
use ayni::{
    BackendInfo, ChatConfig, ChatRequest, ChatResponse, EmbedRequest, EmbedResponse, EmbedderConfig,
    EmbeddingSpace, Environment, ErrorKind, GenerateRequest, ImageConfig, ImageResponse, Operation,
    ProcurementConfig, Progress, RefineRequest, Setup,
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

const NOTE: &str = "<!-- Written by `make gen` from the code. Change the code, not this page. -->\n\n";

fn main() -> Result<(), Box<dyn Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference");
    let mut pages = BTreeMap::new();
    pages.insert("error-kinds.md".to_owned(), error_kinds_page());
    pages.insert("error-kinds.json".to_owned(), pretty(&error_kinds_json())?);
    pages.insert("backends.md".to_owned(), backends_page()?);
    #[cfg(feature = "candle")]
    pages.insert("models.md".to_owned(), models_page());
    let capabilities = [
        ("embedder", schema::<Setup<EmbedderConfig>>()?),
        ("chat", schema::<Setup<ChatConfig>>()?),
        ("image", schema::<Setup<ImageConfig>>()?),
        ("procurement", schema::<Setup<ProcurementConfig>>()?),
    ];
    for (capability, schema) in &capabilities {
        pages.insert(format!("{capability}-config.schema.json"), pretty(schema)?);
    }
    pages.insert("records.schema.json".to_owned(), pretty(&schema::<ProcurementRecords>()?)?);
    let requests = ayni::wire::openai::request_schemas();
    pages.insert("openai-requests.schema.json".to_owned(), pretty(&requests.into())?);
    pages.insert("configuration.md".to_owned(), configuration_page(&capabilities));
    let requests = [
        schema::<EmbedRequest>()?,
        schema::<ChatRequest>()?,
        schema::<GenerateRequest>()?,
        schema::<RefineRequest>()?,
    ];
    pages.insert("requests.md".to_owned(), requests_page(&requests));
    pages.insert("requests.schema.json".to_owned(), pretty(&requests_schema(&requests))?);
    let answers = answers_schema()?;
    pages.insert("answers.md".to_owned(), answers_page(&answers));
    pages.insert("answers.schema.json".to_owned(), pretty(&answers)?);
    write(&folder, &pages)
}

/// What procurement answers, and what it is asked. Only its definitions are of interest.
#[derive(schemars::JsonSchema)]
#[allow(dead_code, reason = "only its schema is used")]
struct ProcurementRecords {
    tender: Tender,
    purchase_order: PurchaseOrder,
    quick_purchase: QuickPurchase,
    day: DayReport,
    plan: Plan,
    quota: Quota,
    sync: SyncReport,
    events: EventPage,
    months: StoredMonth,
    lines: MonthLine,
    stored: StoredRecord,
    calls: CallCount,
    list: ListRequest,
    converted: Converted,
    similar: SimilarTender,
    indexed: IndexReport,
}

/// What everything else answers and reports. Only its definitions are of interest.
#[derive(schemars::JsonSchema)]
#[allow(dead_code, reason = "only its schema is used")]
struct Answers {
    chat: ChatResponse,
    event: ChatEvent,
    vectors: EmbedResponse,
    nearest: Match,
    images: ImageResponse,
    progress: Progress,
    info: BackendInfo,
    procurement: ProcurementInfo<'static>,
    space: EmbeddingSpace,
    mode: ModeInfo,
    known: KnownModel,
    parity: Parity,
    #[cfg(feature = "candle")]
    hardware: ayni::local::Hardware,
    #[cfg(feature = "candle")]
    replay: ayni::local::ImageReplay,
}

/// The definitions of what is written: a field without a value is null where the schema requires it, and left out where not.
fn answers_schema() -> Result<Value, Box<dyn Error>> {
    let settings = schemars::generate::SchemaSettings::draft2020_12().for_serialize();
    let schema = serde_json::to_value(settings.into_generator().into_root_schema_for::<Answers>())?;
    let mut definitions = schema["$defs"].clone();
    for definition in definitions.as_object_mut().into_iter().flat_map(Map::values_mut) {
        never_null(definition);
    }
    Ok(json!({ "$schema": schema["$schema"], "$defs": definitions }))
}

/// Takes null from the types of fields that are left out instead.
fn never_null(schema: &mut Value) {
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    let properties = schema.get_mut("properties").and_then(Value::as_object_mut);
    for (name, field) in properties.into_iter().flatten() {
        if required.contains(&Value::from(name.as_str())) {
            continue;
        }
        if let Some(kinds) = field["type"].as_array() {
            let others: Vec<Value> = kinds.iter().filter(|kind| *kind != "null").cloned().collect();
            field["type"] = if let [one] = others.as_slice() { one.clone() } else { others.into() };
        }
        if let Some(variants) = field.get_mut("anyOf").and_then(Value::as_array_mut) {
            variants.retain(|variant| variant["type"] != "null");
        }
    }
    let variants = schema.get_mut("oneOf").and_then(Value::as_array_mut);
    variants.into_iter().flatten().for_each(never_null);
}

fn answers_page(schema: &Value) -> String {
    let mut page = format!(
        "{NOTE}# Answers\n\nThe JSON form of answers, events and reports, with the same names in every language. A field that \
         `answers.schema.json` does not require is left out where there is nothing to say; others are null then. In Python and Node vectors and images are arrays of \
         numbers and bytes. Procurement's are in `records.schema.json`.\n"
    );
    let definitions: BTreeMap<&str, &Value> =
        schema["$defs"].as_object().into_iter().flatten().map(|(name, own)| (name.as_str(), own)).collect();
    for (name, definition) in definitions {
        define(&mut page, name, definition);
    }
    page
}

/// Writes every page, and removes what no page is written for any more.
fn write(folder: &PathBuf, pages: &BTreeMap<String, String>) -> Result<(), Box<dyn Error>> {
    std::fs::create_dir_all(folder)?;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let generated = std::fs::read_to_string(entry.path()).is_ok_and(|text| text.starts_with(NOTE));
        if generated && !pages.contains_key(&name) {
            std::fs::remove_file(entry.path())?;
        }
    }
    for (name, text) in pages {
        std::fs::write(folder.join(name), text)?;
        println!("docs/reference/{name}");
    }
    Ok(())
}

fn schema<T: schemars::JsonSchema>() -> Result<Value, Box<dyn Error>> {
    Ok(serde_json::to_value(schemars::schema_for!(T))?)
}

fn pretty(value: &Value) -> Result<String, Box<dyn Error>> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}

fn error_kinds_json() -> Value {
    let kinds = ErrorKind::ALL.iter().map(|kind| {
        json!({
            "kind": kind.as_str(),
            "temporary": kind.is_temporary(),
            "falls_back": kind.falls_back(),
            "meaning": kind.meaning(),
        })
    });
    Value::Array(kinds.collect())
}

fn error_kinds_page() -> String {
    let mut page =
        format!("{NOTE}# Error kinds\n\nThe names are the same in Rust, Python, Node and JSON.\n\n");
    page.push_str("| kind | meaning | usually | falls back |\n| --- | --- | --- | --- |\n");
    for kind in ErrorKind::ALL {
        let usually = if kind.is_temporary() { "temporary" } else { "permanent" };
        let falls_back = if kind.falls_back() { "yes" } else { "no" };
        let _ = writeln!(page, "| `{kind}` | {} | {usually} | {falls_back} |", kind.meaning());
    }
    page.push_str("\n# Operations\n\n| operation | `gen_ai.operation.name` |\n| --- | --- |\n");
    for operation in Operation::ALL {
        let _ = writeln!(page, "| `{operation}` | `{}` |", operation.gen_ai_name());
    }
    page
}

#[cfg(feature = "candle")]
fn models_page() -> String {
    let mut page = format!("{NOTE}# Models in this process\n\n## Embeddings\n\n");
    page.push_str("Architectures, as `model_type` in `config.json` names them: ");
    let names: Vec<String> =
        ayni::local::embedding_architectures().iter().map(|name| format!("`{name}`")).collect();
    let _ = writeln!(page, "{}.\n\nEvery model of these runs. Well-known ones:\n", names.join(", "));
    page.push_str("| model | architecture | width | window, tokens | size, million parameters | languages | licence |\n");
    page.push_str("| --- | --- | --- | --- | --- | --- | --- |\n");
    for known in ayni::embed::known_models() {
        let licence = known.licence.unwrap_or("not named");
        let _ = writeln!(
            page,
            "| `{}` | {} | {} | {} | {} | {} | {licence} |",
            known.id,
            known.architecture,
            known.dimensions,
            known.window,
            known.parameters_in_millions,
            known.languages
        );
    }
    page
}

fn backends_page() -> Result<String, Box<dyn Error>> {
    let capabilities: [(&[&str], OpenByName); 4] = [
        (EmbedderConfig::BACKENDS, |name| opens(name, EmbedderConfig::open)),
        (ChatConfig::BACKENDS, |name| opens(name, ChatConfig::open)),
        (ImageConfig::BACKENDS, |name| opens(name, ImageConfig::open)),
        (ProcurementConfig::BACKENDS, |name| opens(name, ProcurementConfig::open)),
    ];
    let names: BTreeSet<&str> =
        capabilities.iter().flat_map(|(backends, _)| backends.iter().copied()).collect();
    let mut page = format!("{NOTE}# Backends\n\n");
    page.push_str("| backend | embed | chat | images | procurement |\n| --- | --- | --- | --- | --- |\n");
    for name in names {
        let mut marks = Vec::new();
        for (backends, opens) in &capabilities {
            marks.push(match backends.contains(&name) {
                false => "–",
                true if opens(name)? => "yes",
                true => "not yet",
            });
        }
        let _ = writeln!(page, "| `{name}` | {} |", marks.join(" | "));
    }
    page.push_str("\n# Vendors of the `openai` backend\n\n");
    // A test of the backend holds this table against the rows that the code uses.
    let documents = include_str!("../src/backends/openai/docs.md");
    for row in documents.lines().filter(|line| line.starts_with('|')) {
        page.push_str(row);
        page.push('\n');
    }
    page.push_str(
        "\n## What each vendor reads and is sent\n\n\
         Whatever the vendor writes is read: text, reasoning, calls, images, sound, sources, usage, metadata. The table says \
         what goes back with the next request, and in which form what the caller sends.\n\n",
    );
    page.push_str(&ayni::backends::openai::vendor_table());
    page.push_str(
        "\n# What is not there\n\n\
         Cohere's own chat, embeddings and reranking APIs: vendor `cohere` speaks OpenAI's protocol, for chat. Files are not \
         uploaded: a part may name one that was uploaded before. Gemini's and Anthropic's batches, and answers of OpenAI's that \
         run in the background, are not offered.\n",
    );
    Ok(page)
}

/// Whether the backend of this name can be opened for one capability.
type OpenByName = fn(&str) -> Result<bool, Box<dyn Error>>;

/// Whether this build has the backend's code: only `unsupported` says that it hasn't. Other errors complain about this
/// configuration, which names nothing real.
fn opens<C: DeserializeOwned, H>(
    name: &str,
    open: fn(&C, &Environment) -> ayni::Result<H>,
) -> Result<bool, Box<dyn Error>> {
    let config = serde_json::from_value(json!({ "backend": name, "model": "./no-such-model" }))
        .or_else(|_| serde_json::from_value(json!({ "backend": name })))?;
    Ok(!open(&config, &Environment::empty()).is_err_and(|error| error.kind() == ErrorKind::Unsupported))
}

fn configuration_page(capabilities: &[(&str, Value)]) -> String {
    let mut page = format!("{NOTE}# Configuration\n\n");
    page.push_str(
        "A setup is one JSON object: `backend` names the backend, and its own fields stand beside it. So do `policy`, `http`\n\
         and `fallback`, a list of further backends. Unknown fields are errors. The JSON Schemas are in this folder.\n",
    );
    let mut definitions: BTreeMap<&str, &Value> = BTreeMap::new();
    let mut backends: BTreeMap<&str, (Map<String, Value>, Vec<String>)> = BTreeMap::new();
    for (capability, schema) in capabilities {
        for variant in schema["oneOf"].as_array().into_iter().flatten() {
            let name = variant["properties"]["backend"]["const"].as_str().unwrap_or_default();
            let Some(fields) = variant["properties"].as_object() else { continue };
            let (known, uses) = backends.entry(name).or_insert_with(|| (fields.clone(), Vec::new()));
            // Models in this process have a configuration for each capability.
            for (field, value) in fields.iter().filter(|(field, _)| !uses.is_empty() && *field != "backend") {
                if !known.contains_key(field) {
                    let mut value = value.clone();
                    let description = value["description"].as_str().unwrap_or_default();
                    value["description"] = format!("For {capability}: {description}").into();
                    known.insert(field.clone(), value);
                }
            }
            uses.push(format!("{capability}: {}", one_line(&variant["description"])));
        }
        for (name, definition) in schema["$defs"].as_object().into_iter().flatten() {
            if !name.ends_with("Config") {
                definitions.insert(name, definition);
            }
        }
    }
    for (name, (fields, uses)) in &backends {
        let _ = write!(page, "\n## `\"backend\": \"{name}\"`\n\n");
        for used in uses {
            let _ = writeln!(page, "- {used}");
        }
        let own = fields.iter().filter(|(field, _)| *field != "backend");
        fields_table(&mut page, own);
    }
    for (name, definition) in definitions {
        define(&mut page, name, definition);
    }
    page
}

/// Every request and what it refers to, as the definitions of one schema.
fn requests_schema(requests: &[Value]) -> Value {
    let mut definitions = Map::new();
    for schema in requests {
        definitions.extend(schema["$defs"].as_object().cloned().unwrap_or_default());
        let own = schema.as_object().into_iter().flatten();
        let own = own.filter(|(name, _)| !matches!(name.as_str(), "$defs" | "$schema" | "title"));
        let own = own.map(|(name, value)| (name.clone(), value.clone())).collect();
        definitions.insert(schema["title"].as_str().unwrap_or_default().to_owned(), Value::Object(own));
    }
    json!({ "$schema": "https://json-schema.org/draft/2020-12/schema", "$defs": definitions })
}

fn requests_page(requests: &[Value]) -> String {
    let mut page =
        format!("{NOTE}# Requests\n\nThe JSON form of every request; the Rust structs are the same.\n");
    let mut definitions: BTreeMap<&str, &Value> = BTreeMap::new();
    for schema in requests {
        define(&mut page, schema["title"].as_str().unwrap_or_default(), schema);
        for (name, definition) in schema["$defs"].as_object().into_iter().flatten() {
            definitions.insert(name, definition);
        }
    }
    for (name, definition) in definitions {
        define(&mut page, name, definition);
    }
    page
}

/// A section for one type: a table of its fields, or a list of its values.
fn define(page: &mut String, name: &str, definition: &Value) {
    let _ = write!(page, "\n## {name}\n\n{}\n", one_line(&definition["description"]));
    if let Some(fields) = definition["properties"].as_object() {
        fields_table(page, fields.iter());
    }
    let variants = definition["oneOf"].as_array().or_else(|| definition["anyOf"].as_array());
    if let Some(variants) = variants {
        page.push('\n');
        for variant in variants {
            let _ = writeln!(page, "- {}: {}", type_of(variant), one_line(&variant["description"]));
        }
    }
    if let Some(values) = definition["enum"].as_array() {
        let names: Vec<String> = values.iter().map(|value| format!("`{value}`")).collect();
        let _ = write!(page, "\nOne of {}.\n", names.join(", "));
    }
}

fn fields_table<'a>(page: &mut String, fields: impl Iterator<Item = (&'a String, &'a Value)>) {
    page.push_str("\n| field | type | default | meaning |\n| --- | --- | --- | --- |\n");
    for (name, field) in fields {
        let default = match &field["default"] {
            Value::Null => "–".to_owned(),
            value if value.to_string().len() > 60 => "see its own section".to_owned(),
            value => format!("`{value}`"),
        };
        let meaning = one_line(&field["description"]);
        let _ = writeln!(page, "| `{name}` | {} | {default} | {meaning} |", type_of(field));
    }
}

/// A schema's type in a few words.
fn type_of(schema: &Value) -> String {
    if let Some(path) = schema["$ref"].as_str() {
        let name = path.rsplit('/').next().unwrap_or_default();
        return format!("[{name}](#{})", name.to_ascii_lowercase());
    }
    if let Some(value) = schema.get("const") {
        return format!("`{value}`");
    }
    for key in ["anyOf", "oneOf", "allOf"] {
        if let Some(variants) = schema[key].as_array() {
            let known = variants.iter().filter(|variant| variant["type"] != "null");
            return known.map(type_of).collect::<Vec<_>>().join(" or ");
        }
    }
    let names: Vec<&str> = match &schema["type"] {
        Value::String(name) => vec![name.as_str()],
        Value::Array(names) => {
            names.iter().filter_map(Value::as_str).filter(|name| *name != "null").collect()
        }
        _ => return "any".to_owned(),
    };
    match names.join(" or ").as_str() {
        "array" if schema.get("prefixItems").is_none() => format!("list of {}", type_of(&schema["items"])),
        "object" if schema["required"].is_array() => {
            let fields = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
            format!("object with `{}`", fields.collect::<Vec<_>>().join("`, `"))
        }
        other => other.to_owned(),
    }
}

fn one_line(description: &Value) -> String {
    let text = description.as_str().unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}
