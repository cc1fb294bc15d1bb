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

/// What tests of models need.
#[cfg(test)]
pub(crate) mod testing {
    pub(crate) use super::tensors::tests::write;
}
