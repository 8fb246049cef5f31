//! User namespaces of containers (`userns-remap`): root of a container is somebody without rights on the host.
//!
//! All containers have the same ids, those that `/etc/subuid` and `/etc/subgid` give to one user of the host, and each has a
//! namespace of its own. What they write lies on the disk as if there was none: root file systems and volumes are shown
//! shifted by the kernel, so that images, layers and volumes serve containers with and without.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use fs_err as fs;
use havre_store::{Shift, Store};
use havre_sys::userns::{self, IdMap, IdRange};

use crate::{EngineError, ErrorKind, Result};

/// Whose ids they are for `userns-remap = "default"`.
const DEFAULT_USER: &str = "dockremap";

/// What the kernel takes for one namespace.
const MAX_RANGES: usize = 340;

/// The files that say who has which ids; in `/etc`.
const USERS: &str = "passwd";
const GROUPS: &str = "group";

/// The ids of the containers of an engine.
#[derive(Debug)]
pub(crate) struct Remap {
    pub(crate) map: IdMap,
    /// One with these ids, by which owners are shifted; containers have their own.
    namespace: OwnedFd,
    root: (u32, u32),
}

impl Remap {
    /// `setting`: `default`, `USER`, `USER:GROUP`, `UID` or `UID:GID`, by the files of the directory `etc`.
    pub(crate) fn open(setting: &str, etc: &Path) -> Result<Self> {
        let map = parse(setting, etc).map_err(|error| error.context("userns-remap"))?;
        let failed = |error: std::io::Error| {
            EngineError::system(format!("userns-remap: cannot make a user namespace: {error}"))
                .with_source(error)
        };
        let namespace = userns::create(&map).map_err(failed)?;
        let root = map.uid_outside(0).zip(map.gid_outside(0));
        let root = root.ok_or_else(|| EngineError::invalid("userns-remap: no id for root"))?;
        Ok(Remap { map, namespace, root })
    }

    /// User and group that root of a container is on the host.
    pub(crate) fn root(&self) -> (u32, u32) {
        self.root
    }

    pub(crate) fn shift(&self) -> Shift<'_> {
        Shift {
            namespace: self.namespace.as_fd(),
            root: self.root,
        }
    }

    /// Finds out by trying whether the kernel shows owners shifted on the store's file system.
    pub(crate) fn probe(&self, store: &Store) -> Result<()> {
        const ID: &str = "userns-probe";
        let snapshots = store.snapshots();
        snapshots.remove(ID)?;
        let snapshot = snapshots.prepare(ID, &[])?;
        let tried = snapshots.mount_as(&snapshot, Some(self.shift())).map(drop);
        snapshots.remove(ID)?;
        tried.map_err(|error| {
            EngineError::system(format!(
                "userns-remap: this kernel cannot show files of {} with other owners, for which it takes Linux 5.19 and ext4, xfs \
                 or btrfs: {error}",
                store.layout().root().display()
            ))
            .with_source(error)
        })
    }
}

/// The ids of the container a process is in; `None` if they are the host's.
pub(crate) fn map_of(pid: i32) -> Result<Option<IdMap>> {
    let map = IdMap::of_process(pid)?;
    let own = IdMap::of_process(std::process::id().cast_signed())?;
    Ok((map != own).then_some(map))
}

