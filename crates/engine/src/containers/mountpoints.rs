//! Files and directories that are made in a root file system for a container that runs: places to mount over, and the mark by
//! which programs know that they run in a container. They are nobody's work and go with the container's end, so that neither
//! `diff` nor `commit` nor a build's layer shows them.

use std::io;
use std::path::Path;

use havre_sys::rooted::Root;
use havre_sys::userns::{IdMap, as_root_of};
use rustix::fs::{FileType, Mode, OFlags};

/// What every container has mounted.
const MOUNTED: [&str; 6] = [
    "dev",
    "proc",
    "sys",
    "etc/hostname",
    "etc/hosts",
    "etc/resolv.conf",
];

/// An empty file of every container of Docker's, which scripts look for.
const MARK: &str = ".dockerenv";

/// Makes a root file system a container's, mounted with the owners of `ids`; returns what it then has that it would not have of
/// its own.
pub(crate) fn prepare(rootfs: &Path, ids: Option<&IdMap>) -> io::Result<Vec<String>> {
    let mut made = missing(rootfs)?;
    match set_mark(rootfs, ids) {
        Ok(true) => made.push(MARK.to_owned()),
        Ok(false) => {}
        // A full disk keeps no container from running.
        Err(error) => tracing::warn!(%error, "a container starts without its mark"),
    }
    Ok(made)
}

/// Whether it was not there.
fn set_mark(rootfs: &Path, ids: Option<&IdMap>) -> io::Result<bool> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let root = Root::open(rootfs)?;
    let make = || root.open_at(Path::new(MARK), flags, Mode::from_raw_mode(0o755));
    match as_root_of(ids, make)? {
        Ok(file) => {
            // Whatever the daemon's umask is.
            rustix::fs::fchmod(&file, Mode::from_raw_mode(0o755))?;
            Ok(true)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

/// Runs `inside` while the mark of a running container is away.
pub(crate) fn without_mark<T>(
    rootfs: &Path,
    made: &[String],
    ids: Option<&IdMap>,
    inside: impl FnOnce() -> T,
) -> T {
    let mark = [MARK.to_owned()];
    let marked = made.contains(&mark[0]) && rootfs.join(MARK).symlink_metadata().is_ok();
    if marked && let Err(error) = remove(rootfs, &mark) {
        tracing::debug!(%error, "the mark of a container stays");
    }
    let result = inside();
    if marked && let Err(error) = set_mark(rootfs, ids) {
        tracing::debug!(%error, "the mark of a container does not come back");
    }
    result
}

/// Those that a root file system does not have of its own.
pub(crate) fn missing(rootfs: &Path) -> io::Result<Vec<String>> {
    let root = Root::open(rootfs)?;
    let mut missing = Vec::new();
    for path in MOUNTED {
        match root.stat(Path::new(path), false) {
            Ok(_) => {}
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                missing.push(path.to_owned());
            }
            Err(error) => return Err(error),
        }
    }
    Ok(missing)
}

/// Removes what [`missing`] found before, as far as it is still empty.
pub(crate) fn remove(rootfs: &Path, made: &[String]) -> io::Result<()> {
    if made.is_empty() {
        return Ok(());
    }
    let root = Root::open(rootfs)?;
    for path in made {
        let path = Path::new(path);
        let empty = match root.stat(path, false) {
            Ok(stat) => match FileType::from_raw_mode(stat.st_mode) {
                // A directory that is not empty refuses to go.
                FileType::Directory => true,
                FileType::RegularFile => stat.st_size == 0,
                _ => false,
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(error),
        };
        if empty {
            match root.remove(path) {
                Err(error)
                    if !matches!(
                        error.kind(),
                        io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotFound
                    ) =>
                {
                    return Err(error);
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// Whether a path of a container is one of them.
pub(crate) fn is_one(path: &Path, made: &[String]) -> bool {
    let path = path.strip_prefix("/").unwrap_or(path);
    made.iter().any(|one| path == Path::new(one))
}

#[cfg(test)]
mod tests {
    use fs_err as fs;

    use super::*;

    #[test]
    fn only_what_was_missing_and_is_empty_goes() {
        let rootfs = tempfile::tempdir().unwrap();
        fs::create_dir_all(rootfs.path().join("etc")).unwrap();
        fs::create_dir_all(rootfs.path().join("proc")).unwrap();
        let made = missing(rootfs.path()).unwrap();
        assert_eq!(
            made,
            ["dev", "sys", "etc/hostname", "etc/hosts", "etc/resolv.conf"]
        );
        for directory in ["dev", "sys"] {
            fs::create_dir(rootfs.path().join(directory)).unwrap();
        }
        fs::write(rootfs.path().join("dev/kept"), "").unwrap();
        fs::write(rootfs.path().join("etc/hosts"), "").unwrap();
        fs::write(rootfs.path().join("etc/hostname"), "written").unwrap();
        remove(rootfs.path(), &made).unwrap();
        assert!(rootfs.path().join("dev/kept").exists() && rootfs.path().join("proc").exists());
        assert!(!rootfs.path().join("sys").exists() && !rootfs.path().join("etc/hosts").exists());
        assert!(rootfs.path().join("etc/hostname").exists());
        assert!(is_one(Path::new("/etc/hosts"), &made) && !is_one(Path::new("/proc"), &made));
    }

    #[test]
    fn the_mark_is_the_engines_unless_somebody_else_made_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let rootfs = tempfile::tempdir().unwrap();
        let mark = rootfs.path().join(MARK);
        let made = prepare(rootfs.path(), None).unwrap();
        assert!(is_one(Path::new("/.dockerenv"), &made));
        assert_eq!(fs::metadata(&mark).unwrap().permissions().mode() & 0o7777, 0o755);
        // Who starts again after a crash finds it.
        assert!(!prepare(rootfs.path(), None).unwrap().contains(&MARK.to_owned()));
        without_mark(rootfs.path(), &made, None, || assert!(!mark.exists()));
        assert!(mark.exists());
        remove(rootfs.path(), &made).unwrap();
        assert!(!mark.exists());
        without_mark(rootfs.path(), &made, None, || ());
        assert!(!mark.exists());

        fs::write(&mark, "the image's").unwrap();
        let made = prepare(rootfs.path(), None).unwrap();
        without_mark(rootfs.path(), &made, None, || assert!(mark.exists()));
        remove(rootfs.path(), &made).unwrap();
        assert_eq!(fs::read_to_string(&mark).unwrap(), "the image's");
        fs::remove_file(&mark).unwrap();
        std::os::unix::fs::symlink("/outside", &mark).unwrap();
        assert!(!prepare(rootfs.path(), None).unwrap().contains(&MARK.to_owned()));
    }

    #[test]
    fn no_link_leads_out() {
        let (rootfs, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(outside.path().join("hosts"), "").unwrap();
        std::os::unix::fs::symlink(outside.path(), rootfs.path().join("etc")).unwrap();
        let made: Vec<String> = MOUNTED.iter().map(|path| (*path).to_owned()).collect();
        let _ = remove(rootfs.path(), &made);
        assert!(outside.path().join("hosts").exists());
    }
}
