//! What failures mean. The body decides, whatever the status says.

use super::wire::compra_agil::Failures;
use super::wire::v1::V1Failure;
use crate::error::{ErrorKind, Persistence};
use crate::http::status::{Failure, Verdict};
use crate::procure::tables::folded;

/// v1's failures, for the status table.
pub(super) fn v1(failure: &Failure<'_>) -> Option<Verdict> {
    // v1 says "no such record" with an empty list; what has no page is the path.
    if failure.status == 404 {
        return Some(unknown_path());
    }
    let json = failure.body.json.as_ref()?;
    let member = |name: &str| json.get(name).filter(|value| !value.is_null());
    let message = member("Mensaje").or_else(|| member("mensaje")).or_else(|| member("message"))?.as_str()?;
    let code = member("Codigo").and_then(|code| code.as_i64().or_else(|| code.as_str()?.trim().parse().ok()));
    v1_verdict(&V1Failure { code, message: message.to_owned() }, failure.status)
}

/// What a v1 failure means; `None` leaves it to the status.
fn v1_verdict(failure: &V1Failure, status: u16) -> Option<Verdict> {
    let says = folded(&failure.message);
    Some(match failure.code {
        // Two failures have this number.
        Some(203) if says.contains("cuota") => Verdict::new(
            ErrorKind::QuotaExceeded,
            "the service says that the ticket's quota of the day is spent",
        ),
        Some(203) => Verdict::new(
            ErrorKind::Unauthenticated,
            "the service does not accept the ticket: check MERCADO_PUBLICO_TICKET",
        ),
        Some(10500) => Verdict::new(ErrorKind::RateLimited, "another request with this ticket is in flight"),
        Some(10300) => Verdict::new(
            ErrorKind::InvalidRequest,
            "the service calls the parameters invalid: check the code",
        ),
        Some(400) => Verdict::new(ErrorKind::InvalidRequest, "the service does not know a parameter"),
        _ if says.contains("simultanea") => {
            Verdict::new(ErrorKind::RateLimited, "another request with this ticket is in flight")
        }
        _ if says.contains("timedout") || status == 504 => gateway_timeout(),
        _ if (200..300).contains(&status) => Verdict::new(
            ErrorKind::Unavailable,
            "the service answered with a failure that ayni does not know",
        ),
        _ => return None,
    })
}

fn gateway_timeout() -> Verdict {
    Verdict::new(ErrorKind::Timeout, "the gateway in front of the service gave up waiting for it")
}

/// A page that is not there says nothing of records: it is never `not_found`.
fn unknown_path() -> Verdict {
    let message = "the service does not know this path; is the base URL right?";
    Verdict { persistence: Some(Persistence::Permanent), ..Verdict::new(ErrorKind::ResponseInvalid, message) }
}

/// The quick-purchase API's failures, for the status table.
pub(super) fn quick(failure: &Failure<'_>) -> Option<Verdict> {
    let verdict = quick_told(failure);
    verdict.or_else(|| match failure.status {
        403 => Some(firewall()),
        404 => Some(unknown_path()),
        _ => None,
    })
}

/// Without words of the service's own it was not the ticket that was refused.
fn firewall() -> Verdict {
    let message = "the firewall of the service refused the request; it may let in only who is in Chile";
    Verdict {
        persistence: Some(Persistence::Permanent),
        ..Verdict::new(ErrorKind::PermissionDenied, message)
    }
}

fn quick_told(failure: &Failure<'_>) -> Option<Verdict> {
    let json = failure.body.json.as_ref()?;
    let errors =
        json.get("errors").and_then(|errors| errors.as_array()).map(Vec::as_slice).unwrap_or_default();
    let text = |value: &serde_json::Value, name: &str| match value.get(name) {
        Some(serde_json::Value::String(text)) => text.clone(),
        Some(serde_json::Value::Number(number)) => number.to_string(),
        _ => String::new(),
    };
    let told = errors.iter().map(|error| (text(error, "codigo"), text(error, "mensaje")));
    let gateway = json.get("message").map(|_| (String::new(), text(json, "message")));
    quick_verdict(&Failures(told.chain(gateway).collect()), failure.status)
}

