use super::*;

fn verdict_with(status: u16, headers: &[(&str, &str)], body: &str) -> Verdict {
    let fields = crate::http::header_map(headers);
    let body = read_error_body(None, body.as_bytes());
    default_verdict(&Failure { status, headers: &fields, body: &body })
}

fn kind(status: u16, body: &str) -> ErrorKind {
    verdict_with(status, &[], body).kind
}

fn message(status: u16, body: &str) -> String {
    verdict_with(status, &[], body).message.expect("every default verdict has a sentence")
}

#[test]
fn every_status_has_its_kind() {
    use ErrorKind as K;
    for (status, expected) in [
        (302, K::ResponseInvalid),
        (400, K::InvalidRequest),
        (401, K::Unauthenticated),
        (402, K::CreditsExhausted),
        (403, K::PermissionDenied),
        (404, K::NotFound),
        (405, K::Unsupported),
        (408, K::Timeout),
        (409, K::Conflict),
        (410, K::NotFound),
        (413, K::InvalidRequest),
        (414, K::InvalidRequest),
        (415, K::InvalidRequest),
        (418, K::InvalidRequest),
        (422, K::InvalidRequest),
        (424, K::Unavailable),
        (425, K::RateLimited),
        (429, K::RateLimited),
        (498, K::Unavailable),
        (499, K::Unavailable),
        (500, K::Unavailable),
        (501, K::Unsupported),
        (502, K::Unavailable),
        (503, K::Unavailable),
        (504, K::Unavailable),
        (529, K::Unavailable),
        (700, K::ResponseInvalid),
    ] {
        assert_eq!(kind(status, ""), expected, "{status}");
    }
}

