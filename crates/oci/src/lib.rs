//! Formats and identities of the container world: bytes in, values out.
