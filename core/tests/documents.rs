//! The JSON in the documentation is what the library accepts.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};

use ayni::{ChatConfig, EmbedderConfig, ImageConfig, ProcurementConfig, Setup};
use serde_json::Value;

fn pages() -> Vec<PathBuf> {
    let core = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages = vec![core.join("README.md"), core.join("../README.md")];
    for folder in [core.join("../docs/guides"), core.join("src/backends")] {
        collect(&folder, &mut pages);
    }
    pages
}

fn collect(folder: &Path, pages: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, pages);
        } else if path.extension().is_some_and(|ending| ending == "md") {
            pages.push(path);
        }
    }
}

fn json_blocks(page: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if line.trim_start() == "```json" {
            blocks.push(
                lines.by_ref().take_while(|line| line.trim_start() != "```").collect::<Vec<_>>().join("\n"),
            );
        }
    }
    blocks
}

#[test]
fn every_setup_in_the_documentation_is_accepted() {
    let mut setups = 0;
    for page in pages() {
        for block in json_blocks(&std::fs::read_to_string(&page).unwrap()) {
            let value: Value =
                serde_json::from_str(&block).unwrap_or_else(|error| panic!("{}: {error}", page.display()));
            if value.get("backend").is_none() {
                continue;
            }
            setups += 1;
            let refusals = [
                serde_json::from_value::<Setup<ChatConfig>>(value.clone()).err(),
                serde_json::from_value::<Setup<EmbedderConfig>>(value.clone()).err(),
                serde_json::from_value::<Setup<ImageConfig>>(value.clone()).err(),
                serde_json::from_value::<Setup<ProcurementConfig>>(value.clone()).err(),
            ];
            assert!(refusals.iter().any(Option::is_none), "{}:\n{block}\n{refusals:?}", page.display());
        }
    }
    assert!(setups >= 6, "only {setups} setups were found");
}
