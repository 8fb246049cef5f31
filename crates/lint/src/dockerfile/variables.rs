//! Variables that are not set where they are used.

use std::collections::BTreeSet;

use havre_dockerfile::PROXY_ARGS;
use havre_dockerfile::instructions::{Kind, Source};

use super::page::{Base, PREDEFINED, Page};
use crate::finding::Finding;
use crate::rule;

/// What the builder sets in every stage without being asked, beside [`PROXY_ARGS`].
const ALWAYS: [&str; 3] = ["PATH", "HOME", "SOURCE_DATE_EPOCH"];

/// A variable in a word.
#[derive(Debug, PartialEq, Eq)]
struct Use {
    name: String,
    /// `${name:-…}` and the like mind that it may be unset.
    minded: bool,
}

pub(super) fn check(page: &Page<'_>, findings: &mut Vec<Finding>) {
    let escape = page.escape();
    let mut known_of: Vec<BTreeSet<String>> = Vec::new();
    for (index, stage) in page.stages.iter().enumerate() {
        let from = &page.items[stage.from];
        if let Ok(Kind::From(kind)) = &from.kind {
            for word in std::iter::once(&kind.base).chain(&kind.platform) {
                for used in uses(word, escape) {
                    let declared = page.globals.iter().any(|(name, _)| *name == used.name)
                        || PREDEFINED.iter().any(|(name, _)| *name == used.name);
                    if !declared && !used.minded {
                        findings.push(
                            Finding::new(
                                rule::UNDEFINED_ARG,
                                page.word(&from.node, &used.name),
                                format!("{} is not declared before this FROM", used.name),
                            )
                            .fix(format!("ARG {}=VALUE above the first FROM", used.name)),
                        );
                    }
                }
            }
        }
        // What an image sets nobody knows here; then only what is certain is said.
        let (mut known, certain) = match &stage.base {
            Base::Stage(base) if *base < index => (known_of[*base].clone(), rooted_in_scratch(page, *base)),
            Base::Scratch => (BTreeSet::new(), true),
            _ => (BTreeSet::new(), false),
        };
        known.extend(ALWAYS.into_iter().chain(PROXY_ARGS).map(str::to_owned));
        for item in page.body(index) {
            let words: Vec<&str> = match &item.kind {
                Ok(Kind::Arg(args)) => args.iter().filter_map(|arg| arg.default.as_deref()).collect(),
                Ok(Kind::Env(pairs) | Kind::Label(pairs)) => {
                    pairs.iter().map(|(_, value)| value.as_str()).collect()
                }
                Ok(Kind::Copy(copy)) => {
                    let paths = copy.sources.iter().filter_map(|source| match source {
                        Source::Path(path) => Some(path.as_str()),
                        Source::Inline(_) => None,
                    });
                    let flags = copy.chown.iter().chain(&copy.chmod).map(String::as_str);
                    paths.chain([copy.destination.as_str()]).chain(flags).collect()
                }
                Ok(Kind::Expose(text) | Kind::User(text) | Kind::Workdir(text) | Kind::StopSignal(text)) => {
                    vec![text]
                }
                Ok(Kind::Volume(paths)) => paths.iter().map(String::as_str).collect(),
                _ => Vec::new(),
            };
            for used in words.into_iter().flat_map(|word| uses(word, escape)) {
                if used.minded || known.contains(&used.name) {
                    continue;
                }
                let finding = |message: String, fix: String| {
                    Finding::new(rule::UNDEFINED_VAR, page.word(&item.node, &used.name), message).fix(fix)
                };
                let global = page.globals.iter().any(|(name, _)| *name == used.name);
                let predefined = PREDEFINED.iter().any(|(name, _)| *name == used.name);
                if global || predefined {
                    findings.push(finding(
                        format!(
                            "{} is nothing here: what is declared before FROM is not known in a stage",
                            used.name
                        ),
                        format!("ARG {} in this stage, above this line", used.name),
                    ));
                } else if let Some(near) = known.iter().find(|known| near(known, &used.name)) {
                    findings.push(finding(format!("{} is not set", used.name), format!("${near}")));
                } else if certain {
                    findings.push(finding(
                        format!("{} is not set", used.name),
                        format!(
                            "ARG {}=VALUE or ENV {}=VALUE above this line",
                            used.name, used.name
                        ),
                    ));
                }
            }
            match &item.kind {
                Ok(Kind::Arg(args)) => known.extend(args.iter().map(|arg| arg.name.clone())),
                Ok(Kind::Env(pairs)) => known.extend(pairs.iter().map(|(name, _)| name.clone())),
                _ => {}
            }
        }
        known_of.push(known);
    }
}

