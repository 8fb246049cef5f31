//! Versions among tags, and their order.
//!
//! `1.25.3`, `v2`, `3.19-alpine`, `15.4-rc1`: numbers between dots, perhaps after a `v`, then perhaps something else. What
//! does not begin so is a name.

use std::cmp::Ordering;

/// What may follow a version that is not yet finished.
const UNFINISHED: [&str; 7] = ["alpha", "beta", "dev", "nightly", "pre", "preview", "rc"];

/// A tag in parts.
struct Version<'a> {
    numbers: Vec<u64>,
    /// Not finished: comes before the version itself.
    unfinished: bool,
    rest: &'a str,
}

fn version(tag: &str) -> Option<Version<'_>> {
    let text = tag.strip_prefix(['v', 'V']).unwrap_or(tag);
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (numbers, rest) = text.split_at(end);
    let numbers = numbers
        .trim_end_matches('.')
        .split('.')
        .map(|number| number.parse().ok())
        .collect::<Option<Vec<u64>>>()?;
    // A digest's hex digits, or a date with letters, is no version.
    if !rest.is_empty() && !rest.starts_with(['-', '_', '+', '.']) && !is_unfinished(rest) {
        return None;
    }
    Some(Version {
        numbers,
        unfinished: is_unfinished(rest),
        rest,
    })
}

fn is_unfinished(rest: &str) -> bool {
    let rest = rest.trim_start_matches(['-', '_', '.']).to_ascii_lowercase();
    let word: String = rest.chars().take_while(char::is_ascii_alphabetic).collect();
    // Python's short forms: 3.13a1, 3.13b2.
    UNFINISHED.contains(&word.as_str())
        || (["a", "b"].contains(&word.as_str())
            && rest[word.len()..].starts_with(|c: char| c.is_ascii_digit()))
}

/// Versions from the newest to the oldest, of the same number the more exact one first; then names by the alphabet.
pub(super) fn newest_first(a: &str, b: &str) -> Ordering {
    match (version(a), version(b)) {
        (Some(left), Some(right)) => right
            .numbers
            .cmp(&left.numbers)
            .then(left.unfinished.cmp(&right.unfinished))
            .then_with(|| match left.unfinished {
                // rc2 is newer than rc1.
                true => natural(right.rest, left.rest),
                false => natural(left.rest, right.rest),
            })
            .then_with(|| a.cmp(b)),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => natural(a, b).then_with(|| a.cmp(b)),
    }
}

/// Text by the alphabet, numbers in it by their value.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        let (left, right) = (digits(a), digits(b));
        if left > 0 && right > 0 {
            let (x, y) = (
                a[..left].trim_start_matches('0'),
                b[..right].trim_start_matches('0'),
            );
            let order = x.len().cmp(&y.len()).then_with(|| x.cmp(y));
            if order != Ordering::Equal {
                return order;
            }
            (a, b) = (&a[left..], &b[right..]);
            continue;
        }
        let (mut left, mut right) = (a.chars(), b.chars());
        match (left.next(), right.next()) {
            (None, None) => return Ordering::Equal,
            (x, y) if x != y => return x.cmp(&y),
            _ => (a, b) = (left.as_str(), right.as_str()),
        }
    }
}

/// How many digits a text begins with.
fn digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sorted<const N: usize>(mut tags: [&str; N]) -> [&str; N] {
        tags.sort_by(|a, b| newest_first(a, b));
        tags
    }

    #[test]
    fn versions_come_before_names_and_the_newest_first() {
        assert_eq!(
            sorted([
                "latest", "1.9", "1.10", "v1.10.1", "1", "stable", "2.0-rc1", "2.0-rc2", "2.0", "edge"
            ]),
            [
                "2.0", "2.0-rc2", "2.0-rc1", "v1.10.1", "1.10", "1.9", "1", "edge", "latest", "stable"
            ]
        );
        assert_eq!(
            sorted([
                "3.19-alpine",
                "3.9-alpine",
                "3.19",
                "3.19-slim",
                "3.13.0a3",
                "3.13.0b1"
            ]),
            [
                "3.19",
                "3.19-alpine",
                "3.19-slim",
                "3.13.0b1",
                "3.13.0a3",
                "3.9-alpine"
            ]
        );
    }

    #[test]
    fn what_only_looks_like_a_version_is_a_name() {
        assert_eq!(sorted(["0f3c2b", "7"]), ["7", "0f3c2b"]);
        assert_eq!(sorted(["build9", "build10"]), ["build9", "build10"]);
        // Larger than any number.
        assert_eq!(
            sorted(["99999999999999999999999", "1"]),
            ["1", "99999999999999999999999"]
        );
    }

    proptest! {
        #[test]
        fn it_is_an_order(tags in prop::collection::vec("[v]?[0-9a-c.]{0,4}[-a-z0-9.]{0,6}", 3)) {
            let (a, b, c) = (&tags[0], &tags[1], &tags[2]);
            prop_assert_eq!(newest_first(a, b), newest_first(b, a).reverse());
            if newest_first(a, b).is_le() && newest_first(b, c).is_le() {
                prop_assert!(newest_first(a, c).is_le());
            }
            prop_assert_eq!(newest_first(a, b).is_eq(), a == b);
        }
    }
}
