//! What a language model keeps of the texts that it continues.

use std::io::{Read, Write};

use super::stock::StockText;
use crate::error::Result;
use crate::local::ops::KvCache;

/// The keys and values of one text, a cache for each layer.
#[derive(Debug, Default)]
pub(crate) struct TextCache {
    pub(super) layers: Vec<KvCache>,
    /// The text of a model of candle, in place of layers.
    stock: Option<StockText>,
    /// Whether the text is rotated as a long one, however long it is yet.
    is_long: bool,
}

impl TextCache {
    /// The cache of a decoder, from those of its layers.
    pub(super) fn new(layers: Vec<KvCache>, is_long: bool) -> Self {
        Self { layers, stock: None, is_long }
    }

    /// The cache of a model of candle.
    pub(super) fn of_stock(text: StockText) -> Self {
        Self { layers: Vec::new(), stock: Some(text), is_long: false }
    }

    /// The text, if it is one of candle's.
    pub(super) fn stock(&mut self) -> Option<&mut StockText> {
        self.stock.as_mut()
    }

    /// How many tokens there are.
    pub(crate) fn len(&self) -> usize {
        let of_stock = self.stock.as_ref().map_or(0, StockText::len);
        self.layers.first().map_or(of_stock, KvCache::len)
    }

    /// Whether its text is rotated as a long one.
    pub(crate) fn is_long(&self) -> bool {
        self.is_long
    }

    /// Forgets all tokens past the first `length`.
    pub(crate) fn truncate(&mut self, length: usize) {
        self.layers.iter_mut().for_each(|layer| layer.truncate(length));
        self.stock.iter_mut().for_each(|text| text.truncate(length));
    }

    /// How many bytes the memory of all caches grows by when so many tokens are added.
    pub(crate) fn growth(&self, tokens: usize) -> usize {
        self.layers.iter().map(|layer| layer.growth(tokens)).sum()
    }

    /// What tells a page of tokens from all others, for each page.
    pub(crate) fn pages(&self) -> impl Iterator<Item = usize> {
        self.layers.first().into_iter().flat_map(KvCache::pages)
    }

    /// Writes what [`read`](Self::read) reads.
    ///
    /// # Errors
    /// Those of the writer.
    pub(crate) fn write(&self, to: &mut impl Write) -> std::io::Result<()> {
        self.layers.iter().try_for_each(|layer| layer.write(to))
    }

    /// Fills an empty cache with `length` tokens of another one of the same model.
    ///
    /// # Errors
    /// Those of the reader.
    pub(crate) fn read(&mut self, length: usize, from: &mut impl Read) -> std::io::Result<()> {
        self.layers.iter_mut().try_for_each(|layer| layer.read(length, from))
    }

    /// The first `length` tokens for another text of up to `capacity`.
    ///
    /// # Errors
    /// `out_of_memory` if a GPU has not so much.
    pub(crate) fn fork(&self, length: usize, capacity: usize) -> Result<Self> {
        let layers = self.layers.iter().map(|layer| layer.fork(length, capacity));
        let stock = self.stock.as_ref().map(|text| text.fork(length));
        Ok(Self { layers: layers.collect::<Result<_>>()?, stock, is_long: self.is_long })
    }
}

/// Texts over their caches.
#[derive(Debug)]
pub(crate) struct Cached<'a, 'b> {
    /// One for each text.
    pub(crate) caches: &'a mut [&'b mut TextCache],
    /// How many texts at the front are answers; see [`KeyValues::Caches`].
    pub(crate) decoding: usize,
}
