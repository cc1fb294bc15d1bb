use super::*;
use crate::{Cancellation, Persistence};

#[tokio::test]
async fn temporary_failures_are_repeated_after_doubling_waits() {
    let (clock, cx) = jumping();
    let (events, sink) = recorded();
    let fake = Fake::new([fails(ErrorKind::Unavailable), fails(ErrorKind::Interrupted)]);
    let chat = exact().chat(fake.chat(), vec![]).expect("valid");
    let response = chat.chat(&cx.with_progress(sink), hola()).await.expect("the third attempt");
    assert_eq!((response.route.attempts, response.route.failed.len()), (3, 0));
    let waits = [Duration::from_millis(500), Duration::from_secs(1)];
    assert_eq!(clock.slept(), waits);
    assert_eq!(fake.seen().iter().map(|(attempt, _)| *attempt).collect::<Vec<_>>(), [1, 2, 3]);
    let told = events.lock().expect("a lock").clone();
    let retrying = |attempt, kind, wait| Progress::Retrying { attempt, kind, wait };
    assert_eq!(
        told,
        [retrying(2, ErrorKind::Unavailable, waits[0]), retrying(3, ErrorKind::Interrupted, waits[1])]
    );
}

#[tokio::test]
async fn the_last_failure_says_that_the_attempts_are_used_up() {
    let (_, cx) = jumping();
    let fake = Fake::new((0..5).map(|_| fails(ErrorKind::Unavailable)));
    let chat = exact().chat(fake.chat(), vec![]).expect("valid");
    let error = chat.chat(&cx, hola()).await.expect_err("three failures");
    assert_eq!((error.persistence(), fact(&error, "attempts")), (Persistence::Exhausted, Some("3")));
    assert_eq!((error.backend(), fake.calls()), (Some("fake"), 3));
    let outer = exact().chat(chat, vec![]).expect("valid");
    outer.chat(&cx, hola()).await.expect("the two failures left are used up inside");
    assert_eq!(fake.calls(), 6);
}

#[tokio::test]
async fn an_outer_policy_does_not_multiply_the_attempts() {
    let (_, cx) = jumping();
    let fake = Fake::new((0..9).map(|_| fails(ErrorKind::Unavailable)));
    let inner = exact().chat(fake.chat(), vec![]).expect("valid");
    exact().chat(inner, vec![]).expect("valid").chat(&cx, hola()).await.expect_err("three failures");
    assert_eq!(fake.calls(), 3);
}

#[tokio::test]
async fn permanent_failures_are_not_repeated() {
    let (clock, cx) = jumping();
    let known_better = Error::new(ErrorKind::RateLimited, "never").with_persistence(Persistence::Permanent);
    for step in [fails(ErrorKind::InvalidRequest), Step::Fail(known_better)] {
        let fake = Fake::new([step]);
        let chat = exact().chat(fake.chat(), vec![]).expect("valid");
        chat.chat(&cx, hola()).await.expect_err("permanent");
        assert_eq!(fake.calls(), 1);
    }
    assert!(clock.slept().is_empty());
}

#[tokio::test]
async fn the_wait_that_the_backend_names_is_kept_to_the_second() {
    let (clock, cx) = jumping();
    let chat = Policy::default().chat(Fake::new([asks_to_wait(17)]).chat(), vec![]).expect("valid");
    chat.chat(&cx, hola()).await.expect("the second attempt");
    assert_eq!(clock.slept(), [Duration::from_secs(17)], "no jitter on a wait that was asked for");
}

#[tokio::test]
async fn a_wait_above_the_cap_is_returned_and_not_slept() {
    let (clock, cx) = jumping();
    let fake = Fake::new([asks_to_wait(61)]);
    let chat = exact().chat(fake.chat(), vec![]).expect("valid");
    let error = chat.chat(&cx, hola()).await.expect_err("too long");
    assert_eq!((error.kind(), error.retry_after()), (ErrorKind::RateLimited, Some(Duration::from_secs(61))));
    assert!(error.is_temporary(), "the caller may come back later");
    assert_eq!((fake.calls(), clock.slept().len()), (1, 0));
}

