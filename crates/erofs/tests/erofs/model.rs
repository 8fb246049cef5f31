//! Random entries, and what they mean, done with a plain tree of directories.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use havre_erofs::read::{Content, Entry, Extent};
use havre_erofs::{DATA_START, DeviceKind, ErofsError, Layout, Metadata, Node, Tree};
use proptest::prelude::*;

pub(crate) const DATA_END: u64 = DATA_START + (1 << 20);

pub(crate) type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Leaf {
    File { block: u64, size: u64 },
    Sparse { size: u64, map: Vec<u64> },
    Symlink(Vec<u8>),
    Device(DeviceKind, u32, u32),
    Fifo,
    Socket,
}

#[derive(Debug, Clone)]
pub(crate) enum Op {
    Directory(Vec<Vec<u8>>, Metadata, Xattrs),
    Leaf(Vec<Vec<u8>>, Leaf, Metadata, Xattrs),
    Link(Vec<Vec<u8>>, Vec<Vec<u8>>),
    Whiteout(Vec<Vec<u8>>),
    Opaque(Vec<Vec<u8>>),
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => "[a-d]".prop_map(String::into_bytes),
        1 => Just(b"-".to_vec()),
        1 => Just(b".-".to_vec()),
        1 => Just(b"..a".to_vec()),
        1 => Just(vec![0xFF, b' ']),
        1 => Just(vec![b'n'; 255]),
        1 => (0_u32..400).prop_map(|n| format!("file-{n}").into_bytes()),
    ]
}

/// Mostly from few, so that entries meet.
fn path() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let few = "[a-c]".prop_map(String::into_bytes);
    prop_oneof![
        2 => prop::collection::vec(few, 1..3),
        1 => prop::collection::vec(name(), 1..5),
    ]
}

fn metadata() -> impl Strategy<Value = Metadata> {
    let id = prop_oneof![Just(0), 0..70_000_u32, Just(u32::MAX - 1)];
    let time = prop_oneof![0..2_000_000_000_i64, any::<i64>(), Just(-1)];
    let nanos = prop_oneof![3 => Just(0), 1 => 0..1_000_000_000_u32];
    (0..0o10_000_u32, id.clone(), id, time, nanos).prop_map(|(mode, uid, gid, mtime, mtime_nanos)| Metadata {
        mode,
        uid,
        gid,
        mtime,
        mtime_nanos,
    })
}

fn xattrs() -> impl Strategy<Value = Xattrs> {
    let name = prop_oneof![Just("trusted.a"), Just("trusted.b"), Just("security.long")];
    let value = prop_oneof![
        8 => prop::collection::vec(any::<u8>(), 0..40),
        1 => prop::collection::vec(any::<u8>(), 0..5000),
    ];
    prop_oneof![
        3 => Just(Vec::new()),
        1 => prop::collection::vec((name.prop_map(|name| name.as_bytes().to_vec()), value), 1..4),
    ]
}

fn leaf() -> impl Strategy<Value = Leaf> {
    let target = prop_oneof![8 => 1..60_usize, 1 => 1..4096_usize];
    prop_oneof![
        4 => (0..128_u64, 0..500_000_u64).prop_map(|(block, size)| Leaf::File { block, size }),
        1 => (1..40_000_u64).prop_flat_map(|size| {
            let pieces = size.div_ceil(4096) as usize;
            let piece = prop_oneof![Just(Node::HOLE), (0..200_u64).prop_map(|n| DATA_START + n * 4096)];
            prop::collection::vec(piece, pieces).prop_map(move |map| Leaf::Sparse { size, map })
        }),
        2 => target.prop_map(|len| Leaf::Symlink(vec![b't'; len])),
        1 => (0..300_u32, 0..70_000_u32).prop_map(|(major, minor)| Leaf::Device(DeviceKind::Block, major, minor)),
        1 => (1..300_u32, 0..700_u32).prop_map(|(major, minor)| Leaf::Device(DeviceKind::Char, major, minor)),
        1 => Just(Leaf::Fifo),
        1 => Just(Leaf::Socket),
    ]
}

pub(crate) fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => (path(), metadata(), xattrs()).prop_map(|(path, metadata, xattrs)| Op::Directory(path, metadata, xattrs)),
        6 => (path(), leaf(), metadata(), xattrs()).prop_map(|(p, leaf, metadata, xattrs)| Op::Leaf(p, leaf, metadata, xattrs)),
        2 => (path(), path()).prop_map(|(path, target)| Op::Link(path, target)),
        1 => path().prop_map(Op::Whiteout),
        1 => path().prop_map(Op::Opaque),
    ]
}

