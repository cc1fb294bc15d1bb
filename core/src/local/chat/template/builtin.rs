//! Templates for models that come without one, by the name of the format that they were trained on.

macro_rules! templates {
    ($($name:literal)+) => {
        /// The names.
        pub(super) const NAMES: &[&str] = &[$($name),+];

        /// The template of that name.
        pub(super) fn source(name: &str) -> Option<&'static str> {
            match name {
                $($name => Some(include_str!(concat!("builtin/", $name, ".jinja"))),)+
                _ => None,
            }
        }
    };
}

templates! { "chatml" "gemma" "llama2" "llama3" "mistral" "phi3" "vicuna" "zephyr" }
