//! What entries mean together where the plain model of `properties.rs` does not go: links among parents, limits, errors.

use havre_erofs::read::{Content, Entry, Extent, Image, Limits, ReadError};
use havre_erofs::{BlockSize, DATA_START, DeviceKind, ErofsError, Layout, Metadata, Node, Options, Tree};

const PLAIN: Metadata = Metadata {
    mode: 0o640,
    uid: 1,
    gid: 2,
    mtime: 3,
    mtime_nanos: 0,
};

fn tree() -> Tree {
    Tree::new(Options::default())
}

fn file(tree: &mut Tree, path: &str) {
    tree.add(path.as_bytes(), Node::File { offset: 0, size: 0 }, &PLAIN, &[])
        .unwrap();
}

fn symlink(tree: &mut Tree, path: &str, target: &str) {
    tree.add(path.as_bytes(), Node::Symlink(target.as_bytes()), &PLAIN, &[])
        .unwrap();
}

fn entries(tree: Tree) -> Vec<Entry> {
    let layout = Layout::new(tree, DATA_START).unwrap();
    let mut bytes = layout.superblock([0; 16]).to_vec();
    layout.write_metadata(&mut bytes).unwrap();
    let image = Image::open(bytes.as_slice(), bytes.len() as u64, Limits::default()).unwrap();
    let mut entries = Vec::new();
    image
        .walk(|entry| {
            entries.push(entry.clone());
            Ok::<(), ReadError>(())
        })
        .unwrap();
    entries
}

fn paths(tree: Tree) -> Vec<String> {
    entries(tree)
        .into_iter()
        .skip(1)
        .map(|entry| String::from_utf8(entry.path).unwrap())
        .collect()
}

#[test]
fn an_empty_tree_is_a_root() {
    let entries = entries(tree());
    assert_eq!(entries.len(), 1);
    assert_eq!((entries[0].links, entries[0].metadata.mode), (2, 0o755));
}

#[test]
fn links_among_parents_lead_within_the_tree() {
    let mut tree = tree();
    symlink(&mut tree, "bin", "usr/bin");
    file(&mut tree, "bin/sh");
    symlink(&mut tree, "usr/up", "../../../..");
    file(&mut tree, "usr/up/in-root");
    symlink(&mut tree, "abs", "/usr/lib/./x/../");
    file(&mut tree, "abs/libc.so");
    symlink(&mut tree, "twice", "abs/deep");
    file(&mut tree, "twice/file");
    let expected = [
        "abs",
        "bin",
        "in-root",
        "twice",
        "usr",
        "usr/bin",
        "usr/bin/sh",
        "usr/lib",
        "usr/lib/deep",
        "usr/lib/deep/file",
        "usr/lib/libc.so",
        "usr/lib/x",
        "usr/up",
    ];
    assert_eq!(paths(tree), expected);
}

#[test]
fn links_that_go_round_are_refused() {
    let mut tree = tree();
    symlink(&mut tree, "a", "b");
    symlink(&mut tree, "b", "a");
    let refused = tree.add(b"a/x", Node::Fifo, &PLAIN, &[]).unwrap_err();
    assert!(matches!(refused, ErofsError::LinkLoop { path } if path == "a/x"));
    let refused = tree.link(b"x", b"a/y").unwrap_err();
    assert!(matches!(refused, ErofsError::DanglingHardLink { .. }));
}

#[test]
fn a_file_among_the_parents_is_refused() {
    let mut tree = tree();
    file(&mut tree, "etc/passwd");
    let refused = tree.add(b"etc/passwd/x/y", Node::Fifo, &PLAIN, &[]).unwrap_err();
    assert_eq!(
        refused.to_string(),
        r#"cannot place "etc/passwd/x/y": "etc/passwd" is not a directory"#
    );
    symlink(&mut tree, "link", "etc/passwd");
    assert!(matches!(
        tree.whiteout(b"link/x"),
        Err(ErofsError::NotADirectory { .. })
    ));
}