/// The plain model.
#[derive(Debug, Default)]
pub(crate) struct Inode {
    metadata: Metadata,
    xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// `None` is a directory.
    leaf: Option<Leaf>,
    children: BTreeMap<Vec<u8>, Shared>,
}

pub(crate) type Shared = Rc<RefCell<Inode>>;

pub(crate) fn directory() -> Shared {
    let inode = Inode::default();
    let metadata = Metadata {
        mode: 0o755,
        ..Metadata::default()
    };
    Rc::new(RefCell::new(Inode { metadata, ..inode }))
}

fn whiteout() -> Leaf {
    Leaf::Device(DeviceKind::Char, 0, 0)
}

fn dress(inode: &Shared, metadata: Metadata, xattrs: &Xattrs) {
    let mut inode = inode.borrow_mut();
    inode.metadata = metadata;
    if matches!(inode.leaf, Some(Leaf::Symlink(_))) {
        inode.metadata.mode = 0o777;
    }
    inode.xattrs.extend(xattrs.iter().cloned());
}

fn opaque(inode: &Shared) {
    let mark = (b"trusted.overlay.opaque".to_vec(), b"y".to_vec());
    inode.borrow_mut().xattrs.extend([mark]);
}

enum Way {
    To(Shared),
    Blocked,
    ThroughLink,
}

/// The directory at `path`, made where it is missing.
fn reach(root: &Shared, path: &[Vec<u8>]) -> Way {
    let mut at = Rc::clone(root);
    for name in path {
        let found = at.borrow().children.get(name).cloned();
        let next = match found {
            None => directory(),
            Some(found) => {
                let leaf = found.borrow().leaf.clone();
                match leaf {
                    None => {
                        at = found;
                        continue;
                    }
                    Some(Leaf::Symlink(_)) => return Way::ThroughLink,
                    Some(leaf) if leaf == whiteout() => {
                        let made = directory();
                        opaque(&made);
                        made
                    }
                    Some(_) => return Way::Blocked,
                }
            }
        };
        at.borrow_mut().children.insert(name.clone(), Rc::clone(&next));
        at = next;
    }
    Way::To(at)
}

fn find(root: &Shared, path: &[Vec<u8>]) -> Option<Shared> {
    path.iter().try_fold(Rc::clone(root), |at, name| {
        let inode = at.borrow();
        inode.children.get(name).cloned()
    })
}

fn join(path: &[Vec<u8>]) -> Vec<u8> {
    path.join(&b'/')
}

/// Does `op` to the model and to the tree.
pub(crate) fn apply(root: &Shared, tree: &mut Tree, op: &Op) -> Result<(), TestCaseError> {
    let path = match op {
        Op::Directory(path, ..)
        | Op::Leaf(path, ..)
        | Op::Link(path, _)
        | Op::Whiteout(path)
        | Op::Opaque(path) => path,
    };
    let (parents, name) = path.split_at(path.len() - 1);
    let name = &name[0];
    let mut target = None;
    if let Op::Link(_, to) = op {
        // Through links is for tests of their own.
        let linked = (1..to.len()).filter_map(|len| find(root, &to[..len]));
        if linked
            .into_iter()
            .any(|inode| matches!(inode.borrow().leaf, Some(Leaf::Symlink(_))))
        {
            return Ok(());
        }
        target = find(root, to).filter(|inode| {
            let inode = inode.borrow();
            inode.leaf.is_some() && inode.leaf != Some(whiteout())
        });
        if target.is_none() {
            let refused = tree.link(&join(path), &join(to));
            let dangling = matches!(refused, Err(ErofsError::DanglingHardLink { .. }));
            prop_assert!(dangling, "{refused:?}");
            return Ok(());
        }
    }
    let way = match op {
        Op::Opaque(_) => reach(root, path),
        _ => reach(root, parents),
    };
    let parent = match way {
        Way::To(parent) => Some(parent),
        Way::Blocked => None,
        Way::ThroughLink => return Ok(()),
    };
    let done = match op {
        Op::Directory(_, metadata, xattrs) => tree.add(&join(path), Node::Directory, metadata, xattrs),
        Op::Leaf(_, leaf, metadata, xattrs) => tree.add(&join(path), node(leaf), metadata, xattrs),
        Op::Link(_, to) => tree.link(&join(path), &join(to)),
        Op::Whiteout(_) => tree.whiteout(&join(path)),
        Op::Opaque(_) => tree.opaque(&join(path)),
    };
    let Some(parent) = parent else {
        prop_assert!(matches!(done, Err(ErofsError::NotADirectory { .. })), "{done:?}");
        return Ok(());
    };
    prop_assert!(done.is_ok(), "{op:?}: {done:?}");
    let existing = parent.borrow().children.get(name).cloned();
    let place = |inode: Shared| {
        parent.borrow_mut().children.insert(name.clone(), inode);
    };
    match op {
        Op::Opaque(_) => opaque(&parent),
        Op::Directory(_, metadata, xattrs) => match existing {
            Some(there) if there.borrow().leaf.is_none() => dress(&there, *metadata, xattrs),
            other => {
                let made = directory();
                dress(&made, *metadata, xattrs);
                if other.is_some_and(|there| there.borrow().leaf == Some(whiteout())) {
                    opaque(&made);
                }
                place(made);
            }
        },
        Op::Leaf(_, leaf, metadata, xattrs) => {
            let made = Rc::new(RefCell::new(Inode {
                leaf: Some(leaf.clone()),
                ..Inode::default()
            }));
            dress(&made, *metadata, xattrs);
            place(made);
        }
        Op::Link(..) => place(target.unwrap()),
        Op::Whiteout(_) => match existing {
            None => place(Rc::new(RefCell::new(Inode {
                leaf: Some(whiteout()),
                ..Inode::default()
            }))),
            Some(there) if there.borrow().leaf.is_none() => opaque(&there),
            Some(_) => {}
        },
    }
    Ok(())
}

