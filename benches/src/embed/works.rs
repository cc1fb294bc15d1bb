//! What is measured: the works, the same for us and for everybody else.

use serde_json::{Value, json};

/// One piece of work.
#[derive(Clone, Debug)]
pub(super) struct Work {
    pub(super) name: String,
    pub(super) model: Model,
    pub(super) task: Task,
}

/// Which model does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Model {
    /// all-MiniLM-L6-v2, with its real weights.
    MiniLm,
    /// CLIP ViT-B/32, with random weights.
    Clip,
}

/// What is to be done.
#[derive(Clone, Debug)]
pub(super) enum Task {
    /// Texts of these lengths in tokens, the two around each text included.
    Texts(Vec<usize>),
    /// So many images that are small and uncompressed, so that their decoding counts for little.
    Images(usize),
    /// A photograph to the model's input tensor, without the model.
    Preprocess,
}

/// Words that the vocabulary of all-MiniLM-L6-v2 holds whole.
const WORDS: [&str; 32] = [
    "river", "stone", "winter", "market", "music", "garden", "silver", "road", "window", "history", "bread",
    "island", "science", "green", "morning", "letter", "bridge", "summer", "paper", "north", "water",
    "mountain", "city", "doctor", "horse", "table", "village", "school", "night", "forest", "valley",
    "light",
];

/// What the tokenizer of the random CLIP holds whole: letters.
const LETTERS: [&str; 16] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p"];

/// Every work, in the order of the tables.
pub(super) fn all() -> Vec<Work> {
    let minilm = |name: &str, lengths| Work {
        name: format!("minilm_{name}"),
        model: Model::MiniLm,
        task: Task::Texts(lengths),
    };
    let clip = |name: &str, task| Work { name: format!("clip_{name}"), model: Model::Clip, task };
    vec![
        minilm("1x16", vec![16]),
        minilm("1x64", vec![64]),
        minilm("1x256", vec![256]),
        minilm("32x16", vec![16; 32]),
        minilm("32x64", vec![64; 32]),
        minilm("32x256", vec![256; 32]),
        minilm("32xmixed", mixed_lengths(32)),
        clip("text_1x10", Task::Texts(vec![10])),
        clip("text_16x10", Task::Texts(vec![10; 16])),
        clip("text_1x77", Task::Texts(vec![77])),
        clip("text_16x77", Task::Texts(vec![77; 16])),
        clip("image_1", Task::Images(1)),
        clip("image_16", Task::Images(16)),
        clip("jpeg_1280x960", Task::Preprocess),
    ]
}

/// Lengths between 4 and 256 tokens: as many between 4 and 8 as between 128 and 256; seeded.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "4 to 256"
)]
fn mixed_lengths(count: usize) -> Vec<usize> {
    let mut state = 0x5eed_u64;
    let mut fraction = || {
        // SplitMix64.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    };
    (0..count).map(|_| (4.0 * 64_f64.powf(fraction())).round() as usize).collect()
}

/// The texts of a batch of MiniLM, for streams too: `number` makes each another.
pub(super) fn text(model: Model, tokens: usize, number: usize) -> String {
    let words: &[&str] = match model {
        Model::MiniLm => &WORDS,
        Model::Clip => &LETTERS,
    };
    let step = 1 + 2 * (number % 5);
    let picked = (0..tokens.saturating_sub(2)).map(|at| words[(number + at * step) % words.len()]);
    picked.collect::<Vec<_>>().join(" ")
}

impl Work {
    /// The work of this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        all().into_iter().find(|work| work.name == name)
    }

    /// How many inputs it has.
    pub(super) fn inputs(&self) -> usize {
        match &self.task {
            Task::Texts(lengths) => lengths.len(),
            Task::Images(count) => *count,
            Task::Preprocess => 1,
        }
    }

    /// Its texts.
    pub(super) fn texts(&self) -> Vec<String> {
        let Task::Texts(lengths) = &self.task else { return Vec::new() };
        lengths.iter().enumerate().map(|(number, tokens)| text(self.model, *tokens, number)).collect()
    }

    /// Its images, as files of the folder that the peers' preparation makes.
    pub(super) fn images(&self) -> Vec<String> {
        match self.task {
            Task::Texts(_) => Vec::new(),
            Task::Images(count) => (0..count).map(|number| format!("{number:02}.bmp")).collect(),
            Task::Preprocess => vec!["photograph.jpg".to_owned()],
        }
    }

    /// How many multiplications and additions the model needs for it, padding left out.
    pub(super) fn operations(&self) -> usize {
        match (&self.task, self.model) {
            (Task::Texts(lengths), Model::MiniLm) => {
                lengths.iter().map(|length| layers(6, 384, 1536, *length, *length)).sum()
            }
            (Task::Texts(lengths), Model::Clip) => {
                // Each token looks at itself and those before it: half of all pairs.
                let texts = lengths.iter().map(|length| layers(12, 512, 2048, *length, length.div_ceil(2)));
                texts.sum::<usize>() + lengths.len() * 2 * 512 * 512
            }
            (Task::Images(count), _) => {
                let patches = 2 * 49 * (3 * 32 * 32) * 768;
                count * (patches + layers(12, 768, 3072, 50, 50) + 2 * 768 * 512)
            }
            (Task::Preprocess, _) => 0,
        }
    }

    /// As the peers read it.
    pub(super) fn json(&self) -> Value {
        let (task, lengths) = match &self.task {
            Task::Texts(lengths) => ("text", lengths.clone()),
            Task::Images(_) => ("image", Vec::new()),
            Task::Preprocess => ("preprocess", Vec::new()),
        };
        let model = match self.model {
            Model::MiniLm => "minilm",
            Model::Clip => "clip",
        };
        json!({
            "name": self.name, "model": model, "task": task, "inputs": self.inputs(), "texts": self.texts(),
            "lengths": lengths, "images": self.images(), "operations": self.operations(),
        })
    }
}

/// The operations of a stack of layers over `tokens`, each of which attends to `attended`.
fn layers(count: usize, width: usize, inner: usize, tokens: usize, attended: usize) -> usize {
    let linear = 4 * width * width + 2 * width * inner;
    count * tokens * 2 * (linear + 2 * attended * width)
}
