//! How heads lie in memory.

use half::{bf16, f16};

use crate::error::{KernelError, Result};

/// The heads of an attention layer. Queries may have more heads than keys and values: groups of neighbours then share
/// one (GQA), or all do (MQA).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    /// Heads of a query.
    pub queries: usize,
    /// Heads of a key and of a value.
    pub keys: usize,
    /// Numbers of a head: up to [`MAX_SIZE`](Self::MAX_SIZE). Multiples of 16 are fastest.
    pub size: usize,
}

impl Heads {
    /// The largest head. Models have up to 256 numbers; image decoders attend with 512.
    pub const MAX_SIZE: usize = 1024;

    /// As many heads of keys as of queries.
    pub fn equal(count: usize, size: usize) -> Self {
        Self { queries: count, keys: count, size }
    }

    /// The width of the result for a token, and of its queries.
    pub fn width(self) -> usize {
        self.queries * self.size
    }

    /// The width of a token's keys, and of its values.
    pub fn kv_width(self) -> usize {
        self.keys * self.size
    }

    /// The width of queries, keys and values side by side.
    pub fn qkv_width(self) -> usize {
        self.width() + 2 * self.kv_width()
    }

    /// The usual scale of scores: one over the square root of a head's size.
    pub fn scale(self) -> f32 {
        (self.size as f64).sqrt().recip() as f32
    }

    /// How many heads of queries share one of keys.
    pub(super) fn group(self) -> usize {
        self.queries / self.keys
    }

    /// The size in memory of the inner loops, which take eight numbers at a time. Those past a head's own are zeros.
    pub(super) fn padded_size(self) -> usize {
        self.size.next_multiple_of(8)
    }

    pub(super) fn check(self) -> Result<()> {
        let Self { queries, keys, size } = self;
        if !(1..=Self::MAX_SIZE).contains(&size) {
            let most = Self::MAX_SIZE;
            return Err(KernelError::shape(format!("expected heads of 1 to {most} numbers, found {size}")));
        }
        if keys == 0 || queries == 0 || !queries.is_multiple_of(keys) {
            return Err(KernelError::shape(format!(
                "{queries} heads of queries cannot share {keys} heads of keys"
            )));
        }
        let total = queries.checked_mul(size).and_then(|width| width.checked_mul(4));
        total.map(drop).ok_or_else(|| KernelError::shape("the heads are too large"))
    }
}

/// Keys or values in the dtype of their tensor or cache.
#[derive(Clone, Copy, Debug)]
pub enum Numbers<'a> {
    /// f32.
    F32(&'a [f32]),
    /// f16.
    F16(&'a [f16]),
    /// bf16.
    Bf16(&'a [bf16]),
    /// int8, without gaps between heads: these numbers, each times the scale of its head, which are one after another.
    Int8(&'a [i8], &'a [f32]),
    /// Pages of `2ⁿ` tokens each, for this `n`; the last may have fewer.
    Pages(&'a [Numbers<'a>], u32),
}

macro_rules! numbers_from {
    ($($number:ty => $variant:ident),+) => {$(
        impl<'a> From<&'a [$number]> for Numbers<'a> {
            fn from(values: &'a [$number]) -> Self {
                Self::$variant(values)
            }
        }
    )+};
}

numbers_from! { f32 => F32, f16 => F16, bf16 => Bf16 }

/// A slice of any dtype.
pub(super) trait Long {
    fn length(&self) -> usize;
}

impl Long for &[f32] {
    fn length(&self) -> usize {
        self.len()
    }
}

impl Long for Numbers<'_> {
    fn length(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::F16(values) => values.len(),
            Self::Bf16(values) => values.len(),
            Self::Int8(values, _) => values.len(),
            Self::Pages(..) => 0,
        }
    }
}

