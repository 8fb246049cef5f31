//! From paths to records: parents are found or made as unpacking would, within the tree.

use super::record::Record;
use super::{ROOT, Tree};
use crate::ErofsError;
use crate::error::shown;
use crate::format::{MAX_NAME, MAX_PATH, S_IFDIR};

/// Symbolic links followed for one path, as in the kernel.
const MAX_LINKS: u32 = 40;

/// The directories on the way to the last entry, so that the usual order of entries costs one step each.
#[derive(Debug, Clone, Default)]
pub(super) struct Cursor {
    /// Of the directory, as it was written.
    path: Vec<u8>,
    levels: Vec<Level>,
}

#[derive(Debug, Clone, Copy)]
struct Level {
    /// Where its name ends in the path.
    end: usize,
    record: u32,
    /// Bytes of its real path.
    real: usize,
}

impl Cursor {
    /// After something that may have been on the way is gone.
    pub(super) fn forget(&mut self) {
        self.path.clear();
        self.levels.clear();
    }

    /// Shortens the way to what it shares with `directory`, and returns how many bytes that is.
    fn share(&mut self, directory: &[u8]) -> usize {
        if self.path == directory {
            return directory.len();
        }
        let common = self
            .path
            .iter()
            .zip(directory)
            .take_while(|(a, b)| a == b)
            .count();
        let ends = |end: usize| end <= common && matches!(directory.get(end), None | Some(b'/'));
        while self.levels.last().is_some_and(|level| !ends(level.end)) {
            self.levels.pop();
        }
        let end = self.levels.last().map_or(0, |level| level.end);
        self.path.truncate(end);
        end
    }

    fn top(&self) -> (u32, usize) {
        self.levels
            .last()
            .map_or((ROOT, 0), |level| (level.record, level.real))
    }
}

