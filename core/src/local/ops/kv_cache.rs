//! The keys and values that a text's attention has seen: on the CPU in pages, which texts with the same beginning share.

use std::io::{Read, Write};
use std::sync::Arc;

use ayni_kernels::attention::{Cache, Heads, Numbers, Strided};

use super::error::OrFail;
use super::kv_page::{Charge, PAGE, PAGE_BITS, Page};
use super::{KvMemory, Tensor};
use crate::error::{Error, ErrorKind, Result};

/// Keys and values of one layer for one text. On a GPU they are in one piece, in the dtype of activations.
#[derive(Debug)]
pub struct KvCache {
    memory: KvMemory,
    heads: usize,
    size: usize,
    length: usize,
    storage: Storage,
}

/// Keys and values, `[token, head, size]` each.
#[derive(Debug)]
enum Storage {
    /// The last may hold tokens that the text no longer has, and be another text's too: it is changed in a copy then.
    Cpu(Vec<Arc<Page>>),
    /// Longer than what is used.
    Gpu { keys: candle_core::Tensor, values: candle_core::Tensor, charge: Charge },
}

impl KvCache {
    /// An empty cache for `heads` heads of keys with `size` numbers each. On a GPU it has memory for `capacity` tokens.
    ///
    /// # Errors
    /// `out_of_memory` if a GPU has not so much.
    pub fn new(memory: &KvMemory, heads: usize, size: usize, capacity: usize) -> Result<Self> {
        let device = memory.device();
        let storage = match device.gpu() {
            None => Storage::Cpu(Vec::new()),
            Some(gpu) => {
                let dims = (capacity.max(1), heads, size);
                let room = || candle_core::Tensor::zeros(dims, device.dtype(), gpu).or_fail();
                let charge = memory.charge(capacity.max(1) * memory.bytes_per_token(heads, size));
                Storage::Gpu { keys: room()?, values: room()?, charge }
            }
        };
        Ok(Self { memory: memory.clone(), heads, size, length: 0, storage })
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
        match &mut self.storage {
            Storage::Cpu(_) => {
                // Both are read before anything is changed, so that an error leaves the cache as it was.
                let (keys, values) = (keys.clone().contiguous()?, values.clone().contiguous()?);
                self.append_to_pages([keys.cpu_values("the keys")?, values.cpu_values("the values")?]);
            }
            Storage::Gpu { keys: to_keys, values: to_values, charge } => {
                let needed = self.length + tokens;
                let (keys, values) = (keys.expect_gpu("the keys")?, values.expect_gpu("the values")?);
                for (to, from) in [(to_keys, keys), (to_values, values)] {
                    if needed > to.dims()[0] {
                        *to = grown(to, needed.max(2 * to.dims()[0])).or_fail()?;
                    }
                    let from = from.to_dtype(to.dtype()).and_then(|from| from.contiguous()).or_fail()?;
                    to.slice_set(&from, 0, self.length).or_fail()?;
                    *charge =
                        self.memory.charge(to.dims()[0] * self.memory.bytes_per_token(self.heads, self.size));
                }
                self.length = needed;
            }
        }
        Ok(())
    }

    fn append_to_pages(&mut self, [mut keys, mut values]: [&[f32]; 2]) {
        let width = self.heads * self.size;
        let Storage::Cpu(pages) = &mut self.storage else { return };
        pages.truncate(self.length.div_ceil(PAGE));
        while !keys.is_empty() {
            let inside = self.length % PAGE;
            if inside == 0 {
                pages.push(Arc::new(self.memory.page(self.heads, self.size)));
            }
            let Some(last) = pages.last_mut() else { return };
            let count = (PAGE - inside).min(keys.len() / width);
            let (new_keys, new_values) = (&keys[..count * width], &values[..count * width]);
            Arc::make_mut(last).write(inside, [new_keys, new_values], self.size);
            (keys, values) = (&keys[count * width..], &values[count * width..]);
            self.length += count;
        }
    }

    /// Forgets all tokens past the first `length`, so that another text with the same beginning can go on from there.
    pub fn truncate(&mut self, length: usize) {
        self.length = self.length.min(length);
        if let Storage::Cpu(pages) = &mut self.storage {
            pages.truncate(self.length.div_ceil(PAGE));
        }
    }

