use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use fs_err as fs;

use super::*;
use havre_oci::layer::{Entry, Kind, TarWriter};

fn root(path: &Path) -> Root {
    Root::open(path).unwrap()
}

fn archive(entries: &[(&str, Kind, &str)]) -> Vec<u8> {
    let mut tar = TarWriter::new(Vec::new());
    for (path, kind, text) in entries {
        let is_file = *kind == Kind::File;
        let entry = Entry {
            path: path.as_bytes().to_vec(),
            kind: *kind,
            target: if is_file {
                Vec::new()
            } else {
                text.as_bytes().to_vec()
            },
            mode: 0o755,
            mtime: 1_000_000_000,
            size: if is_file { text.len() as u64 } else { 0 },
            ..Entry::default()
        };
        tar.entry(&entry, &mut text.as_bytes()).unwrap();
    }
    tar.finish().unwrap()
}

fn unpack_into(directory: &Path, archive: &[u8], options: UnpackOptions) -> Result<()> {
    unpack(archive, &root(directory), Path::new(""), None, &options)
}

#[test]
fn a_tree_comes_back_as_it_was() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let source = from.path();
    fs::create_dir_all(source.join("data/sub")).unwrap();
    fs::write(source.join("data/a"), "one").unwrap();
    fs::set_permissions(source.join("data/a"), std::fs::Permissions::from_mode(0o640)).unwrap();
    fs::hard_link(source.join("data/a"), source.join("data/sub/again")).unwrap();
    symlink("../a", source.join("data/sub/link")).unwrap();
    fs::set_permissions(source.join("data"), std::fs::Permissions::from_mode(0o1777)).unwrap();
    copy_up(&root(source), "/data", to.path()).unwrap();
    let target = to.path();
    assert_eq!(
        fs::metadata(target).unwrap().mode() & 0o7777,
        0o1777,
        "the directory's own mode"
    );
    assert_eq!(fs::read_to_string(target.join("sub/again")).unwrap(), "one");
    let (a, again) = (
        fs::metadata(target.join("a")).unwrap(),
        fs::metadata(target.join("sub/again")).unwrap(),
    );
    assert_eq!(a.ino(), again.ino(), "still one file");
    assert_eq!(a.mode() & 0o777, 0o640);
    assert_eq!(a.mtime(), fs::metadata(source.join("data/a")).unwrap().mtime());
    assert_eq!(fs::read_link(target.join("sub/link")).unwrap(), Path::new("../a"));
}

#[test]
fn nothing_to_copy_is_no_error() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(from.path().join("file"), "x").unwrap();
    copy_up(&root(from.path()), "/nothing/here", to.path()).unwrap();
    copy_up(&root(from.path()), "/file", to.path()).unwrap();
    assert_eq!(fs::read_dir(to.path()).unwrap().count(), 0);
}

#[test]
fn links_lead_nowhere_outside() {
    let (inside, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    symlink(outside.path(), inside.path().join("out")).unwrap();
    symlink("../../../../..", inside.path().join("up")).unwrap();
    let archive = archive(&[("out/evil", Kind::File, "x"), ("up/evil", Kind::File, "y")]);
    let result = unpack_into(inside.path(), &archive, UnpackOptions::default());
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0, "{result:?}");
    assert!(!Path::new("/evil").exists());
}

#[test]
fn a_link_in_the_archive_leads_nowhere_outside() {
    let (inside, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let target = outside.path().display().to_string();
    let archive = archive(&[("out", Kind::Symlink, &target), ("out/evil", Kind::File, "x")]);
    let _ = unpack_into(inside.path(), &archive, UnpackOptions::default());
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[test]
fn kinds_can_be_protected() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir_all(directory.path().join("d/full")).unwrap();
    fs::write(directory.path().join("f"), "old").unwrap();
    let keep = UnpackOptions {
        keep_kinds: true,
        ..UnpackOptions::default()
    };
    let file_over_dir = archive(&[("d", Kind::File, "new")]);
    let dir_over_file = archive(&[("f", Kind::Dir, "")]);
    assert!(
        unpack_into(directory.path(), &file_over_dir, keep)
            .unwrap_err()
            .to_string()
            .contains("cannot overwrite directory")
    );
    assert!(
        unpack_into(directory.path(), &dir_over_file, keep)
            .unwrap_err()
            .to_string()
            .contains("non-directory")
    );
    unpack_into(directory.path(), &file_over_dir, UnpackOptions::default()).unwrap();
    assert_eq!(fs::read_to_string(directory.path().join("d")).unwrap(), "new");
    unpack_into(directory.path(), &dir_over_file, UnpackOptions::default()).unwrap();
    assert!(directory.path().join("f").is_dir());
}

#[test]
fn an_existing_link_is_replaced_not_followed() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("victim"), "old").unwrap();
    symlink("victim", directory.path().join("f")).unwrap();
    unpack_into(
        directory.path(),
        &archive(&[("f", Kind::File, "new")]),
        UnpackOptions::default(),
    )
    .unwrap();
    assert_eq!(
        fs::read_to_string(directory.path().join("victim")).unwrap(),
        "old"
    );
    assert_eq!(fs::read_to_string(directory.path().join("f")).unwrap(), "new");
}

#[test]
fn the_archives_root_entry_counts_only_when_asked() {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let with_root = archive(&[("", Kind::Dir, ""), ("f", Kind::File, "x")]);
    let mode = || fs::metadata(directory.path()).unwrap().mode() & 0o777;
    unpack_into(directory.path(), &with_root, UnpackOptions::default()).unwrap();
    assert_eq!(mode(), 0o700);
    unpack_into(
        directory.path(),
        &with_root,
        UnpackOptions {
            root_metadata: true,
            ..UnpackOptions::default()
        },
    )
    .unwrap();
    assert_eq!(mode(), 0o755);
}

#[test]
fn garbage_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let error = unpack_into(directory.path(), &[1; 1024], UnpackOptions::default()).unwrap_err();
    assert_eq!(error.kind(), crate::ErrorKind::InvalidParameter);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn deep_trees_cost_no_descriptors() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let deep: std::path::PathBuf = std::iter::repeat_n("d", 900).collect();
    fs::create_dir_all(from.path().join(&deep)).unwrap();
    copy_up(&root(from.path()), "/", to.path()).unwrap();
    assert!(to.path().join(&deep).is_dir());
}
