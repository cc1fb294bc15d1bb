//! What every embedding API has in common: vectors of one width, prompts for roles.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::embed::{EmbedRole, Vectors};
use crate::error::{Error, Result};

/// The body with the caller's further fields, which override nothing.
///
/// # Errors
/// `invalid_request` where the body has no JSON form.
pub(crate) fn with_extra(body: &impl Serialize, extra: &Map<String, Value>) -> Result<Value> {
    let mut body = serde_json::to_value(body).map_err(|error| {
        Error::invalid_request(format!("the request is not expressible as JSON: {error}"))
    })?;
    if let Value::Object(fields) = &mut body {
        for (name, value) in extra {
            fields.entry(name).or_insert_with(|| value.clone());
        }
    }
    Ok(body)
}

/// Puts the vectors of an answer side by side.
///
/// # Errors
/// `response_invalid` unless there is one an input, none is empty and all are as wide as `dimensions` says,
/// or as each other.
pub(crate) fn side_by_side(rows: Vec<Vec<f32>>, inputs: usize, dimensions: Option<usize>) -> Result<Vectors> {
    if rows.len() != inputs {
        let came = rows.len();
        return Err(Error::response_invalid(format!("{came} vectors came back for {inputs} inputs")));
    }
    if let Some(index) = rows.iter().position(Vec::is_empty) {
        return Err(Error::response_invalid(format!("vector {index} is empty")).about_input(index));
    }
    let wrong = dimensions.and_then(|width| Some((width, rows.iter().find(|row| row.len() != width)?.len())));
    match wrong {
        Some((width, came)) => Err(Error::response_invalid(format!(
            "vectors of {came} numbers came back where {width} were expected"
        ))),
        None => Vectors::from_rows(rows),
    }
}

/// Scales the vectors to unit length unless they have it already, as far as half precision can tell.
pub(crate) fn unit_length(vectors: Vectors) -> Vectors {
    const ROUNDING: f32 = 2e-3;
    let is_unit = |vector: &[f32]| {
        let length = vector.iter().map(|number| number * number).sum::<f32>().sqrt();
        (length - 1.0).abs() <= ROUNDING
    };
    if vectors.iter().all(is_unit) { vectors } else { vectors.normalised() }
}

/// The prompt that a configuration gives for a role; a blank one means that the role needs none.
///
/// # Errors
/// `unsupported` naming the `fields` if the configuration says nothing about roles at all: whether the
/// model's vectors depend on them is not known then.
pub(crate) fn prompt_for<'a>(
    role: Option<EmbedRole>,
    query: Option<&'a str>,
    document: Option<&'a str>,
    fields: [&str; 2],
) -> Result<Option<&'a str>> {
    let Some(role) = role else { return Ok(None) };
    if query.is_none() && document.is_none() {
        return Err(Error::unsupported(format!(
            "the request has a role, but the configuration does not say what it means to this model: set \
             `{}` and `{}`, or one of them to \"\" if queries and documents are embedded alike",
            fields[0], fields[1]
        )));
    }
    let prompt = match role {
        EmbedRole::Query => query,
        EmbedRole::Document => document,
    };
    Ok(prompt.filter(|prompt| !prompt.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_without_configured_prompts_is_refused_by_name() {
        let fields = ["query_prompt", "document_prompt"];
        let role = Some(EmbedRole::Document);
        let error = prompt_for(role, None, None, fields).expect_err("not configured");
        assert!(error.message().contains("`document_prompt`"), "{error}");
        assert_eq!(prompt_for(None, None, None, fields).expect("no role"), None);
        assert_eq!(prompt_for(role, Some("q: "), None, fields).expect("one"), None);
        assert_eq!(prompt_for(role, Some(""), Some("d: "), fields).expect("both"), Some("d: "));
    }
}
