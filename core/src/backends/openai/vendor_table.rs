//! The table of vendors in `docs/reference/backends.md`, made from the rows that the code uses.

use std::fmt::Write as _;

use super::profiles::{ChatRules, Profile, SchemaDialect};
use super::rows::PROFILES;
use crate::wire::openai::chat::{FileDialect, ReasoningReturn};

/// What every vendor reads and is sent, as a table in Markdown.
#[doc(hidden)]
pub fn vendor_table() -> String {
    let mut table = String::from(
        "| vendor | chat APIs | goes back to it | documents, sound, video | refused | JSON Schema | embeddings |\n\
         | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for profile in PROFILES {
        let chat = profile.chat.as_ref();
        let cells = [
            chat.map_or_else(|| "–".to_owned(), apis),
            chat.map_or_else(|| "–".to_owned(), returned),
            chat.map_or("–", |rules| files(rules.messages.files)).to_owned(),
            chat.map_or_else(|| "–".to_owned(), |rules| code_list(rules.refused)),
            chat.map_or("–", |rules| schema(rules.schema)).to_owned(),
            embeddings(profile),
        ];
        // Writing to a string cannot fail.
        let _ = writeln!(table, "| `{}` | {} |", profile.name, cells.join(" | "));
    }
    table
}

fn apis(rules: &ChatRules) -> String {
    let offered = [(true, "chat"), (rules.responses, "responses"), (rules.completions, "completions")];
    let names: Vec<&str> = offered.into_iter().filter(|(offers, _)| *offers).map(|(_, name)| name).collect();
    names.join(", ")
}

fn returned(rules: &ChatRules) -> String {
    let messages = &rules.messages;
    let mut returned: Vec<String> = match messages.reasoning {
        ReasoningReturn::Never => Vec::new(),
        ReasoningReturn::Field(field) => vec![format!("reasoning in `{field}`")],
        ReasoningReturn::WithToolCalls(field) => vec![format!("reasoning of tool calls in `{field}`")],
        ReasoningReturn::ThinkingPart => vec!["reasoning as a `thinking` part".to_owned()],
    };
    returned.extend(messages.message_data.iter().map(|field| format!("`{field}`")));
    let of_calls = messages.call_data.iter().filter(|field| !messages.message_data.contains(field));
    returned.extend(of_calls.map(|field| format!("`{field}` of calls")));
    if returned.is_empty() { "–".to_owned() } else { returned.join(", ") }
}

fn files(dialect: FileDialect) -> &'static str {
    match dialect {
        FileDialect::OpenAi => "`file`, `input_audio`",
        FileDialect::OpenRouter => "`file`, `input_audio`, `video_url`",
        FileDialect::MediaUrls => "`audio_url`, `video_url`",
        FileDialect::Mistral => "`document_url`, `input_audio`",
    }
}

fn code_list(names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    if names.is_empty() { "–".to_owned() } else { names.join(", ") }
}

fn schema(dialect: SchemaDialect) -> &'static str {
    match dialect {
        SchemaDialect::Standard => "`json_schema`",
        SchemaDialect::Flattened => "`json_schema`, flattened",
        SchemaDialect::JsonObject => "under `json_object`",
    }
}

fn embeddings(profile: &Profile) -> String {
    let Some(rules) = profile.embeddings else { return "–".to_owned() };
    let mut said = vec![match rules.base64 {
        true => "base64".to_owned(),
        false => "numbers".to_owned(),
    }];
    if rules.dimensions {
        said.push(format!("`{}`", rules.dimensions_field));
    }
    said.extend(rules.role_field.into_iter().chain(rules.truncation_field).map(|field| format!("`{field}`")));
    said.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_a_row_of_every_vendor_with_as_many_cells_as_its_head() {
        let table = vendor_table();
        assert_eq!(table.lines().count(), PROFILES.len() + 2);
        for line in table.lines() {
            assert_eq!(line.matches(" | ").count(), 6, "{line}");
        }
        assert!(table.contains("| `deepseek` | chat | reasoning of tool calls in `reasoning_content` |"));
    }
}
