//! Paths resolved beneath a root directory, whatever links they contain.
