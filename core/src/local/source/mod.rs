//! From the name of a model to its files: model references, folders, the Hub and its cache, sample models.
//!
//! [`locate`] finds a model's files on this machine without the network; what it does not find, [`Located::files`]
//! fetches.

mod files;
mod hub;
mod locate;
mod reference;
mod samples;
mod weight_files;

pub(crate) use files::ModelFiles;
pub(crate) use locate::{Located, locate, locate_with};
pub use reference::ModelReference;
pub use samples::{SampleModel, sample_models, use_samples_in};
pub(crate) use weight_files::{DUAL_TYPES, MODEL_INDEX, OPEN_CLIP_CONFIG};
