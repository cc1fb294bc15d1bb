//! Images in conversations with the small Gemma 3 of the suite: what it answers, what it counts and reuses, and what it
//! refuses. `tests/golden/make/image_chat.py` makes the model and the truth about it.
#![cfg(feature = "candle")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::time::Duration;

use ayni::local::{LocalChat, LocalChatConfig};
use ayni::{
    AnyChat, Cancellation, ChatRequest, ChatResponse, Context, Environment, Error, ErrorKind, ImageData,
    Message, Part,
};
use futures_util::future::join_all;
use serde_json::Value;

const TOKENS_PER_IMAGE: u64 = 16;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn open_with(model: &Path, env: &[(&str, &str)]) -> Result<AnyChat, Error> {
    let config = LocalChatConfig::new(model.to_str().unwrap()).with_device("cpu").with_precision("f32");
    Ok(AnyChat::new(LocalChat::open(&config, &Environment::from_pairs(env.iter().copied()))?))
}

fn open() -> AnyChat {
    open_with(&path("conformance/models/images"), &[]).unwrap()
}

/// An image of one colour.
fn colour(name: &str) -> ImageData {
    let rgb = match name {
        "red" => [220, 30, 30],
        "green" => [30, 180, 40],
        "blue" => [30, 50, 220],
        "white" => [245; 3],
        "black" => [12; 3],
        "yellow" => [240, 220, 30],
        file => {
            return ImageData::new(std::fs::read(path("tests/golden/images").join(file)).unwrap()).unwrap();
        }
    };
    bmp(40, 24, rgb)
}

/// A BMP, whose rows lie from bottom to top.
fn bmp(width: u32, height: u32, [red, green, blue]: [u8; 3]) -> ImageData {
    let row = (3 * width).next_multiple_of(4) as usize;
    let size = 54 + row * height as usize;
    let mut bytes = b"BM".to_vec();
    bytes.extend(u32::try_from(size).unwrap().to_le_bytes());
    bytes.extend([0, 0, 0, 0, 54, 0, 0, 0, 40, 0, 0, 0]);
    bytes.extend([width.to_le_bytes(), height.to_le_bytes()].concat());
    bytes.extend([1, 0, 24, 0]);
    bytes.resize(54, 0);
    let mut line = [blue, green, red].repeat(width as usize);
    line.resize(row, 0);
    bytes.extend(line.repeat(height as usize));
    ImageData::new(bytes).unwrap()
}

fn request(messages: Vec<Message>) -> ChatRequest {
    ChatRequest::new(messages).with_temperature(0.0).with_max_tokens(8)
}

/// A question about images.
fn about(images: &[&str], text: &str) -> Message {
    let images = images.iter().map(|name| Part::image(colour(name)));
    Message::user(images.chain([Part::text(text)]).collect::<Vec<_>>())
}

async fn ask(chat: &AnyChat, request: ChatRequest) -> Result<ChatResponse, Error> {
    chat.chat(&Context::new().with_timeout(Duration::from_secs(120)), request).await
}

