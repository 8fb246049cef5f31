//! Extended attributes: which are kept, how they lie in the image, and equal sets only once.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use crate::acl;
use crate::format::{MAX_XATTR_VALUE, MAX_XATTRS, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, XATTR_HEADER, u16_at};

const USER: u8 = 1;
const ACL_ACCESS: u8 = 2;
const ACL_DEFAULT: u8 = 3;
const TRUSTED: u8 = 4;
const SECURITY: u8 = 6;

/// Prefixes and their numbers in the image.
const PREFIXES: &[(&[u8], u8)] = &[
    (b"user.", USER),
    (b"system.posix_acl_access", ACL_ACCESS),
    (b"system.posix_acl_default", ACL_DEFAULT),
    (b"trusted.", TRUSTED),
    (b"security.", SECURITY),
];

/// The longest name the kernel takes.
const MAX_NAME: usize = 255;
/// The longest list of names it gives (`XATTR_LIST_MAX`).
const MAX_LIST: usize = 64 << 10;

/// Why a set of attributes is refused.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    One { name: Vec<u8>, what: &'static str },
    TooLarge { size: u64 },
}

/// Attributes of one inode, in the order they have in the image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Set {
    /// Prefix, rest of the name, value.
    entries: Vec<(u8, Vec<u8>, Vec<u8>)>,
}

impl Set {
    fn put(&mut self, prefix: u8, name: &[u8], value: &[u8]) {
        let place = self
            .entries
            .binary_search_by(|(p, n, _)| (*p, n.as_slice()).cmp(&(prefix, name)));
        match place {
            Ok(at) => self.entries[at].2 = value.to_vec(),
            Err(at) => self.entries.insert(at, (prefix, name.to_vec(), value.to_vec())),
        }
    }

    fn remove(&mut self, prefix: u8, name: &[u8]) {
        self.entries
            .retain(|(p, n, _)| (*p, n.as_slice()) != (prefix, name));
    }

    /// A `chmod` changes the access list with the mode.
    pub(crate) fn chmod(&mut self, mode: u16) {
        for (prefix, _, value) in &mut self.entries {
            if *prefix == ACL_ACCESS {
                *value = acl::with_mode(value, mode);
            }
        }
    }

    /// Sets attributes one after the other, on an inode of this `mode`, which an access list changes. Returns the names of
    /// those no file system keeps.
    pub(crate) fn set<'a>(
        &mut self,
        mode: &mut u16,
        xattrs: &'a [(Vec<u8>, Vec<u8>)],
    ) -> Result<Vec<&'a [u8]>, Refused> {
        let mut dropped = Vec::new();
        for (name, value) in xattrs {
            let refuse = |what| {
                Err(Refused::One {
                    name: name.clone(),
                    what,
                })
            };
            if name.is_empty() || name.len() > MAX_NAME {
                return refuse("has a name that is empty or longer than 255 bytes");
            }
            if name.contains(&0) {
                return refuse("has a name with a zero byte");
            }
            let Some((prefix, number)) = PREFIXES.iter().find(|(prefix, _)| name.starts_with(prefix)) else {
                dropped.push(name.as_slice());
                continue;
            };
            let rest = &name[prefix.len()..];
            let kind = *mode & S_IFMT;
            let acl = matches!(*number, ACL_ACCESS | ACL_DEFAULT);
            if (acl && (!rest.is_empty() || kind == S_IFLNK))
                || (*number == USER && kind != S_IFREG && kind != S_IFDIR)
            {
                dropped.push(name.as_slice());
                continue;
            }
            if !acl && rest.is_empty() {
                return refuse("has a prefix for a name");
            }
            if value.len() > MAX_XATTR_VALUE {
                return refuse("has a value longer than 65535 bytes");
            }
            if acl {
                match (acl::effect(value), *number) {
                    (None, _) => return refuse("is no valid access control list"),
                    (Some(acl::Effect::Removed), _) => self.remove(*number, rest),
                    (Some(_), ACL_DEFAULT) if kind != S_IFDIR => {
                        return refuse("is for directories only");
                    }
                    (Some(acl::Effect::Mode(permissions)), ACL_ACCESS) => {
                        *mode = *mode & !0o777 | permissions;
                        self.remove(*number, rest);
                    }
                    (Some(acl::Effect::Kept(permissions)), ACL_ACCESS) => {
                        *mode = *mode & !0o777 | permissions;
                        self.put(*number, rest, value);
                    }
                    _ => self.put(*number, rest, value),
                }
                continue;
            }
            if name == b"security.capability" && !is_capability(value) {
                return refuse("is no valid set of capabilities");
            }
            self.put(*number, rest, value);
        }
        Ok(dropped)
    }

    /// As it lies behind an inode; nothing if there are none.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, Refused> {
        if self.entries.is_empty() {
            return Ok(Vec::new());
        }
        let mut bytes = vec![0; XATTR_HEADER];
        let mut list = 0;
        for (prefix, name, value) in &self.entries {
            list += prefix_of(*prefix).map_or(0, <[u8]>::len) + name.len() + 1;
            bytes.extend_from_slice(&[name.len() as u8, *prefix]);
            bytes.extend_from_slice(&(value.len() as u16).to_le_bytes());
            bytes.extend_from_slice(name);
            bytes.extend_from_slice(value);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        if bytes.len() > MAX_XATTRS || list > MAX_LIST {
            return Err(Refused::TooLarge {
                size: bytes.len().max(list) as u64,
            });
        }
        Ok(bytes)
    }

    /// From what [`encode`](Self::encode) made.
    fn decode(bytes: &[u8]) -> Self {
        let mut entries = Vec::new();
        let mut at = XATTR_HEADER;
        while at < bytes.len() {
            let (name, value) = (usize::from(bytes[at]), usize::from(u16_at(bytes, at + 2)));
            let text = &bytes[at + 4..at + 4 + name + value];
            entries.push((bytes[at + 1], text[..name].to_vec(), text[name..].to_vec()));
            at = (at + 4 + name + value).next_multiple_of(4);
        }
        Self { entries }
    }
}

