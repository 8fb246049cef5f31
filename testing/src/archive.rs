//! Tar archives, entry by entry, with whatever names and sizes a test wants to claim.

/// A layer (or a build context): an uncompressed tar in the making.
#[derive(Clone, Debug, Default)]
pub struct Layer {
    bytes: Vec<u8>,
}

/// Fields of one header. The defaults are an honest regular file of root.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    pub name: &'a str,
    pub kind: u8,
    pub mode: u32,
    pub uid: u32,
    pub link: &'a str,
    /// The size that the header claims.
    pub size: u64,
    pub device: (u32, u32),
}

impl<'a> Entry<'a> {
    pub fn new(name: &'a str, kind: u8) -> Self {
        Self {
            name,
            kind,
            mode: 0o644,
            uid: 0,
            link: "",
            size: 0,
            device: (0, 0),
        }
    }
}

/// All entries carry this time: 2024-01-01.
const MTIME: u64 = 1_704_067_200;

/// Bytes that do not compress and are others for each `seed`.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ seed;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.flatten().take(length).collect()
}

impl Layer {
    pub fn new() -> Self {
        Self::default()
    }

    /// One file, `noise`, of `size` bytes (rounded down to eights) that do not compress and are others for each `seed`.
    pub fn noise(seed: u64, size: usize) -> Self {
        Self::new().file("noise", noise(seed, size / 8 * 8))
    }

    /// A file of mode 0644.
    pub fn file(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        self.file_with_mode(name, content, 0o644)
    }

    pub fn file_with_mode(self, name: &str, content: impl AsRef<[u8]>, mode: u32) -> Self {
        let content = content.as_ref();
        self.raw(
            &Entry {
                mode,
                size: content.len() as u64,
                ..Entry::new(name, b'0')
            },
            content,
        )
    }

    pub fn file_of(self, name: &str, content: impl AsRef<[u8]>, uid: u32) -> Self {
        let content = content.as_ref();
        self.raw(
            &Entry {
                uid,
                size: content.len() as u64,
                ..Entry::new(name, b'0')
            },
            content,
        )
    }

    pub fn dir(self, name: &str) -> Self {
        self.dir_with_mode(name, 0o755)
    }

    pub fn dir_with_mode(self, name: &str, mode: u32) -> Self {
        self.raw(
            &Entry {
                mode,
                ..Entry::new(&format!("{}/", name.trim_end_matches('/')), b'5')
            },
            &[],
        )
    }

    pub fn symlink(self, name: &str, target: &str) -> Self {
        self.raw(
            &Entry {
                link: target,
                mode: 0o777,
                ..Entry::new(name, b'2')
            },
            &[],
        )
    }

    pub fn hardlink(self, name: &str, target: &str) -> Self {
        self.raw(
            &Entry {
                link: target,
                ..Entry::new(name, b'1')
            },
            &[],
        )
    }

    pub fn character_device(self, name: &str, major: u32, minor: u32) -> Self {
        self.raw(
            &Entry {
                device: (major, minor),
                ..Entry::new(name, b'3')
            },
            &[],
        )
    }

    /// The entry that removes `name` of a lower layer.
    pub fn whiteout(self, name: &str) -> Self {
        let marker = match name.rsplit_once('/') {
            Some((parent, last)) => format!("{parent}/.wh.{last}"),
            None => format!(".wh.{name}"),
        };
        self.file(&marker, "")
    }

    /// Writes a header exactly as it is told, and a content that need not fit it. Names longer than 100 bytes get a GNU
    /// long name entry first.
    pub fn raw(mut self, entry: &Entry<'_>, content: &[u8]) -> Self {
        if entry.name.len() > 100 {
            let name = format!("{}\0", entry.name);
            let size = name.len() as u64;
            self = self.raw(
                &Entry {
                    size,
                    ..Entry::new("././@LongLink", b'L')
                },
                name.as_bytes(),
            );
        }
        self.bytes.extend(header(entry));
        self.bytes.extend(content);
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
        self
    }

    /// Appends bytes as they are.
    pub fn garbage(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend(bytes);
        self
    }

    /// The archive with its two closing blocks.
    pub fn tar(&self) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        bytes.resize(bytes.len() + 1024, 0);
        bytes
    }
}

fn header(entry: &Entry<'_>) -> [u8; 512] {
    let mut block = [0_u8; 512];
    let mut put = |at: usize, bytes: &[u8], room: usize| {
        let length = bytes.len().min(room);
        block[at..at + length].copy_from_slice(&bytes[..length]);
    };
    put(0, entry.name.as_bytes(), 100);
    put(100, format!("{:07o}\0", entry.mode).as_bytes(), 8);
    put(108, format!("{:07o}\0", entry.uid).as_bytes(), 8);
    put(116, format!("{:07o}\0", entry.uid).as_bytes(), 8);
    if entry.size < 1 << 33 {
        put(124, format!("{:011o}\0", entry.size).as_bytes(), 12);
    } else {
        // GNU's binary form for what octal digits cannot hold.
        let mut wide = [0; 12];
        wide[0] = 0x80;
        wide[4..].copy_from_slice(&entry.size.to_be_bytes());
        put(124, &wide, 12);
    }
    put(136, format!("{MTIME:011o}\0").as_bytes(), 12);
    put(148, b"        ", 8);
    put(156, &[entry.kind], 1);
    put(157, entry.link.as_bytes(), 100);
    put(257, b"ustar\x0000", 8);
    put(329, format!("{:07o}\0", entry.device.0).as_bytes(), 8);
    put(337, format!("{:07o}\0", entry.device.1).as_bytes(), 8);
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_honest_archive_is_read_by_another_reader() {
        let long = format!("{}/file", "d".repeat(120));
        let tar = Layer::new()
            .dir("etc")
            .file("etc/hosts", "hello")
            .symlink("l", "etc")
            .file(&long, "x")
            .tar();
        let mut archive = tar::Archive::new(&tar[..]);
        let names: Vec<_> = archive
            .entries()
            .expect("entries")
            .map(|entry| entry.expect("entry").path().expect("path").display().to_string())
            .collect();
        assert_eq!(names, ["etc/", "etc/hosts", "l", &long]);
    }
}
