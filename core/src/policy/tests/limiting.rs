use futures_util::StreamExt;

use super::*;
use crate::Cancellation;

fn of_credential(name: &str, steps: impl IntoIterator<Item = Step>) -> Fake {
    Fake::of(BackendInfo::new("fake", "m").with_credential(credential(name)), steps)
}

fn one_at_a_time() -> Policy {
    exact().with_limit(Limit::default().with_max_concurrency(1))
}

fn gate() -> (Arc<Notify>, Step) {
    let gate = Arc::new(Notify::new());
    (Arc::clone(&gate), Step::Gate(gate))
}

#[tokio::test]
async fn handles_with_one_credential_share_one_queue() {
    let (open, closed) = gate();
    let (first, second) = (of_credential("shared", [closed]), of_credential("shared", []));
    let limited = one_at_a_time().chat(first.chat(), vec![]).expect("valid");
    let other = exact().chat(second.chat(), vec![]).expect("valid");
    let cx = Context::new();
    let mut in_flight = pin!(limited.chat(&cx, hola()));
    assert!(peek(&mut in_flight).await.is_none());
    let mut waiting = pin!(other.chat(&cx, hola()));
    assert!(peek(&mut waiting).await.is_none());
    assert_eq!(second.calls(), 0, "the strictest limit holds for everybody");
    open.notify_one();
    in_flight.await.expect("an answer");
    waiting.await.expect("an answer");
}

#[tokio::test]
async fn other_credentials_and_backends_without_any_do_not_wait() {
    let cx = Context::new();
    for (busy, free) in [
        (of_credential("one", [Step::Hang]), of_credential("two", [])),
        (Fake::new([Step::Hang]), Fake::new([])),
    ] {
        let busy = one_at_a_time().chat(busy.chat(), vec![]).expect("valid");
        let free = one_at_a_time().chat(free.chat(), vec![]).expect("valid");
        let mut hanging = pin!(busy.chat(&cx, hola()));
        assert!(peek(&mut hanging).await.is_none());
        free.chat(&cx, hola()).await.expect("an answer");
    }
}

#[tokio::test]
async fn clones_wait_for_each_other_in_the_order_in_which_they_came() {
    let (open, closed) = gate();
    let fake = Fake::new([closed]);
    let chat = one_at_a_time().chat(fake.chat(), vec![]).expect("valid");
    let cx = Context::new();
    let served = Mutex::new(Vec::new());
    let call = |number: usize, chat: AnyChat| {
        let (cx, served) = (&cx, &served);
        async move {
            chat.chat(cx, hola()).await.expect("an answer");
            served.lock().expect("a lock").push(number);
        }
    };
    let mut calls: Vec<_> = (0..4).map(|number| Box::pin(call(number, chat.clone()))).collect();
    for call in &mut calls {
        assert!(peek(call).await.is_none());
    }
    open.notify_one();
    // Polled from the back, so that only the queue can bring them into order.
    futures_util::future::join_all(calls.into_iter().rev()).await;
    assert_eq!(*served.lock().expect("a lock"), [0, 1, 2, 3]);
}

#[tokio::test]
async fn what_the_backend_declares_is_honoured_unless_switched_off() {
    let declaring = |steps: Vec<Step>| {
        let limits = Limits::default().with_max_concurrency(1);
        Fake::of(BackendInfo::new("fake", "m").with_limits(limits), steps)
    };
    let cx = Context::new();
    for (policy, calls) in [(exact(), 1), (exact().with_limit(Limit::none()), 2)] {
        let fake = declaring(vec![Step::Hang, Step::Hang]);
        let chat = policy.chat(fake.chat(), vec![]).expect("valid");
        let (mut first, mut second) = (pin!(chat.chat(&cx, hola())), pin!(chat.chat(&cx, hola())));
        assert!(peek(&mut first).await.is_none() && peek(&mut second).await.is_none());
        assert_eq!(fake.calls(), calls);
    }
}

#[tokio::test]
async fn requests_keep_their_distance() {
    let (clock, cx) = jumping();
    let (first, second) = (of_credential("gap", []), of_credential("gap", []));
    let policy = exact().with_limit(Limit::default().with_min_gap_seconds(2.0));
    let first = policy.chat(first.chat(), vec![]).expect("valid");
    let second = exact().chat(second.chat(), vec![]).expect("valid");
    for chat in [&first, &second, &first] {
        chat.chat(&cx, hola()).await.expect("an answer");
    }
    assert_eq!(clock.slept(), [Duration::from_secs(2), Duration::from_secs(2)]);
    clock.advance(Duration::from_secs(5));
    first.chat(&cx, hola()).await.expect("an answer");
    assert_eq!(clock.slept().len(), 2, "a quiet client does not wait");
}

