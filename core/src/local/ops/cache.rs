//! The keys and values that a text's attention has seen.

use candle_core::{Device, Tensor};
use half::f16;
use half::slice::HalfFloatSliceExt;

use super::Place;
use super::tensor::{OrFail, expect, with_values};
use crate::error::{Error, ErrorKind, Result};
use ayni_kernels::attention::{Heads, Numbers, Strided};

/// Keys and values of one layer for one text. On the CPU in f16, half the memory to read for each token; on a GPU in the
/// place's own numbers. Appending does not copy what is there, but when the memory must grow.
#[derive(Debug)]
pub struct KvCache {
    heads: usize,
    size: usize,
    length: usize,
    store: Store,
}

#[derive(Debug)]
enum Store {
    /// `[token, head, size]` each.
    OnCpu { keys: Vec<f16>, values: Vec<f16> },
    /// `[token, head, size]` each, longer than what is used.
    OnGpu { keys: Tensor, values: Tensor },
}

impl Store {
    fn in_tensors(place: &Place, dims: (usize, usize, usize)) -> Result<Self> {
        let room = || Tensor::zeros(dims, place.dtype(), &place.device).or_fail();
        Ok(Self::OnGpu { keys: room()?, values: room()? })
    }
}

impl KvCache {
    /// An empty cache of `heads` heads of `size` numbers, with memory for `capacity` tokens.
    ///
    /// # Errors
    /// `out_of_memory` if a GPU has not so much.
    pub fn new(place: &Place, heads: usize, size: usize, capacity: usize) -> Result<Self> {
        let store = match place.device {
            Device::Cpu => {
                let room = || Vec::with_capacity(capacity * heads * size);
                Store::OnCpu { keys: room(), values: room() }
            }
            _ => Store::in_tensors(place, (capacity.max(1), heads, size))?,
        };
        Ok(Self { heads, size, length: 0, store })
    }

    /// How many tokens there are.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Adds the keys and values of further tokens, `[token, head, size]`.
    ///
    /// # Errors
    /// `invalid_request` if the shapes are others.
    pub fn append(&mut self, keys: &Tensor, values: &Tensor) -> Result<()> {
        let tokens = keys.dims().first().copied().unwrap_or(0);
        let dims = [tokens, self.heads, self.size];
        expect("the keys", keys, &dims)?;
        expect("the values", values, &dims)?;
        match &mut self.store {
            Store::OnCpu { keys: to_keys, values: to_values } => {
                // Both are read before either is changed, so that an error leaves the cache as it was.
                with_values("the keys", keys, |keys| {
                    with_values("the values", values, |values| {
                        extend(to_keys, keys);
                        extend(to_values, values);
                        Ok(())
                    })
                })?;
            }
            Store::OnGpu { keys: to_keys, values: to_values } => {
                let needed = self.length + tokens;
                for (to, from) in [(to_keys, keys), (to_values, values)] {
                    if needed > to.dims()[0] {
                        *to = grown(to, needed.max(2 * to.dims()[0])).or_fail()?;
                    }
                    let from = from.to_dtype(to.dtype()).and_then(|from| from.contiguous()).or_fail()?;
                    to.slice_set(&from, 0, self.length).or_fail()?;
                }
            }
        }
        self.length += tokens;
        Ok(())
    }

    /// Forgets all tokens past the first `length`, so that another text with the same beginning can go on from there.
    pub fn truncate(&mut self, length: usize) {
        self.length = self.length.min(length);
        if let Store::OnCpu { keys, values } = &mut self.store {
            keys.truncate(self.length * self.heads * self.size);
            values.truncate(self.length * self.heads * self.size);
        }
    }

    /// A copy with memory for `capacity` tokens: another text with the same beginning.
    ///
    /// # Errors
    /// `out_of_memory` if a GPU has not so much.
    pub fn fork(&self, place: &Place, capacity: usize) -> Result<Self> {
        let mut copy = Self::new(place, self.heads, self.size, capacity.max(self.length))?;
        match (&mut copy.store, &self.store) {
            (Store::OnCpu { keys, values }, Store::OnCpu { keys: from_keys, values: from_values }) => {
                keys.extend_from_slice(from_keys);
                values.extend_from_slice(from_values);
            }
            (Store::OnGpu { .. }, Store::OnGpu { .. }) if !self.is_empty() => {
                if let Some((keys, values)) = self.tensors() {
                    copy.append(&keys, &values)?;
                }
            }
            (Store::OnGpu { .. }, Store::OnGpu { .. }) => {}
            _ => return Err(Error::new(ErrorKind::Unexpected, "a cache was copied to another device")),
        }
        copy.length = self.length;
        Ok(copy)
    }

    /// Heads of keys; those of queries are the same number.
    pub(super) fn heads(&self) -> Heads {
        Heads { queries: self.heads, keys: self.heads, size: self.size }
    }

    /// Keys and values on the CPU; empty on a GPU.
    pub(super) fn strided(&self) -> (Strided<Numbers<'_>>, Strided<Numbers<'_>>) {
        let (keys, values): (&[f16], &[f16]) = match &self.store {
            Store::OnCpu { keys, values } => (keys, values),
            Store::OnGpu { .. } => (&[], &[]),
        };
        let strided =
            |data| Strided { data: Numbers::F16(data), token: self.heads * self.size, head: self.size };
        (strided(keys), strided(values))
    }

    /// Keys and values on a GPU.
    pub(super) fn tensors(&self) -> Option<(Tensor, Tensor)> {
        match &self.store {
            Store::OnCpu { .. } => None,
            Store::OnGpu { keys, values } => {
                let used = |x: &Tensor| x.narrow(0, 0, self.length).ok();
                used(keys).zip(used(values))
            }
        }
    }
}

/// Appends numbers in f16.
fn extend(to: &mut Vec<f16>, from: &[f32]) {
    let length = to.len();
    to.resize(length + from.len(), f16::ZERO);
    to[length..].convert_from_f32_slice(from);
}

/// The same content in a longer tensor.
fn grown(x: &Tensor, tokens: usize) -> candle_core::Result<Tensor> {
    let (_, heads, size) = x.dims3()?;
    let longer = Tensor::zeros((tokens, heads, size), x.dtype(), x.device())?;
    longer.slice_set(x, 0, 0)?;
    Ok(longer)
}

#[cfg(test)]
impl KvCache {
    /// What a GPU would have, on the CPU.
    pub(super) fn as_on_gpu(place: &Place, heads: usize, size: usize) -> Self {
        let store = Store::in_tensors(place, (1, heads, size)).unwrap();
        Self { heads, size, length: 0, store }
    }
}
