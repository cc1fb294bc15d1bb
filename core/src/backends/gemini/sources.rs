//! The sources of an answer: Google Search, other tools that ground it, URLs that it read, works that it quotes.

use serde_json::{Value, json};

use crate::chat::{Annotation, AnnotationKind};

/// What a candidate says about its sources; in a stream the last word counts.
#[derive(Debug, Default)]
pub(super) struct Sources {
    pub(super) grounding: Value,
    pub(super) url_context: Value,
    pub(super) citations: Value,
}

impl Sources {
    /// The sources as annotations of `text`.
    pub(super) fn annotations(&self, text: &str) -> Vec<Annotation> {
        let mut annotations = self.grounded(text);
        annotations.extend(list(&self.url_context, &["urlMetadata"]).map(|page| Annotation {
            url: string(page, "retrievedUrl"),
            ..Annotation::new(AnnotationKind::Url, page.clone())
        }));
        annotations.extend(list(&self.citations, &["citationSources", "citations"]).map(|work| {
            let position = |name: &str| work.get(name).and_then(Value::as_u64);
            let (start, end) = (position("startIndex").or(Some(0)), position("endIndex"));
            let range = end.and_then(|end| characters(text, start?, end));
            let annotation = Annotation {
                url: string(work, "uri"),
                title: string(work, "title"),
                ..Annotation::new(AnnotationKind::Url, work.clone())
            };
            annotation.with_range(range.map(|(start, _)| start), range.map(|(_, end)| end))
        }));
        annotations
    }

    /// One annotation for each part of the text and each source that supports it; sources that support no part in
    /// particular come without a range.
    fn grounded(&self, text: &str) -> Vec<Annotation> {
        let chunks: Vec<&Value> = list(&self.grounding, &["groundingChunks"]).collect();
        let mut named = vec![false; chunks.len()];
        let mut annotations = Vec::new();
        for support in list(&self.grounding, &["groundingSupports"]) {
            let range = support.get("segment").and_then(|segment| segment_range(text, segment));
            let indices = list(support, &["groundingChunkIndices"]).filter_map(Value::as_u64);
            for index in indices.filter_map(|index| usize::try_from(index).ok()) {
                let Some((chunk, named)) = chunks.get(index).zip(named.get_mut(index)) else { continue };
                *named = true;
                let mut annotation = chunk_annotation(chunk);
                annotation.data = json!({ "chunk": chunk, "support": support });
                annotations
                    .push(annotation.with_range(range.map(|(start, _)| start), range.map(|(_, end)| end)));
            }
        }
        let unnamed = chunks.iter().zip(named).filter(|(_, named)| !named);
        annotations.extend(unnamed.map(|(chunk, _)| chunk_annotation(chunk)));
        annotations
    }
}

fn chunk_annotation(chunk: &Value) -> Annotation {
    let (kind, source) = match chunk.get("web").or_else(|| chunk.get("maps")) {
        Some(page) => (AnnotationKind::Url, page),
        None => match chunk.get("retrievedContext") {
            Some(document) => (AnnotationKind::Document, document),
            None => (AnnotationKind::Other, chunk),
        },
    };
    Annotation {
        url: string(source, "uri"),
        title: string(source, "title"),
        quote: string(source, "text"),
        ..Annotation::new(kind, chunk.clone())
    }
}

fn list<'a>(value: &'a Value, names: &[&str]) -> impl Iterator<Item = &'a Value> {
    let found = names.iter().find_map(|name| value.get(name)?.as_array());
    found.into_iter().flatten()
}

fn string(value: &Value, name: &str) -> Option<String> {
    value.get(name)?.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

/// The characters of a segment. Google counts bytes, from the beginning of one of the parts; its text tells which.
fn segment_range(text: &str, segment: &Value) -> Option<(u64, u64)> {
    let position = |name: &str| segment.get(name).and_then(Value::as_u64);
    let start = position("startIndex").unwrap_or_default();
    match segment.get("text").and_then(Value::as_str).filter(|words| !words.is_empty()) {
        Some(words) => {
            let here = usize::try_from(start)
                .ok()
                .filter(|at| text.get(*at..).is_some_and(|t| t.starts_with(words)));
            let start = here.or_else(|| text.find(words))? as u64;
            characters(text, start, start + words.len() as u64)
        }
        None => characters(text, start, position("endIndex")?),
    }
}

/// The characters that two positions in bytes are.
fn characters(text: &str, start: u64, end: u64) -> Option<(u64, u64)> {
    let count = |bytes: u64| Some(text.get(..usize::try_from(bytes).ok()?)?.chars().count() as u64);
    Some((count(start)?, count(end)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_counted_in_characters_and_every_source_is_named() {
        let grounding = json!({
            "groundingChunks": [{ "web": { "uri": "https://a.test", "title": "A" } }, { "retrievedContext": { "title": "B" } }],
            "groundingSupports": [{ "segment": { "startIndex": 5, "endIndex": 10, "text": "claro" }, "groundingChunkIndices": [0, 9] }],
        });
        let citations =
            json!({ "citationSources": [{ "startIndex": 0, "endIndex": 3, "uri": "https://c.test" }] });
        let sources = Sources { grounding, citations, url_context: Value::Null };
        let [web, work, unnamed] = {
            let mut read = sources.annotations("sí, claro");
            let work = read.pop().expect("a work");
            let unnamed = read.pop().expect("a document");
            [read.pop().expect("a page"), work, unnamed]
        };
        assert_eq!((web.url.as_deref(), web.start, web.end), (Some("https://a.test"), Some(4), Some(9)));
        assert_eq!((work.url.as_deref(), work.start, work.end), (Some("https://c.test"), Some(0), Some(2)));
        assert_eq!((unnamed.kind, unnamed.start), (AnnotationKind::Document, None));
    }

    #[test]
    fn positions_outside_the_text_are_no_range() {
        let beyond = json!({ "groundingChunks": [{ "web": {} }],
            "groundingSupports": [{ "segment": { "endIndex": 99 }, "groundingChunkIndices": [0] }] });
        let sources = Sources { grounding: beyond, ..Sources::default() };
        assert_eq!(sources.annotations("é")[0].end, None);
    }
}
