//! Large trees: what they cost in memory, and that they are right.

use havre_erofs::read::{Content, Image, Limits, ReadError};
use havre_erofs::{DATA_START, Layout, Metadata, Node, Options, Tree};

const DATA_END: u64 = DATA_START + (1 << 40);

/// A field of this process' status, in bytes.
fn status(field: &str) -> u64 {
    let status = fs_err::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim_start_matches(':')
        .trim()
        .trim_end_matches(" kB")
        .parse::<u64>()
        .unwrap()
        << 10
}

/// A sink that only counts.
struct Count(u64);

impl std::io::Write for Count {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn million() -> Tree {
    let mut tree = Tree::new(Options::default());
    for n in 0..1_000_000_u64 {
        let path = format!("packages/dir-{:05}/file-{n:07}", n / 64);
        let node = Node::File {
            offset: DATA_START + n * 1024,
            size: n % 900,
        };
        let metadata = Metadata {
            mode: 0o644,
            mtime: 1_700_000_000 + n as i64,
            ..Metadata::default()
        };
        tree.add(path.as_bytes(), node, &metadata, &[]).unwrap();
    }
    tree
}

/// A million files and 15,627 directories, names of 12 and 9 bytes: what is said of memory holds, by account and by what the
/// kernel counted for the process.
#[test]
fn a_million_entries_fit_into_64_mib() {
    let before = status("VmRSS");
    let tree = million();
    assert!(tree.memory() < 52 << 20, "{}", tree.memory());
    let layout = Layout::new(tree, DATA_END).unwrap();
    assert!(layout.memory() < 52 << 20, "{}", layout.memory());
    let mut count = Count(0);
    layout.write_metadata(&mut count).unwrap();
    assert_eq!(count.0, layout.len());
    let peak = status("VmHWM") - before;
    assert!(peak < 60 << 20, "{peak} bytes at the most");
    assert_eq!(layout.inodes(), 1_000_000 + 15_625 + 2);
    // 64 of the inode, 12 of the directory's entry, 12 of its name.
    assert!(layout.len() < 1_000_000 * 94, "{}", layout.len());

    // And they are all there.
    let mut metadata = Vec::new();
    layout.write_metadata(&mut metadata).unwrap();
    let image = Sparse {
        start: layout.superblock([0; 16]).to_vec(),
        metadata,
        offset: layout.offset(),
    };
    let image = Image::open(&image, layout.size(), Limits::default()).unwrap();
    let (mut files, mut sizes) = (0, 0);
    image
        .walk(|entry| {
            if let Content::File { size, .. } = entry.content {
                (files, sizes) = (files + 1, sizes + size);
            }
            Ok::<(), ReadError>(())
        })
        .unwrap();
    assert_eq!((files, sizes), (1_000_000, layout.file_bytes()));
    let found = image.find(b"packages/dir-12345/file-0790123").unwrap().unwrap();
    assert_eq!(found.metadata.mtime, 1_700_790_123);
}

/// An image without its data.
struct Sparse {
    start: Vec<u8>,
    metadata: Vec<u8>,
    offset: u64,
}

impl havre_erofs::read::Source for Sparse {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
        let end = offset + buffer.len() as u64;
        if end <= self.start.len() as u64 {
            return self.start[..].read_exact_at(buffer, offset);
        }
        // A piece may begin in the data.
        buffer.fill(0);
        let from = self.offset.max(offset);
        let piece = &mut buffer[(from - offset) as usize..];
        self.metadata[..].read_exact_at(piece, from - self.offset)
    }
}

/// In descending order, the worst for anything that sorts as it goes.
#[test]
fn a_directory_of_200_000_entries() {
    let mut tree = Tree::new(Options::default());
    for n in (0..200_000).rev() {
        let path = format!("d/{n}{}", ["", "-a-longer-name", ".x"][n % 3]);
        tree.add(path.as_bytes(), Node::Fifo, &Metadata::default(), &[])
            .unwrap();
    }
    let layout = Layout::new(tree, DATA_START).unwrap();
    let mut bytes = layout.superblock([0; 16]).to_vec();
    layout.write_metadata(&mut bytes).unwrap();
    let limits = Limits::default();
    let image = Image::open(bytes.as_slice(), bytes.len() as u64, limits).unwrap();
    let mut met = 0;
    image
        .walk(|_| {
            met += 1;
            Ok::<(), ReadError>(())
        })
        .unwrap();
    assert_eq!(met, 200_002);
    for n in (0..200_000).step_by(997) {
        let path = format!("d/{n}{}", ["", "-a-longer-name", ".x"][n % 3]);
        assert!(image.find(path.as_bytes()).unwrap().is_some(), "{path}");
    }
    let few = Limits {
        entries: 1000,
        ..limits
    };
    let refused = Image::open(bytes.as_slice(), bytes.len() as u64, few)
        .unwrap()
        .walk(|_| Ok::<(), ReadError>(()));
    assert!(matches!(refused, Err(ReadError::TooManyEntries { limit: 1000 })));
}
