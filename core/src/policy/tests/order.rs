//! observe → cache → fallback → retry → limit → time-out → backend: each part is shown to lie outside the next.

use super::*;

fn two(journal: &Journal, first: Vec<Step>, second: Vec<Step>) -> (Fake, Fake) {
    let build = |name: &str, steps| {
        let info = BackendInfo::new(name, "m");
        Fake::build(info, EmbeddingSpace::new("m"), steps, Some(Arc::clone(journal)))
    };
    (build("first", first), build("second", second))
}

#[tokio::test]
async fn observation_lies_outside_the_cache() {
    let (_, cx) = jumping();
    let metrics = Metrics::new();
    let policy =
        exact().with_cache(Cache::default()).with_observe(Observe::default().with_counters(metrics.clone()));
    let chat = policy.chat(Fake::new([]).chat(), vec![]).expect("valid");
    for _ in 0..2 {
        chat.chat(&cx, hola()).await.expect("an answer");
    }
    let line = r#"ayni_requests_total{backend="fake",model="m",operation="chat",outcome="ok"} 2"#;
    assert!(metrics.prometheus_text().contains(line));
}

#[tokio::test]
async fn the_cache_lies_outside_fallback_and_limit() {
    let (_, cx) = driven();
    let fake = Fake::new([Step::Answer, asks_to_wait(3000), Step::Hang]);
    let policy = exact().with_cache(Cache::default()).with_limit(Limit::default().with_max_concurrency(1));
    let chat = policy.chat(fake.chat(), vec![Fake::named("second", []).chat()]).expect("valid");
    chat.chat(&cx, hola()).await.expect("an answer");
    let second = chat.chat(&cx, ChatRequest::user("otra")).await.expect("the fallback");
    assert_eq!(&*second.route.backend, "second");
    let kept = chat.chat(&cx, hola()).await.expect("an answer").route;
    assert_eq!((&*kept.backend, kept.cached, kept.failed.len()), ("fake", true, 0), "though it cools down");

    let alone = policy.chat(Fake::new([Step::Answer, Step::Hang]).chat(), vec![]).expect("valid");
    alone.chat(&cx, hola()).await.expect("an answer");
    let mut hanging = pin!(alone.chat(&cx, ChatRequest::user("otra")));
    assert!(peek(&mut hanging).await.is_none());
    assert!(alone.chat(&cx, hola()).await.expect("no queue before the cache").route.cached);
}

#[tokio::test]
async fn fallback_lies_outside_retry() {
    let (_, cx) = jumping();
    let journal = Journal::default();
    let failing = || (0..3).map(|_| fails(ErrorKind::Timeout)).collect::<Vec<_>>();
    let (first, second) = two(&journal, failing(), vec![fails(ErrorKind::Timeout)]);
    let chat = exact().chat(first.chat(), vec![second.chat()]).expect("valid");
    let route = chat.chat(&cx, hola()).await.expect("an answer").route;
    assert_eq!(*journal.lock().expect("a lock"), ["first", "first", "first", "second", "second"]);
    assert_eq!((route.attempts, route.failed.len()), (2, 1));
}

#[tokio::test]
async fn retry_lies_outside_the_limit() {
    let (clock, cx) = driven();
    let fake = Fake::new([asks_to_wait(10), Step::Answer]);
    let chat = exact().with_limit(Limit::default().with_max_concurrency(1));
    let chat = chat.chat(fake.chat(), vec![]).expect("valid");
    let mut waiting = pin!(chat.chat(&cx, hola()));
    assert!(peek(&mut waiting).await.is_none());
    let (outcome, took) = drive(&clock, chat.chat(&cx, hola())).await;
    outcome.expect("an answer");
    assert_eq!(took, 0.0, "who waits to repeat holds no place");
    drive(&clock, waiting).await.0.expect("an answer");
}

#[tokio::test]
async fn the_limit_lies_outside_the_time_out() {
    let (clock, cx) = driven();
    let fake = Fake::new([Step::Hang, Step::Hang]);
    let policy = exact()
        .with_retry(Retry::none())
        .with_limit(Limit::default().with_max_concurrency(1))
        .with_timeout(Timeout::default().with_attempt_seconds(5.0));
    let chat = policy.chat(fake.chat(), vec![]).expect("valid");
    let both = futures_util::future::join(chat.chat(&cx, hola()), chat.chat(&cx, hola()));
    let ((first, second), took) = drive(&clock, both).await;
    for outcome in [first, second] {
        assert_eq!(fact(&outcome.expect_err("too long"), "phase"), Some("attempt"));
    }
    assert_eq!((fake.calls(), took), (2, 10.0), "the time in the queue does not count");
}

#[tokio::test]
async fn every_attempt_has_its_own_time() {
    let (clock, cx) = driven();
    let fake = Fake::new([Step::Hang, Step::Hang]);
    let policy = exact().with_timeout(Timeout::default().with_attempt_seconds(5.0));
    let chat = policy.chat(fake.chat(), vec![]).expect("valid");
    let (outcome, took) = drive(&clock, chat.chat(&cx, hola())).await;
    assert_eq!(outcome.expect("the third attempt").route.attempts, 3);
    assert_eq!(took, 5.0 + 0.5 + 5.0 + 1.0);
}
