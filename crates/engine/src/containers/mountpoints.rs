//! Files and directories that the runtime makes in a root file system only to mount over them. They are nobody's work and go
//! with the container's end, so that neither `diff` nor `commit` nor a build's layer shows them.

use std::io;
use std::path::Path;

use havre_sys::rooted::Root;
use rustix::fs::FileType;

/// What every container has mounted.
const MOUNTED: [&str; 6] = [
    "dev",
    "proc",
    "sys",
    "etc/hostname",
    "etc/hosts",
    "etc/resolv.conf",
];

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
    fn no_link_leads_out() {
        let (rootfs, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(outside.path().join("hosts"), "").unwrap();
        std::os::unix::fs::symlink(outside.path(), rootfs.path().join("etc")).unwrap();
        let made: Vec<String> = MOUNTED.iter().map(|path| (*path).to_owned()).collect();
        let _ = remove(rootfs.path(), &made);
        assert!(outside.path().join("hosts").exists());
    }
}
