//! Engines on a file system of their own, small enough to be filled.

use std::path::{Path, PathBuf};
use std::process::Command;

use fs_err as fs;

use crate::TestEngine;

/// An engine whose root is on a small file system, which ends with it.
pub struct SmallDisk {
    engine: Option<TestEngine>,
    mount: PathBuf,
    /// Goes after the mount in it.
    _dir: tempfile::TempDir,
}

impl SmallDisk {
    /// On an ext4 of this size.
    pub fn ext4(megabytes: u64) -> Self {
        Self::start(|dir, mount| {
            let disk = dir.join("disk");
            fs::File::create(&disk)
                .and_then(|file| file.set_len(megabytes << 20))
                .expect("a disk");
            run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&disk));
            run(Command::new("mount").args(["-o", "loop"]).arg(&disk).arg(mount));
        })
    }

    /// In memory, where every byte that is free can be taken.
    pub fn memory(megabytes: u64) -> Self {
        Self::start(|_, mount| {
            let size = format!("size={megabytes}m");
            run(Command::new("mount")
                .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
                .arg(mount));
        })
    }

    fn start(make: impl FnOnce(&Path, &Path)) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("havre-small-")
            .tempdir_in("/var/tmp")
            .expect("a directory");
        let mount = dir.path().join("root");
        fs::create_dir(&mount).expect("a directory");
        make(dir.path(), &mount);
        let engine = Some(TestEngine::at(&mount.join("havre")));
        Self {
            engine,
            mount,
            _dir: dir,
        }
    }

    pub fn engine(&self) -> &TestEngine {
        self.engine.as_ref().expect("it ends with the disk")
    }

    /// Takes all the room there is.
    pub fn fill(&self) {
        let of = format!("of={}", self.filler().display());
        for last in [&["bs=64k"][..], &["bs=1", "oflag=append", "conv=notrunc"]] {
            // It ends by failing.
            let filled = Command::new("dd").args(["if=/dev/zero", &of]).args(last).output();
            filled.expect("dd");
        }
    }

    /// Takes all the room there is but so many bytes.
    pub fn leave(&self, bytes: u64) {
        let free = rustix::fs::statvfs(&self.mount).expect("the file system");
        let free = (free.f_bavail * free.f_frsize).saturating_sub(bytes);
        let file = fs::File::create(self.filler()).expect("the filler");
        let flags = rustix::fs::FallocateFlags::empty();
        if free > 0 {
            rustix::fs::fallocate(file.file(), flags, 0, free).expect("the room");
        }
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.mount
    }

    /// Gives back what [`SmallDisk::fill`] or [`SmallDisk::leave`] took.
    pub fn clear(&self) {
        fs::remove_file(self.filler()).expect("the filler");
    }

    fn filler(&self) -> PathBuf {
        self.mount.join("filler")
    }
}

fn run(command: &mut Command) {
    let output = command.output().expect("a program");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(self.engine.take());
        let _ = Command::new("umount").arg("-l").arg(&self.mount).status();
    }
}