    /// How many bytes the memory of all caches grows by when so many tokens are added.
    pub fn growth(&self, tokens: usize) -> usize {
        let Storage::Cpu(pages) = &self.storage else { return 0 };
        let new = (self.length + tokens).div_ceil(PAGE) - self.length.div_ceil(PAGE);
        // A page that another text has too is changed in a copy.
        let is_shared = tokens > 0
            && !self.length.is_multiple_of(PAGE)
            && pages.last().is_some_and(|last| Arc::strong_count(last) > 1);
        (new + usize::from(is_shared)) * self.memory.page_bytes(self.heads, self.size)
    }

    /// What tells a page from all others, for each page.
    pub fn pages(&self) -> impl Iterator<Item = usize> {
        let pages: &[Arc<Page>] = match &self.storage {
            Storage::Cpu(pages) => pages,
            Storage::Gpu { .. } => &[],
        };
        pages.iter().map(|page| Arc::as_ptr(page) as usize)
    }

    /// The first `length` tokens for another text, with memory for `capacity` on a GPU. On the CPU nothing is copied.
    ///
    /// # Errors
    /// `out_of_memory` if a GPU has not so much.
    pub fn fork(&self, length: usize, capacity: usize) -> Result<Self> {
        let length = length.min(self.length);
        let mut copy = Self::new(&self.memory, self.heads, self.size, capacity.max(length))?;
        match (&mut copy.storage, &self.storage) {
            (Storage::Cpu(to), Storage::Cpu(from)) => to.extend_from_slice(&from[..length.div_ceil(PAGE)]),
            (Storage::Gpu { keys, values, .. }, Storage::Gpu { .. }) if length > 0 => {
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

    /// Writes what [`read`](Self::read) reads. Nothing is written on a GPU.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write(&self, to: &mut impl Write) -> std::io::Result<()> {
        let Storage::Cpu(pages) = &self.storage else { return Ok(()) };
        let firsts = (0..self.length).step_by(PAGE);
        firsts.zip(pages).try_for_each(|(first, page)| page.write_to(PAGE.min(self.length - first), to))
    }

    /// Fills an empty cache with `length` tokens of another one of the same shape and memory.
    ///
    /// # Errors
    /// Those of the reader.
    pub fn read(&mut self, length: usize, from: &mut impl Read) -> std::io::Result<()> {
        let Storage::Cpu(pages) = &mut self.storage else { return Ok(()) };
        pages.clear();
        for first in (0..length).step_by(PAGE) {
            let mut page = self.memory.page(self.heads, self.size);
            page.read_from(PAGE.min(length - first), from)?;
            pages.push(Arc::new(page));
        }
        self.length = length;
        Ok(())
    }

    /// The heads of a layer with so many heads of queries.
    pub(super) fn heads(&self, queries: usize) -> Heads {
        Heads { queries, keys: self.heads, size: self.size }
    }

    /// The numbers of each page as the kernels read them, keys and values; none on a GPU.
    pub(super) fn numbers(&self) -> [Vec<Numbers<'_>>; 2] {
        match &self.storage {
            Storage::Cpu(pages) => [0, 1].map(|which| pages.iter().map(|page| page.numbers(which)).collect()),
            Storage::Gpu { .. } => [Vec::new(), Vec::new()],
        }
    }

    /// Keys and values as the kernels read them, over the [`numbers`](Self::numbers).
    pub(super) fn view<'a>(&self, numbers: &'a [Vec<Numbers<'a>>; 2], before: Option<usize>) -> Cache<'a> {
        let [keys, values] = [0, 1].map(|which| Strided {
            data: Numbers::Pages(&numbers[which], PAGE_BITS),
            token: self.heads * self.size,
            head: self.size,
        });
        Cache { keys, values, length: self.length, before }
    }

    /// Keys and values on a GPU.
    pub(super) fn gpu(&self) -> Result<(candle_core::Tensor, candle_core::Tensor)> {
        match &self.storage {
            Storage::Gpu { keys, values, .. } => {
                let used = |x: &candle_core::Tensor| x.narrow(0, 0, self.length).or_fail();
                Ok((used(keys)?, used(values)?))
            }
            Storage::Cpu(_) => {
                Err(Error::new(ErrorKind::InvalidRequest, "a cache: expected on the GPU, found on the CPU"))
            }
        }
    }
}

/// The same content in a longer tensor.
fn grown(x: &candle_core::Tensor, tokens: usize) -> candle_core::Result<candle_core::Tensor> {
    let (_, heads, size) = x.dims3()?;
    let longer = candle_core::Tensor::zeros((tokens, heads, size), x.dtype(), x.device())?;
    longer.slice_set(x, 0, 0)?;
    Ok(longer)
}