fn parse(setting: &str, etc: &Path) -> Result<IdMap> {
    let (user, group) = match setting.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (setting, None),
    };
    if user.is_empty() || group.is_some_and(|group| group.is_empty() || group.contains(':')) {
        return Err(EngineError::invalid(format!(
            "invalid user/group specification {setting:?}: expected default, USER, USER:GROUP, UID or UID:GID"
        )));
    }
    let named = match user {
        "default" => DEFAULT_USER,
        user => user,
    };
    let found = lookup(&etc.join(USERS), named)?;
    let (name, id) = match (found, user) {
        (Some(found), _) => found,
        // Its ids are all that is needed of it.
        (None, "default") => (DEFAULT_USER.to_owned(), String::new()),
        (None, _) => {
            return Err(EngineError::invalid(format!(
                "no user {user} in {}",
                etc.join(USERS).display()
            )));
        }
    };
    if id == "0" {
        return Err(EngineError::invalid(
            "root cannot be remapped to itself: choose a user without rights, or leave userns-remap out",
        ));
    }
    let mut group_owners = vec![name.clone(), id.clone()];
    if let Some(group) = group {
        let Some((group, id)) = lookup(&etc.join(GROUPS), group)? else {
            return Err(EngineError::invalid(format!(
                "no group {group} in {}",
                etc.join(GROUPS).display()
            )));
        };
        group_owners = vec![group, id, group_owners.remove(0), group_owners.remove(0)];
    }
    Ok(IdMap {
        uids: ranges(&etc.join("subuid"), &[name, id])?,
        gids: ranges(&etc.join("subgid"), &group_owners)?,
    })
}

/// Name and number of the entry that has this name or number, in a file such as `/etc/passwd`.
fn lookup(path: &Path, wanted: &str) -> Result<Option<(String, String)>> {
    let text = read(path)?;
    let entry = |line: &str| {
        let mut fields = line.split(':');
        let (name, _, id) = (fields.next()?, fields.next()?, fields.next()?);
        (name == wanted || id == wanted).then(|| (name.to_owned(), id.to_owned()))
    };
    Ok(text.lines().find_map(entry))
}

fn read(path: &Path) -> Result<String> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        read => Ok(read?),
    }
}

