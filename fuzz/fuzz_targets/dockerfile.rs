//! The Dockerfile parser on arbitrary bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = havre_build::parser::parse(bytes);
});
