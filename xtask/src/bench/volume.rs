//! A fresh ext4 in a sparse file, mounted for one engine in one round.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use fs_err as fs;

use crate::Outcome;

const SIZE: &str = "24G";

pub(super) struct Volume {
    image: PathBuf,
    mount_point: PathBuf,
}

impl Volume {
    pub(super) fn create(scratch: &Path, name: &str) -> Outcome<Self> {
        let volume = Self {
            image: scratch.join(format!("{name}.ext4")),
            mount_point: scratch.join(name),
        };
        let _ = fs::remove_file(&volume.image);
        fs::create_dir_all(&volume.mount_point)?;
        done(Command::new("truncate").args(["-s", SIZE]).arg(&volume.image))?;
        done(
            Command::new("mkfs.ext4")
                .args(["-q", "-F", "-E", "lazy_itable_init=0"])
                .arg(&volume.image),
        )?;
        done(
            Command::new("mount")
                .args(["-o", "loop"])
                .arg(&volume.image)
                .arg(&volume.mount_point),
        )?;
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
        let _ = fs::remove_file(&self.image);
    }
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
