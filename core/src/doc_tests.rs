//! The pages of the documentation, compiled and run as tests.

macro_rules! pages {
    ($($name:ident = $path:literal;)+) => {
        $(#[doc = include_str!($path)]
        #[derive(Debug)]
        pub struct $name;)+
    };
}

pages! {
    Readme = "../../README.md";
    Chat = "../../docs/guides/chat.md";
    LocalChat = "../../docs/guides/chat-local.md";
    Embeddings = "../../docs/guides/embeddings.md";
    Errors = "../../docs/guides/errors.md";
    Fallback = "../../docs/guides/fallback.md";
    Images = "../../docs/guides/images.md";
    LocalImages = "../../docs/guides/images-local.md";
    Network = "../../docs/guides/network.md";
    SampleModels = "../../docs/guides/sample-models.md";
    Tenders = "../../docs/guides/tenders.md";
}
