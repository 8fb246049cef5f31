//! A fresh ext4 in a file, mounted for one engine in one round.
//!
//! The loop device passes writes on directly. Otherwise the file beneath is cached a second time, and writing 1 GiB with an
//! fsync takes 5.4 s instead of the 0.8 to 1.0 s it takes on the disk itself: what one would measure then is the loop device.
//!
//! All blocks of the file were written before, and all engines get the same. On disks that get their blocks when they are first
//! written, as those of most virtual machines do, whoever comes first pays for that: the first pull of 1 GiB took 4.3 s, and 1.7 s
//! when it was repeated.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use fs_err as fs;

use crate::Outcome;

const SIZE: u64 = 16 << 30;

pub(super) struct Volume {
    device: String,
    mount_point: PathBuf,
}

impl Volume {
    pub(super) fn create(scratch: &Path, name: &str) -> Outcome<Self> {
        let image = file(scratch);
        let mount_point = scratch.join(name);
        fs::create_dir_all(&mount_point)?;
        if !fs::metadata(&image).is_ok_and(|status| status.len() == SIZE) {
            write_blocks(&image)?;
        }
        done(
            Command::new("mkfs.ext4")
                .args([
                    "-q",
                    "-F",
                    "-E",
                    "nodiscard,lazy_itable_init=0,lazy_journal_init=0",
                ])
                .arg(&image),
        )?;
        let device = done(
            Command::new("losetup")
                .args(["--find", "--show", "--direct-io=on"])
                .arg(&image),
        )?;
        let volume = Self { device, mount_point };
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
    }
}

fn file(scratch: &Path) -> PathBuf {
    scratch.join("volume.ext4")
}

/// Gives the space back.
pub(super) fn remove(scratch: &Path) {
    let _ = fs::remove_file(file(scratch));
}

fn write_blocks(image: &Path) -> Outcome {
    const PIECE: u64 = 4 << 20;
    done(
        Command::new("dd")
            .args(["if=/dev/zero", "oflag=direct", "status=none"])
            .arg(format!("of={}", image.display()))
            .arg(format!("bs={PIECE}"))
            .arg(format!("count={}", SIZE / PIECE)),
    )
    .map(drop)
}

/// Earlier writes must not be paid for by the next measurement.
pub(super) fn settle() -> Outcome {
    done(&mut Command::new("sync")).map(drop)
}

/// Bytes of memory that are ready when a measurement of large files begins.
const READY: usize = 5 << 30;

/// The same, and memory is there. A virtual machine may give free memory back to its host (free page reporting), and having it
/// again costs more than writing it to the disk: seconds for a gigabyte, which would be measured with whatever comes first.
pub(super) fn settle_memory() -> Outcome {
    settle()?;
    let mut held = vec![0_u8; READY];
    for page in held.chunks_mut(4096) {
        page[0] = 1;
    }
    std::hint::black_box(&held);
    Ok(())
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
