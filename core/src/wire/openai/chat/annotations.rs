//! The sources of an answer, as vendors write them.

use serde_json::{Map, Value};

use crate::chat::{Annotation, AnnotationKind};

/// Reads one annotation: OpenAI's, whose fields stand in an object named like its type or beside it, or an address alone,
/// as in Perplexity's `citations`.
pub(crate) fn read_annotation(value: Value) -> Annotation {
    if let Value::String(url) = &value {
        let url = Some(url.clone());
        return Annotation { url, ..Annotation::new(AnnotationKind::Url, value) };
    }
    let name = value.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
    let inner = value.get(name.as_str()).filter(|inner| inner.is_object()).unwrap_or(&value);
    let text = |names: &[&str]| {
        let found = names.iter().find_map(|name| inner.get(name)?.as_str());
        found.filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let number = |name: &str| inner.get(name).and_then(Value::as_u64);
    let kind = match name.as_str() {
        "url_citation" => AnnotationKind::Url,
        "file_citation" | "container_file_citation" | "file_path" | "file" => AnnotationKind::File,
        "document_citation" => AnnotationKind::Document,
        _ if inner.get("url").is_some() => AnnotationKind::Url,
        _ => AnnotationKind::Other,
    };
    Annotation {
        kind,
        url: text(&["url"]),
        title: text(&["title", "filename", "name"]),
        file_id: text(&["file_id"]),
        quote: text(&["content", "quote", "text"]),
        start: number("start_index"),
        end: number("end_index"),
        data: value,
    }
}

/// Removes the lists of sources from a message and reads them.
pub(super) fn take_annotations(fields: &mut Map<String, Value>) -> Vec<Annotation> {
    match fields.remove("annotations") {
        Some(Value::Array(list)) => list.into_iter().map(read_annotation).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn sources_are_read_wherever_their_fields_stand() {
        let inside = json!({ "type": "url_citation", "url_citation": {
            "url": "https://a.test", "title": "A", "content": "so", "start_index": 1, "end_index": 5 } });
        let beside = json!({ "type": "url_citation", "url": "https://a.test", "title": "A", "content": "so",
            "start_index": 1, "end_index": 5 });
        for value in [inside, beside] {
            let read = read_annotation(value.clone());
            assert_eq!((read.kind, read.url.as_deref()), (AnnotationKind::Url, Some("https://a.test")));
            assert_eq!((read.title.as_deref(), read.quote.as_deref()), (Some("A"), Some("so")));
            assert_eq!((read.start, read.end, read.data), (Some(1), Some(5), value));
        }
        let file = read_annotation(json!({ "type": "file_citation", "file_id": "f", "filename": "a.pdf" }));
        assert_eq!((file.kind, file.file_id.as_deref()), (AnnotationKind::File, Some("f")));
        assert_eq!(read_annotation(json!("https://b.test")).url.as_deref(), Some("https://b.test"));
        assert_eq!(read_annotation(json!({ "type": "new" })).kind, AnnotationKind::Other);
    }
}