/// The ranges that a file such as `/etc/subuid` gives to the first of `owners` who has any, one after the other from 0 on.
fn ranges(path: &Path, owners: &[String]) -> Result<Vec<IdRange>> {
    let text = read(path)?;
    let mut entries = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let fields: Vec<&str> = line.split(':').collect();
        let entry = match fields[..] {
            [owner, first, count] => first
                .parse::<u32>()
                .ok()
                .zip(count.parse::<u32>().ok())
                .map(|ids| (owner, ids)),
            _ => None,
        };
        let entry = entry.filter(|(_, (first, count))| *count > 0 && first.checked_add(*count).is_some());
        entries.push(entry.ok_or_else(|| {
            EngineError::invalid(format!(
                "{}, line {}: expected USER:FIRST:COUNT, found {line:?}",
                path.display(),
                number + 1
            ))
        })?);
    }
    let of = |owner: &String| {
        let own: Vec<_> = entries
            .iter()
            .filter(|(known, _)| known == owner)
            .map(|(_, ids)| *ids)
            .collect();
        (!owner.is_empty() && !own.is_empty()).then_some(own)
    };
    let Some(own) = owners.iter().find_map(of) else {
        let end = entries.iter().map(|(_, (first, count))| first + count).max();
        let free = end.unwrap_or(0).max(100_000);
        return Err(EngineError::invalid(format!(
            "{} has no ids for {owner}: add the line \"{owner}:{free}:65536\"",
            path.display(),
            owner = owners[0]
        )));
    };
    if own.len() > MAX_RANGES {
        return Err(EngineError::invalid(format!(
            "{} has {} ranges for {}: more than {MAX_RANGES}, which is what the kernel takes",
            path.display(),
            own.len(),
            owners[0]
        )));
    }
    let mut ranges: Vec<IdRange> = Vec::new();
    let mut inside: u32 = 0;
    for (outside, count) in own {
        let wrong = |reason: &str| {
            Err(EngineError::new(
                ErrorKind::InvalidParameter,
                format!("{}: the range {outside}:{count} {reason}", path.display()),
            ))
        };
        if outside == 0 {
            return wrong("begins with root of the host");
        }
        let overlaps =
            |other: &IdRange| outside < other.outside + other.count && other.outside < outside + count;
        if ranges.iter().any(overlaps) {
            return wrong("overlaps another one of the same user");
        }
        let Some(next) = inside.checked_add(count) else {
            return wrong("is more than there are ids");
        };
        ranges.push(IdRange {
            inside,
            outside,
            count,
        });
        inside = next;
    }
    Ok(ranges)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn etc(files: &[(&str, &str)]) -> tempfile::TempDir {
        let etc = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(etc.path().join(name), text).unwrap();
        }
        etc
    }

    fn shown(ranges: &[IdRange]) -> Vec<(u32, u32, u32)> {
        let numbers = |range: &IdRange| (range.inside, range.outside, range.count);
        ranges.iter().map(numbers).collect()
    }

    #[test]
    fn ranges_add_up_from_zero() {
        let ids = "# kept\nother:100000:65536\ndockremap:200000:1000\n\ndockremap:400000:10\n";
        let etc = etc(&[("subuid", ids), ("subgid", "dockremap:300000:65536\n")]);
        let map = parse("default", etc.path()).unwrap();
        assert_eq!(shown(&map.uids), [(0, 200_000, 1000), (1000, 400_000, 10)]);
        assert_eq!(shown(&map.gids), [(0, 300_000, 65536)]);
    }

    #[test]
    fn users_and_groups_are_found_by_name_and_number() {
        let etc = etc(&[
            ("passwd", "root:x:0:0::/:/bin/sh\nann:x:1001:1002::/:/bin/sh\n"),
            ("group", "staff:x:50:\n"),
            ("subuid", "1001:100000:65536\n"),
            ("subgid", "ann:200000:65536\nstaff:300000:65536\n"),
        ]);
        for (setting, gid) in [
            ("ann", 200_000),
            ("1001", 200_000),
            ("ann:staff", 300_000),
            ("1001:50", 300_000),
        ] {
            let map = parse(setting, etc.path()).unwrap();
            assert_eq!(map.uid_outside(0), Some(100_000), "{setting}");
            assert_eq!(map.gid_outside(0), Some(gid), "{setting}");
        }
        for (setting, said) in [
            ("", "invalid user/group specification"),
            ("ann:", "invalid user/group specification"),
            ("ann:staff:x", "invalid user/group specification"),
            ("bob", "no user bob in "),
            ("ann:wheel", "no group wheel in "),
            ("root", "root cannot be remapped to itself"),
            ("0", "root cannot be remapped to itself"),
        ] {
            let error = parse(setting, etc.path()).unwrap_err().to_string();
            assert!(error.contains(said), "{setting}: {error}");
        }
    }

    #[test]
    fn what_is_missing_is_said_with_the_line_to_add() {
        let etc = etc(&[("subuid", "ann:100000:65536\n")]);
        let error = parse("default", etc.path()).unwrap_err().to_string();
        assert!(
            error.ends_with("subuid has no ids for dockremap: add the line \"dockremap:165536:65536\""),
            "{error}"
        );
        fs::write(etc.path().join("subuid"), "dockremap:100000:65536\n").unwrap();
        let error = parse("default", etc.path()).unwrap_err().to_string();
        assert!(
            error.ends_with("subgid has no ids for dockremap: add the line \"dockremap:100000:65536\""),
            "{error}"
        );
    }

    #[test]
    fn ranges_that_cannot_be_are_refused() {
        for (text, said) in [
            ("dockremap:1\n", "line 1: expected USER:FIRST:COUNT"),
            ("\ndockremap:1:x\n", "line 2: expected USER:FIRST:COUNT"),
            ("dockremap:1:0\n", "line 1: expected"),
            ("dockremap:4294967295:2\n", "line 1: expected"),
            ("dockremap:0:65536\n", "begins with root of the host"),
            (
                "dockremap:100000:65536\ndockremap:165535:9\n",
                "165535:9 overlaps",
            ),
        ] {
            let etc = etc(&[("subuid", text), ("subgid", text)]);
            let error = parse("default", etc.path()).unwrap_err().to_string();
            assert!(error.contains(said), "{text:?}: {error}");
        }
        let many: String = (0..341)
            .map(|n| format!("dockremap:{}:1\n", 100_000 + n))
            .collect();
        let etc = etc(&[("subuid", &many), ("subgid", &many)]);
        let error = parse("default", etc.path()).unwrap_err().to_string();
        assert!(error.contains("341 ranges"), "{error}");
    }
}