#[test]
fn bodies_correct_statuses_that_lie() {
    use ErrorKind as K;
    for (status, body, expected) in [
        (
            429,
            r#"{"error":{"message":"You exceeded your current quota","code":"insufficient_quota"}}"#,
            K::CreditsExhausted,
        ),
        (
            429,
            r#"{"error":"You have exceeded your monthly included credits for Inference Providers."}"#,
            K::CreditsExhausted,
        ),
        (402, r#"{"error":"You have reached the free monthly usage limit for groq"}"#, K::CreditsExhausted),
        (400, r#"{"error":{"message":"x","code":"context_length_exceeded"}}"#, K::ContextTooLong),
        (
            400,
            r#"{"object":"error","message":"This model's maximum context length is 10 tokens.","code":400}"#,
            K::ContextTooLong,
        ),
        (
            422,
            r#"{"error":"`inputs` tokens + `max_new_tokens` must be <= 10","error_type":"validation"}"#,
            K::ContextTooLong,
        ),
        (400, r#"{"error":{"message":"x","code":"content_filter"}}"#, K::ContentRejected),
        (400, r#"{"error":{"message":"x","code":"content_policy_violation"}}"#, K::ContentRejected),
        (
            400,
            r#"{"error":{"message":"The requested model 'x' is not supported by any provider you have enabled.","code":"model_not_supported"}}"#,
            K::NotFound,
        ),
        (400, r#"{"error":"Model not supported by provider together"}"#, K::NotFound),
        (404, r#"{"error":{"message":"x","code":"model_not_found"}}"#, K::NotFound),
        (403, r#"{"error":{"message":"x","code":"model_not_found"}}"#, K::NotFound),
        (503, r#"{"error":"Model X is currently loading","estimated_time":20.0}"#, K::ColdStart),
        (503, r#"{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}"#, K::ColdStart),
        (503, r#"{"error":"Model is overloaded","error_type":"overloaded"}"#, K::Unavailable),
        (503, "<html><title>503</title>", K::Unavailable),
        (404, "<html><title>404</title>", K::NotFound),
        (500, "input is too large to process. increase the physical batch size", K::ContextTooLong),
    ] {
        assert_eq!(kind(status, body), expected, "{status} {body}");
    }
}

#[test]
fn an_error_inside_a_200_is_judged_by_its_code_or_type() {
    use ErrorKind as K;
    for (body, expected) in [
        (r#"{"error":{"code":429,"message":"x"}}"#, K::RateLimited),
        (r#"{"error":{"code":"401","message":"x"}}"#, K::Unauthenticated),
        (r#"{"error":{"message":"x","type":"rate_limit_error"}}"#, K::RateLimited),
        (r#"{"error":{"message":"x","status":"INVALID_ARGUMENT"}}"#, K::InvalidRequest),
        (r#"{"error":"x","error_type":"overloaded"}"#, K::Unavailable),
        (r#"{"error":"x","error_type":"generation"}"#, K::Unavailable),
        (r#"{"error":"Model X is currently loading"}"#, K::ColdStart),
        (r#"{"error":"something broke"}"#, K::Unavailable),
    ] {
        assert_eq!(kind(200, body), expected, "{body}");
    }
}

#[test]
fn a_spent_quota_of_the_day_is_not_a_rate() {
    let body = |quota: &str| {
        format!(
            r#"[{{"error":{{"code":429,"status":"RESOURCE_EXHAUSTED","details":[{{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{{"quotaId":"{quota}"}}]}}]}}}}]"#
        )
    };
    assert_eq!(kind(429, &body("GenerateRequestsPerDayPerProjectPerModel")), ErrorKind::QuotaExceeded);
    assert_eq!(kind(429, &body("GenerateRequestsPerMinutePerProject")), ErrorKind::RateLimited);
}

#[test]
fn the_missing_permission_of_a_fine_grained_token_is_named() {
    let body = r#"{"error":"This authentication method does not have sufficient permissions to call Inference Providers on behalf of user someone"}"#;
    let message = message(403, body);
    assert!(message.contains("\"Make calls to Inference Providers\""), "{message}");
    assert!(!message.contains("someone"), "{message}");
}

#[test]
fn error_codes_of_the_hub_count_more_than_the_status() {
    let not_found = verdict_with(401, &[("X-Error-Code", "RepoNotFound")], "");
    assert_eq!(not_found.kind, ErrorKind::NotFound);
    let gated = verdict_with(403, &[("x-error-code", "GatedRepo")], "");
    assert_eq!(gated.kind, ErrorKind::PermissionDenied);
    assert!(gated.message.expect("a sentence").contains("licence"));
}

#[test]
fn a_message_names_code_type_and_param_but_never_quotes_the_vendor() {
    let body = r#"{"error":{"message":"invalid value: 'CANARY prompt'","type":"invalid_request_error","code":"bad","param":"messages[0].content"}}"#;
    assert_eq!(
        message(400, body),
        "the backend refuses the request as invalid (code: bad, type: invalid_request_error, param: messages[0].content)"
    );
    let echoing = r#"{"error":{"message":"x","code":"CANARY is not a code","type":"sk-CANARY"}}"#;
    assert!(!message(400, echoing).contains("CANARY"));
    assert!(!message(502, "<html><title>CANARY</title><body>CANARY").contains("CANARY"));
}

#[test]
fn the_sizes_of_a_context_overflow_are_named_where_known() {
    let body = r#"{"error":{"code":400,"message":"the request exceeds the available context size","type":"exceed_context_size_error","n_prompt_tokens":9000,"n_ctx":4096}}"#;
    assert!(
        message(400, body).starts_with(
            "the input is longer than the model's context window: 9000 tokens where it takes 4096"
        )
    );
}

#[test]
fn words_of_a_rule_deep_in_an_echoed_prompt_change_nothing() {
    let body = format!(r#"{{"error":"invalid input: {} maximum context length"}}"#, "a ".repeat(300));
    assert_eq!(kind(400, &body), ErrorKind::InvalidRequest);
    assert_eq!(kind(401, r#"{"error":"maximum context length"}"#), ErrorKind::Unauthenticated);
}

#[test]
fn the_response_decides_over_the_rules_whether_to_try_again() {
    let verdict = || verdict_with(500, &[], "");
    assert_eq!(verdict().persistence, None);
    let wait = Some(Duration::from_secs(3));
    let hinted = verdict().with_hint(WaitHint { wait, should_retry: Some(false) });
    assert_eq!((hinted.wait, hinted.persistence), (wait, Some(Persistence::Permanent)));
    let own = Verdict { wait: Some(Duration::ZERO), ..verdict() };
    let hinted = own.with_hint(WaitHint { wait, should_retry: Some(true) });
    assert_eq!((hinted.wait, hinted.persistence), (Some(Duration::ZERO), Some(Persistence::Temporary)));
}
