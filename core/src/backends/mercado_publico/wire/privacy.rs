//! Removing personal data before anything is parsed or stored.

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::procure::json::walk::Walker;

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
/// `response_invalid` if it is not JSON.
pub(crate) fn scrubbed(body: &Bytes) -> Result<Bytes> {
    let mut clean = Vec::with_capacity(body.len());
    let mut copied = 0;
    let mut walker = Walker::new(body)?;
    scrub(&mut walker, MAX_DEPTH, &mut |start, end| {
        clean.extend_from_slice(body.get(copied..start).unwrap_or_default());
        clean.extend_from_slice(b"\"\"");
        copied = end;
    })?;
    if copied == 0 {
        return Ok(body.clone());
    }
    clean.extend_from_slice(body.get(copied..).unwrap_or_default());
    Ok(clean.into())
}

const MAX_DEPTH: usize = 128;

fn scrub(walker: &mut Walker<'_>, depth_left: usize, drop: &mut dyn FnMut(usize, usize)) -> Result<()> {
    let left = depth_left.checked_sub(1);
    match (walker.peek(), left) {
        (Some(b'{' | b'['), None) => Err(Error::response_invalid("the answer is nested too deeply")),
        (Some(b'{'), Some(left)) => walker.members(|walker, name| {
            if !PERSONAL.iter().any(|personal| personal.eq_ignore_ascii_case(name)) {
                return scrub(walker, left, drop);
            }
            walker.peek();
            let start = walker.at();
            walker.skip()?;
            drop(start, walker.at());
            Ok(())
        }),
        (Some(b'['), Some(left)) => walker.elements(|walker| scrub(walker, left, drop)),
        _ => walker.skip(),
    }
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
        let deep = Bytes::from("[".repeat(100_000));
        assert!(scrubbed(&deep).is_err());
    }
}
