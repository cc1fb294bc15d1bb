//! Loads the cases and compares them with the manifest.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::case::Case;
use crate::placeholders::Placeholders;
use crate::server::Addresses;
use ayni::{Error, Result};

/// A case and the file that it is in.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CaseFile {
    /// The file.
    pub path: PathBuf,
    /// The case, with addresses that lead nowhere in its placeholders.
    pub case: Case,
    raw: Value,
}

impl CaseFile {
    /// Reads and checks one file.
    ///
    /// # Errors
    /// `config_invalid`, naming the file.
    pub fn load(path: &Path) -> Result<Self> {
        let named = |what: String| Error::config(format!("{}: {what}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| named(error.to_string()))?;
        let raw: Value = serde_json::from_str(&text).map_err(|error| named(error.to_string()))?;
        let nowhere = Placeholders::new(&Addresses { main: 0, other: 0, closed: 0 });
        let file = |raw: Value| -> Result<Self> {
            let case = Self::filled(&raw, &nowhere)?;
            Ok(Self { path: path.to_owned(), case, raw })
        };
        let file = file(raw).map_err(|error| named(error.message().to_owned()))?;
        match path.file_stem().and_then(|stem| stem.to_str()) {
            Some(stem) if stem == file.case.name => Ok(file),
            _ => Err(named(format!("the case calls itself '{}'", file.case.name))),
        }
    }

    /// The case with its placeholders filled.
    pub(crate) fn fill(&self, placeholders: &Placeholders) -> Result<Case> {
        Self::filled(&self.raw, placeholders)
    }

    /// The case's JSON with its placeholders filled.
    pub(crate) fn fill_raw(&self, placeholders: &Placeholders) -> Result<Value> {
        placeholders.fill(&self.raw)
    }

    fn filled(raw: &Value, placeholders: &Placeholders) -> Result<Case> {
        let case: Case = serde_json::from_value(placeholders.fill(raw)?)
            .map_err(|error| Error::config(error.to_string()))?;
        case.check()?;
        Ok(case)
    }

    /// Folder and name: `chat/groq-rate-limit-says-when`.
    pub fn id(&self) -> String {
        let folder = self.path.parent().and_then(Path::file_name).and_then(|name| name.to_str());
        format!("{}/{}", folder.unwrap_or_default(), self.case.name)
    }
}

/// Every case of a folder, and its manifest.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Suite {
    /// The cases, sorted.
    pub cases: Vec<CaseFile>,
    /// The cases that are wrong on purpose.
    pub must_fail: Vec<CaseFile>,
    manifest: Manifest,
    folder: PathBuf,
}

/// The names of all cases, so that a missing file is noticed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Manifest {
    /// By folder.
    cases: BTreeMap<String, Vec<String>>,
    must_fail: Vec<String>,
    /// Cases that are not run, with the reason.
    skips: BTreeMap<String, String>,
}

impl Suite {
    /// The suite in `folder`: `cases/<capability>/*.json`, `must-fail/*.json` and `manifest.json`. Each of them may
    /// be missing.
    ///
    /// # Errors
    /// `config_invalid`, naming the first bad file.
    pub fn load(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref();
        if !folder.is_dir() {
            return Err(Error::config(format!("{} is not a folder", folder.display())));
        }
        let mut cases = Vec::new();
        for capability in entries(&folder.join("cases"))? {
            cases.extend(load_all(&capability)?);
        }
        for file in &cases {
            let capability = file.case.capability.as_str();
            if file.id() != format!("{capability}/{}", file.case.name) {
                return Err(Error::config(format!("{} is a case of {capability}", file.path.display())));
            }
            if file.case.fails_with.is_some() {
                return Err(Error::config(format!("{}: `fails_with` is for must-fail", file.path.display())));
            }
        }
        let must_fail = load_all(&folder.join("must-fail"))?;
        if let Some(file) = must_fail.iter().find(|file| file.case.fails_with.is_none()) {
            return Err(Error::config(format!("{}: `fails_with` is missing", file.path.display())));
        }
        let manifest = read_manifest(&folder.join("manifest.json"))?;
        Ok(Self { cases, must_fail, manifest, folder: folder.to_owned() })
    }

