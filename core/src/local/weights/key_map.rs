//! From the names that transformers gives tensors, with which models are written, to those in files of other origin.

use super::tensor::StoredTensor;

/// The names in a file, by the names of transformers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyMap(&'static [Table]);

/// The tensors under one prefix.
#[derive(Debug)]
struct Table {
    /// What names begin with in transformers and in the file; the rules are for the rest.
    prefix: &'static str,
    stored_prefix: &'static str,
    rules: &'static [&'static [Rule]],
}

/// One tensor, or all under one name. `*` stands for the number of a layer; what follows the name is kept.
#[derive(Debug)]
struct Rule {
    name: &'static str,
    stored: &'static str,
    view: View,
}

/// What a tensor is of the one in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    Whole,
    /// Rows and columns exchanged.
    Transposed,
    /// One of three equal parts of the rows.
    Third(usize),
}

const fn rule(name: &'static str, stored: &'static str) -> Rule {
    Rule { name, stored, view: View::Whole }
}

const fn transposed(name: &'static str, stored: &'static str) -> Rule {
    Rule { name, stored, view: View::Transposed }
}

const fn third(name: &'static str, stored: &'static str, part: usize) -> Rule {
    Rule { name, stored, view: View::Third(part) }
}

const BERT: &[Rule] = &[
    rule("embeddings.word_embeddings", "token_embd"),
    rule("embeddings.token_type_embeddings", "token_types"),
    rule("embeddings.position_embeddings", "position_embd"),
    rule("embeddings.LayerNorm", "token_embd_norm"),
    rule("encoder.layer.*.attention.self.query", "blk.*.attn_q"),
    rule("encoder.layer.*.attention.self.key", "blk.*.attn_k"),
    rule("encoder.layer.*.attention.self.value", "blk.*.attn_v"),
    rule("encoder.layer.*.attention.output.dense", "blk.*.attn_output"),
    rule("encoder.layer.*.attention.output.LayerNorm", "blk.*.attn_output_norm"),
    rule("encoder.layer.*.intermediate.dense", "blk.*.ffn_up"),
    rule("encoder.layer.*.output.dense", "blk.*.ffn_down"),
    rule("encoder.layer.*.output.LayerNorm", "blk.*.layer_output_norm"),
];

/// What most decoders share.
const DECODER: &[Rule] = &[
    rule("embed_tokens", "token_embd"),
    rule("layers.*.input_layernorm", "blk.*.attn_norm"),
    rule("layers.*.self_attn.q_proj", "blk.*.attn_q"),
    rule("layers.*.self_attn.k_proj", "blk.*.attn_k"),
    rule("layers.*.self_attn.v_proj", "blk.*.attn_v"),
    rule("layers.*.self_attn.qkv_proj", "blk.*.attn_qkv"),
    rule("layers.*.self_attn.q_norm", "blk.*.attn_q_norm"),
    rule("layers.*.self_attn.k_norm", "blk.*.attn_k_norm"),
    rule("layers.*.self_attn.sinks", "blk.*.attn_sinks.weight"),
    rule("layers.*.self_attn.o_proj", "blk.*.attn_output"),
    rule("layers.*.mlp.gate_proj", "blk.*.ffn_gate"),
    rule("layers.*.mlp.up_proj", "blk.*.ffn_up"),
    rule("layers.*.mlp.down_proj", "blk.*.ffn_down"),
    rule("layers.*.mlp.gate", "blk.*.ffn_gate_inp"),
    rule("layers.*.mlp.experts.gate_proj", "blk.*.ffn_gate_exps"),
    rule("layers.*.mlp.experts.up_proj", "blk.*.ffn_up_exps"),
    rule("layers.*.mlp.experts.down_proj", "blk.*.ffn_down_exps"),
    rule("norm", "output_norm"),
    rule("lm_head", "output"),
];

/// Two norms a layer: before attention, before what follows it.
const PRE_NORMS: &[Rule] = &[rule("layers.*.post_attention_layernorm", "blk.*.ffn_norm")];

/// Four norms a layer: before and after each part.
const FOUR_NORMS: &[Rule] = &[
    rule("layers.*.post_attention_layernorm", "blk.*.post_attention_norm"),
    rule("layers.*.pre_feedforward_layernorm", "blk.*.ffn_norm"),
    rule("layers.*.post_feedforward_layernorm", "blk.*.post_ffw_norm"),
];

/// gpt-oss: the second norm and the router under other names.
const GPT_OSS: &[Rule] = &[
    rule("layers.*.post_attention_layernorm", "blk.*.post_attention_norm"),
    rule("layers.*.mlp.router", "blk.*.ffn_gate_inp"),
];

