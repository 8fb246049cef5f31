//! Users and passwords in a file of Apache's `htpasswd`, with bcrypt only, as the reference registry has it.

use std::collections::HashMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use fs_err as fs;
use ring::hmac;

use crate::config::HtpasswdFile;

/// A password that was right is not hashed again for so long: bcrypt takes as long as it can.
const REMEMBERED: Duration = Duration::from_secs(600);
/// So many of them.
const MOST: usize = 10_000;
/// What a password is compared with whose user is not there, so that it takes as long to be told off.
const NOBODY: &str = "$2b$10$abcdefghijklmnopqrstuuWWPAmPxpiD8D2iyNWzOdeuO5VY.WvTm";

/// The users of a file, read again when it changes.
#[derive(Debug)]
pub(crate) struct Htpasswd {
    file: HtpasswdFile,
    users: Mutex<Users>,
    /// Of this process only.
    key: hmac::Key,
    right: Mutex<HashMap<Vec<u8>, Instant>>,
}

#[derive(Debug, Default)]
struct Users {
    changed: Option<SystemTime>,
    hashes: HashMap<String, String>,
}

/// Why a file of users cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HtpasswdError {
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("{}, line {line}: a line is USER:HASH", path.display())]
    Line { path: PathBuf, line: usize },
    #[error("{}, line {line}: the password of {user:?} is not hashed with bcrypt: 'htpasswd -B' writes it so", path.display())]
    Hash {
        path: PathBuf,
        line: usize,
        user: String,
    },
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Htpasswd {
    /// Reads the file. One that is not there is made, with one user whose password is said once, as the reference registry does it.
    pub(crate) fn open(file: HtpasswdFile) -> Result<Self, HtpasswdError> {
        if !file.path.try_exists()? {
            provision(&file.path)?;
        }
        let htpasswd = Self {
            users: Mutex::new(read(&file)?),
            file,
            key: hmac::Key::new(hmac::HMAC_SHA256, &rand::random::<[u8; 32]>()),
            right: Mutex::default(),
        };
        Ok(htpasswd)
    }

    pub(crate) fn realm(&self) -> &str {
        &self.file.realm
    }

    /// Whether the password is the user's. Takes its time.
    pub(crate) fn is_right(&self, user: &str, password: &str) -> bool {
        self.refresh();
        let hash = lock(&self.users).hashes.get(user).cloned();
        let Some(hash) = hash else {
            let _ = bcrypt::verify(password, NOBODY);
            return false;
        };
        // The hash is of a fixed length, the user has no colon: nothing else gives the same text.
        let seen = hmac::sign(&self.key, format!("{hash}{user}:{password}").as_bytes());
        let seen = seen.as_ref().to_vec();
        if lock(&self.right)
            .get(&seen)
            .is_some_and(|at| at.elapsed() < REMEMBERED)
        {
            return true;
        }
        let right = bcrypt::verify(password, &hash).unwrap_or(false);
        if right {
            let mut remembered = lock(&self.right);
            if remembered.len() >= MOST {
                remembered.clear();
            }
            remembered.insert(seen, Instant::now());
        }
        right
    }

    /// Reads the file if it changed. One that cannot be used any more changes nothing, and is said.
    fn refresh(&self) {
        let changed = fs::metadata(&self.file.path).and_then(|status| status.modified());
        let mut users = lock(&self.users);
        if changed.as_ref().ok() == users.changed.as_ref() {
            return;
        }
        match read(&self.file) {
            Ok(read) => *users = read,
            Err(error) => {
                tracing::error!(%error, "the users stay as they were");
                users.changed = changed.ok();
            }
        }
    }
}

/// The user of a file that was not there.
const FIRST_USER: &str = "docker";

fn provision(path: &Path) -> Result<(), HtpasswdError> {
    let password: String = rand::random::<[u8; 24]>()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let hash = bcrypt::hash(&password, bcrypt::DEFAULT_COST).map_err(std::io::Error::other)?;
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder)?;
    let mut file = fs::OpenOptions::new();
    let file = file.write(true).create_new(true);
    let mut file = fs_err::os::unix::fs::OpenOptionsExt::mode(file, 0o600).open(path)?;
    file.write_all(format!("{FIRST_USER}:{hash}\n").as_bytes())?;
    tracing::warn!(
        path = %path.display(),
        user = FIRST_USER,
        password,
        "the file of users was not there: it has one user now"
    );
    Ok(())
}

