//! What an image says of how it was made: a receipt as JSON, and the text that Automatic1111's users know.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::encode::{self, RECEIPT_KEY};
use crate::error::{Error, Result};
use crate::media::ImageData;

/// How an image was made: all that is needed to make it again. It is in the image's own file, as JSON under the key `ayni`
/// of a PNG's text and as `ImageDescription` of a JPEG's or WebP's EXIF.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ImageReceipt {
    /// The engine and its version: `ayni 0.1.0`.
    pub engine: String,
    /// `generate` or `refine`.
    pub operation: String,
    /// The model's name.
    pub model: String,
    /// SHA-256 of the files of its weights, in hex.
    pub model_sha256: String,
    /// The LoRAs that applied, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub loras: Vec<LoraReceipt>,
    /// `standard`, `lcm`, `turbo`, `lightning-4`.
    pub recipe: String,
    /// Where it was computed.
    pub device: String,
    /// In which precision.
    pub precision: String,
    /// What the image shows.
    pub prompt: String,
    /// What it must not show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub negative_prompt: Option<String>,
    /// The seed of this image.
    pub seed: u64,
    /// How noise was made of the seed: `ayni`, `torch_cpu`, `torch_cuda`.
    pub noise: String,
    /// Pixels of a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Denoising steps.
    pub steps: u32,
    /// The guidance scale.
    pub guidance: f32,
    /// The scheduler.
    pub scheduler: String,
    /// Layers of the text encoder that were left out.
    #[serde(default)]
    pub clip_skip: u32,
    /// Whether parentheses in the prompt are weights.
    #[serde(default)]
    pub weighted: bool,
    /// How much of an image was changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strength: Option<f32>,
    /// SHA-256 of the image that was refined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_sha256: Option<String>,
    /// SHA-256 of the mask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask_sha256: Option<String>,
    /// Width and height of what was drawn, where the image that was refined is larger than the model draws: it was enlarged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drawn_size: Option<(u32, u32)>,
    /// Whether the size was asked for, and not that of the image that was refined.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_resized: bool,
    /// Whether the model's safety checker found something in the image.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_flagged: bool,
    /// Whether the image is black because of that.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_blanked: bool,
}

/// A LoRA that applied.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct LoraReceipt {
    /// Its file.
    pub name: String,
    /// How strongly it applied.
    pub weight: f32,
    /// SHA-256 of the file, in hex.
    pub sha256: String,
}

impl LoraReceipt {
    pub(super) fn new(name: String, weight: f32, sha256: String) -> Self {
        Self { name, weight, sha256 }
    }
}

impl ImageReceipt {
    /// The receipt in an image's file.
    ///
    /// # Errors
    /// `invalid_request` if there is none, or it is damaged.
    pub fn of(image: &ImageData) -> Result<Self> {
        let Some(text) = encode::text_of(image, RECEIPT_KEY)? else {
            return Err(Error::invalid_request("the image holds no receipt of ayni"));
        };
        serde_json::from_str(&text)
            .map_err(|error| Error::invalid_request("the receipt in the image is damaged").with_source(error))
    }

    /// As JSON of letters that every reader of metadata takes.
    pub(super) fn to_json(&self) -> String {
        let mut ascii = String::new();
        for letter in serde_json::to_string(self).unwrap_or_default().chars() {
            if letter.is_ascii() {
                ascii.push(letter);
                continue;
            }
            for unit in letter.encode_utf16(&mut [0; 2]) {
                let _ = write!(ascii, "\\u{unit:04x}");
            }
        }
        ascii
    }

