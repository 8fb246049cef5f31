//! One name in a layer.

use std::fmt::Write;

/// One name in a layer, as a tar archive or a file system has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Relative to the root, which is the empty path; `/` between components.
    pub path: Vec<u8>,
    pub kind: Kind,
    /// Bytes of a file, 0 for everything else.
    pub size: u64,
    /// Permission, set-id and sticky bits.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Seconds since 1970.
    pub mtime: i64,
    /// Names of one file in one layer have one number; 0 for a file with one name.
    pub inode: u64,
}

/// What an [`Entry`] is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A directory; an opaque one hides what lower layers have in it.
    Directory {
        opaque: bool,
    },
    File,
    Link {
        target: Vec<u8>,
    },
    Char {
        major: u32,
        minor: u32,
    },
    Block {
        major: u32,
        minor: u32,
    },
    Fifo,
    Socket,
    /// Stands for something taken away from lower layers.
    Removed,
}

impl Kind {
    pub fn is_dir(&self) -> bool {
        matches!(self, Self::Directory { .. })
    }

    /// A word for programs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Directory { .. } => "directory",
            Self::File => "file",
            Self::Link { .. } => "link",
            Self::Char { .. } => "char",
            Self::Block { .. } => "block",
            Self::Fifo => "fifo",
            Self::Socket => "socket",
            Self::Removed => "removed",
        }
    }
}

/// Kind and permissions as `ls` writes them: `drwxr-xr-x`.
pub fn permissions(kind: &Kind, mode: u32) -> String {
    let letter = match kind {
        Kind::Directory { .. } => 'd',
        Kind::File => '-',
        Kind::Link { .. } => 'l',
        Kind::Char { .. } => 'c',
        Kind::Block { .. } => 'b',
        Kind::Fifo => 'p',
        Kind::Socket => 's',
        Kind::Removed => return "removed".to_owned(),
    };
    let mut text = String::with_capacity(10);
    text.push(letter);
    for (shift, special, set, unset) in [
        (6, 0o4000, 's', 'S'),
        (3, 0o2000, 's', 'S'),
        (0, 0o1000, 't', 'T'),
    ] {
        let bits = mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (mode & special != 0, bits & 1 != 0) {
            (true, true) => set,
            (true, false) => unset,
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    text
}

/// Bytes of an image for people's eyes: what a terminal could take for a command, and what is no UTF-8, is written as `\x1b`.
pub fn shown(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for letter in chunk.valid().chars() {
            match letter {
                '\n' => text.push_str("\\n"),
                '\t' => text.push_str("\\t"),
                // Marks that change the direction of writing make a name look like another.
                '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' => {
                    let _ = write!(text, "\\u{{{:x}}}", u32::from(letter));
                }
                letter if letter.is_control() => {
                    let _ = write!(text, "\\x{:02x}", u32::from(letter));
                }
                letter => text.push(letter),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_as_ls_writes_them() {
        let dir = Kind::Directory { opaque: false };
        for (kind, mode, text) in [
            (&Kind::File, 0o644, "-rw-r--r--"),
            (&dir, 0o1777, "drwxrwxrwt"),
            (&dir, 0o1776, "drwxrwxrwT"),
            (&Kind::File, 0o4755, "-rwsr-xr-x"),
            (&Kind::File, 0o2644, "-rw-r-Sr--"),
            (&Kind::Fifo, 0, "p---------"),
        ] {
            assert_eq!(permissions(kind, mode), text, "{mode:o}");
        }
    }

    #[test]
    fn nothing_of_an_image_speaks_to_the_terminal() {
        assert_eq!(shown("häfen/a b".as_bytes()), "häfen/a b");
        assert_eq!(shown(b"a\x1b[31m\xff\n\x07"), "a\\x1b[31m\\xff\\n\\x07");
        assert_eq!(shown("a\u{202e}b\u{9b}".as_bytes()), "a\\u{202e}b\\x9b");
    }
}
