//! Model references: the strings with which users name weights.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::samples;
use crate::error::{Error, Result};

/// Weights by name: a folder, a file, a repository on the Hub, or a sample model.
///
/// ```
/// use ayni::local::ModelReference;
///
/// let reference: ModelReference = "intfloat/multilingual-e5-small@main".parse()?;
/// assert_eq!(reference.to_string(), "intfloat/multilingual-e5-small@main");
/// assert!(matches!("./models/e5".parse()?, ModelReference::Folder(_)));
/// # Ok::<_, ayni::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ModelReference {
    /// A folder with `config.json`, weights and tokenizer.
    Folder(PathBuf),
    /// One file with everything in it (`model.gguf`), or the weights (`model.safetensors`) beside the other files.
    File(PathBuf),
    /// A repository on the Hub.
    Hub {
        /// `org/name`.
        id: String,
        /// A branch, tag, commit or pull request (`refs/pr/N`); the main branch without it.
        revision: Option<String>,
        /// Which GGUF file, by a part of its name: `Q4_K_M`.
        file: Option<String>,
    },
    /// A sample model, `tiny:text`: [`sample_models`](crate::local::sample_models) lists them.
    Sample(&'static str),
}

/// The endings of weight files; a reference with one is a file even if there is none.
const FILE_ENDINGS: [&str; 3] = ["gguf", "safetensors", "bin"];

impl FromStr for ModelReference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let text = text.trim();
        if text.is_empty() {
            return Err(Error::config("`model` is not set: name a folder, a file or an id on the Hub"));
        }
        let path = expand_home(text);
        if path.is_dir() {
            return Ok(Self::Folder(path));
        }
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        // `org/name:file.safetensors` is a file of a repository.
        let is_of_hub = text.split_once(':').is_some_and(|(id, _)| is_hub_id(id));
        if path.is_file() || FILE_ENDINGS.contains(&ending) && !is_of_hub {
            return Ok(Self::File(path));
        }
        if is_written_as_path(text) {
            return Ok(Self::Folder(path));
        }
        if text.starts_with(samples::PREFIX) {
            return samples::find(text).map(|sample| Self::Sample(sample.reference));
        }
        let (id, revision) = match text.split_once('@') {
            Some((id, revision)) => (id, Some(revision)),
            None => (text, None),
        };
        let (id, file) = match id.split_once(':') {
            Some((id, file)) => (id, Some(file)),
            None => (id, None),
        };
        let is_wrong = |part: Option<&str>| part.is_some_and(|part| !part.split('/').all(is_hub_name));
        // The cache names a folder by the id with `--` for the slash: `a--b/c` and `a/b--c` would share one.
        if is_hub_id(id) && id.contains("--") {
            return Err(Error::config(format!("model '{text}': the Hub has no ids with `--`")));
        }
        if !is_hub_id(id) || is_wrong(revision) || is_wrong(file) {
            return Err(Error::config(format!(
                "model '{text}' is neither a folder or file on this machine, nor a Hub id of the form `org/name[:file][@revision]`, nor a \
                 sample model (`tiny:text`)"
            )));
        }
        let owned = |part: Option<&str>| part.map(str::to_owned);
        Ok(Self::Hub { id: id.to_owned(), revision: owned(revision), file: owned(file) })
    }
}

impl fmt::Display for ModelReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) | Self::File(path) => path.display().fmt(f),
            Self::Sample(reference) => f.write_str(reference),
            Self::Hub { id, revision, file } => {
                f.write_str(id)?;
                file.iter().try_for_each(|file| write!(f, ":{file}"))?;
                revision.iter().try_for_each(|revision| write!(f, "@{revision}"))
            }
        }
    }
}

/// Whether this is written as a path.
fn is_written_as_path(text: &str) -> bool {
    text.ends_with('/') || ["/", "./", "../", "~/"].iter().any(|start| text.starts_with(start))
}

/// Expands `~` as a shell does.
fn expand_home(text: &str) -> PathBuf {
    match (text.strip_prefix("~/"), std::env::home_dir()) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => Path::new(text).to_owned(),
    }
}

/// Whether this is `org/name`.
fn is_hub_id(id: &str) -> bool {
    id.split('/').count() == 2 && id.split('/').all(is_hub_name)
}

fn is_hub_name(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !name.is_empty() && name.chars().all(is_plain) && !name.starts_with('.') && !name.contains("..")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn what_lies_on_the_disk_is_a_folder_or_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("weights.bin");
        std::fs::write(&file, "x").unwrap();
        let parsed = |path: &Path| path.to_str().unwrap().parse::<ModelReference>().unwrap();
        assert_eq!(parsed(folder.path()), ModelReference::Folder(folder.path().to_owned()));
        assert_eq!(parsed(&file), ModelReference::File(file));
        let missing = Path::new("models/nothing-here.gguf");
        assert_eq!(parsed(missing), ModelReference::File(missing.to_owned()));
    }

    #[test]
    fn ids_of_the_hub_may_have_a_revision() {
        let hub = |id: &str, revision: Option<&str>| ModelReference::Hub {
            id: id.to_owned(),
            revision: revision.map(str::to_owned),
            file: None,
        };
        assert_eq!("org/name".parse::<ModelReference>().unwrap(), hub("org/name", None));
        assert_eq!("o.r_g/na-me@refs/pr/1".parse::<ModelReference>().unwrap(), {
            hub("o.r_g/na-me", Some("refs/pr/1"))
        });
        let one: ModelReference = "org/name:Q4_K_M@main".parse().unwrap();
        assert!(matches!(&one, ModelReference::Hub { file: Some(file), .. } if file == "Q4_K_M"));
        assert_eq!(one.to_string(), "org/name:Q4_K_M@main");
        let lora: ModelReference = "org/name:a/lora.safetensors".parse().unwrap();
        assert!(
            matches!(&lora, ModelReference::Hub { file: Some(file), .. } if file == "a/lora.safetensors")
        );
    }

    #[test]
    fn sample_models_have_names_of_their_own() {
        let text: ModelReference = " tiny:text ".parse().unwrap();
        assert_eq!((&text, text.to_string()), (&ModelReference::Sample("tiny:text"), "tiny:text".to_owned()));
        assert_eq!("tiny:x/y".parse::<ModelReference>().unwrap_err().kind(), ErrorKind::ConfigInvalid);
        assert!(matches!("tiny/text".parse(), Ok(ModelReference::Hub { .. })));
    }

    #[test]
    fn a_path_is_never_taken_for_an_id() {
        for text in ["./org/name", "../org", "/nowhere/at/all", "org/"] {
            assert!(matches!(text.parse(), Ok(ModelReference::Folder(_))), "{text}");
        }
    }

    #[test]
    fn what_is_neither_is_an_error_that_says_what_is_valid() {
        for text in ["", "bert", "a/b/c", "a/b@", "a/b:", "a/b:..", "org/na me", "org/..", "a b"] {
            let error = text.parse::<ModelReference>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConfigInvalid, "{text}");
        }
    }
}
