//! A page of keys and values, the dtypes that it may have, and the memory that all pages take.

use std::io::{Read, Write};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ayni_kernels::attention::Numbers;
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use super::Device;
use crate::error::{Error, Result};

/// Tokens of a page, as a power of two.
pub(super) const PAGE_BITS: u32 = 6;

/// Tokens of a page.
pub(super) const PAGE: usize = 1 << PAGE_BITS;

/// The dtype of keys and values on the CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KvPrecision {
    /// Four bytes a number: what the model computed.
    F32,
    /// Two bytes a number, with a relative error of 2⁻¹¹: what [`FromStr`] takes `auto` for.
    #[default]
    F16,
    /// Two bytes a number, with a relative error of 2⁻⁸, for models whose values f16 doesn't hold.
    Bf16,
    /// A byte a number, and a scale for each head of each token.
    Int8,
}

impl KvPrecision {
    /// The name in configurations.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
        }
    }

    /// Bytes of a head of `size` numbers.
    fn head_bytes(self, size: usize) -> usize {
        match self {
            Self::F32 => size.saturating_mul(4),
            Self::F16 | Self::Bf16 => size.saturating_mul(2),
            Self::Int8 => size.saturating_add(4),
        }
    }
}

impl FromStr for KvPrecision {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "auto" | "f16" => Ok(Self::F16),
            "f32" => Ok(Self::F32),
            "bf16" => Ok(Self::Bf16),
            "int8" => Ok(Self::Int8),
            _ => Err(Error::config(format!("kv '{name}' is unknown; valid: auto, f32, f16, bf16, int8"))),
        }
    }
}

/// Where the caches of a model are, and how many bytes all of them take.
#[derive(Clone, Debug)]
pub struct KvMemory {
    device: Device,
    precision: KvPrecision,
    used: Arc<AtomicUsize>,
}

impl KvMemory {
    /// Tokens whose memory is taken at once.
    pub const PAGE: usize = PAGE;

    /// Nothing yet. On a GPU the dtype is that of activations.
    pub fn new(device: &Device, precision: KvPrecision) -> Self {
        Self { device: device.clone(), precision, used: Arc::default() }
    }

    /// Where the caches are.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// How many bytes all caches take. Pages that texts share count once.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Bytes of the keys and values of a token, `heads` heads of `size` numbers each.
    pub fn bytes_per_token(&self, heads: usize, size: usize) -> usize {
        let head = match self.device.is_cpu() {
            true => self.precision.head_bytes(size),
            false => size.saturating_mul(self.device.dtype().size_in_bytes()),
        };
        heads.saturating_mul(head).saturating_mul(2)
    }

    pub(super) fn page_bytes(&self, heads: usize, size: usize) -> usize {
        PAGE * self.bytes_per_token(heads, size)
    }

    /// An empty page with memory for all its tokens.
    pub(super) fn page(&self, heads: usize, size: usize) -> Page {
        let rows = || Rows::new(self.precision, heads, size);
        Page { rows: [rows(), rows()], charge: self.charge(self.page_bytes(heads, size)) }
    }

    /// Says that so many bytes are used.
    pub(super) fn charge(&self, bytes: usize) -> Charge {
        self.used.fetch_add(bytes, Ordering::Relaxed);
        Charge { used: Arc::clone(&self.used), bytes }
    }
}

/// Bytes that count as used as long as this is there.
#[derive(Debug)]
pub(super) struct Charge {
    used: Arc<AtomicUsize>,
    bytes: usize,
}