impl Tree {
    /// The directory `path` is in, made if it is missing, and the name in it.
    #[inline]
    pub(super) fn parent<'p>(&mut self, path: &'p [u8]) -> Result<(u32, &'p [u8]), ErofsError> {
        let (directory, name) = match path.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => (&path[..slash], &path[slash + 1..]),
            None => (&path[..0], path),
        };
        if path.len() != name.len() && directory.is_empty() {
            return Err(wrong_path(path, "has an empty component"));
        }
        check_name(path, name)?;
        self.reach(path, directory)?;
        let (parent, real) = self.cursor.top();
        if real + 1 + name.len() > MAX_PATH {
            return Err(wrong_path(path, "is longer than 4095 bytes"));
        }
        Ok((parent, name))
    }

    /// The directory `path` itself, made if it is missing.
    pub(super) fn directory(&mut self, path: &[u8]) -> Result<u32, ErofsError> {
        self.reach(path, path)?;
        Ok(self.cursor.top().0)
    }

    /// Brings the cursor to `directory`, for the entry `path`.
    fn reach(&mut self, path: &[u8], directory: &[u8]) -> Result<(), ErofsError> {
        let shared = self.cursor.share(directory);
        if shared == directory.len() {
            return Ok(());
        }
        let rest = if shared == 0 {
            directory
        } else {
            &directory[shared + 1..]
        };
        for name in rest.split(|byte| *byte == b'/') {
            check_name(path, name)?;
            let (parent, real) = self.cursor.top();
            let (record, real) = self.step(path, parent, name, real)?;
            if real > MAX_PATH {
                return Err(wrong_path(path, "is longer than 4095 bytes"));
            }
            let way = &mut self.cursor.path;
            if !way.is_empty() {
                way.push(b'/');
            }
            way.extend_from_slice(name);
            let end = way.len();
            self.cursor.levels.push(Level { end, record, real });
        }
        Ok(())
    }

    /// The directory `name` in `parent`, whose real path has `real` bytes; and how many its own has.
    fn step(
        &mut self,
        path: &[u8],
        parent: u32,
        name: &[u8],
        real: usize,
    ) -> Result<(u32, usize), ErofsError> {
        let straight = real + usize::from(real > 0) + name.len();
        let Some(there) = self.find(parent, name) else {
            return Ok((self.make_directory(parent, name)?, straight));
        };
        let record = &self.records[self.inode(there)];
        if record.is_dir() {
            return Ok((there, straight));
        }
        if record.is_symlink() {
            let found = self.follow(path, parent, name)?;
            return Ok((found, self.real_len(found)));
        }
        if record.is_whiteout() {
            // Keeping the cursor: whiteouts are never on the way.
            let levels = std::mem::take(&mut self.cursor);
            let made = self.vacate(there)?;
            self.cursor = levels;
            self.records[made].mode = S_IFDIR | 0o755;
            self.set_opaque(path, made)?;
            return Ok((made, straight));
        }
        Err(self.not_a_directory(path, there))
    }

    fn make_directory(&mut self, parent: u32, name: &[u8]) -> Result<u32, ErofsError> {
        self.check_memory(0)?;
        let made = self.make(parent, name)?;
        self.records[made].mode = S_IFDIR | 0o755;
        Ok(made)
    }

    /// The directory the link `name` in `parent` leads to, as a process would see it whose root is the tree's. What is missing
    /// on the way is made.
    fn follow(&mut self, path: &[u8], parent: u32, name: &[u8]) -> Result<u32, ErofsError> {
        let mut at = parent;
        // Components still to go, the next one last.
        let mut ahead = vec![name.to_vec()];
        let mut links = 0;
        while let Some(name) = ahead.pop() {
            match name.as_slice() {
                b"" | b"." => continue,
                b".." => {
                    at = self.records[at].parent;
                    continue;
                }
                _ => {}
            }
            let Some(there) = self.find(at, &name) else {
                if name.len() > MAX_NAME {
                    return Err(wrong_path(path, "leads through a name longer than 255 bytes"));
                }
                at = self.make_directory(at, &name)?;
                if self.real_len(at) > MAX_PATH {
                    return Err(wrong_path(path, "leads to a path longer than 4095 bytes"));
                }
                continue;
            };
            let record: Record = self.records[self.inode(there)];
            if record.is_dir() {
                at = there;
            } else if record.is_symlink() {
                links += 1;
                if links > MAX_LINKS {
                    return Err(ErofsError::LinkLoop { path: shown(path) });
                }
                let target = self.texts.get(record.data);
                if target.starts_with(b"/") {
                    at = ROOT;
                }
                ahead.extend(target.split(|byte| *byte == b'/').rev().map(<[u8]>::to_vec));
            } else {
                return Err(self.not_a_directory(path, there));
            }
        }
        Ok(at)
    }

    /// The inode a hard link `path` to `target` would share: links among the target's parents are followed, the last component
    /// is not, and nothing is made.
    pub(super) fn find_target(&self, path: &[u8], target: &[u8]) -> Result<u32, ErofsError> {
        let dangling = || ErofsError::DanglingHardLink {
            path: shown(path),
            target: shown(target),
        };
        if target.is_empty() {
            return Err(dangling());
        }
        for name in target.split(|byte| *byte == b'/') {
            check_name(target, name)?;
        }
        let mut at = ROOT;
        let split = |text: &[u8]| -> Vec<Vec<u8>> {
            text.split(|byte| *byte == b'/')
                .rev()
                .filter(|name| !name.is_empty())
                .map(<[u8]>::to_vec)
                .collect()
        };
        let mut ahead = split(target);
        let mut links = 0;
        let mut found = ROOT;
        while let Some(name) = ahead.pop() {
            match name.as_slice() {
                b"." => continue,
                b".." => {
                    at = self.records[at].parent;
                    continue;
                }
                _ => {}
            }
            found = self.inode(self.find(at, &name).ok_or_else(dangling)?);
            let record = &self.records[found];
            if ahead.is_empty() {
                break;
            }
            if record.is_dir() {
                at = found;
            } else if record.is_symlink() && links < MAX_LINKS {
                links += 1;
                let link = self.texts.get(record.data);
                if link.starts_with(b"/") {
                    at = ROOT;
                }
                ahead.extend(split(link));
            } else {
                return Err(dangling());
            }
        }
        let record = &self.records[found];
        if record.is_dir() || record.is_whiteout() {
            return Err(dangling());
        }
        Ok(found)
    }

    /// Bytes of a directory's real path.
    fn real_len(&self, mut record: u32) -> usize {
        let mut len = 0;
        while record != ROOT {
            let fields = &self.records[record];
            len += self.texts.get(fields.name).len() + 1;
            record = fields.parent;
        }
        len.saturating_sub(1)
    }

    /// The real path of a record that has its name.
    pub(crate) fn real_path(&self, mut record: u32) -> Vec<u8> {
        let mut names = Vec::new();
        while record != ROOT {
            let fields = &self.records[record];
            names.push(self.texts.get(fields.name));
            record = fields.parent;
        }
        names.reverse();
        names.join(&b'/')
    }

    fn not_a_directory(&self, path: &[u8], record: u32) -> ErofsError {
        ErofsError::NotADirectory {
            path: shown(path),
            ancestor: shown(&self.real_path(record)),
        }
    }
}

fn wrong_path(path: &[u8], what: &'static str) -> ErofsError {
    ErofsError::Path {
        path: shown(path),
        what,
    }
}

fn check_name(path: &[u8], name: &[u8]) -> Result<(), ErofsError> {
    match name {
        b"" => Err(wrong_path(path, "has an empty component")),
        b"." | b".." => Err(wrong_path(path, "has a component . or ..")),
        _ if name.len() > MAX_NAME => Err(wrong_path(path, "has a component longer than 255 bytes")),
        _ if name.contains(&0) => Err(wrong_path(path, "contains a zero byte")),
        _ => Ok(()),
    }
}
