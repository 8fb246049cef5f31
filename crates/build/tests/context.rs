//! Contexts as hostile clients send them, spooled into one file and unpacked into a directory. Needs root: what is spooled
//! is mounted.

use std::io::Write as _;
use std::os::unix::fs::MetadataExt;

use fs_err as fs;
use havre_build::ContextError;
use havre_build::context::{Context, Limits, receive};
use havre_oci::layer::{Entry, Kind, TarWriter};
use havre_store::{LayerForm, Store, StoreOptions};

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

/// A store whose contexts are received in one of the two ways.
struct Receiver {
    store: Store,
    scratch: tempfile::TempDir,
}

impl Receiver {
    fn both() -> [Self; 2] {
        [LayerForm::Auto, LayerForm::Directories].map(|layers| {
            let scratch = tempfile::tempdir().expect("temp dir");
            let options = StoreOptions {
                layers,
                ..StoreOptions::default()
            };
            let store = Store::open_with(&scratch.path().join("store"), &options).expect("store");
            fs::create_dir(scratch.path().join("contexts")).expect("created");
            Self { store, scratch }
        })
    }

    fn receive(&self, bytes: &[u8], limits: &Limits) -> Result<Context, ContextError> {
        receive(bytes, &self.store, &self.scratch.path().join("contexts"), limits)
    }

    fn good(&self, bytes: &[u8]) -> Context {
        self.receive(bytes, &Limits::default()).expect("received")
    }

    /// How much lies where contexts are received.
    fn litter(&self) -> usize {
        self.store.wait_for_trash();
        let dirs = [
            self.scratch.path().join("contexts"),
            self.scratch.path().join("store/ingest"),
        ];
        let count = |dir| fs::read_dir(dir).expect("list").count();
        dirs.into_iter().map(count).sum()
    }
}

#[test]
fn an_ordinary_context() {
    let bytes = tar(&[
        (entry("Dockerfile", Kind::File, "", 4), b"FROM"),
        (entry("src/main", Kind::File, "", 2), b"hi"),
        (entry("src/again", Kind::Hardlink, "src/main", 0), b""),
        (entry("link", Kind::Symlink, "src/main", 0), b""),
        (entry("Dockerfile", Kind::File, "", 5), b"later"),
    ]);
    for receiver in Receiver::both() {
        let context = receiver.good(&bytes);
        let root = context.path().to_path_buf();
        assert_eq!(
            fs::read_to_string(root.join("Dockerfile")).expect("read"),
            "later"
        );
        assert_eq!(fs::read_to_string(root.join("src/again")).expect("read"), "hi");
        assert_eq!(fs::read_to_string(root.join("link")).expect("read"), "hi");
        assert_ne!(receiver.litter(), 0);
        drop(context);
        assert!(!root.exists());
        assert_eq!(receiver.litter(), 0);
    }
}

#[test]
fn nothing_is_written_outside() {
    let outside = tempfile::tempdir().expect("temp dir");
    let target = outside.path().to_str().expect("text");
    let bytes = tar(&[
        (entry("out", Kind::Symlink, target, 0), b""),
        (entry("out/file", Kind::File, "", 1), b"x"),
        (entry("up", Kind::Symlink, "../../../../..", 0), b""),
        (entry("up/tmp/file", Kind::File, "", 1), b"x"),
    ]);
    for receiver in Receiver::both() {
        let context = receiver.good(&bytes);
        assert_eq!(fs::read_dir(outside.path()).expect("list").count(), 0);
        assert!(context.path().join("tmp/file").exists());
    }
}

/// What layers have a meaning for is nothing but a name here, and belongs to root.
#[test]
fn a_context_is_no_layer() {
    let mine = Entry {
        uid: 1000,
        gid: 1000,
        xattrs: vec![(b"user.note".to_vec(), b"x".to_vec())],
        ..entry("dir/mine", Kind::File, "", 2)
    };
    let bytes = tar(&[
        (mine, b"hi"),
        (entry("dir/.wh.mine", Kind::File, "", 2), b"ho"),
        (entry("dir/.wh..wh..opq", Kind::File, "", 2), b"ho"),
        (entry(".wh..wh.plnk", Kind::File, "", 2), b"ho"),
        (entry(".wh.dir/.wh.", Kind::File, "", 2), b"ho"),
    ]);
    for receiver in Receiver::both() {
        let context = receiver.good(&bytes);
        let read = |path: &str| fs::read_to_string(context.path().join(path)).expect(path);
        assert_eq!(read("dir/mine"), "hi");
        for name in ["dir/.wh.mine", "dir/.wh..wh..opq", ".wh..wh.plnk", ".wh.dir/.wh."] {
            assert_eq!(read(name), "ho");
            assert!(
                fs::symlink_metadata(context.path().join(name))
                    .expect(name)
                    .is_file()
            );
        }
        let status = fs::metadata(context.path().join("dir/mine")).expect("status");
        assert_eq!((status.uid(), status.gid()), (0, 0));
        let names = rustix::fs::listxattr(context.path().join("dir/mine"), &mut [0_u8; 64][..]);
        assert_eq!(names, Ok(0));
    }
}

/// As Docker's client sends it when the Dockerfile lies elsewhere.
#[test]
fn a_context_that_ends_with_its_last_byte() {
    let bytes = tar(&[
        (entry("file", Kind::File, "", 700), &[b'x'; 700]),
        (entry(".dockerfile.0123", Kind::File, "", 4), b"FROM"),
    ]);
    let end = 512 + 1024 + 512 + 4;
    for receiver in Receiver::both() {
        let context = receiver.good(&bytes[..end]);
        let read = |path: &str| fs::read(context.path().join(path)).expect(path);
        assert_eq!(read("file"), [b'x'; 700]);
        assert_eq!(read(".dockerfile.0123"), b"FROM");
        receiver
            .receive(&bytes[..end - 1], &Limits::default())
            .expect_err("cut");
    }
}

#[test]
fn refused_contexts() {
    for receiver in Receiver::both() {
        refused_by(&receiver);
    }
}

fn refused_by(receiver: &Receiver) {
    let refuse = |bytes: &[u8], limits: &Limits| receiver.receive(bytes, limits).expect_err("refused");
    let device = tar(&[(entry("null", Kind::Char { major: 1, minor: 3 }, "", 0), b"")]);
    assert!(matches!(
        refuse(&device, &Limits::default()),
        ContextError::Special { .. }
    ));
    let many: Vec<_> = (0..20)
        .map(|n| (entry(&format!("f{n}"), Kind::File, "", 0), &b""[..]))
        .collect();
    let few = Limits {
        entries: 10,
        ..Limits::default()
    };
    let error = refuse(&tar(&many), &few).to_string();
    assert!(error.contains("more than 10 entries"), "{error}");
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
    assert_eq!(receiver.litter(), 0);
}
