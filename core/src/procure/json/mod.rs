//! Reading the JSON of procurement services: objects whose types drift, and lists of millions of rows.

pub(crate) mod fields;
pub(crate) mod walk;
