//! Ignore rules: any file gives rules or an error, and rules answer for any path.
#![no_main]

use havre_build::context::IgnoreRules;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (Vec<u8>, String)| {
    let (text, path) = input;
    if let Ok(rules) = IgnoreRules::parse(&text) {
        let _ = rules.excludes(&path);
        let _ = rules.may_include_below(&path);
    }
});
