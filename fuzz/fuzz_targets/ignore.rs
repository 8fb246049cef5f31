//! Ignore rules, and after a line `=` the paths they are asked about. A walk that stays out of a directory misses nothing.
#![no_main]

use havre_build::context::IgnoreRules;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    const MARK: &[u8] = b"\n=\n";
    let at = input.windows(MARK.len()).position(|window| window == MARK);
    let (text, paths) = at.map_or((input, &[][..]), |at| (&input[..at], &input[at + MARK.len()..]));
    let Ok(rules) = IgnoreRules::parse(text) else { return };
    for path in String::from_utf8_lossy(paths).lines().take(8) {
        let names = path.split('/').filter(|name| !matches!(*name, "" | "." | ".."));
        let path = names.collect::<Vec<_>>().join("/");
        if path.is_empty() {
            continue;
        }
        let excluded = rules.excludes(&path);
        for (end, _) in path.match_indices('/') {
            let directory = &path[..end];
            if rules.excludes(directory) && !rules.may_include_below(directory) {
                assert!(excluded, "{path} is in {directory}, which no walk enters");
            }
        }
    }
});