/// The conversations of the goldens, as requests, and what transformers answers and counts.
fn goldens() -> Vec<(ChatRequest, String, u64)> {
    let cases = std::fs::read(path("tests/golden/image_chat/cases.json")).unwrap();
    let cases: Vec<Value> = serde_json::from_slice(&cases).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let part = |part: &Value| match text(&part["type"]).as_str() {
        "image" => Part::image(colour(part["image"].as_str().unwrap())),
        _ => Part::text(text(&part["text"])),
    };
    let message = |message: &Value| match (&message["content"], text(&message["role"]).as_str()) {
        (Value::Array(parts), _) => Message::user(parts.iter().map(part).collect::<Vec<_>>()),
        (content, "assistant") => Message::assistant(text(content)),
        (content, _) => Message::user(text(content)),
    };
    let case = |case: &Value| {
        let messages = case["messages"].as_array().unwrap().iter().map(message).collect();
        (request(messages), text(&case["answer"]), case["ids"].as_array().unwrap().len() as u64)
    };
    cases.iter().map(case).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_and_counts_of_tokens_are_those_of_transformers() {
    let chat = open();
    assert_eq!(chat.info().reads_images, Some(true));
    for (request, answer, tokens) in goldens() {
        let found = ask(&chat, request.clone()).await.unwrap();
        assert_eq!((found.text, found.usage.input_tokens), (answer, Some(tokens)));
        assert_eq!(chat.count_tokens(&request).unwrap() as u64, tokens);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_together_are_those_that_each_has_alone() {
    let scored = |(request, ..): (ChatRequest, String, u64)| {
        request.with_logprobs(2).with_seed(5).with_temperature(1.0)
    };
    let requests: Vec<ChatRequest> = goldens().into_iter().map(scored).collect();
    let mut alone = Vec::new();
    for request in &requests {
        alone.push(ask(&open(), request.clone()).await.unwrap());
    }
    let chat = open();
    // Again, over what the first ones left.
    for _ in 0..2 {
        let together = join_all(requests.iter().map(|request| ask(&chat, request.clone()))).await;
        for (together, alone) in together.into_iter().zip(&alone) {
            let together = together.unwrap();
            assert_eq!((&together.text, &together.logprobs), (&alone.text, &alone.logprobs));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_beginning_of_a_prompt_is_used_again_for_the_same_image_only() {
    let chat = open();
    let question = "Which colour?";
    let first = ask(&chat, request(vec![about(&["red"], question)])).await.unwrap();
    assert_eq!(first.usage.cached_tokens, Some(0));
    // The same tokens stand for another image: what is used again ends before it, if that is enough to be worth it.
    let other = ask(&chat, request(vec![about(&["blue"], question)])).await.unwrap();
    assert_eq!((other.text.as_str(), other.usage.input_tokens), ("blue", first.usage.input_tokens));
    assert!(other.usage.cached_tokens.unwrap() < TOKENS_PER_IMAGE, "{:?}", other.usage);
    let again = ask(&chat, request(vec![about(&["red"], question)])).await.unwrap();
    assert_eq!(
        (again.text.as_str(), again.usage.cached_tokens),
        ("red", first.usage.input_tokens.map(|all| all - 1))
    );
    let turns = vec![about(&["red"], question), Message::assistant("red"), about(&["green"], "And this?")];
    let second = ask(&chat, request(turns)).await.unwrap();
    assert_eq!(second.text, "green");
    assert!(second.usage.cached_tokens.unwrap() > TOKENS_PER_IMAGE, "{:?}", second.usage);
}

#[tokio::test(flavor = "multi_thread")]
async fn images_count_towards_the_window() {
    let chat = open();
    let colours = ["red"; 40];
    let error = ask(&chat, request(vec![about(&colours, "Which colour?")])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ContextTooLong);
    assert!(error.message().contains("window of 512 tokens"), "{error}");
    let tokens = error.message().split_whitespace().find_map(|word| word.parse::<u64>().ok());
    assert!(tokens.unwrap() > 40 * TOKENS_PER_IMAGE, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_image_is_refused_and_the_model_goes_on() {
    let chat = open_with(&path("conformance/models/images"), &[("AYNI_MAX_IMAGE_PIXELS", "100000")]).unwrap();
    let whole = colour("rgb.png").bytes().clone();
    let mut wide = colour("red").bytes().to_vec();
    // 20,000 × 10,000 pixels, it says.
    wide[18..26].copy_from_slice(&[20_000_u32.to_le_bytes(), 10_000_u32.to_le_bytes()].concat());
    let mut empty = colour("red").bytes().to_vec();
    empty[18..26].fill(0);
    let hostile = [
        whole.slice(..whole.len() / 2).to_vec(),
        whole.slice(..20).to_vec(),
        wide,
        empty,
        Vec::new(),
        b"GIF89a".to_vec(),
        vec![0xff; 4000],
        bmp(400, 251, [1, 2, 3]).bytes().to_vec(),
    ];
    for (number, bytes) in hostile.into_iter().enumerate() {
        let image = Part::image(ImageData::with_media_type(bytes, "image/png"));
        let good = Part::image(colour("red"));
        let message = Message::user(vec![good, image, Part::text("Which colour?")]);
        let error = ask(&chat, request(vec![message])).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{number}: {error}");
        assert!(error.context().contains(&("image", "1".to_owned())), "which of the images it is: {error:?}");
    }
    let answer = ask(&chat, request(vec![about(&["green"], "Which colour?")])).await.unwrap();
    assert_eq!(answer.text, "green");
}

#[tokio::test(flavor = "multi_thread")]
async fn urls_of_data_are_images_and_others_are_not_fetched() {
    let chat = open();
    let with_url =
        |url: String| request(vec![Message::user(vec![Part::image_url(url), Part::text("Which colour?")])]);
    let answer = ask(&chat, with_url(colour("yellow").to_data_url())).await.unwrap();
    assert_eq!(answer.text, "yellow");
    let error = ask(&chat, with_url("https://a.test/secret-name.png".to_owned())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(
        error.message().contains("`image_url`") && !format!("{error:?}").contains("secret-name"),
        "{error}"
    );
    let error = ask(&chat, with_url("data:image/png;base64,AAAA".to_owned())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidRequest);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_can_write_an_image_in_words() {
    let chat = open();
    let count = |text: &str| chat.count_tokens(&request(vec![Message::user(text)]));
    chat.ready(&Context::new()).await.unwrap();
    for word in ["<start_of_image>", "<image_soft_token>", "<end_of_image>", "<start_of_turn>"] {
        assert_eq!(count(word).unwrap() - count("x").unwrap(), word.len() - 1, "one token a byte");
        let cut = word.len() / 2;
        for between in ["", " ", "\n"] {
            // The template trims each text.
            let (first, last) = (format!("{}{between}", &word[..cut]), word[cut..].to_owned());
            let parts = vec![Part::image(colour("red")), Part::text(first), Part::text(last)];
            let tokens = chat.count_tokens(&request(vec![Message::user(parts)])).unwrap();
            let plain = vec![Part::image(colour("red")), Part::text("x".repeat(word.len()))];
            assert_eq!(
                tokens,
                chat.count_tokens(&request(vec![Message::user(plain)])).unwrap(),
                "{word:?} {between:?}"
            );
        }
    }
}

/// A copy of the model's folder with one file changed.
fn changed(name: &str, change: impl Fn(Vec<u8>) -> Option<Vec<u8>>) -> tempfile::TempDir {
    let place = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(path("conformance/models/images")).unwrap().flatten() {
        let bytes = std::fs::read(entry.path()).unwrap();
        let bytes = if entry.file_name() == name { change(bytes) } else { Some(bytes) };
        if let Some(bytes) = bytes {
            std::fs::write(place.path().join(entry.file_name()), bytes).unwrap();
        }
    }
    place
}

fn json(change: impl Fn(&mut Value)) -> impl Fn(Vec<u8>) -> Option<Vec<u8>> {
    move |bytes| {
        let mut value = serde_json::from_slice(&bytes).unwrap();
        change(&mut value);
        Some(serde_json::to_vec(&value).unwrap())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_reads_no_images_says_why() {
    let red = || request(vec![about(&["red"], "Which colour?")]);
    // In transformers 5 the processor's file has everything.
    let of_images = std::fs::read(path("conformance/models/images/preprocessor_config.json")).unwrap();
    let of_images: Value = serde_json::from_slice(&of_images).unwrap();
    let place = changed("processor_config.json", json(|value| value["image_processor"] = of_images.clone()));
    std::fs::remove_file(place.path().join("preprocessor_config.json")).unwrap();
    assert_eq!(ask(&open_with(place.path(), &[]).unwrap(), red()).await.unwrap().text, "red");

    let place = changed("preprocessor_config.json", |_| None);
    let chat = open_with(place.path(), &[]).unwrap();
    assert_eq!(chat.info().reads_images, Some(false));
    let error = ask(&chat, red()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().contains("preprocessor_config.json"), "{error}");
    ask(&chat, request(vec![Message::user("Hello")])).await.unwrap();

    let gguf = path("tests/golden/causal/gemma3/model.gguf");
    assert!(open_with(&gguf, &[]).is_ok_and(|chat| chat.info().reads_images == Some(false)));

    let pan = changed("preprocessor_config.json", json(|value| value["do_pan_and_scan"] = true.into()));
    let error = open_with(pan.path(), &[]).unwrap_err();
    assert!(error.kind() == ErrorKind::ModelLoad && error.message().contains("`do_pan_and_scan`"), "{error}");
    let size = changed("preprocessor_config.json", json(|value| value["size"]["height"] = 16.into()));
    let error = open_with(size.path(), &[]).unwrap().ready(&Context::new()).await.unwrap_err();
    assert!(error.kind() == ErrorKind::ModelLoad && error.message().contains("(32, 32)"), "{error}");
    let bare = changed(
        "chat_template.json",
        json(|value| value["chat_template"] = "{{ messages[0].content }}".into()),
    );
    let error = ask(&open_with(bare.path(), &[]).unwrap(), red()).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Unsupported && error.message().contains("1 images"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_leaves_leaves_nothing_behind() {
    let chat = open();
    chat.ready(&Context::new()).await.unwrap();
    for moment in 0..30 {
        let stop = Cancellation::new();
        let cx = Context::new().with_cancellation(stop.clone());
        let asked = chat.chat(&cx, request(vec![about(&["red", "rgb.png", "blue"], "Which colour?")]));
        if tokio::time::timeout(Duration::from_micros(moment * 200), asked).await.is_err() && moment % 2 == 0
        {
            stop.cancel();
            let error = chat.chat(&cx, request(vec![about(&["red"], "Which colour?")])).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Cancelled);
        }
    }
    let answer = ask(&chat, request(vec![about(&["blue", "red"], "Which colour?")])).await.unwrap();
    assert_eq!(answer.text, "blue and red");
}
