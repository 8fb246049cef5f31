//! A file that a process on this machine has opened and lets another one write.

use std::fmt;
use std::io;
use std::os::fd::{AsRawFd as _, RawFd};
use std::str::FromStr;

use fs_err as fs;
use rustix::fs::{FileType, OFlags};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

/// What identifies an open file of a process. As text (in a header) it is `boot=<uuid> fd=<n> device=<n> inode=<n>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handed {
    /// The running kernel: cloned machines have equal inode numbers.
    boot: String,
    fd: RawFd,
    device: u64,
    inode: u64,
}

/// Text that is no [`Handed`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a description of an open file")]
pub struct BadHanded;

/// Why the file is not to be had. It can still be written by the process that has it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotHanded {
    #[error("the process runs on another machine")]
    Machine,
    #[error("the process's file cannot be had: {0}")]
    Process(#[source] io::Error),
    #[error("the process means another file")]
    Different,
    #[error("the file is not open for writing at its position")]
    Access,
}

impl Handed {
    /// What describes `file` of this process, which must keep it open and not use it meanwhile.
    pub fn new(file: &std::fs::File) -> io::Result<Self> {
        let status = rustix::fs::fstat(file)?;
        Ok(Handed {
            boot: boot_id()?,
            fd: file.as_raw_fd(),
            device: status.st_dev,
            inode: status.st_ino,
        })
    }

    /// The file, from the process `pid`: with the position and the rights it has there. Only a regular file that is open for
    /// writing. Needs Linux 5.6 and the right to trace the process.
    pub fn open(&self, pid: i32) -> Result<std::fs::File, NotHanded> {
        let process = |error: io::Error| NotHanded::Process(error);
        if boot_id().map_err(process)? != self.boot {
            return Err(NotHanded::Machine);
        }
        let pid = Pid::from_raw(pid).ok_or_else(|| process(io::ErrorKind::NotFound.into()))?;
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(|errno| process(errno.into()))?;
        let fd =
            pidfd_getfd(pidfd, self.fd, PidfdGetfdFlags::empty()).map_err(|errno| process(errno.into()))?;
        let status = rustix::fs::fstat(&fd).map_err(|errno| process(errno.into()))?;
        if (status.st_dev, status.st_ino) != (self.device, self.inode) {
            return Err(NotHanded::Different);
        }
        let flags = rustix::fs::fcntl_getfl(&fd).map_err(|errno| process(errno.into()))?;
        let writes = flags.intersects(OFlags::WRONLY | OFlags::RDWR)
            && !flags.intersects(OFlags::APPEND | OFlags::PATH);
        if !writes || FileType::from_raw_mode(status.st_mode) != FileType::RegularFile {
            return Err(NotHanded::Access);
        }
        Ok(fd.into())
    }
}

/// The kernel that runs, by the name it chose at its start.
pub fn boot_id() -> io::Result<String> {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|text| text.trim().to_owned())
}

impl fmt::Display for Handed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Handed {
            boot,
            fd,
            device,
            inode,
        } = self;
        write!(formatter, "boot={boot} fd={fd} device={device} inode={inode}")
    }
}

impl FromStr for Handed {
    type Err = BadHanded;

    fn from_str(text: &str) -> Result<Self, BadHanded> {
        let mut words = text.split(' ');
        let mut field = |name: &str| {
            let value = words.next()?.strip_prefix(name)?.strip_prefix('=')?;
            (!value.is_empty()).then_some(value)
        };
        let mut read = || {
            Some(Handed {
                boot: field("boot")?.to_owned(),
                fd: field("fd")?.parse().ok().filter(|fd| *fd >= 0)?,
                device: field("device")?.parse().ok()?,
                inode: field("inode")?.parse().ok()?,
            })
        };
        let handed = read().ok_or(BadHanded)?;
        words.next().is_none().then_some(handed).ok_or(BadHanded)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Seek as _, Write as _};

    use super::*;

    fn own_pid() -> i32 {
        i32::try_from(std::process::id()).unwrap()
    }

    #[test]
    fn a_file_is_written_where_its_owner_stands() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"one ").unwrap();
        let handed: Handed = Handed::new(&file).unwrap().to_string().parse().unwrap();
        let mut there = handed.open(own_pid()).unwrap();
        there.write_all(b"two ").unwrap();
        file.write_all(b"three").unwrap();
        file.rewind().unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "one two three");
    }

    #[test]
    fn what_is_not_meant_or_not_writable_is_refused() {
        let named = tempfile::NamedTempFile::new().unwrap();
        let handed = Handed::new(named.as_file()).unwrap();
        let elsewhere = Handed {
            boot: "another".into(),
            ..handed.clone()
        };
        assert!(matches!(elsewhere.open(own_pid()), Err(NotHanded::Machine)));
        let other = Handed {
            inode: handed.inode + 1,
            ..handed.clone()
        };
        assert!(matches!(other.open(own_pid()), Err(NotHanded::Different)));
        let closed = Handed {
            fd: 1 << 20,
            ..handed.clone()
        };
        assert!(matches!(closed.open(own_pid()), Err(NotHanded::Process(_))));
        let mut appending = fs::OpenOptions::new();
        for options in [fs::OpenOptions::new().read(true), appending.append(true)] {
            let file = options.open(named.path()).unwrap();
            let handed = Handed::new(file.file()).unwrap();
            assert!(matches!(handed.open(own_pid()), Err(NotHanded::Access)));
        }
        let null = fs::OpenOptions::new().write(true).open("/dev/null").unwrap();
        let handed = Handed::new(null.file()).unwrap();
        assert!(matches!(handed.open(own_pid()), Err(NotHanded::Access)));
    }

    #[test]
    fn other_texts_are_refused() {
        let text = "boot=b fd=3 device=1 inode=2";
        assert!(text.parse::<Handed>().is_ok());
        for bad in [
            "",
            "fd=3",
            "boot= fd=3 device=1 inode=2",
            "boot=b fd=-3 device=1 inode=2",
        ] {
            assert_eq!(bad.parse::<Handed>(), Err(BadHanded), "{bad}");
        }
        assert!(format!("{text} more=1").parse::<Handed>().is_err());
    }
}
