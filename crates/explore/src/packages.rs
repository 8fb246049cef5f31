//! What package managers have written down in an image.

use std::collections::BTreeMap;

/// Versions by name; by `name:architecture` where a manager installs several. Several versions of one name stand side by side.
pub type Packages = BTreeMap<String, String>;

/// Where managers keep their lists: a path (of dpkg's parts a directory), and who reads it.
pub const DATABASES: [(&str, Manager); 6] = [
    ("var/lib/dpkg/status", Manager::Dpkg),
    ("var/lib/dpkg/status.d", Manager::Dpkg),
    ("lib/apk/db/installed", Manager::Apk),
    ("usr/lib/apk/db/installed", Manager::Apk),
    ("var/lib/rpm/rpmdb.sqlite", Manager::Rpm),
    ("usr/lib/sysimage/rpm/rpmdb.sqlite", Manager::Rpm),
];

/// A package manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Manager {
    Dpkg,
    Apk,
    Rpm,
}

impl Manager {
    pub fn name(self) -> &'static str {
        match self {
            Self::Dpkg => "dpkg",
            Self::Apk => "apk",
            Self::Rpm => "rpm",
        }
    }
}

fn put(packages: &mut Packages, name: String, version: String) {
    packages
        .entry(name)
        .and_modify(|versions| {
            if versions.split(", ").all(|one| one != version) {
                versions.push_str(", ");
                versions.push_str(&version);
            }
        })
        .or_insert(version);
}

/// Adds the packages of dpkg's `status`, or of a file of `status.d`: those that are installed.
pub fn read_dpkg(text: &[u8], packages: &mut Packages) {
    let text = String::from_utf8_lossy(text);
    for paragraph in text.split("\n\n") {
        let field = |name: &str| {
            paragraph.lines().find_map(|line| {
                let value = line.strip_prefix(name)?.strip_prefix(':')?.trim();
                (!value.is_empty()).then(|| value.to_owned())
            })
        };
        let (Some(mut name), Some(version)) = (field("Package"), field("Version")) else {
            continue;
        };
        // Parts of images without dpkg have no status.
        if field("Status").is_some_and(|status| !status.ends_with(" installed")) {
            continue;
        }
        if field("Multi-Arch").as_deref() == Some("same")
            && let Some(architecture) = field("Architecture")
        {
            name = format!("{name}:{architecture}");
        }
        put(packages, name, version);
    }
}

/// Adds the packages of apk's `installed`.
pub fn read_apk(text: &[u8], packages: &mut Packages) {
    let text = String::from_utf8_lossy(text);
    for paragraph in text.split("\n\n") {
        let field = |name: &str| paragraph.lines().find_map(|line| line.strip_prefix(name));
        if let (Some(name), Some(version)) = (field("P:"), field("V:")) {
            put(packages, name.to_owned(), version.to_owned());
        }
    }
}