/// The prefix with this number.
pub(crate) fn prefix_of(number: u8) -> Option<&'static [u8]> {
    let known = PREFIXES.iter().find(|(_, known)| *known == number)?;
    Some(known.0)
}

/// As the kernel checks it when it is set (`cap_convert_nscap`): revision 2 with 20 bytes or 3 with 24. A program with any
/// other cannot be started.
fn is_capability(value: &[u8]) -> bool {
    let revision = value.get(3).copied();
    matches!((revision, value.len()), (Some(2), 20) | (Some(3), 24))
}

/// The sets of a tree, by number; 0 is the empty one.
#[derive(Debug, Clone)]
pub(crate) struct Sets {
    sets: Vec<Box<[u8]>>,
    known: HashMap<u64, u32>,
    hasher: RandomState,
    bytes: u64,
}

/// What a set costs beside its bytes: its place, its hash, and what the allocator adds.
const OVERHEAD: u64 = 64;

impl Sets {
    pub(crate) fn new() -> Self {
        Self {
            sets: Vec::new(),
            known: HashMap::new(),
            hasher: RandomState::new(),
            bytes: 0,
        }
    }

    /// The bytes of a set.
    pub(crate) fn bytes_of(&self, number: u32) -> &[u8] {
        number
            .checked_sub(1)
            .map_or(&[], |number| &self.sets[number as usize])
    }

    pub(crate) fn get(&self, number: u32) -> Set {
        Set::decode(self.bytes_of(number))
    }