#[test]
fn a_hard_link_keeps_what_its_target_was() {
    let mut tree = tree();
    let mode = |mode| Metadata { mode, ..PLAIN };
    tree.add(b"a", Node::Fifo, &mode(0o1), &[]).unwrap();
    tree.link(b"b", b"a").unwrap();
    tree.link(b"c", b"b").unwrap();
    tree.link(b"c", b"a").unwrap();
    tree.add(b"a", Node::Fifo, &mode(0o2), &[]).unwrap();
    // The directory goes, with the only other name in it; what was linked stays.
    tree.add(b"d/e", Node::Fifo, &mode(0o3), &[]).unwrap();
    tree.link(b"d/b", b"b").unwrap();
    tree.link(b"f", b"d/e").unwrap();
    file(&mut tree, "d");
    let found: Vec<_> = entries(tree)
        .iter()
        .skip(1)
        .map(|entry| (entry.path[0], entry.metadata.mode, entry.links))
        .collect();
    let expected = [
        (b'a', 0o2, 1),
        (b'b', 0o1, 2),
        (b'c', 0o1, 2),
        (b'd', 0o640, 1),
        (b'f', 0o3, 1),
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_hard_link_over_the_directory_of_its_target() {
    let mut tree = tree();
    file(&mut tree, "a/b");
    tree.link(b"a", b"a/b").unwrap();
    let entries = entries(tree);
    assert_eq!((entries.len(), entries[1].links), (2, 1));
    assert!(matches!(entries[1].content, Content::File { size: 0, .. }));
}

#[test]
fn hard_links_follow_links_among_the_parents_of_their_target() {
    let mut tree = tree();
    file(&mut tree, "usr/bin/perl");
    symlink(&mut tree, "bin", "/usr/bin");
    symlink(&mut tree, "usr/bin/l", "perl");
    tree.link(b"perl", b"bin/perl").unwrap();
    tree.link(b"l", b"bin/l").unwrap();
    let found = entries(tree);
    let of = |path: &[u8]| found.iter().find(|entry| entry.path == path).unwrap();
    assert_eq!(of(b"perl").nid, of(b"usr/bin/perl").nid);
    // The link itself is linked, not what it leads to.
    assert_eq!(of(b"l").content, Content::Symlink(b"perl".to_vec()));
    assert_eq!((of(b"l").nid, of(b"l").links), (of(b"usr/bin/l").nid, 2));
}

#[test]
fn dangling_hard_links_name_both_paths() {
    let mut tree = tree();
    tree.add(b"dir", Node::Directory, &PLAIN, &[]).unwrap();
    tree.whiteout(b"gone").unwrap();
    file(&mut tree, "file");
    for target in ["missing", "dir", "gone", "file/x", "dir/../file", ""] {
        let refused = tree.link(b"new", target.as_bytes()).unwrap_err().to_string();
        assert!(refused.contains(&format!("{target:?}")), "{refused}");
    }
    let refused = tree.link(b"new", b"missing").unwrap_err().to_string();
    assert_eq!(
        refused,
        r#"hard link "new" points to "missing", which does not exist or is a directory"#
    );
    assert_eq!(paths(tree), ["dir", "file", "gone"]);
}

#[test]
fn whiteouts_and_what_the_layer_has_itself() {
    let mut tree = tree();
    tree.whiteout(b"gone").unwrap();
    tree.whiteout(b"anew").unwrap();
    tree.add(b"anew", Node::Directory, &PLAIN, &[]).unwrap();
    tree.whiteout(b"parent").unwrap();
    file(&mut tree, "parent/child");
    file(&mut tree, "kept");
    tree.whiteout(b"kept").unwrap();
    tree.add(b"dir", Node::Directory, &PLAIN, &[]).unwrap();
    tree.whiteout(b"dir").unwrap();
    tree.opaque(b"new/opaque").unwrap();
    tree.whiteout(b"replaced").unwrap();
    file(&mut tree, "replaced");
    let found: Vec<_> = entries(tree)
        .into_iter()
        .skip(1)
        .map(|entry| {
            let path = String::from_utf8(entry.path.clone()).unwrap();
            (path, entry.is_whiteout(), entry.is_opaque())
        })
        .collect();
    let expected = [
        ("anew", false, true),
        ("dir", false, true),
        ("gone", true, false),
        ("kept", false, false),
        ("new", false, false),
        ("new/opaque", false, true),
        ("parent", false, true),
        ("parent/child", false, false),
        ("replaced", false, false),
    ];
    let expected = expected.map(|(path, whiteout, opaque)| (path.to_owned(), whiteout, opaque));
    assert_eq!(found, expected);
}

#[test]
fn a_directory_again_keeps_children_and_attributes() {
    let mut tree = tree();
    let xattr = |name: &str, value: &str| (name.as_bytes().to_vec(), value.as_bytes().to_vec());
    let first = [xattr("user.a", "1"), xattr("user.b", "2")];
    tree.add(b"d", Node::Directory, &PLAIN, &first).unwrap();
    file(&mut tree, "d/x");
    let metadata = Metadata {
        mode: 0o2755,
        ..PLAIN
    };
    tree.add(b"d", Node::Directory, &metadata, &[xattr("user.b", "3")])
        .unwrap();
    tree.add(b"", Node::Directory, &metadata, &[xattr("user.root", "")])
        .unwrap();
    let found = entries(tree);
    assert_eq!(found[0].xattrs, [xattr("user.root", "")]);
    assert_eq!(found[1].metadata, metadata);
    assert_eq!(found[1].xattrs, [xattr("user.a", "1"), xattr("user.b", "3")]);
    assert_eq!(found[2].path, b"d/x");
}

#[test]
fn paths_have_limits() {
    let mut tree = tree();
    let long = ["n".repeat(255).as_str(); 15].join("/");
    let name = |len: usize| format!("{long}/{}/{}", "m".repeat(200), "x".repeat(len));
    file(&mut tree, &name(4095 - long.len() - 202));
    let refused = tree.add(name(4095 - long.len() - 201).as_bytes(), Node::Fifo, &PLAIN, &[]);
    assert!(matches!(refused, Err(ErofsError::Path { what, .. }) if what == "is longer than 4095 bytes"));
    // Short as written, too long where it leads.
    symlink(&mut tree, "short", &long);
    let refused = tree.add(
        format!("short/{}/y", "m".repeat(255)).as_bytes(),
        Node::Fifo,
        &PLAIN,
        &[],
    );
    assert!(matches!(refused, Err(ErofsError::Path { .. })), "{refused:?}");
    for path in ["a//b", "/a", "a/", "../a", "a/./b", "a\0b", &"n".repeat(256)] {
        let refused = tree.add(path.as_bytes(), Node::Fifo, &PLAIN, &[]);
        assert!(matches!(refused, Err(ErofsError::Path { .. })), "{path:?}");
    }
    assert!(entries(tree).iter().any(|entry| entry.path.len() == 4095));
}

#[test]
fn what_cannot_be_is_refused() {
    let mut tree = tree();
    let mut refused = |node| tree.add(b"x", node, &PLAIN, &[]).unwrap_err();
    for node in [
        Node::File { offset: 512, size: 1 },
        Node::File {
            offset: 4097,
            size: 1,
        },
        Node::File {
            offset: 1 << 41,
            size: 1,
        },
        Node::Sparse {
            size: 4096,
            chunk: 4096,
            map: &[],
        },
        Node::Sparse {
            size: 4096,
            chunk: 5000,
            map: &[4096],
        },
        Node::Sparse {
            size: 4096,
            chunk: 256,
            map: &[4096; 16],
        },
        Node::Sparse {
            size: 4096,
            chunk: 4096,
            map: &[100],
        },
    ] {
        assert!(matches!(refused(node), ErofsError::Data { .. }), "{node:?}");
    }
    let long = [b'x'; 4096];
    for target in [b"".as_slice(), &long, b"a\0b"] {
        assert!(matches!(
            refused(Node::Symlink(target)),
            ErofsError::LinkTarget { .. }
        ));
    }
    for (major, minor) in [(4096, 0), (0, 1 << 20)] {
        let kind = DeviceKind::Block;
        let device = Node::Device { kind, major, minor };
        assert!(matches!(refused(device), ErofsError::DeviceNumber { .. }));
    }
    assert!(matches!(
        tree.add(b"", Node::Fifo, &PLAIN, &[]),
        Err(ErofsError::Path { .. })
    ));
    assert!(matches!(tree.whiteout(b""), Err(ErofsError::Path { .. })));
    let beyond = Node::File {
        offset: 4096,
        size: 513,
    };
    tree.add(b"dir/beyond", beyond, &PLAIN, &[]).unwrap();
    let refused = Layout::new(tree, 4096 + 512).unwrap_err();
    assert_eq!(
        refused.to_string(),
        r#"contents of "dir/beyond": reach beyond the data"#
    );
}

#[test]
fn attributes_are_refused_with_their_name() {
    let mut tree = tree();
    let large = [(b"user.large".to_vec(), vec![0; 65_536])];
    let refused = tree.add(b"x", Node::Directory, &PLAIN, &large).unwrap_err();
    assert_eq!(
        refused.to_string(),
        r#"extended attribute "user.large" of "x": has a value longer than 65535 bytes"#
    );
    let xattr = |n| (format!("user.{n}").into_bytes(), vec![n; 65_535]);
    tree.add(b"y", Node::Directory, &PLAIN, &[xattr(1), xattr(2), xattr(3)])
        .unwrap();
    let refused = tree.add(b"y", Node::Directory, &PLAIN, &[xattr(4)]).unwrap_err();
    assert!(matches!(
        refused,
        ErofsError::XattrsTooLarge { size: 262_172, .. }
    ));
    let found = entries(tree);
    assert_eq!(found[2].xattrs.len(), 3);
}

#[test]
fn memory_has_a_limit() {
    let options = Options {
        memory: 4 << 20,
        ..Options::default()
    };
    let mut tree = Tree::new(options);
    let refused = (0..1_000_000)
        .find_map(|n| {
            tree.add(format!("f{n}").as_bytes(), Node::Fifo, &PLAIN, &[])
                .err()
        })
        .unwrap();
    assert!(matches!(refused, ErofsError::Memory { limit: 4_194_304 }));
    assert!(tree.memory() < 5 << 20);
    // The same path again and again takes no more.
    let mut tree = Tree::new(options);
    let with_extra = Metadata { mtime: -1, ..PLAIN };
    for _ in 0..1_000_000 {
        tree.add(b"same", Node::Fifo, &with_extra, &[]).unwrap();
    }
    assert!(tree.memory() < 1 << 20);
}

#[test]
fn far_data_needs_larger_blocks() {
    let far = Node::File {
        offset: 3 << 40,
        size: 5_000_000_000,
    };
    assert!(tree().add(b"x", far, &PLAIN, &[]).is_err());
    let mut tree = Tree::new(Options {
        block: BlockSize::B4096,
        ..Options::default()
    });
    tree.add(b"x", far, &PLAIN, &[]).unwrap();
    let layout = Layout::new(tree, 4 << 40).unwrap();
    assert_eq!(layout.offset(), 4 << 40);
    assert_eq!(layout.file_bytes(), 5_000_000_000);
    assert!(Layout::new(Tree::new(Options::default()), 2 << 40).is_err());
}

#[test]
fn appended_data_are_found_where_the_data_end() {
    for block in [BlockSize::B512, BlockSize::B4096] {
        let mut tree = Tree::new(Options {
            block,
            ..Options::default()
        });
        let at = |offset| Node::APPENDED + offset;
        let sparse = |size, map| Node::Sparse {
            size,
            chunk: 8192,
            map,
        };
        let last = [at(16_384)];
        let map = [Node::HOLE, at(0), DATA_START, at(8192)];
        let plain = Node::File {
            offset: DATA_START,
            size: 700,
        };
        tree.add(b"plain", plain, &PLAIN, &[]).unwrap();
        tree.add(b"first", sparse(30_000, &map), &PLAIN, &[]).unwrap();
        tree.add(b"second", sparse(5, &last), &PLAIN, &[]).unwrap();
        // The data need not end with a block; what is appended begins with one.
        let layout = Layout::new(tree, DATA_START + 8192 + 100).unwrap();
        let start = (DATA_START + 8192 + 100).next_multiple_of(block.bytes());
        assert_eq!(layout.appended(), start);
        assert_eq!(layout.offset(), start + 16_384 + block.bytes());
        let mut bytes = vec![0; layout.offset() as usize];
        layout.write_metadata(&mut bytes).unwrap();
        bytes[..4096].copy_from_slice(&layout.superblock([0; 16]));
        let image = Image::open(bytes.as_slice(), bytes.len() as u64, Limits::default()).unwrap();
        let extents = |path: &[u8]| match image.find(path).unwrap().unwrap().content {
            Content::File { extents, .. } => extents,
            other => panic!("{other:?}"),
        };
        let extent = |offset, len| Extent { offset, len };
        assert_eq!(
            extents(b"first"),
            [
                extent(None, 8192),
                extent(Some(start), 8192),
                extent(Some(DATA_START), 8192),
                extent(Some(start + 8192), 30_000 - 3 * 8192)
            ]
        );
        assert_eq!(extents(b"second"), [extent(Some(start + 16_384), 5)]);
    }
    // More than there are numbers for.
    let mut tree = tree();
    let far = Node::Sparse {
        size: 512,
        chunk: 512,
        map: &[Node::APPENDED + (1 << 40)],
    };
    tree.add(b"far", far, &PLAIN, &[]).unwrap();
    let refused = Layout::new(tree, DATA_START + (1 << 40)).unwrap_err();
    assert!(matches!(refused, ErofsError::TooLarge { .. }), "{refused:?}");
    let beyond = Node::Sparse {
        size: 512,
        chunk: 512,
        map: &[Node::APPENDED + (1 << 41)],
    };
    let refused = self::tree().add(b"far", beyond, &PLAIN, &[]).unwrap_err();
    assert!(matches!(refused, ErofsError::Data { .. }), "{refused:?}");
}
