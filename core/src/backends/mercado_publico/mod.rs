#![doc = include_str!("docs.md")]

pub(crate) mod wire;