impl Clone for Charge {
    fn clone(&self) -> Self {
        self.used.fetch_add(self.bytes, Ordering::Relaxed);
        Self { used: Arc::clone(&self.used), bytes: self.bytes }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Keys and values of up to [`PAGE`] tokens.
#[derive(Clone, Debug)]
pub(super) struct Page {
    /// Keys, then values.
    rows: [Rows; 2],
    #[expect(dead_code, reason = "dropping it says that the memory is free")]
    charge: Charge,
}

impl Page {
    /// Replaces what follows the first `tokens` tokens by new keys and values.
    pub(super) fn write(&mut self, tokens: usize, new: [&[f32]; 2], size: usize) {
        for (rows, new) in self.rows.iter_mut().zip(new) {
            rows.write(tokens, new, size);
        }
    }

    /// The keys (0) or the values (1).
    pub(super) fn numbers(&self, which: usize) -> Numbers<'_> {
        match &self.rows[which].values {
            Values::F32(values) => Numbers::F32(values),
            Values::F16(values) => Numbers::F16(values),
            Values::Bf16(values) => Numbers::Bf16(values),
            Values::Int8(values, scales) => Numbers::Int8(values, scales),
        }
    }

    /// Writes the first `tokens` tokens.
    pub(super) fn write_to(&self, tokens: usize, to: &mut impl Write) -> std::io::Result<()> {
        for rows in &self.rows {
            let count = tokens * rows.width;
            match &rows.values {
                Values::F32(values) => put(&values[..count], f32::to_le_bytes, to)?,
                Values::F16(values) => put(&values[..count], f16::to_le_bytes, to)?,
                Values::Bf16(values) => put(&values[..count], bf16::to_le_bytes, to)?,
                Values::Int8(values, scales) => {
                    put(&values[..count], i8::to_le_bytes, to)?;
                    put(&scales[..tokens * rows.heads], f32::to_le_bytes, to)?;
                }
            }
        }
        Ok(())
    }

    /// Fills an empty page with so many tokens.
    pub(super) fn read_from(&mut self, tokens: usize, from: &mut impl Read) -> std::io::Result<()> {
        for rows in &mut self.rows {
            let count = tokens * rows.width;
            match &mut rows.values {
                Values::F32(values) => take(values, count, f32::from_le_bytes, from)?,
                Values::F16(values) => take(values, count, f16::from_le_bytes, from)?,
                Values::Bf16(values) => take(values, count, bf16::from_le_bytes, from)?,
                Values::Int8(values, scales) => {
                    take(values, count, i8::from_le_bytes, from)?;
                    take(scales, tokens * rows.heads, f32::from_le_bytes, from)?;
                }
            }
        }
        Ok(())
    }
}

fn put<T: Copy, const N: usize>(
    values: &[T],
    bytes: impl Fn(T) -> [u8; N],
    to: &mut impl Write,
) -> std::io::Result<()> {
    to.write_all(&values.iter().flat_map(|value| bytes(*value)).collect::<Vec<u8>>())
}

fn take<T, const N: usize>(
    values: &mut Vec<T>,
    count: usize,
    value: impl Fn([u8; N]) -> T,
    from: &mut impl Read,
) -> std::io::Result<()> {
    let mut bytes = vec![0; count * N];
    from.read_exact(&mut bytes)?;
    values.clear();
    values.extend(bytes.as_chunks().0.iter().map(|bytes| value(*bytes)));
    Ok(())
}

/// Heads of tokens, one after another.
#[derive(Clone, Debug)]
struct Rows {
    heads: usize,
    /// Numbers of a token.
    width: usize,
    values: Values,
}

#[derive(Clone, Debug)]
enum Values {
    F32(Vec<f32>),
    F16(Vec<f16>),
    Bf16(Vec<bf16>),
    /// With the scale of each head.
    Int8(Vec<i8>, Vec<f32>),
}

impl Rows {
    fn new(precision: KvPrecision, heads: usize, size: usize) -> Self {
        let (width, count) = (heads * size, PAGE * heads * size);
        let values = match precision {
            KvPrecision::F32 => Values::F32(Vec::with_capacity(count)),
            KvPrecision::F16 => Values::F16(Vec::with_capacity(count)),
            KvPrecision::Bf16 => Values::Bf16(Vec::with_capacity(count)),
            KvPrecision::Int8 => Values::Int8(Vec::with_capacity(count), Vec::with_capacity(PAGE * heads)),
        };
        Self { heads, width, values }
    }

    /// Replaces what follows the first `tokens` tokens.
    fn write(&mut self, tokens: usize, new: &[f32], size: usize) {
        let (start, end) = (tokens * self.width, tokens * self.width + new.len());
        match &mut self.values {
            Values::F32(values) => {
                values.truncate(start);
                values.extend_from_slice(new);
            }
            Values::F16(values) => {
                values.resize(end, f16::ZERO);
                values[start..].convert_from_f32_slice(new);
            }
            Values::Bf16(values) => {
                values.resize(end, bf16::ZERO);
                values[start..].convert_from_f32_slice(new);
            }
            Values::Int8(values, scales) => {
                values.truncate(start);
                scales.truncate(tokens * self.heads);
                for head in new.chunks_exact(size) {
                    let most = head.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
                    let inverse = if most > 0.0 { 127.0 / most } else { 0.0 };
                    // What is no number stays none, in the scale.
                    let is_finite = head.iter().all(|x| x.is_finite());
                    scales.push(if is_finite { most / 127.0 } else { f32::NAN });
                    #[allow(clippy::cast_possible_truncation, reason = "from -127 to 127")]
                    values.extend(head.iter().map(|x| (x * inverse).round_ties_even() as i8));
                }
            }
        }
    }
}
