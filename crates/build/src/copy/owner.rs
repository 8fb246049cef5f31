//! `--chown`: names are those of the stage's own `/etc/passwd` and `/etc/group`, read beneath its root.

use std::path::Path;

use havre_sys::rooted::Root;

use super::CopyError;

/// Largest account file read, in bytes.
const LIMIT: u64 = 16 << 20;

/// `user`, `uid`, `user:group`, `uid:gid` and mixtures. Without a group it is the user's own, and for a number the
/// same number.
pub(crate) fn resolve(text: &str, root: Option<&Root>) -> Result<(u32, u32), CopyError> {
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    let (uid, own_group) = match user.parse::<u32>() {
        Ok(uid) => (uid, uid),
        Err(_) => {
            let missing = || CopyError::Owner {
                what: "uid",
                name: format!("user {user}: no such user: {user}"),
            };
            let fields = line(root, "etc/passwd", user).ok_or_else(missing)?;
            let number = |at: usize| fields.get(at).and_then(|field| field.parse().ok());
            (number(2).ok_or_else(missing)?, number(3).ok_or_else(missing)?)
        }
    };
    let gid = match group.filter(|group| !group.is_empty()) {
        None => own_group,
        Some(group) => match group.parse::<u32>() {
            Ok(gid) => gid,
            Err(_) => line(root, "etc/group", group)
                .and_then(|fields| fields.get(2).and_then(|field| field.parse().ok()))
                .ok_or_else(|| CopyError::Owner {
                    what: "gid",
                    name: format!("group {group}: no such group: {group}"),
                })?,
        },
    };
    Ok((uid, gid))
}

/// The fields of the line that begins with `name`.
fn line(root: Option<&Root>, file: &str, name: &str) -> Option<Vec<String>> {
    let bytes = root?.read(Path::new(file), LIMIT).ok()?;
    String::from_utf8_lossy(&bytes)
        .lines()
        .map(|line| line.split(':').map(str::to_owned).collect::<Vec<_>>())
        .find(|fields| fields.first().is_some_and(|first| first == name) && !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use fs_err as fs;

    #[test]
    fn names_and_numbers() {
        let dir = tempfile::tempdir().expect("temp dir");
        fs::create_dir(dir.path().join("etc")).expect("created");
        fs::write(
            dir.path().join("etc/passwd"),
            "root:x:0:0::/:/bin/sh\nbob:x:1000:1001::/:\n",
        )
        .expect("written");
        fs::write(dir.path().join("etc/group"), "staff:x:50:\n").expect("written");
        let root = Root::open(dir.path()).expect("opens");
        let rows = [
            ("bob", (1000, 1001)),
            ("bob:staff", (1000, 50)),
            ("5", (5, 5)),
            ("5:6", (5, 6)),
            ("5:staff", (5, 50)),
            ("bob:", (1000, 1001)),
        ];
        for (text, expected) in rows {
            assert_eq!(resolve(text, Some(&root)).expect(text), expected, "{text}");
        }
        for bad in ["alice", "bob:wheel", "", "-1", "99999999999"] {
            assert!(resolve(bad, Some(&root)).is_err(), "{bad}");
        }
        assert_eq!(resolve("5:6", None).expect("numbers need no files"), (5, 6));
        assert!(resolve("bob", None).is_err());
    }
}
