//! Responses, events, progress and errors as JSON, the form in which cases expect them.

use ayni::Error;
use serde::Serialize;
use serde_json::{Value, json};

/// What serde writes of an answer. It goes by way of text, where a number has the fewest digits that name it, so that a
/// case may say 0.1.
pub(crate) fn data(answer: &impl Serialize) -> Value {
    let text = serde_json::to_string(answer);
    text.and_then(|text| serde_json::from_str(&text))
        .unwrap_or_else(|error| json!({ "cannot_be_written": error.to_string() }))
}

/// An error, with its one-line and its debug form.
pub(crate) fn error(error: &Error) -> Value {
    let mut data = data(error);
    data["display"] = error.to_string().into();
    data["debug"] = format!("{error:?}").into();
    data
}

#[cfg(test)]
mod tests {
    use ayni::{BackendInfo, EmbedResponse, Route, Vectors};

    use super::*;

    #[test]
    fn numbers_keep_the_digits_that_a_case_writes() {
        let vectors = Vectors::new([0.1, -1.0, f32::NAN], 3).expect("vectors");
        let response = EmbedResponse::new(vectors, Route::new(&BackendInfo::new("scripted", "m")));
        assert_eq!(data(&response)["vectors"], json!([[0.1, -1.0, null]]));
    }

    #[test]
    fn an_error_is_its_data_and_what_people_see_of_it() {
        let json = error(&Error::config("`model` is not set"));
        assert_eq!(json["kind"], "config_invalid");
        assert_eq!(json["display"], "config_invalid: `model` is not set");
        assert_eq!(json["debug"], "config_invalid: `model` is not set");
    }
}
