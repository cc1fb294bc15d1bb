//! Embeddings: requests and responses, with vectors as numbers or as base64.

use super::fields::words;

mod request;
mod response;

pub use request::EmbeddingsRequest;
pub use response::EmbeddingList;

pub(crate) use request::EmbeddingsBody;
pub(crate) use response::RawEmbeddings;

words! {
    /// How vectors are written.
    #[non_exhaustive]
    pub enum EncodingFormat {
        /// As a list of numbers.
        Float = "float",
        /// As the base64 of little-endian 32-bit floats: a third of the size, and no digit is lost.
        Base64 = "base64",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use std::borrow::Cow;

    use super::request::MAX_INPUTS;
    use super::response::{base64, read_vector};
    use super::*;
    use crate::backends::scripted::Scripted;
    use crate::embed::{AnyEmbedder, EmbedRequest, EmbedResponse, Truncation};
    use crate::info::{BackendInfo, Route, Usage};
    use crate::{ErrorKind, Vectors};

    fn raw(data: Value) -> RawEmbeddings {
        serde_json::from_value(json!({ "data": data })).expect("a response")
    }

    #[test]
    fn a_request_is_read_as_it_was_written() {
        for (dimensions, format) in [(None, None), (Some(256), Some(EncodingFormat::Base64))] {
            let mut request = EmbedRequest::texts(["hola", "say \"ñ\""]);
            request.dimensions = dimensions;
            let texts = request.text_inputs().expect("texts").into_iter().map(Cow::from).collect();
            let body = EmbeddingsBody::write("m", texts, dimensions, format);
            let read = EmbeddingsRequest::read(&serde_json::to_vec(&body).expect("JSON")).expect("a request");
            assert_eq!((read.model.as_str(), read.request), ("m", request));
            assert_eq!(read.encoding_format, format.unwrap_or(EncodingFormat::Float));
        }
    }

    #[test]
    fn a_response_is_read_as_it_was_written_bit_for_bit() {
        let rows = vec![vec![0.1_f32, -1.0 / 3.0, f32::MIN_POSITIVE], vec![1e-30, 0.6, -0.0]];
        let vectors = Vectors::from_rows(rows.clone()).expect("vectors");
        let route = Route::new(&BackendInfo::new("scripted", "m"));
        let response = EmbedResponse::new(vectors, route).with_usage(Usage::new(7, None));
        for format in [EncodingFormat::Float, EncodingFormat::Base64] {
            let json = serde_json::to_string(&EmbeddingList::new(&response, "m", format)).expect("JSON");
            let raw: RawEmbeddings = serde_json::from_str(&json).expect("a response");
            assert_eq!((raw.model.as_deref(), raw.usage()), (Some("m"), Usage::new(7, None)));
            let read = raw.into_rows().expect("rows");
            let bits = |rows: &[Vec<f32>]| rows.concat().iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&read), bits(&rows));
        }
    }

    #[test]
    fn inputs_that_cannot_be_served_are_refused_as_what_they_are() {
        let many = json!(vec!["x"; MAX_INPUTS + 2]);
        for (input, kind, message) in [
            (json!([]), ErrorKind::InvalidRequest, "`input` has 0 texts; it must have 1 to 2048"),
            (many, ErrorKind::InvalidRequest, "`input` has 2050 texts; it must have 1 to 2048"),
            (json!([1, "a"]), ErrorKind::InvalidRequest, "`input.1`: expected u32"),
            (json!([[1], []]), ErrorKind::InvalidRequest, "`input.1`: a list of token ids is empty"),
            (json!([-1]), ErrorKind::InvalidRequest, "`input.0`: expected a text or token ids"),
            (
                json!(5),
                ErrorKind::InvalidRequest,
                "`input`: expected a text, a list of texts, or a list of token ids",
            ),
            (json!(["a", null]), ErrorKind::InvalidRequest, "`input.1`: expected a text or token ids"),
        ] {
            let body = json!({ "model": "m", "input": input }).to_string();
            let error = EmbeddingsRequest::read(body.as_bytes()).expect_err(message);
            assert_eq!((error.kind(), error.message()), (kind, message));
        }
    }

    #[test]
    fn token_ids_are_read_as_one_text_or_several() {
        for (input, expected) in
            [(json!([1, 2]), vec![vec![1, 2]]), (json!([[1], [2, 3]]), vec![vec![1], vec![2, 3]])]
        {
            let body = json!({ "model": "m", "input": input, "truncate": "NONE", "priority": 1 }).to_string();
            let read = EmbeddingsRequest::read(body.as_bytes()).expect("a request");
            assert_eq!(
                (read.tokens.clone(), read.ignored.as_slice()),
                (expected, &["priority".to_owned()][..])
            );
            assert_eq!(read.request.truncation, Truncation::Refuse);
            let error = read.request_for(&AnyEmbedder::new(Scripted::default())).expect_err("unknown tokens");
            assert_eq!(error.kind(), ErrorKind::InvalidRequest);
        }
    }

    #[test]
    fn items_are_sorted_by_index_and_kept_as_they_came_without_one() {
        let sorted = raw(json!([{ "index": 1, "embedding": [1] }, { "embedding": [0] }]));
        assert_eq!(sorted.into_rows().expect("in order"), [[0.0], [1.0]], "the first index may be left out");
        let unsorted = raw(json!([{ "embedding": [5] }, { "embedding": [4] }]));
        assert_eq!(unsorted.into_rows().expect("as they came"), [[5.0], [4.0]]);
        for data in [
            json!([{ "index": 0, "embedding": [1] }, { "index": 0, "embedding": [2] }]),
            json!([{ "index": 0, "embedding": [1] }, { "index": 2, "embedding": [2] }]),
            json!(null),
        ] {
            let error = raw(data).into_rows().expect_err("no order");
            assert_eq!(error.kind(), ErrorKind::ResponseInvalid);
        }
    }

    #[test]
    fn base64_is_little_endian_floats_and_nothing_else() {
        assert_eq!(read_vector(&json!(base64(&[1.5, -2.0])), 0).expect("floats"), [1.5, -2.0]);
        for wrong in [
            json!(base64(&[f32::NAN])),
            json!(base64(&[f32::INFINITY])),
            json!("AAAA"),
            json!("no base64!"),
            json!(null),
        ] {
            assert!(read_vector(&wrong, 0).is_err(), "{wrong}");
        }
    }
}
