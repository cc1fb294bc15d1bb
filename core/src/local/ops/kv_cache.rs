//! The keys and values that a text's attention has seen.

use ayni_kernels::attention::{Cache, Heads, Numbers, Strided};
use half::f16;
use half::slice::HalfFloatSliceExt;

use super::error::OrFail;
use super::{Device, Tensor};
use crate::error::{Error, ErrorKind, Result};

/// Keys and values of one layer for one text. On the CPU in f16, half the memory to read for each token; on a GPU in
/// the dtype of activations. Appending does not copy what is there, unless the memory must grow.
#[derive(Debug)]
pub struct KvCache {
    device: Device,
    heads: usize,
    size: usize,
    length: usize,
    memory: CacheMemory,
}

/// Keys and values, `[token, head, size]` each.
#[derive(Debug)]
enum CacheMemory {
    Cpu {
        keys: Vec<f16>,
        values: Vec<f16>,
    },
    /// Longer than what is used.
    Gpu {
        keys: candle_core::Tensor,
        values: candle_core::Tensor,
    },
}

impl KvCache {
    /// An empty cache for `heads` heads of keys with `size` numbers each, with memory for `capacity` tokens.
    ///
    /// # Errors
    /// `out_of_memory` if a GPU has not so much.
    pub fn new(device: &Device, heads: usize, size: usize, capacity: usize) -> Result<Self> {
        let memory = match device.gpu() {
            None => {
                let room = || Vec::with_capacity(capacity * heads * size);
                CacheMemory::Cpu { keys: room(), values: room() }
            }
            Some(gpu) => {
                let dims = (capacity.max(1), heads, size);
                let room = || candle_core::Tensor::zeros(dims, device.dtype(), gpu).or_fail();
                CacheMemory::Gpu { keys: room()?, values: room()? }
            }
        };
        Ok(Self { device: device.clone(), heads, size, length: 0, memory })
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
        keys.expect_dims("the keys", &dims)?;
        values.expect_dims("the values", &dims)?;
        if tokens == 0 {
            return Ok(());
        }
        match &mut self.memory {
            CacheMemory::Cpu { keys: to_keys, values: to_values } => {
                // Both are read before either is changed, so that an error leaves the cache as it was.
                let (keys, values) = (keys.clone().contiguous()?, values.clone().contiguous()?);
                let (keys, values) = (keys.cpu_values("the keys")?, values.cpu_values("the values")?);
                extend(to_keys, keys);
                extend(to_values, values);
            }
            CacheMemory::Gpu { keys: to_keys, values: to_values } => {
                let needed = self.length + tokens;
                let (keys, values) = (keys.expect_gpu("the keys")?, values.expect_gpu("the values")?);
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
        if let CacheMemory::Cpu { keys, values } = &mut self.memory {
            keys.truncate(self.length * self.heads * self.size);
            values.truncate(self.length * self.heads * self.size);
        }
    }

    /// Bytes of the keys and values of a token, `heads` heads of `size` numbers each.
    pub fn bytes_per_token(device: &Device, heads: usize, size: usize) -> usize {
        let number = if device.is_cpu() { size_of::<f16>() } else { device.dtype().size_in_bytes() };
        2 * heads * size * number
    }

    /// Gives back the memory past the tokens that there are; on a GPU it stays.
    pub fn shrink(&mut self) {
        if let CacheMemory::Cpu { keys, values } = &mut self.memory {
            keys.shrink_to_fit();
            values.shrink_to_fit();
        }
    }

    /// Makes room for `capacity` tokens in all, so that appending up to there copies nothing.
    pub fn reserve(&mut self, capacity: usize) {
        if let CacheMemory::Cpu { keys, values } = &mut self.memory {
            let more = capacity.saturating_sub(self.length) * self.heads * self.size;
            keys.reserve_exact(more);
            values.reserve_exact(more);
        }
    }

    /// A copy of the first `length` tokens with memory for `capacity`: another text with the same beginning.
    ///
    /// # Errors
    /// `out_of_memory` if a GPU has not so much.
    pub fn fork(&self, length: usize, capacity: usize) -> Result<Self> {
        let length = length.min(self.length);
        let mut copy = Self::new(&self.device, self.heads, self.size, capacity.max(length))?;
        let count = length * self.heads * self.size;
        match (&mut copy.memory, &self.memory) {
            (
                CacheMemory::Cpu { keys, values },
                CacheMemory::Cpu { keys: from_keys, values: from_values },
            ) => {
                keys.extend_from_slice(&from_keys[..count]);
                values.extend_from_slice(&from_values[..count]);
            }
            (CacheMemory::Gpu { keys, values }, CacheMemory::Gpu { .. }) if length > 0 => {
                let (from_keys, from_values) = self.gpu()?;
                let first = |x: &candle_core::Tensor| x.narrow(0, 0, length)?.contiguous();
                keys.slice_set(&first(&from_keys).or_fail()?, 0, 0).or_fail()?;
                values.slice_set(&first(&from_values).or_fail()?, 0, 0).or_fail()?;
            }
            _ => {}
        }
        copy.length = length;
        Ok(copy)
    }

    /// The heads of a layer with so many heads of queries.
    pub(super) fn heads(&self, queries: usize) -> Heads {
        Heads { queries, keys: self.heads, size: self.size }
    }

    /// Keys and values as the kernels read them; none on a GPU.
    pub(super) fn view(&self, before: Option<usize>) -> Cache<'_> {
        let (keys, values): (&[f16], &[f16]) = match &self.memory {
            CacheMemory::Cpu { keys, values } => (keys, values),
            CacheMemory::Gpu { .. } => (&[], &[]),
        };
        let strided =
            |data| Strided { data: Numbers::F16(data), token: self.heads * self.size, head: self.size };
        Cache { keys: strided(keys), values: strided(values), length: self.length, before }
    }

    /// Keys and values on a GPU.
    pub(super) fn gpu(&self) -> Result<(candle_core::Tensor, candle_core::Tensor)> {
        match &self.memory {
            CacheMemory::Gpu { keys, values } => {
                let used = |x: &candle_core::Tensor| x.narrow(0, 0, self.length).or_fail();
                Ok((used(keys)?, used(values)?))
            }
            CacheMemory::Cpu { .. } => {
                Err(Error::new(ErrorKind::InvalidRequest, "a cache: expected on the GPU, found on the CPU"))
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
fn grown(x: &candle_core::Tensor, tokens: usize) -> candle_core::Result<candle_core::Tensor> {
    let (_, heads, size) = x.dims3()?;
    let longer = candle_core::Tensor::zeros((tokens, heads, size), x.dtype(), x.device())?;
    longer.slice_set(x, 0, 0)?;
    Ok(longer)
}
