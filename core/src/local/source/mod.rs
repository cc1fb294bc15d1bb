//! From the name of a model to its files: model references, folders, the Hub and its cache.

mod files;
mod hub;
mod locate;
mod reference;

pub(crate) use files::ModelFiles;
pub(crate) use hub::{Hub, Wanted, is_commit};
pub(crate) use locate::{Located, here, locate};
pub use reference::ModelReference;

/// How to make what is read here of the pickle that open_clip's older exports are.
pub(crate) const OPEN_CLIP_CONVERSION: &str = "Convert it in Python: `safetensors.torch.save_file(torch.load(\
     'open_clip_pytorch_model.bin', weights_only=True), 'open_clip_model.safetensors')`";