/// Gates and what they gate in one tensor.
const GATE_UP: &[Rule] = &[rule("layers.*.mlp.gate_up_proj", "blk.*.ffn_up")];

const OF_BERT: KeyMap = KeyMap(&[Table { prefix: "", stored_prefix: "", rules: &[BERT] }]);
const OF_DECODERS: KeyMap = KeyMap(&[Table { prefix: "", stored_prefix: "", rules: &[DECODER, PRE_NORMS] }]);
const OF_GEMMA: KeyMap = KeyMap(&[Table { prefix: "", stored_prefix: "", rules: &[DECODER, FOUR_NORMS] }]);
const OF_GPT_OSS: KeyMap = KeyMap(&[Table { prefix: "", stored_prefix: "", rules: &[GPT_OSS, DECODER] }]);
const OF_PHI3: KeyMap =
    KeyMap(&[Table { prefix: "", stored_prefix: "", rules: &[GATE_UP, DECODER, PRE_NORMS] }]);

/// By `general.architecture`. Some conversions change numbers too: the order of the numbers of a head (llama), the offset
/// of norms (gemma); the models' files know.
const GGUF: &[(&str, KeyMap)] = &[
    ("bert", OF_BERT),
    ("llama", OF_DECODERS),
    ("mistral3", OF_DECODERS),
    ("gpt-oss", OF_GPT_OSS),
    ("qwen2", OF_DECODERS),
    ("qwen3", OF_DECODERS),
    ("qwen3moe", OF_DECODERS),
    ("gemma2", OF_GEMMA),
    ("gemma3", OF_GEMMA),
    ("phi3", OF_PHI3),
    ("smollm3", OF_DECODERS),
    ("granite", OF_DECODERS),
];

/// A transformer layer of open_clip, which stacks the projections to queries, keys and values.
const OPEN_CLIP_LAYER: &[Rule] = &[
    rule("encoder.layers.*.layer_norm1", "transformer.resblocks.*.ln_1"),
    rule("encoder.layers.*.layer_norm2", "transformer.resblocks.*.ln_2"),
    third("encoder.layers.*.self_attn.q_proj.weight", "transformer.resblocks.*.attn.in_proj_weight", 0),
    third("encoder.layers.*.self_attn.k_proj.weight", "transformer.resblocks.*.attn.in_proj_weight", 1),
    third("encoder.layers.*.self_attn.v_proj.weight", "transformer.resblocks.*.attn.in_proj_weight", 2),
    third("encoder.layers.*.self_attn.q_proj.bias", "transformer.resblocks.*.attn.in_proj_bias", 0),
    third("encoder.layers.*.self_attn.k_proj.bias", "transformer.resblocks.*.attn.in_proj_bias", 1),
    third("encoder.layers.*.self_attn.v_proj.bias", "transformer.resblocks.*.attn.in_proj_bias", 2),
    rule("encoder.layers.*.self_attn.out_proj", "transformer.resblocks.*.attn.out_proj"),
    rule("encoder.layers.*.mlp.fc1", "transformer.resblocks.*.mlp.c_fc"),
    rule("encoder.layers.*.mlp.fc2", "transformer.resblocks.*.mlp.c_proj"),
];

const OPEN_CLIP_IMAGE: &[Rule] = &[
    rule("embeddings.class_embedding", "class_embedding"),
    rule("embeddings.patch_embedding", "conv1"),
    rule("embeddings.position_embedding.weight", "positional_embedding"),
    rule("pre_layrnorm", "ln_pre"),
    rule("post_layernorm", "ln_post"),
];

const OPEN_CLIP_TEXT: &[Rule] = &[
    rule("embeddings.token_embedding", "token_embedding"),
    rule("embeddings.position_embedding.weight", "positional_embedding"),
    rule("final_layer_norm", "ln_final"),
];

const OPEN_CLIP_VISION_TABLE: Table =
    Table { prefix: "vision_model.", stored_prefix: "visual.", rules: &[OPEN_CLIP_IMAGE, OPEN_CLIP_LAYER] };

/// The projections into the common space, which open_clip multiplies from the right.
const OPEN_CLIP: KeyMap = KeyMap(&[
    OPEN_CLIP_VISION_TABLE,
    Table { prefix: "text_model.", stored_prefix: "", rules: &[OPEN_CLIP_TEXT, OPEN_CLIP_LAYER] },
    Table { prefix: "", stored_prefix: "", rules: &[OPEN_CLIP_PROJECTIONS] },
]);

const OPEN_CLIP_PROJECTIONS: &[Rule] = &[
    transposed("visual_projection.weight", "visual.proj"),
    transposed("text_projection.weight", "text_projection"),
];

