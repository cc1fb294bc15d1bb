//! Vectors as memory that JavaScript owns.

use ayni::embed::EncodedVectors;
use ayni::{Error, Result, Vectors};
use napi::bindgen_prelude::{Float32Array, Int8Array, Uint8Array, Uint16Array};
use napi_derive::napi;

use crate::convert::json_text;
use crate::failure::{Outcome, guarded};

/// The vectors of an answer side by side in one of the arrays, and the rest of the answer.
#[napi(object, object_from_js = false)]
pub struct Embedded {
    /// In single precision.
    pub f32: Option<Float32Array>,
    /// The bits of numbers in half precision.
    pub f16: Option<Uint16Array>,
    /// Whole numbers, to be multiplied by the scale of their vector.
    pub int8: Option<Int8Array>,
    /// One scale a vector of `int8`.
    pub scales: Option<Float32Array>,
    /// One bit a number.
    pub ubinary: Option<Uint8Array>,
    /// How many vectors there are.
    pub count: u32,
    /// The other fields, as JSON.
    pub json: String,
}

impl Embedded {
    /// Copies the vectors, because clones of them may be in a cache, on the thread that calls: none of JavaScript's.
    pub(crate) fn new(vectors: &EncodedVectors, json: String) -> Result<Self> {
        let count = u32::try_from(vectors.len())
            .map_err(|_| Error::invalid_request("more vectors than JavaScript can hold in one array"))?;
        let mut made = Self { f32: None, f16: None, int8: None, scales: None, ubinary: None, count, json };
        match vectors {
            EncodedVectors::F32(all) => made.f32 = Some(Float32Array::new(all.as_flat().to_vec())),
            EncodedVectors::F16(all) => made.f16 = Some(Uint16Array::new(all.as_bits().to_vec())),
            EncodedVectors::Int8(all) => {
                made.int8 = Some(Int8Array::new(all.as_flat().to_vec()));
                made.scales = Some(Float32Array::new(all.scales().to_vec()));
            }
            EncodedVectors::Ubinary(all) => made.ubinary = Some(Uint8Array::new(all.as_bytes().to_vec())),
            other => {
                let told = format!("JavaScript has no array for the encoding {}", other.encoding());
                return Err(Error::unsupported(told));
            }
        }
        Ok(made)
    }
}

/// The `k` vectors nearest to a query, as JSON: position and cosine, the best first.
#[napi]
pub fn top_k(flat: &[f32], width: u32, query: &[f32], k: u32) -> Outcome<String> {
    guarded(|| {
        let vectors =
            Vectors::new(flat, width as usize).map_err(|error| Error::invalid_request(error.message()))?;
        json_text(&vectors.top_k(query, k as usize)?)
    })
}

/// The cosine of two vectors.
#[napi]
pub fn similarity(a: &[f32], b: &[f32]) -> Outcome<f64> {
    guarded(|| ayni::embed::similarity(a, b).map(f64::from))
}