#[tokio::test]
async fn retries_stop_at_the_deadline() {
    let (clock, cx) = driven();
    let fake = Fake::new((0..5).map(|_| fails(ErrorKind::Unavailable)));
    let chat = exact().chat(fake.chat(), vec![]).expect("valid");
    let cx = cx.with_timeout(Duration::from_millis(1400));
    let (outcome, took) = drive(&clock, chat.chat(&cx, hola())).await;
    let error = outcome.expect_err("no time for a third attempt");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "the cause is worth more than the deadline");
    assert_eq!(fact(&error, "not_retried"), Some("the wait would cross the deadline"));
    assert_eq!((fake.calls(), took), (2, 0.5));
}

#[tokio::test]
async fn a_spent_budget_ends_the_repetitions() {
    let (_, cx) = jumping();
    let fake = Fake::new((0..20).map(|_| fails(ErrorKind::Unavailable)));
    let policy = exact().with_retry(Retry::default().with_jitter(false).with_budget(0.2, 3));
    let chat = policy.chat(fake.chat(), vec![]).expect("valid");
    let mut asked = Vec::new();
    for handle in [&chat, &chat.clone(), &chat] {
        let error = handle.chat(&cx, hola()).await.expect_err("unavailable");
        assert_eq!(error.persistence(), Persistence::Exhausted);
        asked.push((fake.calls(), fact(&error, "not_retried").is_some()));
    }
    assert_eq!(asked, [(3, false), (5, true), (6, true)], "clones share the budget");
}

#[tokio::test]
async fn cancelling_ends_the_wait_before_an_attempt() {
    let (clock, cx) = driven();
    let cancellation = Cancellation::new();
    let fake = Fake::new([asks_to_wait(30)]);
    let chat = exact().chat(fake.chat(), vec![]).expect("valid");
    let cx = cx.with_cancellation(cancellation.clone());
    let mut call = pin!(chat.chat(&cx, hola()));
    assert!(peek(&mut call).await.is_none());
    cancellation.cancel();
    let (outcome, took) = drive(&clock, call).await;
    assert_eq!(outcome.expect_err("cancelled").kind(), ErrorKind::Cancelled);
    assert_eq!((fake.calls(), took), (1, 0.0));
}

async fn attempts_at_an_image(error: Error) -> usize {
    let (_, cx) = jumping();
    let fake = Fake::new([Step::Fail(error)]);
    let images = exact().image_generator(fake.images(), vec![]).expect("valid");
    match images.generate(&cx, GenerateRequest::new("p")).await {
        Ok(_) => assert_eq!(fake.calls(), 2),
        Err(error) => {
            assert_eq!(fake.calls(), 1);
            assert_eq!(fact(&error, "not_retried"), Some("the backend may have served the request"));
        }
    }
    fake.calls()
}

#[tokio::test]
async fn an_image_that_may_have_been_made_is_not_asked_for_again() {
    let error = |kind| Error::new(kind, "the script says so");
    assert_eq!(attempts_at_an_image(error(ErrorKind::Timeout).with_sent(Sent::Maybe)).await, 1);
    assert_eq!(attempts_at_an_image(error(ErrorKind::Interrupted).with_sent(Sent::Yes)).await, 1);
    assert_eq!(attempts_at_an_image(error(ErrorKind::Unavailable).with_sent(Sent::Maybe)).await, 1);
    assert_eq!(attempts_at_an_image(error(ErrorKind::Timeout).with_http_status(504)).await, 1);
}

#[tokio::test]
async fn an_image_that_was_certainly_not_made_is_asked_for_again() {
    let error = |kind| Error::new(kind, "the script says so");
    assert_eq!(attempts_at_an_image(error(ErrorKind::Unavailable)).await, 2);
    assert_eq!(attempts_at_an_image(error(ErrorKind::Unavailable).with_http_status(503)).await, 2);
    assert_eq!(attempts_at_an_image(error(ErrorKind::RateLimited).with_http_status(429)).await, 2);
    assert_eq!(attempts_at_an_image(error(ErrorKind::ColdStart).with_http_status(503)).await, 2);
}

#[tokio::test]
async fn a_chat_that_may_have_been_answered_is_asked_for_again() {
    let (_, cx) = jumping();
    let fake = Fake::new([Step::Fail(Error::new(ErrorKind::Timeout, "late").with_sent(Sent::Maybe))]);
    let chat = exact().chat(fake.chat(), vec![]).expect("valid");
    assert_eq!(chat.chat(&cx, hola()).await.expect("the second attempt").route.attempts, 2);
}
