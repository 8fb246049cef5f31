//! Names inside archives, made relative to the layer's root.

use super::Class;

/// The longest path, as Linux's `PATH_MAX`.
const MAX_PATH: usize = 4096;
/// The longest component, as `NAME_MAX` of every file system we unpack to.
const MAX_COMPONENT: usize = 255;

const WHITEOUT: &[u8] = b".wh.";
const WHITEOUT_META: &[u8] = b".wh..wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// Why a name is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Problem {
    Outside,
    Invalid(&'static str),
}

/// Writes the clean form of `name` into `out`: leading slashes, empty components and `.` dropped, `..` resolved by text.
/// A name that climbs above its start is [`Problem::Outside`].
pub(super) fn clean(name: &[u8], out: &mut Vec<u8>) -> Result<(), Problem> {
    out.clear();
    if name.len() > MAX_PATH {
        return Err(Problem::Invalid("longer than 4096 bytes"));
    }
    if name.contains(&0) {
        return Err(Problem::Invalid("contains a zero byte"));
    }
    for component in name.split(|&b| b == b'/') {
        match component {
            b"" | b"." => {}
            b".." => {
                if out.is_empty() {
                    return Err(Problem::Outside);
                }
                out.truncate(out.iter().rposition(|&b| b == b'/').unwrap_or(0));
            }
            _ if component.len() > MAX_COMPONENT => {
                return Err(Problem::Invalid("has a component longer than 255 bytes"));
            }
            _ => {
                if !out.is_empty() {
                    out.push(b'/');
                }
                out.extend_from_slice(component);
            }
        }
    }
    Ok(())
}

/// What a clean path means in a layer.
pub(super) fn classify(path: &[u8]) -> Result<Class, Problem> {
    let name_at = path.iter().rposition(|&b| b == b'/').map_or(0, |slash| slash + 1);
    let (dir, name) = (&path[..name_at.saturating_sub(1)], &path[name_at..]);
    if path.starts_with(WHITEOUT_META) && name != OPAQUE {
        return Ok(Class::Metadata);
    }
    if dir
        .split(|&b| b == b'/')
        .any(|component| component.starts_with(WHITEOUT))
    {
        return Err(Problem::Invalid("has a whiteout as a directory"));
    }
    if !name.starts_with(WHITEOUT) {
        return Ok(Class::Normal);
    }
    if name == OPAQUE {
        return Ok(Class::Opaque { dir: dir.to_vec() });
    }
    if name.starts_with(WHITEOUT_META) {
        return Ok(Class::Metadata);
    }
    match &name[WHITEOUT.len()..] {
        b"" | b"." | b".." => Err(Problem::Invalid("is a whiteout of nothing")),
        hidden => {
            let mut path = path[..name_at].to_vec();
            path.extend_from_slice(hidden);
            Ok(Class::Whiteout { path })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cleaned(name: &str) -> Result<String, Problem> {
        let mut out = Vec::new();
        clean(name.as_bytes(), &mut out).map(|()| String::from_utf8(out).unwrap())
    }

    #[test]
    fn clean_paths() {
        for (name, expected) in [
            ("", ""),
            ("./", ""),
            ("/", ""),
            ("a", "a"),
            ("./a//b/./c/", "a/b/c"),
            ("/etc/passwd", "etc/passwd"),
            ("a/../b", "b"),
            ("a/b/..", "a"),
            ("a/..", ""),
            ("...", "..."),
            ("..a/b..", "..a/b.."),
        ] {
            assert_eq!(cleaned(name).unwrap(), expected, "{name}");
        }
        for name in ["..", "../a", "a/../../b", "/../a", "./../x"] {
            assert_eq!(cleaned(name), Err(Problem::Outside), "{name}");
        }
        assert!(matches!(cleaned("a\0b"), Err(Problem::Invalid(_))));
        assert!(matches!(cleaned(&"a".repeat(256)), Err(Problem::Invalid(_))));
        assert!(cleaned(&"a".repeat(255)).is_ok());
        assert!(matches!(cleaned(&"a/".repeat(2049)), Err(Problem::Invalid(_))));
    }

    #[test]
    fn classes() {
        let whiteout = |path: &str| Class::Whiteout { path: path.into() };
        for (path, expected) in [
            ("", Class::Normal),
            ("a/b", Class::Normal),
            (".wh.a", whiteout("a")),
            ("a/b/.wh.c", whiteout("a/b/c")),
            (".wh..hidden", whiteout(".hidden")),
            (".wh..wh..opq", Class::Opaque { dir: vec![] }),
            ("a/.wh..wh..opq", Class::Opaque { dir: b"a".to_vec() }),
            (".wh..wh.plnk", Class::Metadata),
            (".wh..wh.plnk/12.34", Class::Metadata),
            ("a/.wh..wh.orph", Class::Metadata),
        ] {
            assert_eq!(classify(path.as_bytes()).unwrap(), expected, "{path}");
        }
        for path in [".wh.", "a/.wh..", ".wh...", ".wh.a/b"] {
            assert!(classify(path.as_bytes()).is_err(), "{path}");
        }
    }

    proptest! {
        #[test]
        fn clean_is_safe_and_stable(name in "[a.b/]{0,40}") {
            if let Ok(once) = cleaned(&name) {
                prop_assert!(!once.starts_with('/') && !once.ends_with('/'));
                prop_assert!(once.is_empty() || once.split('/').all(|c| !matches!(c, "" | "." | "..")));
                prop_assert_eq!(cleaned(&once).unwrap(), once);
            }
        }
    }
}
