//! A Dockerfile, whatever its bytes: lines, typed instructions, expanded words.
#![no_main]

use havre_build::{expand, instructions, parser};
use libfuzzer_sys::fuzz_target;

/// Values that expand, split, match and refuse.
struct Values;

impl expand::Variables for Values {
    fn get(&self, name: &str) -> Option<&str> {
        match name {
            "a" => Some("x y"),
            "A" => Some("/usr/local/bin:/usr/bin"),
            "E" => Some(""),
            "e" => Some("é$a'\"\\"),
            _ => None,
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let lines = bytes.split(|byte| *byte == b'\n').count();
    let Ok(document) = parser::parse(bytes) else { return };
    let mut last = 0;
    for node in &document.nodes {
        assert!(last < *node.lines.start() && node.lines.start() <= node.lines.end());
        last = *node.lines.end();
        assert!(last <= lines, "an instruction of line {last} in a file of {lines}");
        let escape = document.directives.escape;
        let _ = expand::word(&node.rest, &Values, escape);
        let _ = expand::body(&node.rest, &Values, escape);
        if let Ok(words) = expand::words(&node.rest, &Values, escape) {
            assert!(words.iter().map(String::len).sum::<usize>() <= expand::MAX_RESULT);
        }
    }
    if let Err(error) = instructions::read(&document) {
        assert!(*error.lines.end() <= lines);
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = instructions::read_trigger(text);
    }
});
