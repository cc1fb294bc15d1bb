use std::sync::Mutex;

use super::super::testing::ScriptedTransport;
use super::*;
use crate::context::{Cancellation, Progress};
use crate::env::Environment;
use crate::error::Persistence;
use crate::http::HeaderText;
use crate::secret::Secret;

fn space(config: SpaceConfig) -> Space {
    config.open(&Environment::empty()).expect("a Space")
}

fn stage(name: &str) -> String {
    format!(
        r#"{{"stage":"{name}","hardware":{{"current":null,"requested":"cpu-basic"}},"gcTimeout":172800}}"#
    )
}

#[test]
fn a_host_is_made_from_the_name_and_an_address_is_taken_as_it_is() {
    for (given, host, id) in [
        ("ana/clip", "ana-clip.hf.space", Some("ana/clip")),
        ("My.Org/CLIP_v2", "my-org-clip-v2.hf.space", Some("My.Org/CLIP_v2")),
        ("https://ana-clip.hf.space/", "ana-clip.hf.space", None),
        ("http://localhost:7860", "localhost:7860", None),
    ] {
        let space = space(SpaceConfig::new(given));
        assert_eq!((space.host().as_str(), space.id()), (host, id), "{given}");
        assert_eq!(space.is_space(), !given.contains("localhost"), "{given}");
    }
    for wrong in ["", "clip", "a/b/c", "/clip", "ana/", "ana/cl ip", "https://", "ftp://x/y"] {
        let error = SpaceConfig::new(wrong).open(&Environment::empty()).expect_err(wrong);
        assert_eq!(error.kind(), ErrorKind::ConfigInvalid, "{wrong}");
    }
}

#[tokio::test]
async fn a_sleeping_space_is_visited_and_waited_for_with_progress() {
    let script = ScriptedTransport::new([
        (200, stage("SLEEPING").as_str()),
        (503, "<html>waking</html>"),
        (200, stage("APP_STARTING").as_str()),
        (200, stage("RUNNING").as_str()),
    ]);
    let (cx, clock) = script.context();
    let reasons: Arc<Mutex<Vec<String>>> = Arc::default();
    let sink = Arc::clone(&reasons);
    let cx = cx.with_progress(move |event| {
        if let Progress::Waiting { reason, .. } = event {
            sink.lock().expect("no panic").push(reason);
        }
    });
    space(SpaceConfig::new("ana/clip")).wait_until_running(&cx).await.expect("it wakes up");
    assert_eq!(
        script.asked(),
        [
            "GET huggingface.co/api/spaces/ana/clip/runtime",
            "GET ana-clip.hf.space/health",
            "GET huggingface.co/api/spaces/ana/clip/runtime",
            "GET huggingface.co/api/spaces/ana/clip/runtime",
        ]
    );
    assert_eq!(
        *reasons.lock().expect("no panic"),
        ["the Space ana/clip is asleep and wakes up on a visit", "the Space ana/clip is starting"]
    );
    let pauses: Vec<_> = clock.slept().into_iter().filter(|slept| *slept <= Duration::from_secs(3)).collect();
    assert_eq!(pauses, [Duration::from_secs(2), Duration::from_secs(3)]);
}

#[tokio::test]
async fn terminal_states_fail_at_once_and_say_what_to_do() {
    for (name, hint) in [
        ("PAUSED", "owner"),
        ("BUILD_ERROR", "build log"),
        ("RUNTIME_ERROR", "container log"),
        ("CONFIG_ERROR", "front matter"),
        ("NO_APP_FILE", "push one"),
    ] {
        let script = ScriptedTransport::new([(200, stage(name).as_str())]);
        let (cx, _) = script.context();
        let error = space(SpaceConfig::new("ana/clip")).wait_until_running(&cx).await.expect_err(name);
        assert_eq!((error.kind(), error.is_temporary()), (ErrorKind::Unavailable, false), "{name}");
        assert!(error.message().contains(hint), "{error}");
        assert!(error.context().contains(&("space_stage", name.to_owned())), "{error:?}");
        assert_eq!(script.asked().len(), 1, "{name}: no second look");
    }
}

#[tokio::test]
async fn the_wait_ends_with_the_wake_time_and_with_the_deadline() {
    let script = ScriptedTransport::new([(200, stage("BUILDING").as_str())]);
    let (cx, _) = script.context();
    let patient = space(SpaceConfig::new("ana/clip").with_wake_seconds(20.0));
    let error = patient.wait_until_running(&cx).await.expect_err("it never wakes up");
    assert_eq!(error.kind(), ErrorKind::ColdStart);
    assert!(!error.is_temporary(), "the wait has been spent");
    assert!(error.message().contains("20 s"), "{error}");

    let cancellation = Cancellation::new();
    cancellation.cancel();
    let error =
        patient.wait_until_running(&cx.clone().with_cancellation(cancellation)).await.expect_err("stopped");
    assert_eq!(error.kind(), ErrorKind::Cancelled);
}

