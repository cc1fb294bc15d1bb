//! Readable output.

/// The tour's own title.
pub(crate) fn title(name: &str, subtitle: &str) {
    println!("\n{name} — {subtitle}");
}

/// The beginning of a part.
pub(crate) fn section(name: &str, subtitle: &str) {
    println!("\n── {name} {}\n   {subtitle}\n", "─".repeat(76_usize.saturating_sub(name.chars().count())));
}

/// One line of a part.
pub(crate) fn line(text: impl std::fmt::Display) {
    println!("   {text}");
}

/// A name and what it is.
pub(crate) fn fact(name: &str, value: impl std::fmt::Display) {
    println!("   {name:<22} {value}");
}
