//! Contexts as hostile clients send them.

use std::io::Write as _;

use fs_err as fs;
use havre_build::ContextError;
use havre_build::context::{Limits, unpack};
use havre_oci::layer::{Entry, Kind, TarWriter};

fn entry(path: &str, kind: Kind, target: &str, size: u64) -> Entry {
    Entry {
        path: path.into(),
        kind,
        target: target.into(),
        mode: 0o755,
        size,
        ..Entry::default()
    }
}

fn tar(entries: &[(Entry, &[u8])]) -> Vec<u8> {
    let mut writer = TarWriter::new(Vec::new());
    for (entry, content) in entries {
        writer.entry(entry, &mut &content[..]).expect("written");
    }
    writer.finish().expect("finished")
}

#[test]
fn an_ordinary_context() {
    let scratch = tempfile::tempdir().expect("temp dir");
    let bytes = tar(&[
        (entry("Dockerfile", Kind::File, "", 4), b"FROM"),
        (entry("src/main", Kind::File, "", 2), b"hi"),
        (entry("src/again", Kind::Hardlink, "src/main", 0), b""),
        (entry("link", Kind::Symlink, "src/main", 0), b""),
        (entry("Dockerfile", Kind::File, "", 5), b"later"),
    ]);
    let context = unpack(bytes.as_slice(), scratch.path(), &Limits::default()).expect("unpacks");
    let root = context.path().to_path_buf();
    assert_eq!(
        fs::read_to_string(root.join("Dockerfile")).expect("read"),
        "later"
    );
    assert_eq!(fs::read_to_string(root.join("src/again")).expect("read"), "hi");
    assert_eq!(fs::read_to_string(root.join("link")).expect("read"), "hi");
    drop(context);
    assert!(!root.exists());
}

#[test]
fn nothing_is_written_outside() {
    let scratch = tempfile::tempdir().expect("temp dir");
    let outside = tempfile::tempdir().expect("temp dir");
    let target = outside.path().to_str().expect("text");
    let bytes = tar(&[
        (entry("out", Kind::Symlink, target, 0), b""),
        (entry("out/file", Kind::File, "", 1), b"x"),
        (entry("up", Kind::Symlink, "../../../../..", 0), b""),
        (entry("up/tmp/file", Kind::File, "", 1), b"x"),
    ]);
    let context =
        unpack(bytes.as_slice(), scratch.path(), &Limits::default()).expect("unpacks beneath itself");
    assert_eq!(fs::read_dir(outside.path()).expect("list").count(), 0);
    assert!(context.path().join("tmp/file").exists());
}

#[test]
fn refused_contexts() {
    let scratch = tempfile::tempdir().expect("temp dir");
    let refuse = |bytes: &[u8], limits: &Limits| unpack(bytes, scratch.path(), limits).expect_err("refused");
    let device = tar(&[(entry("null", Kind::Char { major: 1, minor: 3 }, "", 0), b"")]);
    assert!(matches!(
        refuse(&device, &Limits::default()),
        ContextError::Special { .. }
    ));
    let many: Vec<_> = (0..20)
        .map(|n| (entry(&format!("f{n}"), Kind::File, "", 0), &b""[..]))
        .collect();
    assert!(matches!(
        refuse(
            &tar(&many),
            &Limits {
                entries: 10,
                ..Limits::default()
            }
        ),
        ContextError::Archive(havre_oci::layer::LayerError::TooManyEntries { .. })
    ));
    let large = tar(&[(entry("f", Kind::File, "", 100_000), &[0; 100_000])]);
    refuse(
        &large,
        &Limits {
            bytes: 50_000,
            ..Limits::default()
        },
    );
    refuse(&large[..60_000], &Limits::default());
    assert!(matches!(
        refuse(b"\xfd7zXZ\0....", &Limits::default()),
        ContextError::Compression("xz")
    ));
    refuse(b"FROM debian\nRUN x\n", &Limits::default());
    let mut bomb =
        havre_oci::compression::encoder(Vec::new(), havre_oci::Compression::Gzip, None).expect("encoder");
    let zeros = tar(&[(entry("f", Kind::File, "", 300 << 20), &vec![0; 300 << 20])]);
    bomb.write_all(&zeros).expect("packed");
    refuse(&bomb.finish().expect("packed"), &Limits::default());
    assert_eq!(
        fs::read_dir(scratch.path()).expect("list").count(),
        0,
        "no litter"
    );
}
