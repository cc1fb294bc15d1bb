use super::*;
use crate::{AnyEmbedder, Cancellation, Pooling, RouteFailure};

fn failed(backend: &str, kind: ErrorKind) -> RouteFailure {
    RouteFailure { backend: backend.into(), model: "m".into(), kind }
}

fn once() -> Policy {
    exact().with_retry(Retry::none())
}

#[tokio::test]
async fn the_next_backend_serves_and_the_route_says_why() {
    let (_, cx) = jumping();
    let (events, sink) = recorded();
    let (first, second) = (
        Fake::named("first", [fails(ErrorKind::CreditsExhausted)]),
        Fake::named("second", [fails(ErrorKind::NotFound)]),
    );
    let third = Fake::named("third", [fails(ErrorKind::Unavailable)]);
    let chat = exact().chat(first.chat(), vec![second.chat(), third.chat()]).expect("valid");
    let route = chat.chat(&cx.with_progress(sink), hola()).await.expect("the third").route;
    assert_eq!((&*route.backend, route.attempts), ("third", 2));
    assert_eq!(
        route.failed,
        [failed("first", ErrorKind::CreditsExhausted), failed("second", ErrorKind::NotFound)]
    );
    let told = events.lock().expect("a lock").clone();
    let handed = Progress::FallingBack {
        from: "first".into(),
        to: "second".into(),
        kind: ErrorKind::CreditsExhausted,
    };
    assert_eq!((told.len(), told.first()), (3, Some(&handed)));
}

#[tokio::test]
async fn the_callers_own_mistakes_are_not_handed_over() {
    let (_, cx) = jumping();
    for kind in [
        ErrorKind::InvalidRequest,
        ErrorKind::ContentRejected,
        ErrorKind::Unauthenticated,
        ErrorKind::PermissionDenied,
        ErrorKind::ContextTooLong,
        ErrorKind::Cancelled,
    ] {
        let (primary, fallback) = (Fake::new([fails(kind)]), Fake::new([]));
        let chat = exact().chat(primary.chat(), vec![fallback.chat()]).expect("valid");
        assert_eq!(chat.chat(&cx, hola()).await.expect_err("fails").kind(), kind);
        assert_eq!(fallback.calls(), 0, "{kind}");
    }
}

#[tokio::test]
async fn the_kinds_that_are_handed_over_can_be_chosen() {
    let (_, cx) = jumping();
    let policy = once().with_fallback(Fallback::default().with_on([ErrorKind::ContentRejected]));
    for (kind, calls) in [(ErrorKind::ContentRejected, 1), (ErrorKind::Unavailable, 0)] {
        let fallback = Fake::new([]);
        let chat = policy.chat(Fake::new([fails(kind)]).chat(), vec![fallback.chat()]).expect("valid");
        let _ = chat.chat(&cx, hola()).await;
        assert_eq!(fallback.calls(), calls, "{kind}");
    }
}

#[tokio::test]
async fn when_all_fail_the_last_error_names_everybody() {
    let (_, cx) = jumping();
    let first = Fake::named("first", [fails(ErrorKind::NotFound)]);
    let second = Fake::named("second", [fails(ErrorKind::InvalidRequest)]);
    let chat = once().chat(first.chat(), vec![second.chat(), Fake::new([]).chat()]).expect("valid");
    let error = chat.chat(&cx, hola()).await.expect_err("both fail");
    assert_eq!((error.kind(), error.backend()), (ErrorKind::InvalidRequest, Some("second")));
    assert_eq!(fact(&error, "route"), Some("first/m=not_found, second/m=invalid_request"));
}

