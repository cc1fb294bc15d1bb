//! The parts of a pipeline that LoRAs change, one for each group of LoRAs that is in use.

use std::sync::{Arc, PoisonError};

use super::loading;
use super::loras::LoraGroup;
use super::pipeline::Pipeline;
use super::prompt::PromptTokenizer;
use crate::error::{Error, ErrorKind, Result};
use crate::local::models::PromptEncoder;
use crate::local::models::diffusion::Denoiser;

/// The parts that LoRAs change.
#[derive(Debug)]
pub(super) struct Network {
    pub(super) encoders: Vec<(PromptEncoder, PromptTokenizer)>,
    pub(super) denoiser: Box<dyn Denoiser>,
}

impl Pipeline {
    /// Makes the layers with a group of LoRAs ready, and says how many groups are then; `None` if it would be more than
    /// `most` beside those in use, which stay.
    ///
    /// # Errors
    /// `model_load` if a file is not there any more, or a LoRA was made for another base.
    pub(crate) fn prepare(
        &self,
        loras: &LoraGroup,
        in_use: &[&LoraGroup],
        most: usize,
    ) -> Result<Option<usize>> {
        let mut networks = self.networks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = networks.iter().position(|(group, _)| group == loras) {
            let found = networks.remove(place);
            networks.push(found);
            return Ok(Some(networks.len()));
        }
        while networks.len() >= most.max(1) {
            let Some(place) = networks.iter().position(|(group, _)| !in_use.contains(&group)) else {
                return Ok(None);
            };
            networks.remove(place);
        }
        let network = loading::network(&self.files, loras, &self.device)?;
        networks.push((loras.clone(), Arc::new(network)));
        Ok(Some(networks.len()))
    }

    pub(super) fn network(&self, loras: &LoraGroup) -> Result<Arc<Network>> {
        let networks = self.networks.lock().unwrap_or_else(PoisonError::into_inner);
        let found = networks.iter().find(|(group, _)| group == loras);
        found
            .map(|(_, network)| Arc::clone(network))
            .ok_or_else(|| Error::new(ErrorKind::Unexpected, "the LoRAs are not merged"))
    }
}