fn quick_verdict(failures: &Failures, status: u16) -> Option<Verdict> {
    let (code, message) = failures.0.first()?;
    if folded(message).contains("timedout") {
        return Some(gateway_timeout());
    }
    let told = code.parse::<u16>().ok().or(match code.as_str() {
        "PARAMETROS_INVALIDOS" => Some(400),
        "ERROR_INTERNO" => Some(500),
        _ => None,
    });
    Some(match told.unwrap_or(status) {
        400 => {
            Verdict::new(ErrorKind::InvalidRequest, "the service calls the parameters of the query invalid")
        }
        401 => Verdict::new(
            ErrorKind::Unauthenticated,
            "the service does not accept the ticket: check MERCADO_PUBLICO_TICKET",
        ),
        403 if code.is_empty() => return None,
        403 => Verdict::new(ErrorKind::PermissionDenied, "the ticket is unknown to this API, or blocked"),
        // The gateway's own words have no code, and speak of the path.
        404 if code.is_empty() => return None,
        404 => Verdict::new(ErrorKind::NotFound, "there is no quick purchase with this code"),
        429 => Verdict::new(ErrorKind::RateLimited, "the service has had enough requests for now"),
        500..=599 => Verdict::new(ErrorKind::Unavailable, "the service failed"),
        _ => return None,
    })
}

/// The OCDS service's failures: a firewall's refusal is not a matter of the ticket, which it does not have.
pub(super) fn ocds(failure: &Failure<'_>) -> Option<Verdict> {
    let in_body = failure.body.json.as_ref().and_then(|json| json.get("status")?.as_i64());
    match (failure.status, in_body) {
        (403, _) => Some(firewall()),
        (404, Some(404)) => {
            Some(Verdict::new(ErrorKind::NotFound, "the OCDS feed has nothing under this name, or not yet"))
        }
        (404, _) => Some(unknown_path()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::HeaderMap;
    use crate::http::status::read_error_body;

    fn told(classify: fn(&Failure<'_>) -> Option<Verdict>, status: u16, body: &str) -> Option<ErrorKind> {
        let body = read_error_body(None, body.as_bytes());
        classify(&Failure { status, headers: &HeaderMap::new(), body: &body }).map(|verdict| verdict.kind)
    }

    #[test]
    fn the_body_decides_whatever_the_status_says() {
        let simultaneous = r#"{"Codigo":10500,"Mensaje":"Lo sentimos. Hemos detectado que existen peticiones simultáneas."}"#;
        for status in [200, 203, 429, 500] {
            assert_eq!(told(v1, status, simultaneous), Some(ErrorKind::RateLimited), "{status}");
            let quota = r#"{"Codigo":203,"Mensaje":"Ticket superó la cuota diaria asignada."}"#;
            assert_eq!(told(v1, status, quota), Some(ErrorKind::QuotaExceeded), "{status}");
            let ticket = r#"{"Codigo":"203","Mensaje":"Ticket no válido."}"#;
            assert_eq!(told(v1, status, ticket), Some(ErrorKind::Unauthenticated), "{status}");
            let parameters = r#"{"Codigo":10300,"Mensaje":"Los parámetros no son válidos."}"#;
            assert_eq!(told(v1, status, parameters), Some(ErrorKind::InvalidRequest), "{status}");
        }
        assert_eq!(told(v1, 200, r#"{"Codigo":77,"Mensaje":"Algo"}"#), Some(ErrorKind::Unavailable));
        assert_eq!(told(v1, 502, "<html>bad gateway</html>"), None);
    }

    #[test]
    fn quick_purchase_failures_are_read_by_number_and_by_name() {
        let body = |code: &str| {
            format!(r#"{{"success":"NOK","payload":null,"errors":[{{"codigo":"{code}","mensaje":"x"}}]}}"#)
        };
        for (code, kind) in [
            ("PARAMETROS_INVALIDOS", ErrorKind::InvalidRequest),
            ("401", ErrorKind::Unauthenticated),
            ("403", ErrorKind::PermissionDenied),
            ("404", ErrorKind::NotFound),
            ("429", ErrorKind::RateLimited),
            ("ERROR_INTERNO", ErrorKind::Unavailable),
        ] {
            assert_eq!(told(quick, 200, &body(code)), Some(kind), "{code}");
        }
        assert_eq!(told(quick, 504, r#"{"message":"Endpoint request timed out"}"#), Some(ErrorKind::Timeout));
        assert_eq!(told(ocds, 403, "<html>"), Some(ErrorKind::PermissionDenied));
    }

    #[test]
    fn a_page_that_is_not_there_is_not_a_record_that_is_not_there() {
        let route = r#"{"statusCode":404,"message":"Resource not found"}"#;
        for classify in [v1, quick, ocds] {
            for body in [route, "<html>", ""] {
                assert_eq!(told(classify, 404, body), Some(ErrorKind::ResponseInvalid), "{body}");
            }
        }
        let record = r#"{"status":404,"detail":"No se encontraron resultados."}"#;
        assert_eq!(told(ocds, 404, record), Some(ErrorKind::NotFound));
    }
}
