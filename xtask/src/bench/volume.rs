//! A fresh ext4 in a sparse file, mounted for one engine in one round.
//!
//! The loop device passes writes on directly. Otherwise the file beneath is cached a second time, and writing 1 GiB with an
//! fsync takes 5.4 s instead of the 0.8 to 1.0 s it takes on the disk itself: what one would measure then is the loop device.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use fs_err as fs;

use crate::Outcome;

const SIZE: &str = "24G";

pub(super) struct Volume {
    image: PathBuf,
    device: String,
    mount_point: PathBuf,
}

impl Volume {
    pub(super) fn create(scratch: &Path, name: &str) -> Outcome<Self> {
        let image = scratch.join(format!("{name}.ext4"));
        let mount_point = scratch.join(name);
        let _ = fs::remove_file(&image);
        fs::create_dir_all(&mount_point)?;
        done(Command::new("truncate").args(["-s", SIZE]).arg(&image))?;
        done(
            Command::new("mkfs.ext4")
                .args(["-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0"])
                .arg(&image),
        )?;
        let device = done(
            Command::new("losetup")
                .args(["--find", "--show", "--direct-io=on"])
                .arg(&image),
        )?;
        let volume = Self {
            image,
            device,
            mount_point,
        };
        done(Command::new("mount").arg(&volume.device).arg(&volume.mount_point))?;
        Ok(volume)
    }

    pub(super) fn path(&self) -> &Path {
        &self.mount_point
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        let _ = Command::new("umount")
            .args(["-R", "-l"])
            .arg(&self.mount_point)
            .status();
        let _ = Command::new("losetup").arg("--detach").arg(&self.device).status();
        let _ = fs::remove_file(&self.image);
    }
}

/// Earlier writes must not be paid for by the next measurement.
pub(super) fn settle() -> Outcome {
    done(&mut Command::new("sync")).map(drop)
}

/// Runs a command to its end; a failure carries what it wrote.
pub(super) fn done(command: &mut Command) -> Outcome<String> {
    let output = command
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    Err(format!(
        "{command:?}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    )
    .into())
}
