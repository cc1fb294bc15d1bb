//! A photograph to the model's input tensor.

use ayni::local::ops::cpu;
use ayni::local::vision::decode::{Limits, decode};
use ayni::local::vision::preprocess::Preprocessor;
use ayni::{Environment, Error, ImageData, Vectors};

use super::library::{Folders, Once, read};

/// Decoding, resizing, cropping and normalising, as the embedder does it before the model.
pub(super) fn prepare(folders: &Folders) -> Result<Once, Error> {
    let encoded = read(&folders.prepared.join("images").join("photograph.jpg"))?;
    let image = ImageData::with_media_type(encoded, "image/jpeg");
    let config = read(&folders.prepared.join("clip").join("preprocessor_config.json"))?;
    let preprocessor = Preprocessor::from_transformers(&String::from_utf8_lossy(&config))?;
    let (cpu, limits) = (cpu(&Environment::process())?, Limits::default());
    Ok(Box::new(move || {
        let tensor = preprocessor.prepare(&cpu, &decode(&image, &limits)?)?;
        let width = tensor.values.len();
        Vectors::new(tensor.values, width)
    }))
}
