//! Pseudo terminals and window sizes.
