//! The JSON of a CLIP service.

use serde::Serialize;
use serde_json::Value;

use crate::embed::Vectors;
use crate::error::{Error, Result};

#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum EmbedBody<'a> {
    Text { text: &'a str },
    Image { image: String, mime_type: &'a str },
}

/// The vector of an answer, normalised.
pub(super) fn read_vector(answer: &Value) -> Result<Vec<f32>> {
    let invalid = || {
        Error::response_invalid("the CLIP service's answer holds no `embedding` list of numbers")
            .with_http_status(200)
    };
    let numbers = answer.get("embedding").and_then(Value::as_array).ok_or_else(invalid)?;
    #[allow(clippy::cast_possible_truncation)]
    let number =
        |value: &Value| value.as_f64().map(|number| number as f32).filter(|number| number.is_finite());
    let vector: Vec<f32> = numbers.iter().map(number).collect::<Option<_>>().ok_or_else(invalid)?;
    if vector.is_empty() {
        return Err(invalid());
    }
    match answer.get("dimensions").and_then(Value::as_u64) {
        Some(said) if said != vector.len() as u64 => Err(Error::response_invalid(format!(
            "the CLIP service says {said} `dimensions` and sends {} numbers",
            vector.len()
        ))),
        _ => unit_length(vector),
    }
}

/// Normalises a vector. Services promise unit length, and vectors that have it keep their bits.
fn unit_length(vector: Vec<f32>) -> Result<Vec<f32>> {
    const TOLERANCE: f64 = 1e-3;
    let length = vector.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt();
    if (length - 1.0).abs() <= TOLERANCE {
        return Ok(vector);
    }
    let width = vector.len();
    Ok(Vectors::new(vector, width)?.normalised().as_flat().to_vec())
}
