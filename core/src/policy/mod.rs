//! What wraps a backend.
