//! The weights of a model, whatever files hold them.
//!
//! [`Weights::open`] maps the files of a [`ModelFiles`](super::source::ModelFiles) and reads their headers: safetensors,
//! GGUF or pickles, known by their first bytes. [`Parameters`] makes layers of the tensors by name. Formats that call
//! tensors otherwise go through a [`KeyMap`].

mod gguf;
mod gpt_oss;
mod key_map;
mod layers;
mod lora;
mod mapped;
mod parameters;
mod pickle;
mod quantise;
mod safetensors;
pub(crate) mod single_file;
mod tensor;

use std::collections::{BTreeSet, HashMap, HashSet};
#[cfg(test)]
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::{Error, ErrorKind, Result};
use crate::local::source::ModelFiles;
use gguf::GgufFile;
use key_map::View;
use mapped::MappedFile;
use tensor::StoredTensor;

pub(crate) use gguf::Metadata;
pub(crate) use gpt_oss::gpt_oss_expert;
pub(crate) use key_map::KeyMap;
pub(crate) use lora::{Deltas, FlatNames, Lora, LoraPart, flat_names};
pub(crate) use mapped::FileWatch;
pub(crate) use parameters::{Biases, Parameters, Storage};

/// The tensors of a model by name. Nothing is read before it is asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Weights {
    /// By their names in the files.
    tensors: HashMap<String, StoredTensor>,
    /// How the files' names differ from those of transformers.
    names: Option<KeyMap>,
    /// What a GGUF file says about the model.
    metadata: Option<Metadata>,
    /// The names, in the files, of the tensors that were asked for.
    used: Arc<Mutex<HashSet<String>>>,
    /// What LoRAs add to the tensors.
    deltas: Option<Arc<Deltas>>,
}

/// What a weight file is, by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FileFormat {
    Safetensors,
    Gguf,
    Pickle,
}

impl FileFormat {
    fn of(bytes: &[u8]) -> Self {
        // A safetensors file begins with the length of its header, at most 100 MB: with neither of the first two magics,
        // but perhaps with that of an archive.
        let is_header = bytes.get(8) == Some(&b'{');
        if bytes.starts_with(gguf::MAGIC) {
            Self::Gguf
        } else if bytes.starts_with(pickle::LEGACY_MAGIC)
            || bytes.starts_with(pickle::ARCHIVE_MAGIC) && !is_header
        {
            Self::Pickle
        } else {
            Self::Safetensors
        }
    }
}

impl Weights {
    /// The weights of a model's folder: the file that the user named, else those that
    /// [`ModelFiles::weight_files`] finds.
    ///
    /// # Errors
    /// `model_load` if there are none, or one is missing, damaged or cut off.
    pub(crate) fn open(files: &ModelFiles) -> Result<Self> {
        let found = files.weight_files()?;
        let mut weights = Self::default();
        for name in &found.names {
            let path = files.path(name);
            weights.add(&if files.copies_weights {
                MappedFile::copy(&path)
            } else {
                MappedFile::open(&path)
            }?)?;
        }
        match found.tensors.iter().find(|name| !weights.tensors.contains_key(*name)) {
            Some(name) => Err(load_error(format!("no shard has the tensor `{name}` that the index lists"))),
            None => Ok(weights),
        }
    }

