//! Follows `docs/adding-a-backend.md` step by step on a copy of the workspace and runs the suites there: ayni's with
//! the new backend, and that of the crate outside.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::process::Command;

/// One fenced block of the page that names a file.
struct Step<'a> {
    file: &'a str,
    before: Option<&'a str>,
    text: String,
}

fn attribute<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = info.split_once(&format!(" {name}="))?;
    match rest.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next(),
        None => rest.split_whitespace().next(),
    }
}

fn steps(page: &str) -> Vec<Step<'_>> {
    let mut steps = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some(info) = line.strip_prefix("```") else { continue };
        let text: String =
            lines.by_ref().take_while(|line| *line != "```").map(|line| format!("{line}\n")).collect();
        let before = attribute(info, "before");
        if let Some(file) = attribute(info, "file").or_else(|| attribute(info, "into")) {
            steps.push(Step { file, before, text });
        }
    }
    steps
}

/// Does what a step says: a new file, or lines before others of an existing one.
fn follow(root: &Path, step: &Step<'_>) {
    let path = root.join(step.file);
    let text = match step.before {
        None => step.text.clone(),
        Some(before) => {
            let old = std::fs::read_to_string(&path).unwrap();
            let at = old.find(before).unwrap_or_else(|| panic!("{} has no line {before:?}", step.file));
            format!("{}{}{}", &old[..at], step.text, &old[at..])
        }
    };
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// The crate that the page makes outside ayni.
const OUTSIDE: &str = "duck-pond";

/// Copies what `ayni` and `ayni-testkit` need; the other members stay behind. The crate outside is a member so that
/// one build serves both suites, and `patch` gives it these two crates in the registry's place.
fn copy_workspace(from: &Path, to: &Path) {
    for name in ["Cargo.toml", "Cargo.lock", "rustfmt.toml", "README.md"] {
        std::fs::copy(from.join(name), to.join(name)).unwrap();
    }
    let manifest = std::fs::read_to_string(to.join("Cargo.toml")).unwrap();
    let alone = manifest.lines().map(|line| match line.split_once(" = ") {
        Some(("members", _)) => format!("members = [\"core\", \"core/testkit\", \"{OUTSIDE}\"]"),
        Some(("default-members", _)) => String::new(),
        _ => line.to_owned(),
    });
    let patch =
        ["[patch.crates-io]", "ayni = { path = \"core\" }", "ayni-testkit = { path = \"core/testkit\" }"];
    let lines: Vec<String> = alone.chain(patch.map(str::to_owned)).collect();
    std::fs::write(to.join("Cargo.toml"), lines.join("\n")).unwrap();
    for folder in ["core", "docs"] {
        copy_folder(&from.join(folder), &to.join(folder));
    }
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Writes the new cases into the manifests and runs them.
fn run_suites(root: &Path) -> String {
    let suite = format!("test --offline -p ayni -p {OUTSIDE} --test behavior -- duck");
    let output = Command::new(env!("CARGO"))
        .current_dir(root)
        .args(suite.split(' '))
        .env("CARGO_TARGET_DIR", target_folder())
        .env("CARGO_TERM_COLOR", "never")
        .env("AYNI_UPDATE_MANIFEST", "1")
        .output()
        .unwrap();
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    said
}

/// A target folder of its own inside ours, kept between runs: only the copied crate is built anew.
fn target_folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("adding-a-backend-target")
}

#[test]
fn the_page_about_adding_a_backend_works_as_written() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let page = std::fs::read_to_string(workspace.join("docs/adding-a-backend.md")).unwrap();
    let steps = steps(&page);
    let (outside, inside): (Vec<_>, Vec<_>) =
        steps.iter().partition(|step| step.file.starts_with(&format!("{OUTSIDE}/")));
    assert_eq!((inside.len(), outside.len()), (10, 5), "the steps of the page that name a file");

    let copy = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    copy_workspace(workspace, copy.path());
    for step in &steps {
        follow(copy.path(), step);
    }
    let said = run_suites(copy.path());
    for case in [
        "embed/duck-puts-the-ducks-in-order",
        "embed/duck-waits-for-a-full-pond",
        "embed/duck-pond-full-at-first",
        "must-fail/duck-pond-in-another-order",
    ] {
        assert!(said.lines().any(|line| line.contains(case) && line.ends_with("ok")), "{case}:\n{said}");
    }
    let manifest = copy.path().join(OUTSIDE).join("tests/suite/manifest.json");
    let listed = std::fs::read_to_string(manifest).unwrap();
    assert!(listed.contains("full-at-first") && listed.contains("in-another-order"), "{listed}");
}