fn node(leaf: &Leaf) -> Node<'_> {
    match leaf {
        Leaf::File { block, size } => Node::File {
            offset: DATA_START + block * 4096,
            size: *size,
        },
        Leaf::Sparse { size, map } => Node::Sparse {
            size: *size,
            chunk: 4096,
            map,
        },
        Leaf::Symlink(target) => Node::Symlink(target),
        Leaf::Device(kind, major, minor) => Node::Device {
            kind: *kind,
            major: *major,
            minor: *minor,
        },
        Leaf::Fifo => Node::Fifo,
        Leaf::Socket => Node::Socket,
    }
}

/// Contents as a list of where each piece of 4 KiB lies, so that joined and separate pieces compare equal.
fn pieces(leaf: Option<&Leaf>) -> Content {
    match leaf {
        None => Content::Directory,
        Some(Leaf::File { block, size }) => Content::File {
            size: *size,
            extents: joined(*size, &[DATA_START + block * 4096], *size),
        },
        Some(Leaf::Sparse { size, map }) => Content::File {
            size: *size,
            extents: joined(*size, map, 4096),
        },
        Some(Leaf::Symlink(target)) => Content::Symlink(target.clone()),
        Some(Leaf::Device(kind, major, minor)) => Content::Device {
            kind: *kind,
            major: *major,
            minor: *minor,
        },
        Some(Leaf::Fifo) => Content::Fifo,
        Some(Leaf::Socket) => Content::Socket,
    }
}

fn joined(size: u64, map: &[u64], chunk: u64) -> Vec<Extent> {
    let mut extents: Vec<Extent> = Vec::new();
    let mut left = size;
    for offset in map {
        let (offset, len) = ((*offset != Node::HOLE).then_some(*offset), left.min(chunk));
        left -= len;
        match extents.last_mut() {
            Some(last) if last.offset.map(|before| before + last.len) == offset => last.len += len,
            _ if len > 0 => extents.push(Extent { offset, len }),
            _ => {}
        }
    }
    extents
}

/// All entries of the model, as the reader gives them, and the addresses of their inodes.
pub(crate) fn listed(path: &mut Vec<Vec<u8>>, inode: &Shared, out: &mut Vec<(Entry, *const RefCell<Inode>)>) {
    let fields = inode.borrow();
    let links = if fields.leaf.is_none() {
        2 + fields
            .children
            .values()
            .filter(|child| child.borrow().leaf.is_none())
            .count()
    } else {
        // Names in the tree; the model holds no others.
        Rc::strong_count(inode)
    };
    out.push((
        Entry {
            path: join(path),
            metadata: fields.metadata,
            content: pieces(fields.leaf.as_ref()),
            xattrs: fields.xattrs.clone().into_iter().collect(),
            nid: 0,
            links: links as u32,
        },
        Rc::as_ptr(inode),
    ));
    for (name, child) in &fields.children {
        path.push(name.clone());
        listed(path, child, out);
        path.pop();
    }
}

pub(crate) fn image(tree: Tree) -> Vec<u8> {
    let layout = Layout::new(tree, DATA_END).unwrap();
    let mut bytes = vec![0; layout.offset() as usize];
    layout.write_metadata(&mut bytes).unwrap();
    bytes[..4096].copy_from_slice(&layout.superblock([9; 16]));
    assert_eq!(bytes.len() as u64, layout.size());
    assert!(layout.memory() <= 256 << 20);
    bytes
}
