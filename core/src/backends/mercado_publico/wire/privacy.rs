//! Removing personal data before anything is parsed or stored.

use bytes::Bytes;
use serde_json::value::RawValue;

use crate::error::{Error, Result};
use crate::procure::json::Fields;

/// The members with personal data.
const PERSONAL: [&str; 14] = [
    "RutUsuario",
    "CodigoUsuario",
    "NombreUsuario",
    "CargoUsuario",
    "NombreResponsablePago",
    "EmailResponsablePago",
    "NombreResponsableContrato",
    "EmailResponsableContrato",
    "FonoResponsableContrato",
    "NombreContacto",
    "CargoContacto",
    "FonoContacto",
    "MailContacto",
    "contactPoint",
];

/// The body with the values of personal members replaced by `""`; all other bytes stay the same.
///
/// # Errors
/// `response_invalid` if it is not a JSON object, or nested too deeply.
pub(crate) fn scrubbed(body: &Bytes) -> Result<Bytes> {
    let mut personal = Vec::new();
    for (name, value) in Fields::of_body(body)?.members() {
        find_personal(name, value, MAX_DEPTH, &mut personal)?;
    }
    if personal.is_empty() {
        return Ok(body.clone());
    }
    let (mut clean, mut copied) = (Vec::with_capacity(body.len()), 0);
    for value in personal {
        let start = value.as_ptr().addr() - body.as_ptr().addr();
        clean.extend_from_slice(body.get(copied..start).unwrap_or_default());
        clean.extend_from_slice(b"\"\"");
        copied = start + value.len();
    }
    clean.extend_from_slice(body.get(copied..).unwrap_or_default());
    Ok(clean.into())
}

const MAX_DEPTH: usize = 128;

/// Finds the values of personal members, in the order in which they are written.
fn find_personal<'a>(name: &str, value: &'a str, left: usize, found: &mut Vec<&'a str>) -> Result<()> {
    if PERSONAL.iter().any(|personal| personal.eq_ignore_ascii_case(name)) {
        found.push(value);
        return Ok(());
    }
    let left = match (value.starts_with(['{', '[']), left.checked_sub(1)) {
        (false, _) => return Ok(()),
        (true, None) => return Err(Error::response_invalid("the answer is nested too deeply")),
        (true, Some(left)) => left,
    };
    if let Some(fields) = Fields::read(value) {
        return fields.members().try_for_each(|(name, value)| find_personal(name, value, left, found));
    }
    let elements = serde_json::from_str::<Vec<&'a RawValue>>(value)
        .map_err(|_| Error::response_invalid("the answer has a member that cannot be read"))?;
    elements.into_iter().try_for_each(|element| find_personal("", element.get(), left, found))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn personal_values_go_and_nothing_else_changes() {
        let body = Bytes::from_static(
            br#"{"a": [ {"NombreUsuario":"P\"","n":3.10} ], "contactPoint": {"name":"Q"} , "b":"NombreUsuario"}"#,
        );
        let clean = scrubbed(&body).expect("scrubbed");
        let expected =
            br#"{"a": [ {"NombreUsuario":"","n":3.10} ], "contactPoint": "" , "b":"NombreUsuario"}"#;
        assert_eq!(clean, &expected[..]);
        assert_eq!(scrubbed(&clean).expect("again"), clean);
        assert!(scrubbed(&Bytes::from_static(b"{\"a\":")).is_err());
    }

    #[test]
    fn deep_nesting_is_refused_and_not_followed() {
        let deep = Bytes::from(format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000)));
        assert!(scrubbed(&deep).expect_err("deep").message().contains("nested too deeply"));
    }
}
