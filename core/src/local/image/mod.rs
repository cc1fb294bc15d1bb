//! Local image generation: what turns a diffusion model into the capability.
//!
//! [`pipeline`] loads a Stable Diffusion repository (or single file) and has its parts as functions: text to
//! conditioning, one denoising step over a batch of rows, latents to pixels and back. [`scheduler`] computes what the
//! steps are and what follows each; [`noise`] is where random numbers come from.

mod loading;
pub(crate) mod noise;
pub(crate) mod pipeline;
mod prompt;
pub(crate) mod scheduler;

#[cfg(test)]
mod golden_tests;
#[cfg(test)]
pub(crate) mod testing;