#[tokio::test]
async fn nobody_is_asked_once_the_call_is_over() {
    let (clock, cx) = driven();
    let fallback = Fake::new([]);
    let chat = exact().chat(Fake::new([Step::Hang]).chat(), vec![fallback.chat()]).expect("valid");
    let limited = cx.clone().with_timeout(Duration::from_secs(2));
    let (outcome, _) = drive(&clock, chat.chat(&limited, hola())).await;
    assert_eq!(outcome.expect_err("out of time").kind(), ErrorKind::Timeout);

    let cancellation = Cancellation::new();
    let chat = exact().chat(Fake::new([Step::Hang]).chat(), vec![fallback.chat()]).expect("valid");
    let cx = cx.with_cancellation(cancellation.clone());
    let mut call = pin!(chat.chat(&cx, hola()));
    assert!(peek(&mut call).await.is_none());
    cancellation.cancel();
    assert_eq!(call.await.expect_err("cancelled").kind(), ErrorKind::Cancelled);
    assert_eq!(fallback.calls(), 0);
}

#[test]
fn an_embedder_of_another_space_cannot_stand_in() {
    let embedder = |space| AnyEmbedder::new(Fake::build(BackendInfo::new("b", "m"), space, [], None));
    let space = EmbeddingSpace::new("m").with_dimensions(384).with_pooling(Pooling::Mean);
    let same = Policy::default().embedder(embedder(space.clone()), vec![embedder(space.clone())]);
    assert_eq!(same.expect("the same space").space(), &space);
    for (other, field) in [
        (space.clone().with_dimensions(None), "`dimensions`"),
        (space.clone().with_pooling(Pooling::Cls), "`pooling`"),
        (space.clone().with_normalised(false).with_revision("r".to_owned()), "`revision`, `normalised`"),
    ] {
        let fallbacks = vec![embedder(space.clone()), embedder(other)];
        let error = Policy::default().embedder(embedder(space.clone()), fallbacks).expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::ConfigInvalid);
        assert!(error.message().contains(field), "{error}");
        assert!(error.message().contains("declare the same"), "{error}");
    }
}

#[test]
fn a_fingerprint_counts_where_both_have_one_and_a_published_revision_stands_for_it() {
    let embedder = |space| AnyEmbedder::new(Fake::build(BackendInfo::new("b", "m"), space, [], None));
    let hosted = EmbeddingSpace::new("org/m").with_revision("abc".to_owned()).with_dimensions(8);
    let local = hosted.clone().with_fingerprint("1".to_owned());
    let folder = EmbeddingSpace::new("m").with_dimensions(8);
    let printed = |print: &str| folder.clone().with_fingerprint(print.to_owned());
    for (primary, fallback, is_same) in [
        (&local, &hosted, true),
        (&hosted, &local, true),
        (&local, &printed("1"), true),
        (&local, &printed("2"), false),
        (&printed("1"), &folder, false),
        (&folder, &printed("1"), false),
        (&local, &hosted.clone().with_revision("def".to_owned()), false),
    ] {
        let both = Policy::default().embedder(embedder(primary.clone()), vec![embedder(fallback.clone())]);
        assert_eq!(both.is_ok(), is_same, "{primary:?} and {fallback:?}");
    }
}

#[tokio::test]
async fn what_is_known_of_a_model_holds_those_that_do_not_say_it() {
    let id = "sentence-transformers/all-MiniLM-L6-v2";
    let embedder = |space, steps: [Step; 1]| {
        AnyEmbedder::new(Fake::build(BackendInfo::new("b", id), space, steps, None))
    };
    let full = EmbeddingSpace::new(id).with_dimensions(384).with_pooling(Pooling::Mean);
    let primary = embedder(full.clone(), [fails(ErrorKind::Unavailable)]);
    let fallback = embedder(EmbeddingSpace::new(id), [Step::Answer]);
    let both = once().embedder(primary, vec![fallback]).expect("the same model");
    assert_eq!(both.space(), &full);
    let (_, cx) = driven();
    let error = both.embed_text(&cx, "hola").await.expect_err("two numbers are no MiniLM");
    assert_eq!(error.kind(), ErrorKind::ResponseInvalid);
    assert!(error.message().contains("384"), "{error}");
}

