//! Names for containers that were given none: an adjective and somebody or something of the sea.

use rand::seq::IndexedRandom;

const ADJECTIVES: &[&str] = &[
    "agile", "amber", "ample", "ardent", "azure", "balmy", "bold", "brave", "breezy", "brisk", "calm",
    "candid", "cheery", "clear", "clever", "coastal", "cosy", "crisp", "curious", "daring", "deep", "deft",
    "eager", "early", "earnest", "elated", "fair", "fearless", "festive", "fleet", "fluent", "fond", "frank",
    "free", "fresh", "gallant", "gentle", "glad", "golden", "grand", "happy", "hardy", "hearty", "honest",
    "humble", "jolly", "jovial", "keen", "kind", "lively", "loyal", "lucid", "lucky", "mellow", "merry",
    "mild", "modest", "neat", "nimble", "noble", "patient", "placid", "plucky", "polite", "proud", "quick",
    "quiet", "rapid", "ready", "regal", "robust", "rosy", "salty", "sane", "serene", "sharp", "silver",
    "sincere", "sleek", "smart", "snug", "solid", "spry", "stable", "steady", "stoic", "sturdy", "sunny",
    "swift", "tender", "tidal", "tidy", "tranquil", "trusty", "upbeat", "valiant", "vivid", "warm", "wise",
    "witty", "zesty",
];

const SURNAMES: &[&str] = &[
    "agnesi",
    "anning",
    "archimedes",
    "babbage",
    "baret",
    "bell",
    "bering",
    "boole",
    "bougainville",
    "bowditch",
    "cabot",
    "cadamosto",
    "carson",
    "cartier",
    "cavendish",
    "cerf",
    "champlain",
    "chichester",
    "columba",
    "cook",
    "cousteau",
    "curie",
    "dampier",
    "darwin",
    "diaz",
    "dijkstra",
    "drake",
    "earhart",
    "earle",
    "eratosthenes",
    "erdos",
    "euler",
    "faraday",
    "fermat",
    "fibonacci",
    "flinders",
    "fourier",
    "franklin",
    "frisius",
    "fulton",
    "galilei",
    "gauss",
    "germain",
    "godel",
    "goodall",
    "halley",
    "hamilton",
    "harrison",
    "herschel",
    "hertz",
    "hipparchus",
    "hooke",
    "hopper",
    "hudson",
    "humboldt",
    "hypatia",
    "johnson",
    "joule",
    "kepler",
    "knuth",
    "kovalevskaya",
    "lamarr",
    "lamport",
    "lavoisier",
    "leeuwenhoek",
    "leibniz",
    "liskov",
    "lovelace",
    "magellan",
    "marconi",
    "maury",
    "maxwell",
    "meitner",
    "mercator",
    "mitchell",
    "nansen",
    "napier",
    "newton",
    "noether",
    "noonan",
    "ohm",
    "pascal",
    "perlman",
    "piccard",
    "poincare",
    "ptolemy",
    "ramanujan",
    "ride",
    "ritchie",
    "ross",
    "saavedra",
    "sarmiento",
    "scoresby",
    "shackleton",
    "shannon",
    "slocum",
    "snell",
    "somerville",
    "stevin",
    "tabei",
    "tasman",
    "tesla",
    "tharp",
    "turing",
    "vancouver",
    "vespucci",
    "volta",
    "wallis",
    "weddell",
    "wegener",
    "wilkes",
    "zheng",
];

/// `adjective_surname`, with a digit from the third try on.
pub(crate) fn random(attempt: u32) -> String {
    let mut rng = rand::rng();
    let adjective = ADJECTIVES.choose(&mut rng).copied().unwrap_or("calm");
    let surname = SURNAMES.choose(&mut rng).copied().unwrap_or("cook");
    match attempt {
        0 | 1 => format!("{adjective}_{surname}"),
        _ => format!(
            "{adjective}_{surname}{}",
            rand::random_range(0..10u32.saturating_pow(attempt.min(9) - 1))
        ),
    }
}

/// `[a-zA-Z0-9][a-zA-Z0-9_.-]+`
pub(crate) fn is_valid(name: &str) -> bool {
    let tail = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    match name.as_bytes() {
        [first, rest @ ..] => first.is_ascii_alphanumeric() && !rest.is_empty() && rest.iter().all(tail),
        [] => false,
    }
}

/// 64 random hex digits that cannot be taken for a decimal number in their first twelve.
pub(crate) fn new_id() -> String {
    loop {
        let bytes: [u8; 32] = rand::random();
        let id: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        if id.as_bytes()[..12].iter().any(u8::is_ascii_alphabetic) {
            return id;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_valid_and_vary() {
        let names: std::collections::BTreeSet<_> = (0..200).map(|attempt| random(attempt % 5)).collect();
        assert!(names.len() > 150);
        assert!(names.iter().all(|name| is_valid(name)), "{names:?}");
    }

    #[test]
    fn lists_hold_no_word_twice() {
        for list in [ADJECTIVES, SURNAMES] {
            let unique: std::collections::BTreeSet<_> = list.iter().collect();
            assert_eq!(unique.len(), list.len());
            assert!(
                list.iter()
                    .all(|word| word.bytes().all(|byte| byte.is_ascii_lowercase()))
            );
        }
    }

    #[test]
    fn which_names_are_valid() {
        for good in ["ab", "a_b.c-d", "0x", "Web1"] {
            assert!(is_valid(good), "{good}");
        }
        for bad in ["", "a", "-ab", "_a", "a b", "a/b", "é9"] {
            assert!(!is_valid(bad), "{bad}");
        }
    }

    #[test]
    fn ids() {
        let id = new_id();
        assert_eq!(id.len(), 64);
        assert_ne!(id, new_id());
    }
}