/// The same where the text tower was chosen separately and has a prefix.
const OPEN_CLIP_WITH_TEXT_PREFIX: KeyMap = KeyMap(&[
    OPEN_CLIP_VISION_TABLE,
    Table { prefix: "text_model.", stored_prefix: "text.", rules: &[OPEN_CLIP_TEXT, OPEN_CLIP_LAYER] },
    Table {
        prefix: "text_",
        stored_prefix: "text.text_",
        rules: &[&[transposed("projection.weight", "projection")]],
    },
    Table { prefix: "", stored_prefix: "", rules: &[OPEN_CLIP_PROJECTIONS] },
]);

impl KeyMap {
    /// The names of a GGUF file.
    pub(super) fn of_gguf(architecture: &str) -> Option<Self> {
        GGUF.iter().find(|(name, _)| *name == architecture).map(|(_, map)| *map)
    }

    /// The architectures of [`of_gguf`](Self::of_gguf).
    pub(super) fn gguf_architectures() -> impl Iterator<Item = &'static str> {
        GGUF.iter().map(|(name, _)| *name)
    }

    /// The names of open_clip; in some files the text tower has the prefix `text.`.
    pub(crate) fn of_open_clip(has_text_prefix: bool) -> Self {
        if has_text_prefix { OPEN_CLIP_WITH_TEXT_PREFIX } else { OPEN_CLIP }
    }

    /// The name in the file, and what the tensor is of the one there. Names without a rule are the same.
    pub(super) fn stored(self, name: &str) -> (String, View) {
        let found = self.0.iter().find_map(|table| {
            let rest = name.strip_prefix(table.prefix)?;
            let mut rules = table.rules.iter().copied().flatten();
            rules.find_map(|rule| Some((format!("{}{}", table.stored_prefix, rule.stored(rest)?), rule.view)))
        });
        found.unwrap_or_else(|| (name.to_owned(), View::Whole))
    }
}

impl Rule {
    fn stored(&self, name: &str) -> Option<String> {
        let (number, rest) = match self.name.split_once('*') {
            None => ("", name.strip_prefix(self.name)?),
            Some((before, after)) => {
                let name = name.strip_prefix(before)?;
                let (number, rest) = name.split_at(name.find(|c: char| !c.is_ascii_digit())?);
                (number, rest.strip_prefix(after)?)
            }
        };
        let is_whole = rest.is_empty() || rest.starts_with('.');
        is_whole.then(|| format!("{}{rest}", self.stored.replacen('*', number, 1)))
    }
}

impl View {
    /// The shape in the file of a tensor that has this shape.
    pub(super) fn stored_shape(self, shape: &[usize]) -> Vec<usize> {
        let mut shape = shape.to_vec();
        match (self, shape.first_mut()) {
            (Self::Transposed, _) => shape.reverse(),
            (Self::Third(_), Some(rows)) => *rows = rows.saturating_mul(3),
            _ => {}
        }
        shape
    }

    /// The tensor, of the one in the file. `None` if that has not the shape, or is stored in a way that can't be viewed so.
    pub(super) fn of(self, stored: &StoredTensor) -> Option<StoredTensor> {
        match self {
            Self::Whole => Some(stored.clone()),
            Self::Transposed => stored.transposed(),
            Self::Third(part) => stored.part(part, 3),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_file_down_to_the_layer() {
        let bert = KeyMap::of_gguf("bert").unwrap();
        for (name, stored) in [
            ("embeddings.LayerNorm.bias", "token_embd_norm.bias"),
            ("encoder.layer.11.attention.output.dense.weight", "blk.11.attn_output.weight"),
            ("encoder.layer.0.attention.output.LayerNorm.weight", "blk.0.attn_output_norm.weight"),
            ("encoder.layer.x.attention.self.query.weight", "encoder.layer.x.attention.self.query.weight"),
            ("pooler.dense.weight", "pooler.dense.weight"),
        ] {
            assert_eq!(bert.stored(name), (stored.to_owned(), View::Whole));
        }
        for (has_prefix, front) in [(false, ""), (true, "text.")] {
            let names = KeyMap::of_open_clip(has_prefix);
            let layer = "text_model.encoder.layers.3.self_attn.k_proj.bias";
            let stored = format!("{front}transformer.resblocks.3.attn.in_proj_bias");
            assert_eq!(names.stored(layer), (stored, View::Third(1)));
            let projection = (format!("{front}text_projection"), View::Transposed);
            assert_eq!(names.stored("text_projection.weight"), projection);
            assert_eq!(
                names.stored("visual_projection.weight"),
                ("visual.proj".to_owned(), View::Transposed)
            );
            let patches = ("visual.conv1.weight".to_owned(), View::Whole);
            assert_eq!(names.stored("vision_model.embeddings.patch_embedding.weight"), patches);
        }
    }
}
