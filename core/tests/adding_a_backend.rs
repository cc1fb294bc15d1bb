//! Follows `docs/adding-a-backend.md` step by step on a copy of the workspace and runs the suites there: ayni's with
//! the new backend, and that of the crate outside.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;
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

/// Copies the crates of the library and the manifests and sources of the other members, which share the features of
/// dependencies with them. The crate outside is a member so that one build serves both suites, and `patch` gives it
/// ours in the registry's place. The copy has another version, so that its build does not replace ours.
fn copy_workspace(from: &Path, to: &Path) {
    for name in ["Cargo.toml", "Cargo.lock", "rustfmt.toml", "README.md"] {
        std::fs::copy(from.join(name), to.join(name)).unwrap();
    }
    for folder in ["core", "docs", "examples/minimal"] {
        copy_folder(&from.join(folder), &to.join(folder));
    }
    for member in ["bindings-python", "bindings-node", "examples/tour", "benches"] {
        copy_folder(&from.join(member).join("src"), &to.join(member).join("src"));
        for name in ["Cargo.toml", "build.rs"].iter().filter(|name| from.join(member).join(name).exists()) {
            std::fs::copy(from.join(member).join(name), to.join(member).join(name)).unwrap();
        }
    }
    let manifest = std::fs::read_to_string(to.join("Cargo.toml")).unwrap();
    let version = env!("CARGO_PKG_VERSION");
    let changed = manifest.replacen("members = [", &format!("members = [\"{OUTSIDE}\", "), 1).replacen(
        &format!("version = \"{version}\""),
        &format!("version = \"{version}+copy\""),
        1,
    );
    assert!(changed.contains(OUTSIDE) && changed.contains("+copy"), "{manifest}");
    let patch =
        ["[patch.crates-io]", "ayni = { path = \"core\" }", "ayni-testkit = { path = \"core/testkit\" }"];
    std::fs::write(to.join("Cargo.toml"), changed + "\n" + &patch.join("\n")).unwrap();
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
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(root).args(["test", "--offline", "--test", "behavior"]);
    // No case needs the arithmetic, which takes a minute to optimise.
    cargo.args(["--config", "profile.dev.package.ayni-kernels.opt-level=0"]);
    let tmp = Path::new(env!("CARGO_TARGET_TMPDIR"));
    match std::env::var("AYNI_TEST_BUILD") {
        // What scripts/test builds ours with: the dependencies are there already.
        Ok(arguments) => {
            cargo.args(arguments.split_whitespace()).env("CARGO_TARGET_DIR", tmp.parent().unwrap())
        }
        // Kept between runs: only the crates of the copy are built anew.
        Err(_) => cargo
            .args(["-p", "ayni", "-p", OUTSIDE])
            .env("CARGO_TARGET_DIR", tmp.join("adding-a-backend-target")),
    };
    cargo.env("CARGO_TERM_COLOR", "never").env("AYNI_UPDATE_MANIFEST", "1").args(["--", "duck"]);
    let output = cargo.output().unwrap();
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    said
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
