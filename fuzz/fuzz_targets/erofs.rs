//! Trees and images, whatever the bytes. The first half of the input is a sequence of entries: every name of the image made of
//! them is found again, with contents within its data. The second half is damage: an image somebody else wrote is read or
//! refused, in bounded time, and never says of a file that it reaches beyond the image.
#![no_main]

use havre_erofs::read::{Content, Image, Limits, ReadError};
use havre_erofs::{BlockSize, DATA_START, DeviceKind, Layout, Metadata, Node, Options, Tree};
use libfuzzer_sys::fuzz_target;

const DATA_END: u64 = DATA_START + 65_536;
const LIMITS: Limits = Limits { entries: 10_000, extents: 1000 };

fuzz_target!(|bytes: &[u8]| {
    let (entries, damage) = bytes.split_at(bytes.len() / 2);
    let block = if bytes.len() % 2 == 0 { BlockSize::B512 } else { BlockSize::B4096 };
    let options = Options { block, memory: 64 << 20 };
    let mut tree = Tree::new(options);
    let mut input = Input(entries);
    while !input.0.is_empty() {
        add(&mut tree, &mut input);
    }
    let layout = Layout::new(tree, DATA_END).expect("data within bounds");
    let mut image = vec![0; layout.offset() as usize];
    layout.write_metadata(&mut image).expect("memory");
    image[..4096].copy_from_slice(&layout.superblock([1; 16]));
    assert_eq!(image.len() as u64, layout.size());

    let mut inodes = std::collections::BTreeSet::new();
    let reader = Image::open(&image[..], image.len() as u64, LIMITS).expect("own superblock");
    let read = reader.walk(|entry| {
        inodes.insert(entry.nid);
        let alone = reader.find(&entry.path)?;
        assert_eq!(alone.as_ref(), Some(entry));
        Ok::<(), ReadError>(())
    });
    read.expect("own image");
    assert_eq!(inodes.len() as u64, layout.inodes());

    for change in damage.chunks_exact(3) {
        let at = usize::from(u16::from_le_bytes([change[0], change[1]]));
        let metadata = &mut image[DATA_END as usize..];
        let len = metadata.len();
        metadata[at % len] = change[2];
    }
    let reader = Image::open(&image[..], image.len() as u64, LIMITS).expect("own superblock");
    let _ = reader.walk(|entry| {
        if let Content::File { size, extents } = &entry.content {
            assert_eq!(extents.iter().map(|extent| extent.len).sum::<u64>(), *size);
            let end = |offset: u64, len| offset.checked_add(len).expect("no overflow");
            for extent in extents {
                assert!(extent.offset.is_none_or(|offset| end(offset, extent.len) <= image.len() as u64));
            }
        }
        Ok::<(), ReadError>(())
    });
    let _ = reader.find(b"a/b/c");
});

struct Input<'b>(&'b [u8]);

impl<'b> Input<'b> {
    fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    fn take(&mut self, len: usize) -> &'b [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// Mostly from few names, so that paths meet; sometimes any bytes.
    fn path(&mut self) -> Vec<u8> {
        let mut path = Vec::new();
        for _ in 0..=self.byte() % 4 {
            if !path.is_empty() {
                path.push(b'/');
            }
            match self.byte() {
                short @ 0..200 => path.push(b'a' + short % 6),
                200..230 => {
                    let len = usize::from(self.byte() % 32);
                    path.extend_from_slice(self.take(len));
                }
                long => path.extend(std::iter::repeat_n(b'-' + long % 3, usize::from(self.byte()))),
            }
        }
        path
    }
}

/// Adds what the input says; what the tree refuses leaves it usable.
fn add(tree: &mut Tree, input: &mut Input<'_>) {
    let kind = input.byte();
    let path = input.path();
    let metadata = Metadata {
        mode: u32::from(input.byte()) << 4,
        uid: u32::from(input.byte()) << input.byte() % 25,
        gid: 0,
        mtime: (i64::from(input.byte()) - 100) << (input.byte() % 50),
        mtime_nanos: u32::from(input.byte() / 128),
    };
    let mut xattrs = Vec::new();
    for _ in 0..(input.byte() / 64) {
        let names: [&[u8]; 6] = [
            b"user.a",
            b"trusted.b",
            b"security.capability",
            b"system.posix_acl_access",
            b"system.posix_acl_default",
            b"other.c",
        ];
        let name = names[usize::from(input.byte()) % names.len()];
        let len = usize::from(input.byte());
        xattrs.push((name.to_vec(), input.take(len).to_vec()));
    }
    let number = u64::from(input.byte());
    let target;
    let holes: Vec<u64>;
    let node = match kind % 10 {
        0 | 1 => Node::Directory,
        2 => Node::File {
            offset: DATA_START + number % 8 * 4096,
            size: u64::from(input.byte()) * 128,
        },
        3 => {
            target = input.path();
            Node::Symlink(&target)
        }
        4 => Node::Device {
            kind: DeviceKind::Char,
            major: number as u32,
            minor: 0,
        },
        5 => Node::Fifo,
        6 => {
            holes = (0..number)
                .map(|n| match n % 3 {
                    0 => Node::HOLE,
                    1 if number % 2 == 0 => Node::APPENDED + n % 16 * 4096,
                    _ => DATA_START + n % 8 * 4096,
                })
                .collect();
            Node::Sparse {
                size: number * 4096,
                chunk: 4096,
                map: &holes,
            }
        }
        7 => {
            let target = input.path();
            let _ = tree.link(&path, &target);
            return;
        }
        8 => {
            let _ = tree.whiteout(&path);
            return;
        }
        _ => {
            let _ = tree.opaque(&path);
            return;
        }
    };
    let _ = tree.add(&path, node, &metadata, &xattrs);
}