#[tokio::test]
async fn a_failed_backend_is_passed_over_until_it_has_cooled_down() {
    let (clock, cx) = driven();
    let primary = Fake::named("first", [fails(ErrorKind::Unavailable)]);
    let chat = once().chat(primary.chat(), vec![Fake::named("second", []).chat()]).expect("valid");
    chat.chat(&cx, hola()).await.expect("the fallback");
    clock.advance(Duration::from_secs(29));
    let route = chat.clone().chat(&cx, hola()).await.expect("the fallback").route;
    assert_eq!((&*route.backend, primary.calls()), ("second", 1));
    assert_eq!(
        route.failed,
        [failed("first", ErrorKind::Unavailable)],
        "the caller sees who was passed over"
    );
    clock.advance(Duration::from_secs(1));
    let route = chat.chat(&cx, hola()).await.expect("the primary").route;
    assert_eq!((&*route.backend, primary.calls()), ("first", 2));
}

#[tokio::test]
async fn a_backend_that_names_a_wait_is_passed_over_for_that_long() {
    let (clock, cx) = driven();
    let primary = Fake::new([asks_to_wait(300)]);
    let chat = once().chat(primary.chat(), vec![Fake::new([]).chat()]).expect("valid");
    chat.chat(&cx, hola()).await.expect("the fallback");
    clock.advance(Duration::from_secs(299));
    chat.chat(&cx, hola()).await.expect("the fallback");
    assert_eq!(primary.calls(), 1);
    clock.advance(Duration::from_secs(1));
    chat.chat(&cx, hola()).await.expect("the primary");
    assert_eq!(primary.calls(), 2);
}

#[tokio::test]
async fn a_failure_of_one_request_alone_cools_nothing_down() {
    let (_, cx) = driven();
    let primary = Fake::new([fails(ErrorKind::ResponseInvalid)]);
    let chat = once().chat(primary.chat(), vec![Fake::new([]).chat()]).expect("valid");
    chat.chat(&cx, hola()).await.expect("the fallback");
    chat.chat(&cx, hola()).await.expect("the primary");
    assert_eq!(primary.calls(), 2);
}

#[tokio::test]
async fn a_single_backend_is_never_passed_over() {
    let (_, cx) = driven();
    let only = Fake::new([asks_to_wait(300)]);
    let chat = once().chat(only.chat(), vec![]).expect("valid");
    chat.chat(&cx, hola()).await.expect_err("rate limited");
    chat.chat(&cx, hola()).await.expect("an answer");
}

#[tokio::test]
async fn when_all_cool_down_they_are_asked_in_their_order() {
    let (_, cx) = driven();
    let (first, second) = (
        Fake::named("first", [fails(ErrorKind::Unavailable)]),
        Fake::named("second", [fails(ErrorKind::RateLimited)]),
    );
    let chat = once().chat(first.chat(), vec![second.chat()]).expect("valid");
    let error = chat.chat(&cx, hola()).await.expect_err("both fail");
    assert_eq!(fact(&error, "route"), Some("first/m=unavailable, second/m=rate_limited"));
    let route = chat.chat(&cx, hola()).await.expect("the first again").route;
    assert_eq!((&*route.backend, route.failed.len()), ("first", 0));
    assert_eq!(&*chat.chat(&cx, hola()).await.expect("it is well").route.backend, "first");
}

#[tokio::test]
async fn images_fall_back_even_when_they_may_have_been_made() {
    let (_, cx) = jumping();
    let timed_out = Error::new(ErrorKind::Timeout, "late").with_sent(Sent::Maybe);
    let primary = Fake::named("first", [Step::Fail(timed_out)]);
    let images = exact().image_generator(primary.images(), vec![Fake::named("second", []).images()]);
    let response = images.expect("valid").generate(&cx, GenerateRequest::new("p")).await.expect("an image");
    assert_eq!((&*response.route.backend, primary.calls()), ("second", 1));
}
