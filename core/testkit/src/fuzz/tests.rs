//! The fuzzer on parsers with planted faults.

use std::time::Duration;

use super::run::{attempt, run};
use super::*;

const SEED: u64 = 20_261_121;

fn faulty(input: &[u8]) -> Result<String, String> {
    let text = String::from_utf8_lossy(input);
    assert!(!text.contains("\"Cantidad\":null"), "a planted fault");
    match text.contains("[null]") {
        true => Err("a planted lie".to_owned()),
        false => Ok(String::new()),
    }
}

fn planted(check: fn(&[u8]) -> Result<String, String>) -> Vec<Target> {
    let seeds = vec![br#"{"Cantidad":1,"Listado":[1]}"#.to_vec()];
    vec![Target { name: "planted", seeds, kind: InputKind::Json, check }]
}

#[test]
fn planted_faults_are_found_and_found_again_with_the_same_seed() {
    let found =
        || run(planted(faulty), SEED, Duration::from_secs(60), None).expect_err("two faults were planted");
    let first = found();
    assert_eq!(first, found());
    assert!(first.reason.contains("planted"), "{first:?}");
    assert_eq!(attempt(faulty, &first.input), Err(first.reason.clone()));
    let other = run(planted(faulty), SEED + 1, Duration::from_secs(60), None).expect_err("found");
    assert_ne!(other.input, first.input, "another seed goes another way");
}

#[test]
fn a_number_of_inputs_ends_a_run() {
    let options = FuzzOptions::new(SEED, Duration::from_secs(60), "nowhere").with_inputs(7);
    let report = fuzz(planted(|_| Ok(String::new())), &options);
    assert_eq!(report, Ok(format!("seed {SEED}, inputs: [(\"planted\", 7)]")));
}

#[test]
fn a_parser_that_does_not_end_is_found() {
    let stuck = |input: &[u8]| {
        while input.first() == Some(&b'[') {
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(String::new())
    };
    let found = run(planted(stuck), SEED, Duration::from_secs(60), None).expect_err("found");
    assert!(found.reason.contains("takes more than") && found.input.starts_with(b"["), "{found:?}");
}

#[test]
fn a_finding_is_stored_and_can_be_tried_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut options = FuzzOptions::new(SEED, Duration::from_secs(60), folder.path().join("found"));
    let report = fuzz(planted(faulty), &options).expect_err("two faults were planted");
    let (_, path) = report.split_once("AYNI_FUZZ_INPUT=").expect(&report);
    options.input = Some(path.strip_suffix(" tries it alone").expect(&report).into());
    assert!(fuzz(planted(faulty), &options).expect_err("still broken").contains("planted"));
    assert_eq!(fuzz(planted(|_| Ok("read".to_owned())), &options), Ok("planted: read".to_owned()));
    options.target = Some("nobody".to_owned());
    assert_eq!(fuzz(planted(faulty), &options), Err("there is no target 'nobody'".to_owned()));
}
