use futures_util::StreamExt;

use super::*;

fn text(piece: &str) -> Result<ChatEvent> {
    Ok(ChatEvent::Text(piece.into()))
}

fn started() -> Result<ChatEvent> {
    Ok(ChatEvent::Started { route: Route::new(&BackendInfo::new("fake", "served")) })
}

fn broken() -> Result<ChatEvent> {
    Err(Error::new(ErrorKind::Interrupted, "gone").with_sent(Sent::Yes))
}

fn finish() -> Result<ChatEvent> {
    Ok(ChatEvent::finish(FinishReason::Stop, Usage::new(3, 2)))
}

async fn events(chat: &AnyChat, cx: &Context) -> Vec<Result<ChatEvent>> {
    chat.stream(cx, hola()).await.expect("a stream").collect().await
}

#[tokio::test]
async fn a_stream_that_breaks_before_its_first_event_is_opened_again() {
    let (_, cx) = jumping();
    let good = Step::Events(vec![started(), text("ho"), text("la"), finish()]);
    let fake = Fake::new([fails(ErrorKind::Unavailable), Step::Events(vec![started(), broken()]), good]);
    let chat = exact().chat(fake.chat(), vec![]).expect("valid");
    let events = events(&chat, &cx).await;
    let Some(Ok(ChatEvent::Started { route })) = events.first() else { panic!("{events:?}") };
    assert_eq!((route.attempts, &*route.model), (3, "served"));
    assert_eq!(events.len(), 4, "{events:?}");
}

#[tokio::test]
async fn a_stream_that_breaks_before_its_first_event_falls_back() {
    let (_, cx) = jumping();
    let first = Fake::named("first", [Step::Events(vec![broken()])]);
    let policy = exact().with_retry(Retry::none());
    let chat = policy.chat(first.chat(), vec![Fake::named("second", []).chat()]).expect("valid");
    let events = events(&chat, &cx).await;
    let Some(Ok(ChatEvent::Started { route })) = events.first() else { panic!("{events:?}") };
    assert_eq!((&*route.backend, &*route.failed[0].backend), ("second", "first"));
    assert_eq!(route.failed[0].kind, ErrorKind::Interrupted);
}

#[tokio::test]
async fn nothing_is_repeated_or_handed_over_after_the_first_event() {
    let (_, cx) = jumping();
    for first in [text("ho"), Ok(ChatEvent::Reasoning("hm".into()))] {
        let (primary, fallback) = (Fake::new([Step::Events(vec![first, broken()])]), Fake::new([]));
        let chat = exact().chat(primary.chat(), vec![fallback.chat()]).expect("valid");
        let events = events(&chat, &cx).await;
        let error = events.last().expect("an end").as_ref().expect_err("broken");
        assert_eq!(error.kind(), ErrorKind::Interrupted);
        assert_eq!((primary.calls(), fallback.calls(), events.len()), (1, 0, 3));
    }
}

#[tokio::test]
async fn the_text_delivered_before_an_error_is_in_the_error() {
    let (_, cx) = jumping();
    let fake = Fake::new([Step::Events(vec![text("ho"), text("la"), broken()])]);
    let chat = exact().chat(fake.chat(), vec![]).expect("valid");
    let events = events(&chat, &cx).await;
    let error = events.last().expect("an end").as_ref().expect_err("broken");
    assert_eq!(error.partial_text(), Some("hola"));
}

#[tokio::test]
async fn an_attempts_time_runs_on_while_the_answer_arrives() {
    let (clock, cx) = driven();
    let policy = exact().with_timeout(Timeout::default().with_attempt_seconds(5.0));
    let fake = Fake::new([Step::Events(vec![text("ho")])]);
    let chat = policy.chat(fake.chat(), vec![]).expect("valid");
    let mut stream = chat.stream(&cx, hola()).await.expect("a stream");
    clock.advance(Duration::from_secs(2));
    let (events, took) = drive(&clock, stream.by_ref().collect::<Vec<_>>()).await;
    let error = events.last().expect("an end").as_ref().expect_err("too long");
    assert_eq!((error.kind(), fact(error, "phase")), (ErrorKind::Timeout, Some("attempt")));
    assert_eq!((error.partial_text(), took), (Some("ho"), 3.0));
    assert_eq!((fake.calls(), stream.next().await.is_none()), (1, true));
}

#[tokio::test]
async fn a_first_event_that_never_comes_is_a_failed_attempt() {
    let (clock, cx) = driven();
    let policy = exact().with_timeout(Timeout::default().with_attempt_seconds(5.0));
    let fake = Fake::new([Step::Events(vec![started()])]);
    let chat = policy.chat(fake.chat(), vec![]).expect("valid");
    let (stream, took) = drive(&clock, chat.stream(&cx, hola())).await;
    stream.expect("the second attempt");
    assert_eq!((fake.calls(), took), (2, 5.5));
}
