use super::*;
use crate::Operation;

fn seconds(seconds: u64) -> Option<Duration> {
    Some(Duration::from_secs(seconds))
}

#[tokio::test]
async fn an_attempt_that_takes_too_long_is_ended_and_repeated() {
    let (clock, cx) = driven();
    let fake = Fake::new([Step::Hang]);
    let policy = exact().with_timeout(Timeout::default().with_attempt_seconds(5.0));
    let chat = policy.chat(fake.chat(), vec![]).expect("valid");
    let (outcome, took) = drive(&clock, chat.chat(&cx, hola())).await;
    assert_eq!(outcome.expect("the second attempt").route.attempts, 2);
    assert_eq!(took, 5.5);
}

#[tokio::test]
async fn the_error_of_an_attempt_names_its_phase_and_that_it_may_have_been_sent() {
    let (clock, cx) = driven();
    let policy = exact().with_timeout(Timeout::default().with_attempt_seconds(5.0)).with_retry(Retry::none());
    let chat = policy.chat(Fake::new([Step::Hang]).chat(), vec![]).expect("valid");
    let (outcome, _) = drive(&clock, chat.chat(&cx, hola())).await;
    let error = outcome.expect_err("too long");
    assert_eq!((error.kind(), fact(&error, "phase")), (ErrorKind::Timeout, Some("attempt")));
    assert_eq!((error.sent(), error.is_temporary()), (Sent::Maybe, true));
    assert_eq!(error.operation(), Some(Operation::Chat));
}

#[tokio::test]
async fn images_have_five_minutes_and_are_not_made_twice() {
    let (clock, cx) = driven();
    let fake = Fake::new([Step::Hang]);
    let images = exact().image_generator(fake.images(), vec![]).expect("valid");
    let (outcome, took) = drive(&clock, images.generate(&cx, GenerateRequest::new("p"))).await;
    assert_eq!(fact(&outcome.expect_err("too long"), "phase"), Some("attempt"));
    assert_eq!((fake.calls(), took.round()), (1, 300.0));
}

#[tokio::test]
async fn the_total_of_the_policy_ends_a_call_without_deadline() {
    let (clock, cx) = driven();
    let fake = Fake::new([fails(ErrorKind::Unavailable), Step::Hang]);
    let policy = exact().with_timeout(Timeout::default().with_total_seconds(7.0));
    let chat = policy.chat(fake.chat(), vec![Fake::new([]).chat()]).expect("valid");
    let (outcome, took) = drive(&clock, chat.chat(&cx, hola())).await;
    let error = outcome.expect_err("too long");
    assert_eq!((fact(&error, "phase"), error.is_temporary()), (Some("total"), false));
    assert_eq!(took, 7.0);
}

#[tokio::test]
async fn the_total_of_the_policy_does_not_shorten_the_callers_deadline() {
    let (clock, cx) = driven();
    let policy = exact().with_timeout(Timeout::default().with_total_seconds(1.0));
    let chat = policy.chat(Fake::new([Step::Hang]).chat(), vec![]).expect("valid");
    let cx = cx.with_timeout(Duration::from_secs(3));
    let (outcome, took) = drive(&clock, chat.chat(&cx, hola())).await;
    outcome.expect_err("too long");
    assert_eq!(took, 3.0);
}

#[tokio::test]
async fn phases_go_to_the_backend_and_the_callers_come_first() {
    let (_, cx) = jumping();
    let warm = Fake::new([]);
    let cold = Fake::of(BackendInfo::new("space", "m").with_cold_starts(true), []);
    for fake in [&warm, &cold] {
        exact().chat(fake.chat(), vec![]).expect("valid").chat(&cx, hola()).await.expect("an answer");
    }
    let phases = PhaseTimeouts { connect: seconds(10), first_byte: seconds(60), idle: seconds(60) };
    assert_eq!(warm.seen(), [(1, phases)]);
    assert_eq!(cold.seen(), [(1, PhaseTimeouts { first_byte: seconds(120), ..phases })]);

    let own = cx.with_phase_timeouts(PhaseTimeouts { idle: seconds(5), ..PhaseTimeouts::default() });
    exact().chat(warm.chat(), vec![]).expect("valid").chat(&own, hola()).await.expect("an answer");
    assert_eq!(warm.seen()[1].1, PhaseTimeouts { idle: seconds(5), ..phases });
}
