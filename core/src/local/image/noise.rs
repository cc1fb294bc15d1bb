//! Random numbers: the same for a seed on every device, in every batch and process.

use std::f64::consts::TAU;

use super::pipeline::LatentShape;

/// How noise is made of a seed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum NoiseKind {
    /// Counter-based (Philox 4×32-10 and Box-Muller): each draw has a stream of its own, whatever was drawn before.
    #[default]
    Ayni,
    /// The numbers of `torch.randn(generator=torch.Generator("cpu").manual_seed(seed))`, drawn in diffusers' order.
    TorchCpu,
    /// The numbers of `torch.randn(generator=torch.Generator("cuda").manual_seed(seed))`, drawn in diffusers' order.
    TorchCuda,
}

/// What numbers are drawn for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Draw {
    /// The first latent.
    Initial,
    /// The VAE's distribution of an image that is refined.
    Image,
    /// The noise of a step of a scheduler.
    Step(usize),
}

/// The noise of one image. With the torch kinds, draws follow each other as they are asked for, as torch's do; then
/// `draw` is not used. With several images of one request, diffusers draws for all from one generator; here each image
/// has a seed of its own.
#[derive(Clone, Debug)]
pub(crate) struct Noise {
    seed: u64,
    source: Source,
}

#[derive(Clone, Debug)]
enum Source {
    Ayni,
    TorchCpu(Box<Mt19937>),
    /// How many draws there were.
    TorchCuda(u32),
}

impl Noise {
    /// The noise of a seed.
    pub(crate) fn new(seed: u64, kind: NoiseKind) -> Self {
        let source = match kind {
            NoiseKind::Ayni => Source::Ayni,
            NoiseKind::TorchCpu => Source::TorchCpu(Box::new(Mt19937::new(seed as u32))),
            NoiseKind::TorchCuda => Source::TorchCuda(0),
        };
        Self { seed, source }
    }

    /// Standard normal numbers for a latent, channels last.
    pub(crate) fn latent(&mut self, shape: LatentShape, draw: Draw) -> Vec<f32> {
        let planes = self.normal(shape.len(), draw);
        // Channels first, as torch draws them.
        let pixels = shape.height * shape.width;
        let of_pixel = |pixel: usize| (0..shape.channels).map(move |channel| channel * pixels + pixel);
        (0..pixels).flat_map(of_pixel).map(|place| planes.get(place).copied().unwrap_or_default()).collect()
    }

    /// So many numbers, in order.
    fn normal(&mut self, count: usize, draw: Draw) -> Vec<f32> {
        let key = [self.seed as u32, (self.seed >> 32) as u32];
        match &mut self.source {
            Source::Ayni => {
                let stream = match draw {
                    Draw::Initial => 0,
                    Draw::Image => 1,
                    Draw::Step(step) => 2 + step as u32,
                };
                let four = |group: usize| {
                    let [a, b, c, d] = philox([group as u32, stream, 0, 0], key);
                    let ([a, b], [c, d]) = (box_muller(a, b), box_muller(c, d));
                    [b, a, d, c]
                };
                (0..count.div_ceil(4)).flat_map(four).take(count).collect()
            }
            Source::TorchCpu(generator) => generator.normal(count),
            Source::TorchCuda(draws) => {
                let offset = *draws;
                *draws += 1;
                let one = |index: usize| {
                    let [a, b, ..] = philox([offset, 0, index as u32, 0], key);
                    box_muller(a, b)[0]
                };
                (0..count).map(one).collect()
            }
        }
    }
}

/// Philox 4×32 with ten rounds.
fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for round in 0..10 {
        if round > 0 {
            key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
        }
        let [a, b, c, d] = counter;
        let first = u64::from(a) * 0xD251_1F53;
        let second = u64::from(c) * 0xCD9E_8D57;
        counter = [
            (second >> 32) as u32 ^ b ^ key[0],
            second as u32,
            (first >> 32) as u32 ^ d ^ key[1],
            first as u32,
        ];
    }
    counter
}

/// Two normal numbers of two words: that of the sine first, which is the one that CUDA's single draws give.
fn box_muller(first: u32, second: u32) -> [f32; 2] {
    const UNIT: f64 = 1.0 / 4_294_967_296.0;
    let radius = (-2.0 * ((f64::from(first) + 0.5) * UNIT).ln()).sqrt();
    let (sine, cosine) = ((f64::from(second) + 0.5) * UNIT * TAU).sin_cos();
    [(radius * sine) as f32, (radius * cosine) as f32]
}

/// The Mersenne Twister, as torch seeds and reads it.
#[derive(Clone, Debug)]
struct Mt19937 {
    state: Vec<u32>,
    next: usize,
}

impl Mt19937 {
    const SIZE: usize = 624;
    const SHIFT: usize = 397;

    fn new(seed: u32) -> Self {
        let mut state = vec![seed; Self::SIZE];
        for index in 1..Self::SIZE {
            let before = state[index - 1];
            state[index] = (before ^ before >> 30).wrapping_mul(1_812_433_253).wrapping_add(index as u32);
        }
        Self { state, next: Self::SIZE }
    }