/// Heads of tokens: head `h` of token `t` starts at `t · token + h · head`. So queries, keys and values may lie
/// side by side in one row of a fused layer, or a cache may hold one head after the other.
#[derive(Clone, Copy, Debug)]
pub struct Strided<D> {
    /// The numbers, from the first head of the first token.
    pub data: D,
    /// From one token to the next.
    pub token: usize,
    /// From one head to the next.
    pub head: usize,
}

#[allow(private_bounds, reason = "only for what this module defines")]
impl<D: Long> Strided<D> {
    /// The index of a head's first number.
    pub(super) fn place(&self, token: usize, head: usize) -> usize {
        token * self.token + head * self.head
    }

    /// Checks that all heads of all tokens are there.
    pub(super) fn check(&self, name: &str, tokens: usize, heads: usize, size: usize) -> Result<()> {
        if tokens == 0 {
            return Ok(());
        }
        let found = self.data.length();
        let end = (tokens - 1).checked_mul(self.token).zip((heads - 1).checked_mul(self.head));
        let end = end.and_then(|(token, head)| token.checked_add(head)?.checked_add(size));
        if end.is_some_and(|end| end <= found) {
            return Ok(());
        }
        Err(KernelError::shape(format!(
            "{name}: {found} numbers are too few for {tokens} tokens with {heads} heads of {size}"
        )))
    }
}

/// Checks a length.
pub(super) fn has(name: &str, found: usize, wanted: Option<usize>) -> Result<()> {
    if wanted == Some(found) {
        return Ok(());
    }
    let wanted = wanted.map_or_else(|| "fewer".to_owned(), |wanted| wanted.to_string());
    Err(KernelError::shape(format!("{name}: expected {wanted} values, found {found}")))
}

impl<'a> Strided<Numbers<'a>> {
    /// The numbers that hold a head, and the index of its first among them.
    #[inline(always)]
    pub(super) fn at(&self, token: usize, head: usize) -> (Numbers<'a>, usize) {
        match self.data {
            Numbers::Pages(pages, shift) => (pages[token >> shift], self.place(token & !(!0 << shift), head)),
            data => (data, self.place(token, head)),
        }
    }

    /// [`check`](Self::check) for every page, and for scales.
    pub(super) fn check_all(&self, name: &str, tokens: usize, heads: usize, size: usize) -> Result<()> {
        let wrong = |why: &str| Err(KernelError::shape(format!("{name}: {why}")));
        match self.data {
            Numbers::Pages(pages, shift) => {
                let Some(most) = 1_usize.checked_shl(shift) else { return wrong("pages are too large") };
                if pages.len() < tokens.div_ceil(most) {
                    return wrong("fewer pages than the tokens need");
                }
                for (number, page) in pages.iter().take(tokens.div_ceil(most)).enumerate() {
                    if matches!(page, Numbers::Pages(..)) {
                        return wrong("pages within pages");
                    }
                    let page = Self { data: *page, ..*self };
                    page.check_all(name, most.min(tokens - number * most), heads, size)?;
                }
                Ok(())
            }
            Numbers::Int8(..) if self.head != size || self.token != heads * size => {
                wrong("heads in int8 have gaps between them")
            }
            Numbers::Int8(values, scales) if scales.len() * size < values.len() => wrong("too few scales"),
            _ => self.check(name, tokens, heads, size),
        }
    }

    /// The address of a head and its size in bytes, for prefetching.
    pub(super) fn bytes(&self, token: usize, head: usize, size: usize) -> (*const u8, usize) {
        let (data, place) = self.at(token, head);
        match data {
            Numbers::F32(values) => (values.as_ptr().wrapping_add(place).cast(), 4 * size),
            Numbers::F16(values) => (values.as_ptr().wrapping_add(place).cast(), 2 * size),
            Numbers::Bf16(values) => (values.as_ptr().wrapping_add(place).cast(), 2 * size),
            Numbers::Int8(values, _) => (values.as_ptr().wrapping_add(place).cast(), size),
            Numbers::Pages(..) => (std::ptr::null(), 0),
        }
    }
}
