//! trash.
