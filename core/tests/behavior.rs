//! Runs the behaviour suite of `conformance/` on ayni's own backends.

use std::process::ExitCode;

fn main() -> ExitCode {
    ayni_testkit::test_main(concat!(env!("CARGO_MANIFEST_DIR"), "/conformance"), ayni_testkit::open)
}