    pub(crate) fn put(&mut self, set: &Set) -> Result<u32, Refused> {
        let bytes = set.encode()?;
        if bytes.is_empty() {
            return Ok(0);
        }
        let hash = self.hasher.hash_one(&bytes);
        if let Some(number) = self.known.get(&hash)
            && *self.bytes_of(*number) == *bytes
        {
            return Ok(*number);
        }
        self.bytes += bytes.len() as u64 + OVERHEAD;
        self.sets.push(bytes.into_boxed_slice());
        let number = self.sets.len() as u32;
        self.known.insert(hash, number);
        Ok(number)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(mode: u16, xattrs: &[(&str, &[u8])]) -> Result<(Set, u16, usize), Refused> {
        let (mut set, mut mode) = (Set::default(), mode);
        let xattrs: Vec<_> = xattrs
            .iter()
            .map(|(name, value)| (name.as_bytes().to_vec(), value.to_vec()))
            .collect();
        let dropped = set.set(&mut mode, &xattrs)?.len();
        Ok((set, mode, dropped))
    }

    #[test]
    fn sets_survive_and_are_kept_once() {
        let mut sets = Sets::new();
        let (first, ..) = set(
            S_IFREG,
            &[("user.b", b"1"), ("security.x", b""), ("user.a", b"2")],
        )
        .unwrap();
        let (second, ..) = set(
            S_IFREG,
            &[("user.a", b"2"), ("user.b", b"1"), ("security.x", b"")],
        )
        .unwrap();
        let number = sets.put(&first).unwrap();
        assert_eq!(sets.put(&second).unwrap(), number);
        assert_eq!(sets.get(number), first);
        assert_eq!(sets.put(&Set::default()).unwrap(), 0);
        assert_eq!(sets.bytes_of(number).len(), 12 + 3 * 8);
    }

    #[test]
    fn what_no_file_system_keeps_is_dropped() {
        let kept = |mode, name: &str| set(mode, &[(name, b"x")]).unwrap().2 == 0;
        assert!(kept(S_IFREG, "user.x") && kept(S_IFDIR, "user.x") && !kept(S_IFLNK, "user.x"));
        assert!(kept(S_IFLNK, "trusted.x") && kept(S_IFLNK, "security.x"));
        for name in [
            "os.x",
            "system.nfs4_acl",
            "com.apple.x",
            "user",
            "system.posix_acl_access2",
        ] {
            assert!(!kept(S_IFREG, name), "{name}");
        }
    }

    #[test]
    fn what_the_kernel_refuses_is_refused() {
        let long = format!("user.{}", "n".repeat(251));
        for name in ["", "user.", "trusted.", "security.capability", &long, "user.a\0b"] {
            let refused = set(S_IFREG, &[(name, b"x")]).unwrap_err();
            assert!(matches!(refused, Refused::One { name: named, .. } if named == name.as_bytes()));
        }
        assert!(set(S_IFREG, &[("user.v", &[0; 65535])]).is_ok());
        assert!(set(S_IFREG, &[("user.v", &[0; 65536])]).is_err());
        let mut capability = [0; 20];
        capability[3] = 2;
        assert!(set(S_IFREG, &[("security.capability", &capability)]).is_ok());
        assert!(set(S_IFREG, &[("security.capability", &capability[..19])]).is_err());
    }

    #[test]
    fn a_set_has_limits() {
        let large = [0; 65535];
        let names = ["user.1", "user.2", "user.3", "user.4"];
        let most: Vec<_> = names
            .iter()
            .take(3)
            .map(|name| (*name, large.as_slice()))
            .collect();
        assert!(set(S_IFREG, &most).unwrap().0.encode().is_ok());
        let all: Vec<_> = names.iter().map(|name| (*name, large.as_slice())).collect();
        let refused = set(S_IFREG, &all).unwrap().0.encode();
        assert_eq!(refused, Err(Refused::TooLarge { size: 12 + 4 * 65540 }));
        let names: Vec<String> = (0..300).map(|n| format!("user.{n:0245}")).collect();
        let many: Vec<_> = names.iter().map(|name| (name.as_str(), b"".as_slice())).collect();
        assert!(set(S_IFREG, &many[..261]).unwrap().0.encode().is_ok());
        assert!(set(S_IFREG, &many).unwrap().0.encode().is_err());
    }

    #[test]
    fn access_lists_change_the_mode() {
        let minimal = [
            2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 4, 0, 4, 0, 255, 255, 255, 255, 32, 0, 0, 0, 255,
            255, 255, 255,
        ];
        let (minimal_set, mode, _) = set(S_IFREG | 0o4777, &[("system.posix_acl_access", &minimal)]).unwrap();
        assert_eq!((minimal_set, mode), (Set::default(), S_IFREG | 0o4640));
        let (kept, mode, _) = set(S_IFDIR | 0o755, &[("system.posix_acl_default", &minimal)]).unwrap();
        assert_eq!((kept.entries.len(), mode), (1, S_IFDIR | 0o755));
        assert!(set(S_IFREG, &[("system.posix_acl_default", &minimal)]).is_err());
        assert!(set(S_IFREG, &[("system.posix_acl_access", b"x")]).is_err());
        assert_eq!(set(S_IFLNK, &[("system.posix_acl_access", b"x")]).unwrap().2, 1);
    }
}