    fn word(&mut self) -> u32 {
        if self.next == Self::SIZE {
            for index in 0..Self::SIZE {
                let joined =
                    self.state[index] & 0x8000_0000 | self.state[(index + 1) % Self::SIZE] & 0x7fff_ffff;
                let odd = if joined & 1 == 1 { 0x9908_b0df } else { 0 };
                self.state[index] = self.state[(index + Self::SHIFT) % Self::SIZE] ^ joined >> 1 ^ odd;
            }
            self.next = 0;
        }
        let mut word = self.state[self.next];
        self.next += 1;
        word ^= word >> 11;
        word ^= word << 7 & 0x9d2c_5680;
        word ^= word << 15 & 0xefc6_0000;
        word ^ word >> 18
    }

    /// `torch.randn` of at least 16 numbers: uniform ones first, then in blocks of 16 the first eight as radii and the
    /// others as angles; the last 16 are drawn again where blocks don't fit evenly.
    fn normal(&mut self, count: usize) -> Vec<f32> {
        const BLOCK: usize = 16;
        let mut values: Vec<f32> = (0..count.max(BLOCK)).map(|_| self.uniform()).collect();
        let whole = values.len() / BLOCK * BLOCK;
        values[..whole].chunks_exact_mut(BLOCK).for_each(normal_block);
        if whole < values.len() {
            let start = values.len() - BLOCK;
            values[start..].iter_mut().for_each(|value| *value = self.uniform());
            normal_block(&mut values[start..]);
        }
        values.truncate(count);
        values
    }

    fn uniform(&mut self) -> f32 {
        (self.word() & 0x00ff_ffff) as f32 / (1 << 24) as f32
    }
}

fn normal_block(block: &mut [f32]) {
    let (radii, angles) = block.split_at_mut(8);
    for (radius, angle) in radii.iter_mut().zip(angles) {
        let length = (-2.0 * f64::from(1.0 - *radius).ln()).sqrt();
        let (sine, cosine) = (TAU * f64::from(*angle)).sin_cos();
        (*radius, *angle) = ((length * cosine) as f32, (length * sine) as f32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: LatentShape = LatentShape { height: 32, width: 32, channels: 4 };

    #[test]
    fn noise_is_normal_and_every_draw_is_another() {
        for kind in [NoiseKind::Ayni, NoiseKind::TorchCpu, NoiseKind::TorchCuda] {
            let mut noise = Noise::new(7, kind);
            let draws = [Draw::Initial, Draw::Image, Draw::Step(0), Draw::Step(1)];
            let all: Vec<Vec<f32>> = draws.iter().map(|draw| noise.latent(SHAPE, *draw)).collect();
            for (index, values) in all.iter().enumerate() {
                let mean = values.iter().sum::<f32>() / values.len() as f32;
                let variance = values.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / values.len() as f32;
                assert!(mean.abs() < 0.06 && (variance - 1.0).abs() < 0.1, "{kind:?}: {mean} {variance}");
                assert!(all[..index].iter().all(|other| other != values), "{kind:?}");
            }
            assert_ne!(Noise::new(8, kind).latent(SHAPE, Draw::Initial), all[0], "{kind:?}");
        }
    }

    #[test]
    fn a_draw_of_ours_depends_on_nothing_drawn_before() {
        let mut used = Noise::new(1 << 40, NoiseKind::Ayni);
        let first = used.latent(SHAPE, Draw::Step(3));
        used.latent(SHAPE, Draw::Initial);
        assert_eq!(used.latent(SHAPE, Draw::Step(3)), first);
        assert_ne!(
            Noise::new(0, NoiseKind::Ayni).latent(SHAPE, Draw::Step(3)),
            first,
            "all 64 bits of a seed count"
        );
    }

    #[track_caller]
    fn assert_near(found: &[f32], truth: &[f32]) {
        let off = found.iter().zip(truth).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(found.len() >= truth.len() && off <= 2e-6, "off by {off}");
    }

    #[test]
    #[allow(clippy::excessive_precision, reason = "as it was published")]
    fn noise_of_torch_is_torch_s() {
        let path = super::super::testing::goldens().join("randn.safetensors");
        let truth = candle_core::safetensors::load(path, &candle_core::Device::Cpu).unwrap();
        for seed in [0, 42, (1 << 40) + 7] {
            let mut noise = Noise::new(seed, NoiseKind::TorchCpu);
            for (name, count) in [("first", 256), ("second", 84), ("third", 256)] {
                let truth: Vec<f32> =
                    truth[&format!("{seed}/{name}")].flatten_all().unwrap().to_vec1().unwrap();
                assert_near(&noise.normal(count, Draw::Initial), &truth);
            }
        }
        // What torch 2 gives on CUDA for seed 0, as published with the imitation of it in AUTOMATIC1111's web UI.
        let found = Noise::new(0, NoiseKind::TorchCuda).normal(12, Draw::Initial);
        let truth = [
            -0.924_662_6,
            -0.425_344_15,
            -2.643_845_7,
            0.145_183_88,
            -0.120_866_47,
            -0.579_725_64,
            -0.622_851_2,
            -0.328_387_1,
            -1.074_542_3,
            -0.363_144_07,
            -1.671_050_7,
            2.265_505,
        ];
        assert_near(&found, &truth);
    }

    #[test]
    fn the_generator_is_philox_as_its_authors_publish_it() {
        // The known answers of Random123.
        assert_eq!(philox([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(
            philox([u32::MAX; 4], [u32::MAX; 2]),
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        );
    }
}
