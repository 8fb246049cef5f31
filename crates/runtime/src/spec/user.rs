//! Who a process in a container is: names looked up in the container's own `/etc/passwd` and `/etc/group`.
//!
//! Both files are hostile input: they are resolved beneath the root file system, must be regular files, and are read
//! up to a limit (a group file of gigabytes or a line of megabytes costs nothing).

use std::io::{BufRead, BufReader, Read};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};

use super::SpecError;

/// Bytes read of either file; lines longer than the second limit are skipped.
const MAX_FILE: u64 = 8 << 20;
const MAX_LINE: u64 = 64 << 10;
/// The kernel's own limit on supplementary groups is 65536; nobody has more than a handful.
const MAX_GROUPS: usize = 1024;
/// Linux accepts 0 … 2³²−2; Docker 0 … 2³¹−1.
const MAX_ID: u32 = i32::MAX as u32;

/// A resolved user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
    pub additional_gids: Vec<u32>,
    pub home: String,
}

/// Resolves `user` (`name`, `uid`, `name:group`, `uid:gid` … or empty, which is root) and additional groups in the
/// file system whose root directory is open as `root`.
pub fn resolve_user(root: impl AsFd, user: &str, additional_groups: &[String]) -> Result<User, SpecError> {
    let root = root.as_fd();
    let (name, group) = match user.split_once(':') {
        Some((name, group)) => (name, Some(group)),
        None => (user, None),
    };
    let number = parse_id(name)?;
    let wanted = if name.is_empty() { "0" } else { name };
    let entry = read_lines(open(root, "etc/passwd"), |fields| {
        let [entry_name, _, uid, gid, _, home, ..] = fields else {
            return None;
        };
        let (uid, gid) = (uid.parse::<u32>().ok()?, gid.parse::<u32>().ok()?);
        let matches = *entry_name == wanted || Some(uid) == number || (name.is_empty() && uid == 0);
        matches.then(|| ((*entry_name).to_owned(), uid, gid, (*home).to_owned()))
    });
    let (entry_name, uid, passwd_gid, home) = match (entry, number) {
        (Some((entry_name, uid, gid, home)), _) => (Some(entry_name), uid, gid, home),
        (None, Some(uid)) => (None, uid, 0, String::new()),
        (None, None) if name.is_empty() => (None, 0, 0, String::new()),
        (None, None) => {
            return Err(SpecError::UnknownUser {
                name: name.to_owned(),
            });
        }
    };

    let mut gid = passwd_gid;
    let mut additional_gids = Vec::new();
    match group {
        // An explicit group replaces the memberships of the group file.
        Some(group) if !group.is_empty() => gid = find_group(root, group)?,
        _ => {
            if let Some(entry_name) = &entry_name {
                let mut found = Vec::new();
                read_lines(open(root, "etc/group"), |fields| {
                    if let [_, _, gid, members] = fields
                        && members.split(',').any(|member| member == entry_name)
                        && let Ok(gid) = gid.parse::<u32>()
                        && found.len() < MAX_GROUPS
                    {
                        found.push(gid);
                    }
                    None::<()>
                });
                additional_gids = found;
            }
        }
    }
    for group in additional_groups {
        let gid = find_group(root, group)?;
        if !additional_gids.contains(&gid) {
            additional_gids.push(gid);
        }
    }
    let home = if home.is_empty() { "/".to_owned() } else { home };
    Ok(User {
        uid,
        gid,
        additional_gids,
        home,
    })
}

fn find_group(root: impl AsFd, group: &str) -> Result<u32, SpecError> {
    let number = parse_id(group)?;
    let found = read_lines(open(root, "etc/group"), |fields| {
        let [name, _, gid, ..] = fields else { return None };
        let gid = gid.parse::<u32>().ok()?;
        (*name == group || Some(gid) == number).then_some(gid)
    });
    found.or(number).ok_or_else(|| SpecError::UnknownGroup {
        name: group.to_owned(),
    })
}

/// A decimal id; `None` for a name.
fn parse_id(text: &str) -> Result<Option<u32>, SpecError> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    match text.parse::<u32>() {
        Ok(id) if id <= MAX_ID => Ok(Some(id)),
        _ => Err(SpecError::IdRange),
    }
}

