//! Go's `os.FileMode`, which the archive endpoints speak: permissions as everywhere, types and special bits at places of
//! its own.

/// Translates `st_mode`.
pub(crate) fn from_unix(mode: u32) -> u32 {
    let kind = match mode & 0o170_000 {
        0o040_000 => 1 << 31,           // directory
        0o120_000 => 1 << 27,           // symbolic link
        0o060_000 => 1 << 26,           // block device
        0o020_000 => 1 << 26 | 1 << 21, // character device
        0o010_000 => 1 << 25,           // fifo
        0o140_000 => 1 << 24,           // socket
        _ => 0,
    };
    let special = [(0o4000, 1 << 23), (0o2000, 1 << 22), (0o1000, 1 << 20)];
    let special = special
        .iter()
        .filter(|(bit, _)| mode & bit != 0)
        .map(|(_, go)| go)
        .sum::<u32>();
    kind | special | mode & 0o777
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_go_prints() {
        for (unix, go) in [
            (0o100_644, 0o644),
            (0o040_755, 2_147_484_141),
            (0o120_777, 134_218_239),
            (0o041_777, 2_148_532_735),
            (0o104_755, 8_389_101),
            (0o020_666, 69_206_454),
        ] {
            assert_eq!(from_unix(unix), go, "{unix:o}");
        }
    }
}
