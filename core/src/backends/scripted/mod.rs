//! Deterministic answers without a model, a network or a dependency.
