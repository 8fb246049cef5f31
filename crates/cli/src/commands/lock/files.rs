//! Where Dockerfiles and Compose files name images. Everything else in them stays as it is, byte for byte.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;

/// How a file names images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `FROM name`, `COPY --from=name`.
    Dockerfile,
    /// `image: name`.
    Compose,
}

impl Kind {
    pub(super) fn of(path: &Path) -> Self {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("yaml" | "yml") => Self::Compose,
            _ => Self::Dockerfile,
        }
    }
}

/// The name of an image in a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Bytes of the text.
    pub(super) at: Range<usize>,
}

/// The names in a text, in order. Stages of the same file, `scratch` and names with variables are none.
pub(super) fn places(kind: Kind, text: &str) -> Vec<Place> {
    let mut found = Vec::new();
    let mut stages = BTreeSet::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let at = match kind {
            Kind::Dockerfile => in_dockerfile(line, &mut stages),
            Kind::Compose => in_compose(line),
        };
        if let Some(at) = at.filter(|at| !line[at.clone()].contains('$')) {
            found.push(Place {
                at: start + at.start..start + at.end,
            });
        }
        start += line.len();
    }
    found
}

/// The words of a line with where they stand.
fn words(line: &str) -> impl Iterator<Item = (usize, &str)> {
    line.split_ascii_whitespace()
        .map(|word| (word.as_ptr() as usize - line.as_ptr() as usize, word))
}

fn in_dockerfile(line: &str, stages: &mut BTreeSet<String>) -> Option<Range<usize>> {
    let mut words = words(line);
    let (_, instruction) = words.next()?;
    if instruction.eq_ignore_ascii_case("FROM") {
        let mut names = words.skip_while(|(_, word)| word.starts_with("--"));
        let (at, name) = names.next()?;
        let is_image = name != "scratch" && !stages.contains(&name.to_ascii_lowercase());
        if let (Some((_, word)), Some((_, stage))) = (names.next(), names.next())
            && word.eq_ignore_ascii_case("AS")
        {
            stages.insert(stage.to_ascii_lowercase());
        }
        return is_image.then(|| at..at + name.len());
    }
    if !["COPY", "ADD"]
        .iter()
        .any(|name| instruction.eq_ignore_ascii_case(name))
    {
        return None;
    }
    let flags = words.take_while(|(_, word)| word.starts_with("--"));
    let (at, name) = flags
        .filter_map(|(at, word)| Some((at + "--from=".len(), word.strip_prefix("--from=")?)))
        .next()?;
    let is_stage = stages.contains(&name.to_ascii_lowercase()) || name.bytes().all(|b| b.is_ascii_digit());
    (!is_stage).then(|| at..at + name.len())
}

fn in_compose(line: &str) -> Option<Range<usize>> {
    let indent = line.len() - line.trim_start().len();
    let key = line[indent..].strip_prefix("- ").map_or(indent, |_| indent + 2);
    let value = line[key..].strip_prefix("image:")?;
    let value_at = key + "image:".len();
    let name_at = value_at + (value.len() - value.trim_start().len());
    let quote = line[name_at..].chars().next().filter(|c| matches!(c, '"' | '\''));
    let start = name_at + quote.map_or(0, char::len_utf8);
    let end = match quote {
        Some(quote) => start + line[start..].find(quote)?,
        None => {
            start
                + line[start..]
                    .find(|c: char| c.is_whitespace())
                    .unwrap_or(line.len() - start)
        }
    };
    (end > start && name_at > value_at).then_some(start..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(kind: Kind, text: &str) -> Vec<&str> {
        places(kind, text)
            .into_iter()
            .map(|place| &text[place.at])
            .collect()
    }

    #[test]
    fn a_dockerfile_names_images_where_no_stage_is_meant() {
        let text = "ARG V=1\nFROM --platform=linux/amd64 golang:1.22 AS build\n# FROM no\nfrom Build as two\n\
                    FROM scratch\nFROM app:$V\nCOPY --from=build --chmod=1 /a /a\nCOPY --chmod=1 --from=nginx:1 /b /b\nCOPY --from=0 /c --from=x\n  FROM debian";
        assert_eq!(
            names(Kind::Dockerfile, text),
            ["golang:1.22", "nginx:1", "debian"]
        );
    }

    #[test]
    fn a_compose_file_names_images_by_their_key() {
        let text = "services:\n  web:\n    image: nginx:1 # the web\n  db:\n    image: \"postgres:15\"\n  own:\n    image: ${NAME}\n    imagery: no\n  list:\n    - image: 'redis'\n    image:\n";
        assert_eq!(names(Kind::Compose, text), ["nginx:1", "postgres:15", "redis"]);
    }
}