    /// Where the manifest and the files differ; empty if they agree.
    pub fn manifest_differences(&self) -> Vec<String> {
        let actual = self.actual_manifest();
        let listed: Vec<String> = self.manifest.ids();
        let present: Vec<String> = actual.ids();
        let mut found: Vec<String> = Vec::new();
        found.extend(
            listed.iter().filter(|id| !present.contains(id)).map(|id| format!("{id} is listed and missing")),
        );
        found
            .extend(present.iter().filter(|id| !listed.contains(id)).map(|id| format!("{id} is not listed")));
        let unknown = |id: &&String| !listed.contains(id);
        found.extend(
            self.manifest.skips.keys().filter(unknown).map(|id| format!("{id} is skipped and not listed")),
        );
        let mut names: Vec<&str> = self.cases.iter().map(|file| file.case.name.as_str()).collect();
        names.sort_unstable();
        let twice =
            names.windows(2).filter(|pair| pair.first() == pair.last()).filter_map(|pair| pair.first());
        found.extend(twice.map(|name| format!("two cases are called {name}")));
        found
    }

    /// How many cases the manifest lists.
    pub fn listed_cases(&self) -> usize {
        self.manifest.cases.values().map(Vec::len).sum()
    }

    /// How many must-fail cases the manifest lists.
    pub fn listed_must_fail(&self) -> usize {
        self.manifest.must_fail.len()
    }

    /// Why a case is not run, if it is not.
    pub fn skip_reason(&self, file: &CaseFile) -> Option<&str> {
        self.manifest.skips.get(&file.id()).map(String::as_str)
    }

    /// Rewrites the manifest from the files, keeping the skips of cases that still exist.
    ///
    /// # Errors
    /// `config_invalid` if it cannot be written.
    pub fn update_manifest(&mut self) -> Result<()> {
        self.manifest = self.actual_manifest();
        let wrong = |error: String| Error::config(format!("manifest.json: {error}"));
        let text = serde_json::to_string_pretty(&self.manifest).map_err(|error| wrong(error.to_string()))?;
        std::fs::write(self.folder.join("manifest.json"), text + "\n")
            .map_err(|error| wrong(error.to_string()))
    }

    fn actual_manifest(&self) -> Manifest {
        let mut manifest = Manifest::default();
        for file in &self.cases {
            let folder = manifest.cases.entry(file.case.capability.as_str().to_owned()).or_default();
            folder.push(file.case.name.clone());
        }
        manifest.must_fail = self.must_fail.iter().map(|file| file.case.name.clone()).collect();
        let ids = manifest.ids();
        manifest.skips = self.manifest.skips.clone();
        manifest.skips.retain(|id, _| ids.contains(id));
        manifest
    }
}

impl Manifest {
    fn ids(&self) -> Vec<String> {
        let cases = self
            .cases
            .iter()
            .flat_map(|(folder, names)| names.iter().map(move |name| format!("{folder}/{name}")));
        cases.chain(self.must_fail.iter().map(|name| format!("must-fail/{name}"))).collect()
    }
}

fn read_manifest(path: &Path) -> Result<Manifest> {
    let named = |what: String| Error::config(format!("{}: {what}", path.display()));
    match std::fs::read_to_string(path) {
        Ok(text) => serde_json::from_str(&text).map_err(|error| named(error.to_string())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Manifest::default()),
        Err(error) => Err(named(error.to_string())),
    }
}

fn load_all(folder: &Path) -> Result<Vec<CaseFile>> {
    let files = entries(folder)?;
    let json = files.iter().filter(|path| path.extension().is_some_and(|extension| extension == "json"));
    json.map(|path| CaseFile::load(path)).collect()
}

/// What is in a folder, sorted; nothing if there is no such folder.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let named = |error: std::io::Error| Error::config(format!("{}: {error}", folder.display()));
    let listing = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(named)?,
    };
    let mut paths =
        listing.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>().map_err(named)?;
    paths.sort();
    Ok(paths)
}
