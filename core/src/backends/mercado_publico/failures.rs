//! What the services' failures mean. The body decides, not the HTTP status.

use super::wire::compra_agil::Failures;
use super::wire::v1::V1Failure;
use crate::error::{ErrorKind, Persistence};
use crate::http::status::{Failure, Verdict};
use crate::procure::tables::folded;

/// Classifies the failures of v1.
pub(super) fn v1(failure: &Failure<'_>) -> Option<Verdict> {
    // v1 answers "no such record" with an empty list. 404 means that the path is wrong.
    if failure.status == 404 {
        return Some(unknown_path());
    }
    let json = failure.body.json.as_ref()?;
    let member = |name: &str| json.get(name).filter(|value| !value.is_null());
    let message = member("Mensaje").or_else(|| member("mensaje")).or_else(|| member("message"))?.as_str()?;
    let code = member("Codigo").and_then(|code| code.as_i64().or_else(|| code.as_str()?.trim().parse().ok()));
    v1_verdict(&V1Failure { code, message: message.to_owned() }, failure.status)
}

/// What a failure of v1 means; `None` leaves it to the status.
fn v1_verdict(failure: &V1Failure, status: u16) -> Option<Verdict> {
    let says = folded(&failure.message);
    Some(match failure.code {
        // Two different failures have this code.
        Some(203) if says.contains("cuota") => Verdict::new(
            ErrorKind::QuotaExceeded,
            "the service says that the ticket's daily quota is used up",
        ),
        Some(203) => Verdict::new(
            ErrorKind::Unauthenticated,
            "the service does not accept the ticket: check MERCADO_PUBLICO_TICKET",
        ),
        Some(10500) => Verdict::new(ErrorKind::RateLimited, "another request with this ticket is in flight"),
        Some(10300) => {
            Verdict::new(ErrorKind::InvalidRequest, "the service rejects the parameters: check the code")
        }
        Some(400) => Verdict::new(ErrorKind::InvalidRequest, "the service does not know a parameter"),
        _ if says.contains("simultanea") => {
            Verdict::new(ErrorKind::RateLimited, "another request with this ticket is in flight")
        }
        _ if says.contains("timedout") || status == 504 => gateway_timeout(),
        _ if (200..300).contains(&status) => {
            Verdict::new(ErrorKind::Unavailable, "the service failed with a code that ayni does not know")
        }
        _ => return None,
    })
}

fn gateway_timeout() -> Verdict {
    Verdict::new(ErrorKind::Timeout, "the gateway in front of the service timed out")
}

/// A missing page says nothing about records, so it is never `not_found`.
fn unknown_path() -> Verdict {
    let message = "the service does not know this path; is the base URL right?";
    Verdict { persistence: Some(Persistence::Permanent), ..Verdict::new(ErrorKind::ResponseInvalid, message) }
}

pub(super) fn quick(failure: &Failure<'_>) -> Option<Verdict> {
    let verdict = quick_told(failure);
    verdict.or_else(|| match failure.status {
        403 => Some(firewall()),
        404 => Some(unknown_path()),
        _ => None,
    })
}

/// A refusal without the service's own message is not about the ticket.
fn firewall() -> Verdict {
    let message = "the service's firewall refused the request; it may accept requests from Chile only";
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
        400 => Verdict::new(ErrorKind::InvalidRequest, "the service rejects the parameters of the query"),
        401 => Verdict::new(
            ErrorKind::Unauthenticated,
            "the service does not accept the ticket: check MERCADO_PUBLICO_TICKET",
        ),
        403 if code.is_empty() => return None,
        403 => Verdict::new(ErrorKind::PermissionDenied, "the ticket is unknown to this API, or blocked"),
        // Messages without a code are the gateway's and are about the path.
        404 if code.is_empty() => return None,
        404 => Verdict::new(ErrorKind::NotFound, "no quick purchase has this code"),
        429 => Verdict::new(ErrorKind::RateLimited, "too many requests: the service's rate limit is reached"),
        500..=599 => Verdict::new(ErrorKind::Unavailable, "the service failed"),
        _ => return None,
    })
}

/// Classifies the failures of the OCDS service, which has no ticket: 403 comes from its firewall.
pub(super) fn ocds(failure: &Failure<'_>) -> Option<Verdict> {
    let in_body = failure.body.json.as_ref().and_then(|json| json.get("status")?.as_i64());
    match (failure.status, in_body) {
        (403, _) => Some(firewall()),
        (404, Some(404)) => {
            Some(Verdict::new(ErrorKind::NotFound, "the OCDS feed has no such record, or not yet"))
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
    fn a_missing_page_is_not_a_missing_record() {
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
