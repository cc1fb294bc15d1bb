//! Numbers in JSON: vectors as lists, and decimals as they were written.

use serde_json::Value;

use crate::error::{Error, Result};

/// The numbers of the vector at `index` of a response.
///
/// # Errors
/// `response_invalid` if it is not a list, or holds anything but finite numbers.
pub(crate) fn vector(value: &Value, index: usize) -> Result<Vec<f32>> {
    let Value::Array(items) = value else {
        return Err(
            Error::response_invalid(format!("vector {index} is not a list of numbers")).about_input(index)
        );
    };
    let number = |(position, item): (usize, &Value)| {
        #[allow(clippy::cast_possible_truncation)]
        let number = item.as_f64().map(|number| number as f32);
        number.filter(|number| number.is_finite()).ok_or_else(|| {
            Error::response_invalid(format!("vector {index} holds something that is no number at {position}"))
                .about_input(index)
        })
    };
    items.iter().enumerate().map(number).collect()
}

/// The shortest decimal that names the number: 0.7, not 0.699999988079071.
pub(crate) fn decimal(number: f32) -> f64 {
    number.to_string().parse().unwrap_or_else(|_| f64::from(number))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_but_finite_numbers_makes_a_vector() {
        assert_eq!(vector(&json!([1, -0.5, 2e3]), 0).expect("numbers"), [1.0, -0.5, 2000.0]);
        for value in
            [json!([1, null]), json!([1, "2"]), json!([1, [2]]), json!([1e300]), json!("x"), json!(1)]
        {
            let error = vector(&value, 7).expect_err("no vector");
            assert!(error.message().contains("vector 7"), "{value}: {error}");
        }
    }
}