fn open(root: impl AsFd, path: &str) -> Option<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let file = rustix::fs::openat2(root, path, flags, Mode::empty(), resolve).ok()?;
    let stat = rustix::fs::fstat(&file).ok()?;
    (FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile).then_some(file)
}

/// Gives the colon-separated fields of each line to `visit` until it returns something.
fn read_lines<T>(file: Option<OwnedFd>, mut visit: impl FnMut(&[&str]) -> Option<T>) -> Option<T> {
    let mut reader = BufReader::with_capacity(4096, std::fs::File::from(file?).take(MAX_FILE));
    let mut line = Vec::new();
    let mut skipping = false;
    loop {
        line.clear();
        let read = reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut line).ok()?;
        if read == 0 {
            return None;
        }
        let whole = line.ends_with(b"\n") || (read as u64) < MAX_LINE;
        if !std::mem::replace(&mut skipping, !whole)
            && whole
            && let Ok(text) = std::str::from_utf8(&line)
        {
            let text = text.trim();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let fields: Vec<&str> = text.split(':').collect();
            if let Some(found) = visit(&fields) {
                return Some(found);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(passwd: &str, group: &str) -> (tempfile::TempDir, std::fs::File) {
        let dir = tempfile::tempdir().unwrap();
        fs_err::create_dir(dir.path().join("etc")).unwrap();
        fs_err::write(dir.path().join("etc/passwd"), passwd).unwrap();
        fs_err::write(dir.path().join("etc/group"), group).unwrap();
        let fd = std::fs::OpenOptions::new().read(true).open(dir.path()).unwrap();
        (dir, fd)
    }

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/sh\n# comment\napp:x:1000:1001:App:/home/app:/bin/sh\nbroken\n";
    const GROUP: &str = "root:x:0:\nstaff:x:50:app,other\napp:x:1001:\nwheel:x:10:app\n";

    #[test]
    fn names_numbers_and_groups() {
        let (_dir, root) = root(PASSWD, GROUP);
        let user = |text: &str| resolve_user(&root, text, &[]).unwrap();
        assert_eq!(
            user(""),
            User {
                uid: 0,
                gid: 0,
                additional_gids: vec![],
                home: "/root".into()
            }
        );
        let app = User {
            uid: 1000,
            gid: 1001,
            additional_gids: vec![50, 10],
            home: "/home/app".into(),
        };
        assert_eq!(user("app"), app);
        assert_eq!(user("1000"), app);
        assert_eq!(
            user("app:staff"),
            User {
                gid: 50,
                additional_gids: vec![],
                ..app.clone()
            }
        );
        assert_eq!(
            user("app:7"),
            User {
                gid: 7,
                additional_gids: vec![],
                ..app
            }
        );
        assert_eq!(
            user("4242"),
            User {
                uid: 4242,
                gid: 0,
                additional_gids: vec![],
                home: "/".into()
            }
        );
        let extra = resolve_user(&root, "app", &["wheel".into(), "99".into()]).unwrap();
        assert_eq!(extra.additional_gids, [50, 10, 99]);
    }

    #[test]
    fn errors_are_dockers() {
        let (_dir, root) = root(PASSWD, GROUP);
        let error = |text: &str| resolve_user(&root, text, &[]).unwrap_err().to_string();
        assert_eq!(
            error("foo"),
            "unable to find user foo: no matching entries in passwd file"
        );
        assert_eq!(
            error("app:foo"),
            "unable to find group foo: no matching entries in group file"
        );
        assert_eq!(error("4294967295"), "uids and gids must be in range 0-2147483647");
    }

    #[test]
    fn hostile_files() {
        let long = "x".repeat(3 << 20);
        let (dir, root) = root(&format!("{long}:x:1:1::/:\nok:x:2:2::/:\n"), GROUP);
        assert_eq!(resolve_user(&root, "ok", &[]).unwrap().uid, 2);
        // A link out of the root is resolved inside it; a device or fifo is not read.
        let passwd = dir.path().join("etc/passwd");
        fs_err::remove_file(&passwd).unwrap();
        std::os::unix::fs::symlink("/../../etc/shadow-of-host", &passwd).unwrap();
        assert!(resolve_user(&root, "ok", &[]).is_err());
        fs_err::remove_file(&passwd).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &passwd,
            FileType::Fifo,
            Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        assert!(resolve_user(&root, "ok", &[]).is_err());
        assert_eq!(resolve_user(&root, "7", &[]).unwrap().uid, 7);
    }
}
