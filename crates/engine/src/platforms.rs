//! Which platforms programs of run here: the processor's own, those its kernel takes besides, and those an emulator is
//! registered for (`binfmt_misc`, Documentation/admin-guide/binfmt-misc.rst of the kernel).

use std::path::Path;

use fs_err as fs;
use havre_oci::Platform;

const BINFMT: &str = "/proc/sys/fs/binfmt_misc";

/// The host's platform first, then the others by name.
pub(crate) fn platforms() -> Vec<Platform> {
    let host = Platform::host();
    let mut others = emulated(Path::new(BINFMT));
    // Every kernel of a distribution runs programs of the 32-bit form as well.
    others.extend(match host.architecture.as_str() {
        "amd64" => Some(Platform::new("linux", "386")),
        _ => None,
    });
    others.retain(|platform| *platform != host);
    others.sort();
    others.dedup();
    let mut all = vec![host];
    all.extend(others);
    all
}

/// Those with an emulator that is switched on.
fn emulated(directory: &Path) -> Vec<Platform> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    let text = |entry: fs::DirEntry| fs::read_to_string(entry.path()).ok();
    entries
        .flatten()
        .filter_map(text)
        .filter_map(|text| architecture(&text))
        .map(|architecture| Platform::new("linux", architecture))
        .collect()
}

/// The architecture in Go's words of an entry that matches ELF headers.
fn architecture(entry: &str) -> Option<&'static str> {
    let mut lines = entry.lines();
    if lines.next() != Some("enabled") {
        return None;
    }
    let value = |name: &str| entry.lines().find_map(|line| line.strip_prefix(name));
    let magic = value("magic ")?.trim();
    if value("offset ").is_none_or(|offset| offset.trim() != "0") || !magic.is_ascii() {
        return None;
    }
    let byte = |at: usize| u8::from_str_radix(magic.get(2 * at..2 * at + 2)?, 16).ok();
    if [byte(0)?, byte(1)?, byte(2)?, byte(3)?] != *b"\x7fELF" {
        return None;
    }
    // EI_CLASS, EI_DATA and e_machine of the ELF header (System V ABI, chapter 4).
    let little = byte(5)? == 1;
    let machine = match little {
        true => u16::from_le_bytes([byte(18)?, byte(19)?]),
        false => u16::from_be_bytes([byte(18)?, byte(19)?]),
    };
    match (machine, byte(4)?, little) {
        (3, 1, true) => Some("386"),
        (8, 2, true) => Some("mips64le"),
        (8, 2, false) => Some("mips64"),
        (21, 2, true) => Some("ppc64le"),
        (22, 2, false) => Some("s390x"),
        (40, 1, true) => Some("arm"),
        (62, 2, true) => Some("amd64"),
        (183, 2, true) => Some("arm64"),
        (243, 2, true) => Some("riscv64"),
        (258, 2, true) => Some("loong64"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARM64: &str = "enabled\ninterpreter /usr/libexec/qemu-binfmt/aarch64-binfmt-P\nflags: POCF\noffset 0\nmagic 7f454c460201010000000000000000000200b700\nmask ffffffffffffff00fffffffffffffffffeffffff\n";

    #[test]
    fn entries_of_emulators_name_their_architecture() {
        assert_eq!(architecture(ARM64), Some("arm64"));
        assert_eq!(architecture(&ARM64.replace("enabled", "disabled")), None);
        assert_eq!(architecture(&ARM64.replace("offset 0", "offset 4")), None);
        let s390x = ARM64
            .replace("7f454c4602010100", "7f454c4602020100")
            .replace("0200b700", "00020016");
        assert_eq!(architecture(&s390x), Some("s390x"));
        for other in [
            "",
            "enabled",
            "enabled\nextension .py\n",
            "enabled\noffset 0\nmagic 7f45\n",
            "enabled\noffset 0\nmagic é\n",
        ] {
            assert_eq!(architecture(other), None, "{other:?}");
        }
    }

    #[test]
    fn the_hosts_platform_comes_first_and_once() {
        let all = platforms();
        let host = Platform::host();
        assert_eq!(all[0], host);
        assert_eq!(all.iter().filter(|one| **one == host).count(), 1);
    }

    #[test]
    fn a_directory_of_entries() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("qemu-aarch64"), ARM64).unwrap();
        fs::write(directory.path().join("status"), "enabled\n").unwrap();
        assert_eq!(emulated(directory.path()), [Platform::new("linux", "arm64")]);
        assert!(emulated(&directory.path().join("missing")).is_empty());
    }
}
