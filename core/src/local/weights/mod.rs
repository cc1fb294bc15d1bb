//! From the name of a model to its tensors: model references, folders of files, mapped weight files.

mod files;
mod mapped;
mod parameters;
mod reference;
mod tensors;

pub(crate) use files::ModelFiles;
pub(crate) use parameters::Parameters;
pub use reference::ModelReference;
pub(crate) use tensors::Tensors;
