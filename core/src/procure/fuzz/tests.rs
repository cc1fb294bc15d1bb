//! The runs.

// What a long run has done is for whoever waits for it.
#![allow(clippy::print_stdout)]

use super::*;

/// Begins a run. A run of the tests begins with always the same.
const SEED: u64 = 20_261_121;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is '{text}', which is no number")))
}

#[test]
fn no_input_makes_a_parser_panic_or_hang_or_break_its_word() {
    let mut targets = targets::all();
    if let Ok(path) = std::env::var("AYNI_FUZZ_INPUT") {
        let input = std::fs::read(&path).expect(&path);
        let name = path.rsplit('/').next().unwrap_or_default();
        targets.retain(|target| name.starts_with(&format!("{}-", target.name)));
        assert!(!targets.is_empty(), "the name of '{path}' begins with no target's");
        for target in targets {
            println!("{}: {}", target.name, tried(target.check, &input).expect("what has to hold"));
        }
        return;
    }
    if let Ok(name) = std::env::var("AYNI_FUZZ_TARGET") {
        targets.retain(|target| target.name == name);
        assert!(!targets.is_empty(), "there is no target '{name}'");
    }
    let (seed, time) = (number("AYNI_FUZZ_SEED").unwrap_or(SEED), number("AYNI_FUZZ_SECONDS").unwrap_or(10));
    match run(targets, seed, Duration::from_secs(time)) {
        Ok(counts) => println!("seed {seed}, {time} s, inputs: {counts:?}"),
        Err(found) => panic!("{}", told(&found)),
    }
}

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
    vec![Target { name: "planted", seeds, shape: Shape::Json, check }]
}

#[test]
fn planted_faults_are_found_and_found_again_with_the_same_seed() {
    let found = || run(planted(faulty), SEED, Duration::from_secs(60)).expect_err("two faults were planted");
    let first = found();
    assert_eq!(first, found());
    assert!(first.what.contains("planted"), "{first:?}");
    assert_eq!(tried(faulty, &first.input), Err(first.what.clone()));
    let other = run(planted(faulty), SEED + 1, Duration::from_secs(60)).expect_err("found");
    assert_ne!(other.input, first.input, "another seed goes another way");
}

#[test]
fn a_parser_that_does_not_end_is_found() {
    let stuck = |input: &[u8]| {
        while input.first() == Some(&b'[') {
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(String::new())
    };
    let found = run(planted(stuck), SEED, Duration::from_secs(60)).expect_err("found");
    assert!(found.what.contains("takes more than") && found.input.starts_with(b"["), "{found:?}");
}
