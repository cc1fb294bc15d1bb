//! The layout before torch 1.6: pickles of a magic number, a version, facts about the machine, the state dict and the
//! keys of its storages; then each storage, its count of numbers first.

use std::collections::HashMap;

use super::machine::{Id, Machine, Object};
use super::{MappedFile, PickleError, StorageStarts, StoredTensor, state_dict, views};

const VERSION: i64 = 1001;

pub(super) fn read(file: &MappedFile) -> Result<Vec<(String, StoredTensor)>, PickleError> {
    let mut rest: &[u8] = file.as_ref();
    let mut next = || {
        let (machine, root, end) = Machine::run(rest)?;
        rest = rest.get(end..).unwrap_or_default();
        Ok::<_, PickleError>((machine, root))
    };
    // The caller knows the file by its magic number.
    next()?;
    let (version, root) = next()?;
    if !matches!(version.object(root), Object::Int(VERSION)) {
        return Err(PickleError::Unsupported("it is of an unknown version of torch's old layout"));
    }
    let (facts, root) = next()?;
    if is_big_endian(&facts, root) {
        return Err(PickleError::Unsupported("its numbers are big-endian, which is not supported"));
    }
    let (machine, root) = next()?;
    let tensors = state_dict::tensors(&machine, root)?;
    let (keys, root) = next()?;
    let start = file.as_ref().len() - rest.len();
    let starts = storage_starts(file, start, &machine, (&keys, root))?;
    views(file, tensors, &starts)
}

fn is_big_endian(machine: &Machine<'_>, root: Id) -> bool {
    let Object::Dict(facts) = machine.object(root) else { return false };
    facts.iter().any(|(key, value)| {
        matches!(
            (machine.object(*key), machine.object(*value)),
            (Object::Text("little_endian"), Object::Bool(false))
        )
    })
}

/// Where each storage of a state dict lies: in the order of the keys, each after a count of eight bytes.
fn storage_starts(
    file: &MappedFile,
    start: usize,
    state_dict: &Machine<'_>,
    (keys, root): (&Machine<'_>, Id),
) -> Result<StorageStarts, PickleError> {
    let Object::List(order) = keys.object(root) else { return Err(PickleError::NoStateDict) };
    let wrong = |key: &str, why: String| PickleError::Tensor { name: format!("storage {key}"), why };
    let mut storages = HashMap::new();
    for storage in state_dict.storages() {
        let size = (storage.count, storage.element);
        if *storages.entry(storage.key).or_insert(size) != size {
            return Err(wrong(storage.key, "it is described in two ways".to_owned()));
        }
    }
    let bytes: &[u8] = file.as_ref();
    let (mut starts, mut at) = (StorageStarts::new(), start);
    for key in order {
        let Object::Text(key) = keys.object(*key) else { return Err(PickleError::NoStateDict) };
        let (count, element) = *storages
            .get(*key)
            .ok_or_else(|| wrong(key, "the state dict does not describe it".to_owned()))?;
        let found =
            bytes.get(at..).and_then(|rest| rest.first_chunk()).map(|count| u64::from_le_bytes(*count));
        let found = found.ok_or(PickleError::CutOff)?;
        if usize::try_from(found) != Ok(count) {
            return Err(wrong(key, format!("it has {found} numbers, {count} by the state dict")));
        }
        starts.insert((*key).to_owned(), at + 8);
        let end = count.checked_mul(element.bytes).and_then(|size| size.checked_add(at + 8));
        at = end.ok_or(PickleError::CutOff)?;
    }
    Ok(starts)
}
