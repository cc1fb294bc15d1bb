#![doc = include_str!("../README.md")]

use std::fmt;

/// A file of a model: its name, and what is in it.
pub type File = (&'static str, &'static [u8]);

/// The files of one model.
#[derive(Clone, Copy)]
pub struct Sample {
    /// The part of the model reference after `tiny:`.
    pub name: &'static str,
    /// Its files, as they lie in a model's folder. None is in a folder of its own.
    pub files: &'static [File],
}

/// The files of a model by their names in `models/`.
macro_rules! sample {
    ($name:literal: $($file:literal)+) => {
        Sample {
            name: $name,
            files: &[$(($file, include_bytes!(concat!("../models/", $name, "/", $file)))),+],
        }
    };
}

/// Every sample model.
pub const SAMPLES: &[Sample] = &[
    sample! {
        "clip": "README.md" "config.json" "model.safetensors" "preprocessor_config.json" "tokenizer.json"
        "tokenizer_config.json"
    },
    sample! { "text": "README.md" "model.safetensors" "modules.json" "tokenizer.json" },
];

impl Sample {
    /// How many bytes its files have.
    pub fn bytes(&self) -> usize {
        self.files.iter().map(|(_, bytes)| bytes.len()).sum()
    }
}

impl fmt::Debug for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sample({}, {} bytes)", self.name, self.bytes())
    }
}
