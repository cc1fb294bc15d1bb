//! What the tests share: noise, and weights of every format whose scales are ordinary numbers.

mod files;
mod multiplication;
mod tiles;

use half::{bf16, f16};

use super::*;
use crate::Isa;

/// Numbers that look like noise.
pub(super) struct Noise(u64);

impl Noise {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 24
    }

    /// Between -1 and 1.
    pub(super) fn number(&mut self) -> f32 {
        (self.next() & 0xff_ffff) as f32 / (1 << 23) as f32 - 1.0
    }

    pub(super) fn numbers(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.number()).collect()
    }
}

/// `n` rows of `k` weights as a file has them: any codes, ordinary scales of both signs.
pub(super) fn file(format: Format, n: usize, k: usize, noise: &mut Noise) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..format.bytes(n, k).unwrap()).map(|_| noise.next() as u8).collect();
    for block in bytes.chunks_exact_mut(format.block_bytes()) {
        let mut put = |at: usize, number: [u8; 2]| block[at..at + 2].copy_from_slice(&number);
        match format {
            Format::F16 => put(0, f16::from_f32(noise.number()).to_le_bytes()),
            Format::Bf16 => put(0, bf16::from_f32(noise.number()).to_le_bytes()),
            // Powers of two like the other scales.
            Format::Mxfp4 => block[0] = 122 + (noise.next() & 3) as u8,
            _ => {
                for at in format.scale_places() {
                    put(*at, f16::from_f32(noise.number() / 16.0).to_le_bytes());
                }
            }
        }
    }
    bytes
}

/// The rows of a file in f32.
pub(super) fn rows_of(format: Format, bytes: &[u8], n: usize, k: usize) -> Vec<f32> {
    let mut numbers = vec![0.0; n * k];
    format.dequantise(bytes, &mut numbers).unwrap();
    numbers
}

/// Weights and input of a multiplication.
pub(super) struct Case {
    pub(super) format: Format,
    pub(super) m: usize,
    pub(super) n: usize,
    pub(super) k: usize,
    pub(super) bytes: Vec<u8>,
    pub(super) x: Vec<f32>,
}

impl Case {
    pub(super) fn new(format: Format, m: usize, n: usize, k: usize) -> Self {
        let mut noise = Noise::new((m * 31 + n * 7 + k) as u64 + u64::from(format.number()) * 1001);
        let bytes = file(format, n, k, &mut noise);
        let x = noise.numbers(m * k);
        Self { format, m, n, k, bytes, x }
    }

    pub(super) fn weights(&self, cpu: &Cpu) -> QuantisedWeights {
        QuantisedWeights::from_ggml(cpu, self.format, &[&self.bytes], self.n, self.k).unwrap()
    }

    pub(super) fn run(&self, cpu: &Cpu) -> Vec<f32> {
        let mut y = vec![f32::NAN; self.m * self.n];
        self.weights(cpu).matmul(cpu, &self.x, self.m, &mut y).unwrap();
        y
    }

    /// The largest number that a code of this row can stand for, whatever the code.
    fn reach(&self, row: usize) -> f64 {
        let Some(shape) = self.format.shape() else { return 1.0 };
        let row_bytes = self.bytes.len() / self.n;
        let blocks =
            self.bytes[row * row_bytes..(row + 1) * row_bytes].chunks_exact(self.format.block_bytes());
        let of_block = |block: block::Block| {
            let most_code =
                f64::from(if shape.table.is_some() { 256 } else { 1_u32 << (shape.low + shape.high) });
            (0..shape.parts()).fold(0.0_f64, |most, part| {
                let minimum = if shape.has_minimum() { block.minimum_of(&shape, part) } else { 0.0 };
                most.max(f64::from(block.scale_of(&shape, part).abs()) * most_code + f64::from(minimum.abs()))
            })
        };
        blocks.fold(0.0, |most, block| most.max(of_block(self.format.parse(block))))
    }

    /// The products in f64, each with what f32 sums may be wrong by and what the rounding of `x` may add.
    pub(super) fn truth(&self) -> Vec<(f64, f64, f64)> {
        let weights = rows_of(self.format, &self.bytes, self.n, self.k);
        let reaches: Vec<f64> = (0..self.n).map(|row| self.reach(row)).collect();
        let one = |i: usize| {
            let (row, output) = (i / self.n, i % self.n);
            let x = &self.x[row * self.k..(row + 1) * self.k];
            let w = &weights[output * self.k..(output + 1) * self.k];
            let (mut sum, mut rounding, mut quantising) = (0.0, 0.0, 0.0);
            for (x, w) in x.chunks(block::UNIT).zip(w.chunks(block::UNIT)) {
                let largest = x.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
                for (x, w) in x.iter().zip(w) {
                    sum += f64::from(*x) * f64::from(*w);
                    quantising += f64::from(w.abs()) * f64::from(largest) / 254.0;
                    rounding += f64::from(largest) * reaches[output];
                }
            }
            let quantising = if self.format.shape().is_some() { quantising * 1.001 } else { 0.0 };
            let steps = if self.format.shape().is_some() { self.k / 8 } else { self.k };
            (sum, rounding * 1.2e-7 * (2.0 + steps as f64), quantising)
        };
        (0..self.m * self.n).map(one).collect()
    }
}

/// Every instruction set, and the model of tiles.
pub(super) fn sets() -> impl Iterator<Item = Isa> {
    Isa::available().into_iter().chain([Isa::MODEL])
}

/// The same with two threads.
pub(super) fn cpus() -> Vec<Cpu> {
    sets().map(|isa| Cpu::new(isa, 2)).collect()
}

/// The shortest row that is a whole number of blocks but for the formats without, and longer ones.
pub(super) fn lengths(format: Format) -> [usize; 3] {
    match format.block_length() {
        1 => [1, 7, 130],
        length => [length, 3 * length, if length == 32 { 29 * 32 } else { 4 * length }],
    }
}