fn read(file: &HtpasswdFile) -> Result<Users, HtpasswdError> {
    let changed = fs::metadata(&file.path)?.modified().ok();
    let text = fs::read_to_string(&file.path)?;
    let mut hashes = HashMap::new();
    for (index, line) in text.lines().enumerate() {
        let (line, number) = (line.trim(), index + 1);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let Some((user, hash)) = line.split_once(':').filter(|(user, _)| !user.is_empty()) else {
            return Err(HtpasswdError::Line {
                path: file.path.clone(),
                line: number,
            });
        };
        let is_bcrypt = ["$2a$", "$2b$", "$2x$", "$2y$"]
            .iter()
            .any(|prefix| hash.starts_with(prefix));
        if !is_bcrypt || hash.len() != 60 {
            return Err(HtpasswdError::Hash {
                path: file.path.clone(),
                line: number,
                user: user.to_owned(),
            });
        }
        hashes.insert(user.to_owned(), hash.to_owned());
    }
    Ok(Users { changed, hashes })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(dir: &tempfile::TempDir, text: &str) -> HtpasswdFile {
        let path = dir.path().join("htpasswd");
        fs::write(&path, text).unwrap();
        let realm = "test".to_owned();
        HtpasswdFile { realm, path }
    }

    fn hash(password: &str) -> String {
        bcrypt::hash(password, 4).unwrap()
    }

    #[test]
    fn users_and_changes() {
        let dir = tempfile::tempdir().unwrap();
        let users = Htpasswd::open(file(&dir, &format!("# ours\n\nme:{}\n", hash("secret")))).unwrap();
        assert!(users.is_right("me", "secret"));
        assert!(users.is_right("me", "secret"), "remembered");
        for (user, password) in [
            ("me", "Secret"),
            ("me", ""),
            ("you", "secret"),
            ("", ""),
            ("# ours", ""),
        ] {
            assert!(!users.is_right(user, password), "{user}");
        }
        let changed = file(&dir, &format!("me:{}\nyou:{}\n", hash("other"), hash("yours")));
        let later = SystemTime::now() + Duration::from_secs(5);
        fs::File::options()
            .write(true)
            .open(&changed.path)
            .unwrap()
            .file()
            .set_modified(later)
            .unwrap();
        assert!(
            !users.is_right("me", "secret"),
            "what was remembered is of another hash"
        );
        assert!(users.is_right("me", "other") && users.is_right("you", "yours"));
        // What cannot be used changes nothing.
        let broken = file(&dir, "me:plain\n");
        let later = later + Duration::from_secs(5);
        fs::File::options()
            .write(true)
            .open(&broken.path)
            .unwrap()
            .file()
            .set_modified(later)
            .unwrap();
        assert!(users.is_right("me", "other"));
        assert!(!users.is_right("me", "plain"));
    }

    #[test]
    fn a_file_that_is_not_there_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("auth/htpasswd");
        let realm = "test".to_owned();
        let users = Htpasswd::open(HtpasswdFile { realm, path }).unwrap();
        let text = fs::read_to_string(&users.file.path).unwrap();
        assert!(text.starts_with("docker:$2"), "{text}");
        assert!(!users.is_right("docker", ""));
        let mode =
            std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&users.file.path).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn other_hashes_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        for (text, told) in [
            ("me:secret", "bcrypt"),
            ("me:$apr1$x$y", "bcrypt"),
            ("me:{SHA}x", "bcrypt"),
            ("me:$2y$05$short", "bcrypt"),
            ("me", "USER:HASH"),
            (":x", "USER:HASH"),
        ] {
            let error = Htpasswd::open(file(&dir, text)).unwrap_err().to_string();
            assert!(
                error.contains(told) && error.contains("line 1"),
                "{text}: {error}"
            );
        }
    }
}