#[tokio::test]
async fn a_private_space_reads_as_missing_and_the_hint_names_the_token() {
    for (status, token, hint) in [
        (404, None, "set a token"),
        (401, None, "set a token"),
        (404, Some("hf_canary"), "the token may not read"),
    ] {
        let script = ScriptedTransport::new([(status, r#"{"error":"Repository not found"}"#)]);
        let (cx, _) = script.context();
        let config = SpaceConfig::new("ana/private").with_token(token.map(Secret::new));
        let error = space(config).stage(&cx).await.expect_err("hidden");
        assert_eq!((error.kind(), error.http_status()), (ErrorKind::NotFound, Some(status)));
        assert!(error.message().contains(hint), "{error}");
        let sent = script.request(0).headers.text("authorization").map(str::to_owned);
        assert_eq!(sent, token.map(|token| format!("Bearer {token}")));
    }
}

#[tokio::test]
async fn the_token_goes_into_the_header_field_that_the_program_leaves_free() {
    let script = ScriptedTransport::new([
        (200, stage("SLEEPING").as_str()),
        (200, "ok"),
        (200, stage("RUNNING").as_str()),
    ]);
    let (cx, _) = script.context();
    let config = SpaceConfig::new("ana/clip")
        .with_token(Secret::new("hf_canary"))
        .with_token_header(SpaceTokenHeader::HuggingFace);
    space(config).wait_until_running(&cx).await.expect("it wakes up");
    let (hub, app) = (script.request(0), script.request(1));
    assert_eq!(hub.headers.text("authorization"), Some("Bearer hf_canary"));
    assert_eq!(app.headers.text("x-hf-authorization"), Some("Bearer hf_canary"));
    assert_eq!(app.headers.text("authorization"), None);
}

#[tokio::test]
async fn an_address_is_looked_up_by_its_subdomain_once() {
    let by_subdomain = r#"{"id":"ana/clip","subdomain":"ana-clip","runtime":{"stage":"BUILDING"}}"#;
    let script = ScriptedTransport::new([(200, by_subdomain), (200, stage("RUNNING").as_str())]);
    let (cx, _) = script.context();
    let space = space(SpaceConfig::new("https://ana-clip.hf.space"));
    assert_eq!(space.stage(&cx).await.expect("a state"), SpaceStage::Building);
    assert_eq!(space.stage(&cx).await.expect("a state"), SpaceStage::Running);
    assert_eq!(space.id(), Some("ana/clip"));
    assert_eq!(
        script.asked(),
        [
            "GET huggingface.co/api/spaces/by-subdomain/ana-clip",
            "GET huggingface.co/api/spaces/ana/clip/runtime",
        ]
    );
}

#[tokio::test]
async fn the_exact_address_is_the_hubs() {
    let script =
        ScriptedTransport::new([(200, r#"{"id":"ana/clip","host":"https://ana-clip-7f.hf.space"}"#)]);
    let (cx, _) = script.context();
    let url = space(SpaceConfig::new("ana/clip")).exact_url(&cx).await.expect("an address");
    assert_eq!(url, "https://ana-clip-7f.hf.space");
}

#[tokio::test]
async fn a_client_asks_again_while_the_program_wakes_up_and_only_then() {
    let script = ScriptedTransport::new([(200, stage("APP_STARTING").as_str())]);
    let (cx, clock) = script.context();
    let space = space(SpaceConfig::new("ana/clip"));
    let mut waking = Waking::new(&space, &cx);
    let cold = || Error::new(ErrorKind::ColdStart, "HTML");
    waking.after(&cx, cold()).await.expect("ask again");
    assert!(clock.slept().contains(&Duration::from_secs(2)));
    let other =
        waking.after(&cx, Error::new(ErrorKind::Unauthenticated, "bad key")).await.expect_err("not a wait");
    assert_eq!(other.kind(), ErrorKind::Unauthenticated);
    clock.advance(Duration::from_secs(600));
    let error = waking.after(&cx, cold()).await.expect_err("long enough");
    assert_eq!((error.kind(), error.persistence()), (ErrorKind::ColdStart, Persistence::Exhausted));
}

#[tokio::test]
async fn what_a_sleeping_host_answers_is_a_cold_start_and_a_private_one_is_not_found() {
    for (status, body, kind) in [
        (503, "", ErrorKind::ColdStart),
        (200, "<!doctype html><title>Building</title>", ErrorKind::ColdStart),
        (404, "<html>404</html>", ErrorKind::NotFound),
        (500, r#"{"detail":"x"}"#, ErrorKind::Unavailable),
    ] {
        let script = ScriptedTransport::new([(status, body)]);
        let (cx, _) = script.context();
        let space = space(SpaceConfig::new("ana/clip"));
        let call = space.app.get("/embed/text").json_reply::<serde_json::Value>(&cx);
        assert_eq!(call.await.expect_err("not ready").kind(), kind, "{status} {body}");
    }
}

#[tokio::test]
async fn keeping_alive_visits_until_it_is_stopped() {
    let script = ScriptedTransport::new([(500, "down for a moment")]);
    let (cx, clock) = script.context();
    let cx = cx.with_timeout(Duration::from_secs(1500));
    space(SpaceConfig::new("ana/clip")).keep_alive(&cx, Duration::from_secs(600)).await;
    let visits = script.asked();
    assert!(
        !visits.is_empty() && visits.iter().all(|visit| visit == "GET ana-clip.hf.space/health"),
        "{visits:?}"
    );
    assert!(clock.slept().contains(&Duration::from_secs(600)));
}
