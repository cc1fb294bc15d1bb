use futures_util::StreamExt;

use super::*;
use crate::AnyEmbedder;

fn keeping() -> Policy {
    exact().with_cache(Cache::default())
}

#[tokio::test]
async fn the_same_request_gets_the_same_answer_and_says_so() {
    let (_, cx) = jumping();
    let fake = Fake::new([]);
    let chat = keeping().chat(fake.chat(), vec![]).expect("valid");
    let first = chat.chat(&cx, hola()).await.expect("an answer");
    let mut second = chat.chat(&cx, hola()).await.expect("an answer");
    assert_eq!((first.route.cached, second.route.cached, fake.calls()), (false, true, 1));
    second.route.cached = false;
    assert_eq!(first, second);
    let embedder = keeping().embedder(AnyEmbedder::new(Fake::new([])), vec![]).expect("valid");
    for cached in [false, true] {
        let response = embedder.embed(&cx, EmbedRequest::texts(["a"])).await.expect("vectors");
        assert_eq!(response.route.cached, cached);
    }
}

#[tokio::test]
async fn every_field_of_a_request_counts() {
    let (_, cx) = jumping();
    let fake = Fake::new([]);
    let chat = keeping().chat(fake.chat(), vec![]).expect("valid");
    let requests = [
        hola(),
        ChatRequest::user("adiós"),
        hola().with_system("hola"),
        hola().with_seed(1),
        hola().with_extra("user", "a"),
        hola().with_extra("user", "b"),
    ];
    for request in &requests {
        assert!(!chat.chat(&cx, request.clone()).await.expect("an answer").route.cached);
    }
    for request in requests {
        assert!(chat.chat(&cx, request).await.expect("an answer").route.cached);
    }
    assert!(!was_kept(chat.stream(&cx, hola()).await.expect("a stream")).await);
}

#[tokio::test]
async fn nothing_is_kept_unless_asked_for() {
    let (_, cx) = jumping();
    let fake = Fake::new([]);
    let chat = exact().chat(fake.chat(), vec![]).expect("valid");
    for _ in 0..2 {
        assert!(!chat.chat(&cx, hola()).await.expect("an answer").route.cached);
    }
}

#[tokio::test]
async fn failures_are_not_kept() {
    let (_, cx) = jumping();
    let fake = Fake::new([fails(ErrorKind::InvalidRequest)]);
    let chat = keeping().chat(fake.chat(), vec![]).expect("valid");
    chat.chat(&cx, hola()).await.expect_err("the script says so");
    assert!(!chat.chat(&cx, hola()).await.expect("an answer").route.cached);
}

#[tokio::test]
async fn the_answer_of_a_fallback_is_not_kept_in_the_primarys_place() {
    let (_, cx) = jumping();
    let primary = Fake::named("first", [fails(ErrorKind::NotFound)]);
    let chat = keeping().chat(primary.chat(), vec![Fake::named("second", []).chat()]).expect("valid");
    assert_eq!(&*chat.chat(&cx, hola()).await.expect("an answer").route.backend, "second");
    let again = chat.chat(&cx, hola()).await.expect("an answer").route;
    assert_eq!((&*again.backend, again.cached), ("first", false));
}

#[tokio::test]
async fn images_are_kept_only_with_a_seed() {
    let (_, cx) = jumping();
    let fake = Fake::new([]);
    let images = keeping().image_generator(fake.images(), vec![]).expect("valid");
    for (request, cached) in
        [(GenerateRequest::new("p"), [false, false]), (GenerateRequest::new("p").with_seed(1), [false, true])]
    {
        for cached in cached {
            let response = images.generate(&cx, request.clone()).await.expect("an image");
            assert_eq!(response.route.cached, cached);
        }
    }
}

#[tokio::test]
async fn a_complete_stream_is_played_again_event_by_event() {
    let (_, cx) = jumping();
    let events = vec![
        Ok(ChatEvent::Reasoning("hm".into())),
        Ok(ChatEvent::Text("ho".into())),
        Ok(ChatEvent::Text("la".into())),
        Ok(ChatEvent::finish(FinishReason::Length, Usage::new(1, 2))),
    ];
    let fake = Fake::new([Step::Events(events)]);
    let chat = keeping().chat(fake.chat(), vec![]).expect("valid");
    let play = async || {
        let events: Vec<_> = chat.stream(&cx, hola()).await.expect("a stream").collect().await;
        events.into_iter().map(|event| event.expect("complete")).collect::<Vec<_>>()
    };
    let (first, second) = (play().await, play().await);
    assert_eq!((first.len(), fake.calls()), (5, 1));
    assert_eq!(first[1..], second[1..]);
    let (ChatEvent::Started { route: first }, ChatEvent::Started { route: second }) = (&first[0], &second[0])
    else {
        panic!("{first:?}, {second:?}");
    };
    assert_eq!((first.cached, second.cached), (false, true));
}

#[tokio::test]
async fn halves_of_streams_are_not_kept() {
    let (_, cx) = jumping();
    let text = || Ok(ChatEvent::Text("ho".into()));
    let broken = || Err(Error::new(ErrorKind::Interrupted, "gone"));
    let fake = Fake::new([Step::Events(vec![text(), broken()]), Step::Events(vec![text()])]);
    let chat = keeping().chat(fake.chat(), vec![]).expect("valid");
    let broken = chat.stream(&cx, hola()).await.expect("a stream").collect::<Vec<_>>().await;
    assert!(broken.last().expect("an end").is_err());
    let mut dropped = chat.stream(&cx, hola()).await.expect("a stream");
    dropped.next().await.expect("started").expect("started");
    dropped.next().await.expect("text").expect("text");
    drop(dropped);
    assert!(!was_kept(chat.stream(&cx, hola()).await.expect("a stream")).await);
    assert_eq!(fake.calls(), 3);
}

#[tokio::test]
async fn a_stream_larger_than_the_cache_is_not_kept() {
    let (_, cx) = jumping();
    let chat = exact().with_cache(Cache::default().with_max_bytes(700));
    let chat = chat.chat(Fake::new([]).chat(), vec![]).expect("valid");
    for _ in 0..2 {
        assert!(!was_kept(chat.stream(&cx, hola()).await.expect("a stream")).await);
    }
}

#[tokio::test]
async fn what_is_kept_holds_neither_prompt_nor_credential() {
    let (_, cx) = jumping();
    let info = BackendInfo::new("fake", "m").with_credential(credential("canary-key"));
    let fake = Fake::of(info, []);
    let governed = governed::Governed::new(&keeping(), fake.chat(), vec![]).expect("valid");
    let request = ChatRequest::user("canary-prompt").with_extra("user", "canary-user");
    ChatBackend::chat(&governed, &cx, request.clone()).await.expect("an answer");
    assert!(ChatBackend::chat(&governed, &cx, request).await.expect("an answer").route.cached);
    let kept = format!("{:?} {governed:?}", governed.cache());
    assert!(kept.contains("bytes: ") && !kept.contains("canary"), "{kept}");
}

async fn was_kept(mut stream: ChatStream) -> bool {
    let mut kept = None;
    while let Some(event) = stream.next().await {
        if let ChatEvent::Started { route } = event.expect("complete") {
            kept = Some(route.cached);
        }
    }
    kept.expect("a first event")
}