fn rooted_in_scratch(page: &Page<'_>, stage: usize) -> bool {
    match page.stages[stage].base {
        Base::Scratch => true,
        Base::Stage(base) if base < stage => rooted_in_scratch(page, base),
        _ => false,
    }
}

/// The variables in a word.
fn uses(text: &str, escape: char) -> Vec<Use> {
    let mut found = Vec::new();
    let mut quoted = false;
    let mut chars = text.char_indices().peekable();
    while let Some((at, char)) = chars.next() {
        match char {
            '\'' => quoted = !quoted,
            _ if quoted => {}
            _ if char == escape => {
                chars.next();
            }
            '$' => {
                let rest = &text[at + 1..];
                let (inner, braces) = match rest.strip_prefix('{') {
                    Some(inner) => (inner, true),
                    None => (rest, false),
                };
                let end = inner
                    .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
                    .unwrap_or(inner.len());
                let name = &inner[..end];
                // `$1` is nobody's variable.
                if name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
                    let minded = braces && !inner[end..].starts_with('}');
                    found.push(Use {
                        name: name.to_owned(),
                        minded,
                    });
                }
            }
            _ => {}
        }
    }
    found
}

/// Whether one is the other mistyped: one letter more, less or different, or two exchanged, or another case.
pub(super) fn near(a: &str, b: &str) -> bool {
    if a == b || a.len().min(b.len()) < 4 {
        return false;
    }
    if a.eq_ignore_ascii_case(b) {
        return true;
    }
    let (short, long) = if a.len() <= b.len() {
        (a.as_bytes(), b.as_bytes())
    } else {
        (b.as_bytes(), a.as_bytes())
    };
    if long.len() - short.len() > 1 {
        return false;
    }
    let same = short.iter().zip(long).take_while(|(x, y)| x == y).count();
    // A digit more is another thing, not a mistake: stage1 and stage2.
    let digit = |bytes: &[u8]| bytes.get(same).is_some_and(u8::is_ascii_digit);
    if digit(short) || digit(long) {
        return false;
    }
    if long.len() > short.len() {
        return short[same..] == long[same + 1..];
    }
    let exchanged = same + 1 < short.len()
        && short[same] == long[same + 1]
        && short[same + 1] == long[same]
        && short[same + 2..] == long[same + 2..];
    exchanged || short[same + 1..] == long[same + 1..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_in_words() {
        let names = |text: &str| {
            uses(text, '\\')
                .into_iter()
                .map(|used| (used.name, used.minded))
                .collect::<Vec<_>>()
        };
        let row = |name: &str, minded| (name.to_owned(), minded);
        assert_eq!(
            names("a$b${c}${d:-x}'$e'\\$f\"$g\"$1$"),
            [row("b", false), row("c", false), row("d", true), row("g", false)]
        );
    }

    #[test]
    fn mistyped_names() {
        for (a, b) in [
            ("VERSION", "VERSON"),
            ("build", "biuld"),
            ("Build", "build"),
            ("target", "targets"),
        ] {
            assert!(near(a, b) && near(b, a), "{a} {b}");
        }
        for (a, b) in [
            ("ab", "ac"),
            ("VERSION", "VISION"),
            ("stage1", "stage2"),
            ("same", "same"),
            ("debian", "alpine"),
        ] {
            assert!(!near(a, b), "{a} {b}");
        }
    }
}
