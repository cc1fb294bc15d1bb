//! Follows `docs/adding-a-backend.md` step by step on a copy of the workspace and runs the suite there.
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

/// Copies what the crate and its manifest need; the other members stay behind.
fn copy_workspace(from: &Path, to: &Path) {
    for name in ["Cargo.toml", "Cargo.lock", "rustfmt.toml", "README.md"] {
        std::fs::copy(from.join(name), to.join(name)).unwrap();
    }
    let manifest = std::fs::read_to_string(to.join("Cargo.toml")).unwrap();
    let alone = manifest.lines().map(|line| match line.split_once(" = ") {
        Some(("members" | "default-members", _)) => "members = [\"core\"]",
        _ => line,
    });
    let mut alone: Vec<&str> = alone.collect();
    alone.dedup();
    std::fs::write(to.join("Cargo.toml"), alone.join("\n")).unwrap();
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

/// Writes the new cases into the manifest and runs them.
fn run_suite(root: &Path) -> String {
    let suite = "test --offline -p ayni --test behavior -- duck";
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
    assert_eq!(steps.len(), 10, "the page has ten steps that name a file");

    let copy = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    copy_workspace(workspace, copy.path());
    for step in &steps {
        follow(copy.path(), step);
    }
    let said = run_suite(copy.path());
    for case in ["embed/duck-puts-the-ducks-in-order", "embed/duck-waits-for-a-full-pond"] {
        assert!(said.lines().any(|line| line.contains(case) && line.ends_with("ok")), "{case}:\n{said}");
    }
}
