//! A spoken answer put together from its chunks.

use serde_json::{Value, json};

use super::delta::AudioDelta;
use crate::chat::{Part, ProviderData};
use crate::media::{BASE64, FileData};

use base64::Engine as _;

/// What sound is that names no format: OpenAI streams 16-bit samples.
const SAMPLES: &str = "audio/pcm";

/// The sound of one answer.
#[derive(Debug, Default)]
pub(super) struct AudioAssembly {
    bytes: Vec<u8>,
    /// Base64 whose group of four is not complete yet.
    rest: String,
    transcript: String,
}

impl AudioAssembly {
    /// Adds a chunk. The id is what goes back in place of the sound.
    pub(super) fn push(&mut self, audio: Option<AudioDelta>, provider_data: &mut ProviderData) {
        let Some(AudioDelta { id, data, transcript }) = audio else { return };
        if !id.is_empty() {
            provider_data.insert("audio".to_owned(), json!({ "id": Value::from(id) }));
        }
        self.transcript.push_str(&transcript);
        self.rest.push_str(&data);
        let whole = self.rest.len() / 4 * 4;
        let decoded = self.rest.get(..whole).map(|groups| BASE64.decode(groups));
        if let Some(Ok(bytes)) = decoded {
            self.bytes.extend(bytes);
            self.rest.drain(..whole);
        }
    }

    /// What was said, in words.
    pub(super) fn transcript(&self) -> String {
        self.transcript.clone()
    }

    /// The sound, at the end of the answer.
    pub(super) fn finish(self) -> Option<Part> {
        let mut bytes = self.bytes;
        bytes.extend(BASE64.decode(&self.rest).unwrap_or_default());
        if bytes.is_empty() {
            return None;
        }
        Some(Part::file(FileData::sniffed(bytes, SAMPLES)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sound_is_joined_wherever_its_base64_is_cut() {
        let whole = BASE64.encode(b"RIFF\0\0\0\0WAVEdata");
        for cut in 0..whole.len() {
            let (mut audio, mut data) = (AudioAssembly::default(), ProviderData::new());
            for piece in [&whole[..cut], &whole[cut..]] {
                let delta = AudioDelta { id: "a".into(), data: piece.into(), transcript: "x".into() };
                audio.push(Some(delta), &mut data);
            }
            assert_eq!(audio.transcript(), "xx");
            assert_eq!(data["audio"]["id"], "a");
            let Some(Part::File { file, .. }) = audio.finish() else { panic!("sound") };
            assert_eq!((file.media_type(), &file.bytes()[..]), ("audio/wav", &b"RIFF\0\0\0\0WAVEdata"[..]));
        }
    }
}