/// Adds the package of an RPM header, a row of the table `Packages`; says whether it was one. Layout: lib/header.c of RPM: two
/// numbers (entries, bytes of data), the entries (tag, type, offset, count), the data; all numbers are big-endian.
pub fn read_rpm(header: &[u8], packages: &mut Packages) -> bool {
    const NAME: u32 = 1000;
    const VERSION: u32 = 1001;
    const RELEASE: u32 = 1002;
    const EPOCH: u32 = 1003;
    const STRING: u32 = 6;
    const INT32: u32 = 4;
    let number = |bytes: &[u8], at: usize| {
        let four = bytes.get(at..at.checked_add(4)?)?;
        Some(u32::from_be_bytes(four.try_into().ok()?))
    };
    let Some(entries) = number(header, 0).and_then(|count| usize::try_from(count).ok()) else {
        return false;
    };
    let Some(data) = entries
        .checked_mul(16)
        .and_then(|bytes| bytes.checked_add(8))
        .and_then(|start| header.get(start..))
    else {
        return false;
    };
    let find = |tag: u32, kind: u32| {
        let found = header[8..8 + entries * 16]
            .chunks_exact(16)
            .find(|entry| number(entry, 0) == Some(tag) && number(entry, 4) == Some(kind))?;
        data.get(usize::try_from(number(found, 8)?).ok()?..)
    };
    let text = |tag: u32| {
        let bytes = find(tag, STRING)?;
        let end = bytes.iter().position(|byte| *byte == 0)?;
        Some(String::from_utf8_lossy(&bytes[..end]).into_owned())
    };
    let (Some(name), Some(version), Some(release)) = (text(NAME), text(VERSION), text(RELEASE)) else {
        return false;
    };
    // The keys that signatures are checked with are kept as packages.
    if name == "gpg-pubkey" {
        return true;
    }
    let epoch = find(EPOCH, INT32).and_then(|bytes| number(bytes, 0));
    let epoch = epoch
        .filter(|epoch| *epoch != 0)
        .map_or_else(String::new, |epoch| format!("{epoch}:"));
    put(packages, name, format!("{epoch}{version}-{release}"));
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pairs(packages: &Packages) -> Vec<(&str, &str)> {
        let pairs = packages.iter();
        pairs
            .map(|(name, version)| (name.as_str(), version.as_str()))
            .collect()
    }

    #[test]
    fn dpkg() {
        let mut packages = Packages::new();
        read_dpkg(
            b"Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nMulti-Arch: same\nVersion: 2.36-9\n\
              Description: GNU C\n Package: not a field\n\nPackage: gone\nStatus: deinstall ok config-files\nVersion: 1\n\n\
              Package: tzdata\nVersion: 2024a-0\n",
            &mut packages,
        );
        assert_eq!(
            pairs(&packages),
            [("libc6:amd64", "2.36-9"), ("tzdata", "2024a-0")]
        );
    }

    #[test]
    fn apk() {
        let mut packages = Packages::new();
        read_apk(
            b"C:Q1x=\nP:musl\nV:1.2.4-r2\nA:x86_64\n\nP:busybox\nV:1.36.1-r5\nF:bin\n\n",
            &mut packages,
        );
        assert_eq!(pairs(&packages), [("busybox", "1.36.1-r5"), ("musl", "1.2.4-r2")]);
    }

    fn header(fields: &[(u32, u32, &[u8])]) -> Vec<u8> {
        let (mut index, mut data) = (Vec::new(), Vec::new());
        for (tag, kind, bytes) in fields {
            for number in [*tag, *kind, data.len() as u32, 1] {
                index.extend_from_slice(&number.to_be_bytes());
            }
            data.extend_from_slice(bytes);
        }
        let counts = [fields.len() as u32, data.len() as u32]
            .map(u32::to_be_bytes)
            .concat();
        [counts, index, data].concat()
    }

    #[test]
    fn rpm() {
        let mut packages = Packages::new();
        let bash = header(&[
            (1000, 6, b"bash\0"),
            (1001, 6, b"5.2\0"),
            (1002, 6, b"1.fc40\0"),
            (1003, 4, &[0, 0, 0, 2]),
        ]);
        assert!(read_rpm(&bash, &mut packages));
        let kernel =
            |release: &[u8]| header(&[(1000, 6, b"kernel\0"), (1001, 6, b"6\0"), (1002, 6, release)]);
        assert!(read_rpm(&kernel(b"1\0"), &mut packages) && read_rpm(&kernel(b"2\0"), &mut packages));
        assert_eq!(
            pairs(&packages),
            [("bash", "2:5.2-1.fc40"), ("kernel", "6-1, 6-2")]
        );
        assert!(!read_rpm(&bash[..20], &mut packages) && !read_rpm(b"", &mut packages));
    }

    proptest! {
        #[test]
        fn whatever_stands_there_is_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200), count in 0_u32..12) {
            let mut packages = Packages::new();
            read_dpkg(&bytes, &mut packages);
            read_apk(&bytes, &mut packages);
            read_rpm(&bytes, &mut packages);
            let counted = [&count.to_be_bytes()[..], &bytes].concat();
            read_rpm(&counted, &mut packages);
        }
    }
}
