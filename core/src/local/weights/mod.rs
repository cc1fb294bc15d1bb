//! Weight files and the tensors in them, by name.

mod mapped;
mod parameters;
mod tensors;

pub(crate) use parameters::{Biases, Parameters};
pub(crate) use tensors::Tensors;

/// What tests of models need.
#[cfg(test)]
pub(crate) mod testing {
    pub(crate) use super::tensors::tests::write;
}