#[tokio::test]
async fn a_stream_is_in_flight_until_it_ends_or_is_dropped() {
    let text = || Ok(ChatEvent::Text("ho".into()));
    let finish = Ok(ChatEvent::finish(FinishReason::Stop, Usage::default()));
    let broken = Err(Error::new(ErrorKind::Interrupted, "gone"));
    let cx = Context::new();
    for end in [Some(finish), Some(broken), None] {
        let (ends, mut events) = (end.is_some(), vec![text()]);
        events.extend(end);
        let chat = one_at_a_time().chat(Fake::new([Step::Events(events)]).chat(), vec![]).expect("valid");
        let mut stream = chat.stream(&cx, hola()).await.expect("a stream");
        stream.next().await.expect("started").expect("started");
        stream.next().await.expect("text").expect("text");
        let mut waiting = pin!(chat.chat(&cx, hola()));
        assert!(peek(&mut waiting).await.is_none(), "the stream is in flight");
        let dropped = match ends {
            true => {
                stream.next().await.expect("the end").ok();
                Some(stream)
            }
            false => {
                drop(stream);
                None
            }
        };
        waiting.await.expect("an answer");
        drop(dropped);
    }
}

#[tokio::test]
async fn cancelling_ends_the_wait_in_the_queue() {
    let fake = Fake::new([Step::Hang]);
    let chat = one_at_a_time().chat(fake.chat(), vec![]).expect("valid");
    let (cx, cancellation) = (Context::new(), Cancellation::new());
    let mut hanging = pin!(chat.chat(&cx, hola()));
    assert!(peek(&mut hanging).await.is_none());
    let cancellable = Context::new().with_cancellation(cancellation.clone());
    let mut waiting = pin!(chat.chat(&cancellable, hola()));
    assert!(peek(&mut waiting).await.is_none());
    cancellation.cancel();
    let error = waiting.await.expect_err("cancelled");
    assert_eq!((error.kind(), error.sent()), (ErrorKind::Cancelled, Sent::No));
    assert_eq!(fake.calls(), 1);
}

#[tokio::test]
async fn who_gives_up_in_the_queue_leaves_no_gap_in_it() {
    let (open, closed) = gate();
    let chat = one_at_a_time().chat(Fake::new([closed]).chat(), vec![]).expect("valid");
    let cx = Context::new();
    let mut first = pin!(chat.chat(&cx, hola()));
    assert!(peek(&mut first).await.is_none());
    let mut given_up = Box::pin(chat.chat(&cx, hola()));
    assert!(peek(&mut given_up).await.is_none());
    let mut last = pin!(chat.chat(&cx, hola()));
    assert!(peek(&mut last).await.is_none());
    drop(given_up);
    open.notify_one();
    first.await.expect("an answer");
    last.await.expect("an answer");
}

#[tokio::test]
async fn a_queue_that_takes_too_long_hands_over_to_the_fallback() {
    let (clock, cx) = driven();
    let busy = Fake::named("busy", [Step::Hang]);
    let limit = Limit::default().with_max_concurrency(1).with_max_queue_seconds(3.0);
    let policy = exact().with_limit(limit);
    let chat = policy.chat(busy.chat(), vec![]).expect("valid");
    let mut hanging = pin!(chat.chat(&cx, hola()));
    assert!(peek(&mut hanging).await.is_none());
    let (outcome, took) = drive(&clock, chat.chat(&cx, hola())).await;
    let error = outcome.expect_err("nobody else is there");
    assert_eq!((error.kind(), fact(&error, "phase")), (ErrorKind::Timeout, Some("queue")));
    assert_eq!((error.sent(), took), (Sent::No, 3.0), "it does not queue again");

    let both = policy.chat(chat.clone(), vec![Fake::named("free", []).chat()]).expect("valid");
    let (outcome, _) = drive(&clock, both.chat(&cx, hola())).await;
    assert_eq!(&*outcome.expect("the fallback").route.backend, "free");
    assert_eq!(busy.calls(), 1);
}

#[tokio::test]
async fn the_place_is_free_while_a_request_waits_to_be_repeated() {
    let (clock, cx) = driven();
    let fake = Fake::new([asks_to_wait(30)]);
    let chat = one_at_a_time().chat(fake.chat(), vec![]).expect("valid");
    let mut waiting = pin!(chat.chat(&cx, hola()));
    assert!(peek(&mut waiting).await.is_none());
    chat.chat(&cx, hola()).await.expect("an answer");
    let (outcome, took) = drive(&clock, waiting).await;
    assert_eq!((outcome.expect("an answer").route.attempts, took), (2, 30.0));
}
