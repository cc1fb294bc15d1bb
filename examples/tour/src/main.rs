//! Placeholder until the first commit with content.
fn main() {}
