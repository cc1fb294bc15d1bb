//! From the name of a model to its tensors: model references, folders of files, mapped weight files.

mod files;
mod hub;
mod locate;
mod mapped;
mod parameters;
mod reference;
mod tensors;

pub(crate) use files::ModelFiles;
pub(crate) use hub::{Hub, Wanted, is_commit};
pub(crate) use locate::{Located, here, locate};
pub(crate) use parameters::{Biases, Parameters};
pub use reference::ModelReference;
pub(crate) use tensors::Tensors;

/// How to make what is read here of the pickle that open_clip's older exports are.
pub(crate) const OPEN_CLIP_CONVERSION: &str = "Convert it in Python: `safetensors.torch.save_file(torch.load(\
     'open_clip_pytorch_model.bin', weights_only=True), 'open_clip_model.safetensors')`";

/// What tests of models need.
#[cfg(test)]
pub(crate) mod testing {
    pub(crate) use super::tensors::tests::write;
}