    /// Watches the files that [`open`](Self::open) maps.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub(crate) fn watch(files: &ModelFiles) -> Result<FileWatch> {
        if files.copies_weights {
            return Ok(FileWatch::default());
        }
        FileWatch::of(files.weight_files()?.names.iter().map(|name| files.path(name)))
    }

    /// The tensors of some files.
    ///
    /// # Errors
    /// `model_load` if one cannot be read, is damaged or cut off.
    #[cfg(test)]
    pub(crate) fn open_files(paths: &[PathBuf]) -> Result<Self> {
        let mut weights = Self::default();
        for path in paths {
            weights.add(&MappedFile::open(path)?)?;
        }
        Ok(weights)
    }

    fn add(&mut self, file: &MappedFile) -> Result<()> {
        self.tensors.extend(match FileFormat::of(file.as_ref()) {
            FileFormat::Safetensors => safetensors::read(file)?,
            FileFormat::Pickle => pickle::read(file)?,
            FileFormat::Gguf => {
                let GgufFile { tensors, names, metadata } = gguf::read(file)?;
                if self.metadata.is_none() {
                    (self.names, self.metadata) = (names, Some(metadata));
                }
                tensors
            }
        });
        Ok(())
    }

    /// The same tensors, asked for by the names of transformers where the files have others.
    pub(crate) fn with_names(&self, names: KeyMap) -> Self {
        Self { names: Some(names), ..self.clone() }
    }

    /// The same tensors under other names; those for which `rename` has none are left out.
    pub(crate) fn renamed(&self, rename: impl Fn(&str) -> Option<String>) -> Self {
        let rename = |(name, tensor): (&String, &StoredTensor)| Some((rename(name)?, tensor.clone()));
        Self { tensors: self.tensors.iter().filter_map(rename).collect(), ..Self::default() }
    }

    /// The same tensors with what LoRAs add to them.
    pub(crate) fn with_deltas(&self, deltas: Deltas) -> Self {
        Self { deltas: Some(Arc::new(deltas)), ..self.clone() }
    }

    /// A tensor with what LoRAs add to it.
    fn with_deltas_of(&self, name: &str, tensor: candle_core::Tensor) -> Result<candle_core::Tensor> {
        match &self.deltas {
            Some(deltas) => deltas.add_to(name, tensor),
            None => Ok(tensor),
        }
    }

    /// Whether LoRAs add something to a tensor.
    fn has_deltas_of(&self, name: &str) -> bool {
        self.deltas.as_ref().is_some_and(|deltas| deltas.has(name))
    }

    /// Whether any tensor is in blocks of a GGUF file already.
    pub(crate) fn is_quantised(&self) -> bool {
        self.tensors.values().any(StoredTensor::is_quantised)
    }

    /// How many numbers all tensors have.
    pub(crate) fn count(&self) -> usize {
        self.tensors.values().map(|tensor| tensor.shape().iter().product::<usize>()).sum()
    }

    /// The names of all tensors in the files, in no order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// What the GGUF file says about the model, if it is one.
    pub(crate) fn metadata(&self) -> Option<&Metadata> {
        self.metadata.as_ref()
    }

    /// The shape of a tensor by the name of transformers, if there is one.
    pub(crate) fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(&self.stored(name).0).map(StoredTensor::shape)
    }

    /// Hands out what tells these weights from others: every tensor's name, shape and encoding, in the order of the names,
    /// and its bytes. Of a tensor with more than `limit` bytes these are samples of about as many.
    pub(crate) fn sample(&self, limit: usize, mut take: impl FnMut(&[u8])) {
        let mut tensors: Vec<_> = self.tensors.iter().collect();
        tensors.sort_unstable_by_key(|(name, _)| *name);
        for (name, tensor) in tensors {
            take(format!("{name} {}", tensor.description()).as_bytes());
            tensor.samples(limit).for_each(&mut take);
        }
    }

    /// How many tensors there are.
    pub(crate) fn len(&self) -> usize {
        self.tensors.len()
    }

    /// Checks, after a model was made of the tensors, that the files have no further layers: tensors that nobody asked for,
    /// named as some that were used but for the number of a layer. Others, such as the head of a task, may be left over.
    ///
    /// # Errors
    /// `model_load` naming them.
    pub(crate) fn check_no_layer_is_left(&self) -> Result<()> {
        let used = self.used();
        let of_layers: HashSet<String> = used.iter().map(|name| without_numbers(name)).collect();
        let unused: BTreeSet<&str> = self.names().filter(|name| !used.contains(*name)).collect();
        let (left, other): (Vec<&str>, Vec<&str>) =
            unused.into_iter().partition(|name| of_layers.contains(&without_numbers(name)));
        if !other.is_empty() {
            tracing::debug!(tensors = ?other, "the model does not need these tensors of its files");
        }
        let Some(first) = left.first() else { return Ok(()) };
        let more = left.len() - 1;
        Err(load_error(format!(
            "the weights have more layers than the configuration says: `{first}` and {more} other tensors are not used"
        )))
    }

    fn used(&self) -> MutexGuard<'_, HashSet<String>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is a tensor of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(&self.stored(name).0)
    }

    /// A tensor of this shape.
    ///
    /// # Errors
    /// `model_load` if it is missing or has another shape; the message names it as the file does.
    pub(crate) fn tensor(&self, name: &str, shape: &[usize]) -> Result<StoredTensor> {
        let (name, view) = self.stored(name);
        let Some(stored) = self.tensors.get(&name) else {
            return Err(load_error(format!("the weights have no tensor `{name}`")));
        };
        let needed = view.stored_shape(shape);
        if stored.shape() != needed {
            let found = stored.shape();
            return Err(load_error(format!(
                "`{name}` is {found:?} in the weights, the model needs {needed:?}"
            )));
        }
        let tensor = view
            .of(stored)
            .ok_or_else(|| load_error(format!("`{name}` is stored in a way that is not supported")))?;
        self.used().insert(name);
        Ok(tensor)
    }

    /// The tensors of a file with these bytes.
    #[cfg(test)]
    fn of_bytes(bytes: &[u8]) -> Result<Self> {
        let mut weights = Self::default();
        weights.add(&MappedFile::in_memory(bytes.to_vec()))?;
        Ok(weights)
    }

    /// A tensor by its name in the file, whatever its shape.
    #[cfg(test)]
    pub(crate) fn get(&self, name: &str) -> Option<&StoredTensor> {
        self.tensors.get(name)
    }

    fn stored(&self, name: &str) -> (String, View) {
        self.names.map_or_else(|| (name.to_owned(), View::Whole), |names| names.stored(name))
    }
}

/// A tensor's name with `*` for the numbers of layers.
fn without_numbers(name: &str) -> String {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let parts: Vec<&str> = name.split('.').map(|part| if is_number(part) { "*" } else { part }).collect();
    parts.join(".")
}

/// An error of weights that cannot be used.
fn load_error(message: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::ModelLoad, message.to_string())
}

/// What tests of models need.
#[cfg(test)]
pub(crate) mod testing {
    pub(crate) use super::tests::write;
}

#[cfg(test)]
mod tests;
