//! Random entries of archives.

use havre_oci::layer::{Entry, Kind};
use proptest::prelude::*;

/// Entries among few names, so that they meet as files, directories and links of one another.
pub(crate) fn entry() -> impl Strategy<Value = (Entry, Vec<u8>)> {
    let name = || prop_oneof![Just("a"), Just("b"), Just("c")];
    let path = || proptest::collection::vec(name(), 1..4).prop_map(|names| names.join("/"));
    let target = prop_oneof![
        path(),
        path().prop_map(|path| format!("/{path}")),
        path().prop_map(|path| format!("../../{path}")),
        Just("..".to_owned()),
        Just("/".to_owned()),
        Just("../../../../outside".to_owned()),
    ];
    let kind = prop_oneof![
        4 => Just(Kind::File),
        2 => Just(Kind::Dir),
        3 => Just(Kind::Symlink),
        1 => Just(Kind::Hardlink),
        1 => Just(Kind::Fifo),
        1 => Just(Kind::Char { major: 0, minor: 0 }),
    ];
    let whiteout = prop_oneof![6 => Just(""), 1 => Just(".wh."), 1 => Just("opaque")];
    let modes = prop_oneof![Just(0o755), Just(0o2775), Just(0o0), Just(0o4711)];
    (path(), kind, target, path(), whiteout, modes, any::<u8>()).prop_map(
        |(path, kind, symlink, hardlink, whiteout, mode, seed)| {
            let (dir, name) = path
                .rsplit_once('/')
                .map_or(("", path.as_str()), |(dir, name)| (dir, name));
            let slash = if dir.is_empty() { "" } else { "/" };
            let (path, kind) = match whiteout {
                "" => (path.clone(), kind),
                "opaque" => (format!("{dir}{slash}.wh..wh..opq"), Kind::File),
                _ => (format!("{dir}{slash}.wh.{name}"), Kind::File),
            };
            let target = match kind {
                Kind::Symlink => symlink,
                Kind::Hardlink => hardlink,
                _ => String::new(),
            };
            let payload = if kind == Kind::File {
                vec![seed; usize::from(seed) * 7 % 1500]
            } else {
                Vec::new()
            };
            let size = payload.len() as u64;
            let gid = u32::from(seed % 3);
            (
                Entry {
                    path: path.into(),
                    kind,
                    target: target.into(),
                    mode,
                    gid,
                    size,
                    ..Entry::default()
                },
                payload,
            )
        },
    )
}
