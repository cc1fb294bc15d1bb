//! The backends: one folder each, the same file names in each.

pub mod scripted;