    /// The text under `parameters`, as Automatic1111 writes and reads it. `sampler` is the scheduler's name there.
    pub(super) fn parameters(&self, sampler: &str) -> String {
        // Ends a text in files.
        let clean = |text: &str| text.replace('\0', " ");
        let mut text = clean(&self.prompt);
        if let Some(negative) = &self.negative_prompt {
            let _ = write!(text, "\nNegative prompt: {}", clean(negative));
        }
        let Self { steps, guidance, seed, width, height, .. } = self;
        let hash: String = self.model_sha256.chars().take(10).collect();
        let _ = write!(
            text,
            "\nSteps: {steps}, Sampler: {sampler}, CFG scale: {guidance}, Seed: {seed}, Size: {width}x{height}, \
             Model hash: {hash}, Model: {}",
            self.model.replace([',', '\n'], " ")
        );
        if let Some(strength) = self.strength {
            let _ = write!(text, ", Denoising strength: {strength}");
        }
        if self.clip_skip > 0 {
            // Automatic1111 counts from one.
            let _ = write!(text, ", Clip skip: {}", self.clip_skip + 1);
        }
        if !self.loras.is_empty() {
            let hashes = self.loras.iter().map(|lora| {
                format!(
                    "{}: {}",
                    lora.name.replace([',', '"'], " "),
                    lora.sha256.get(..12).unwrap_or_default()
                )
            });
            let _ = write!(text, ", Lora hashes: \"{}\"", hashes.collect::<Vec<_>>().join(", "));
        }
        let _ = write!(text, ", Version: {}", self.engine);
        text
    }
}

/// SHA-256 in hex.
pub(super) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// SHA-256 of the files of a model's weights: of one file its own, of several that of their hashes.
///
/// # Errors
/// What the system says.
pub(super) fn sha256_of_files(files: &[PathBuf]) -> io::Result<String> {
    let hashes = files.iter().map(|file| sha256_of_file(file)).collect::<io::Result<Vec<_>>>()?;
    Ok(match hashes.as_slice() {
        [only] => only.clone(),
        several => sha256(several.concat().as_bytes()),
    })
}

fn sha256_of_file(path: &Path) -> io::Result<String> {
    // In the Hub's cache large files are named by their hash, which was checked when they were fetched.
    let real = path.canonicalize()?;
    let name = real.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(name.to_owned());
    }
    let (mut file, mut hash, mut buffer) = (File::open(real)?, Sha256::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex(&hash.finalize())),
            count => hash.update(&buffer[..count]),
        }
    }
}

#[cfg(test)]
pub(super) fn example() -> ImageReceipt {
    ImageReceipt {
        engine: "ayni 0.1.0".to_owned(),
        operation: "generate".to_owned(),
        model: "sd-small".to_owned(),
        model_sha256: "0123456789abcdef".to_owned(),
        loras: vec![LoraReceipt::new("lcm.safetensors".to_owned(), 1.0, "fedcba9876543210".to_owned())],
        recipe: "lcm".to_owned(),
        device: "cpu".to_owned(),
        precision: "f32".to_owned(),
        prompt: "un faro en Valparaíso, 漢字".to_owned(),
        negative_prompt: Some("niebla".to_owned()),
        seed: 7,
        noise: "ayni".to_owned(),
        width: 3,
        height: 2,
        steps: 4,
        guidance: 1.5,
        scheduler: "lcm".to_owned(),
        clip_skip: 1,
        weighted: false,
        strength: None,
        input_sha256: None,
        mask_sha256: None,
        drawn_size: None,
        is_resized: false,
        is_flagged: false,
        is_blanked: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_written_as_automatic1111_writes_them() {
        assert_eq!(
            example().parameters("LCM"),
            "un faro en Valparaíso, 漢字\nNegative prompt: niebla\nSteps: 4, Sampler: LCM, CFG scale: 1.5, Seed: 7, \
             Size: 3x2, Model hash: 0123456789, Model: sd-small, Clip skip: 2, \
             Lora hashes: \"lcm.safetensors: fedcba987654\", Version: ayni 0.1.0"
        );
    }

    #[test]
    fn json_is_ascii_and_reads_back() {
        let json = example().to_json();
        assert!(json.is_ascii());
        assert_eq!(serde_json::from_str::<ImageReceipt>(&json).unwrap(), example());
    }

    #[test]
    fn an_image_of_others_holds_no_receipt() {
        let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/images/rgb.png");
        let image = ImageData::new(std::fs::read(golden).unwrap()).unwrap();
        assert!(ImageReceipt::of(&image).unwrap_err().message().contains("no receipt"));
    }
}
