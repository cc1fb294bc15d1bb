//! State dicts that PyTorch has pickled: `pytorch_model.bin`. No code is run: the opcodes that a state dict consists
//! of are interpreted, and everything else is refused by its name.
//!
//! torch.save writes a zip archive with the pickle and one uncompressed entry for each storage (since 1.6), or five
//! pickles one after another with the storages behind them (before). Tensors are views into storages, which are read
//! where they lie in the file.

mod archive;
mod legacy;
mod machine;
mod state_dict;

use std::collections::HashMap;

use super::mapped::MappedFile;
use super::tensor::StoredTensor;
use crate::error::Result;
use machine::Storage;

/// Names of several tensors for one storage are common (tied weights); this many times the file is not.
const MAX_VIEWED_TIMES: usize = 8;

/// The first bytes of a zip archive.
pub(super) const ARCHIVE_MAGIC: &[u8] = b"PK\x03\x04";

/// The first bytes of the older layout: a pickle of torch's magic number.
pub(super) const LEGACY_MAGIC: &[u8] = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.";

/// Where each storage begins in the file, by its key.
type StorageStarts = HashMap<String, usize>;

/// What is wrong with a pickle or what is around it.
#[derive(Debug, thiserror::Error)]
enum PickleError {
    #[error("it is cut off")]
    CutOff,
    #[error("opcode {0:#04x} is not one that state dicts consist of")]
    Opcode(u8),
    #[error("it names `{0}`, which is not part of a state dict; nothing of it is run. {CONVERT}")]
    Global(String),
    #[error("it calls `{0}` with arguments that are not those of a tensor")]
    Arguments(&'static str),
    #[error("its stack is empty where {0} is expected")]
    Stack(&'static str),
    #[error("it refers to memo {0}, where there is nothing")]
    Memo(u32),
    #[error("it has more than {0} objects")]
    Objects(usize),
    #[error("its pickle has {0} bytes, {max} are supported", max = machine::MAX_BYTES)]
    TooLong(usize),
    #[error("a text in it is not UTF-8")]
    Text,
    #[error("it holds no state dict: a dict from names to tensors")]
    NoStateDict,
    #[error("tensor `{name}`: {why}")]
    Tensor { name: String, why: String },
    #[error("zip archive: {0}")]
    Archive(String),
    #[error("{0}")]
    Unsupported(&'static str),
}

const CONVERT: &str = "Convert it where you trust it, in Python: `safetensors.torch.save_file(torch.load(FILE, \
                       weights_only=True), 'model.safetensors')`";

/// The tensors of a file by name.
///
/// # Errors
/// `model_load` if it is damaged, holds anything but tensors, or lies about where they are.
pub(super) fn read(file: &MappedFile) -> Result<Vec<(String, StoredTensor)>> {
    let bytes: &[u8] = file.as_ref();
    let read = match bytes.starts_with(ARCHIVE_MAGIC) {
        true => archive::read(file),
        false => legacy::read(file),
    };
    read.map_err(|error| file.error(format_args!("this pickle cannot be read: {error}")).with_source(error))
}

/// The tensors as views of the file.
fn views(
    file: &MappedFile,
    tensors: Vec<state_dict::NamedTensor<'_>>,
    starts: &StorageStarts,
) -> Result<Vec<(String, StoredTensor)>, PickleError> {
    let allowed = file.as_ref().len().saturating_mul(MAX_VIEWED_TIMES);
    let mut viewed = 0_usize;
    let view = |(name, view): state_dict::NamedTensor<'_>| {
        let wrong = |why: String| PickleError::Tensor { name: name.to_owned(), why };
        let Storage { key, element, .. } = &view.storage;
        let start = starts.get(*key).ok_or_else(|| wrong(format!("the file has no storage `{key}`")))?;
        let stored = view.stored(file, *start).map_err(wrong)?;
        viewed = viewed.saturating_add(stored.size_bytes());
        if viewed > allowed {
            return Err(wrong(format!(
                "the tensors of {} are more than {MAX_VIEWED_TIMES} times the file",
                element.name
            )));
        }
        Ok((name.to_owned(), stored))
    };
    tensors.into_iter().map(view).collect()
}

#[cfg(test)]
mod tests;
