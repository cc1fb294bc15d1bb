//! From the objects of a pickle to the tensors of a state dict.

use candle_core::DType;

use super::PickleError;
use super::machine::{Id, Machine, Object, Storage};
use crate::local::weights::mapped::MappedFile;
use crate::local::weights::tensor::{Encoding, MAX_DIMENSIONS, StoredTensor, element_count};

/// A name with its tensor.
pub(super) type NamedTensor<'a> = (&'a str, TensorView<'a>);

/// A tensor as `_rebuild_tensor_v2` describes it. Offset and strides count numbers.
#[derive(Clone, Debug)]
pub(super) struct TensorView<'a> {
    pub(super) storage: Storage<'a>,
    offset: usize,
    shape: Vec<usize>,
    strides: Vec<usize>,
}

impl<'a> TensorView<'a> {
    /// From the arguments of the call.
    pub(super) fn of(machine: &Machine<'a>, storage: Id, offset: Id, shape: Id, strides: Id) -> Option<Self> {
        let whole = |id: Id| match machine.object(id) {
            Object::Int(number) => usize::try_from(*number).ok(),
            _ => None,
        };
        let sizes = |id: Id| match machine.object(id) {
            Object::Tuple(items) if items.len() <= MAX_DIMENSIONS => {
                items.iter().map(|id| whole(*id)).collect()
            }
            _ => None,
        };
        let Object::Storage(storage) = machine.object(storage) else { return None };
        let (offset, shape, strides): (_, Vec<usize>, Vec<usize>) =
            (whole(offset)?, sizes(shape)?, sizes(strides)?);
        (shape.len() == strides.len()).then_some(Self { storage: *storage, offset, shape, strides })
    }

    /// The tensor in the file, where its storage begins at `start`.
    ///
    /// # Errors
    /// Why it is not inside its storage.
    pub(super) fn stored(&self, file: &MappedFile, start: usize) -> Result<StoredTensor, String> {
        let Self { storage, offset, shape, strides } = self;
        let element = storage.element;
        let last = shape.iter().zip(strides).try_fold(*offset, |sum, (size, stride)| {
            size.saturating_sub(1).checked_mul(*stride).and_then(|distance| sum.checked_add(distance))
        });
        let is_inside = shape.contains(&0) || last.is_some_and(|last| last < storage.count);
        let fits = is_inside && element_count(shape).is_some_and(|count| count <= storage.count);
        if !fits {
            let available = storage.count;
            return Err(format!(
                "shape {shape:?} with strides {strides:?} from {offset} on is more than its storage of {available}"
            ));
        }
        let start = offset.checked_mul(element.bytes).and_then(|offset| offset.checked_add(start));
        let dims = (shape.clone(), strides.clone());
        StoredTensor::strided(file, start.unwrap_or(usize::MAX), element.bytes, dims, encoding(element.name))
            .map_err(|error| error.to_string())
    }
}

fn encoding(name: &str) -> Encoding {
    match name {
        "Float" => Encoding::Plain(DType::F32),
        "Half" => Encoding::Plain(DType::F16),
        "BFloat16" => Encoding::Plain(DType::BF16),
        other => Encoding::Other(other.to_owned()),
    }
}

/// The tensors of a state dict, or of the one under `state_dict` in a training checkpoint. What is no tensor is left out.
///
/// # Errors
/// If there are none.
pub(super) fn tensors<'a>(machine: &Machine<'a>, root: Id) -> Result<Vec<NamedTensor<'a>>, PickleError> {
    let Object::Dict(root) = machine.object(root) else { return Err(PickleError::NoStateDict) };
    let nested = root.iter().find_map(|(key, value)| match (machine.object(*key), machine.object(*value)) {
        (Object::Text("state_dict"), Object::Dict(nested)) => Some(nested),
        _ => None,
    });
    let tensors: Vec<_> = nested
        .unwrap_or(root)
        .iter()
        .filter_map(|(key, value)| match (machine.object(*key), machine.object(*value)) {
            (Object::Text(name), Object::Tensor(view)) => Some((*name, view.clone())),
            _ => None,
        })
        .collect();
    if tensors.is_empty() { Err(PickleError::NoStateDict) } else { Ok(tensors) }
}
