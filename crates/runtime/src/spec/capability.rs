//! Capabilities as Docker computes them from `--cap-add`, `--cap-drop` and `--privileged`.

use super::SpecError;

/// Every capability, in the kernel's order (`linux/capability.h`).
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// What a container has unless told otherwise.
const DEFAULT: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

/// All capabilities that can be given, with `CAP_`: those we have ourselves.
pub(crate) fn all() -> Vec<String> {
    let status = fs_err::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        u64::from_str_radix(line.trim(), 16).ok()
    };
    let ours = mask("CapPrm:").unwrap_or(u64::MAX) & mask("CapBnd:").unwrap_or(u64::MAX);
    NAMES
        .iter()
        .enumerate()
        .filter(|(number, _)| ours >> number & 1 == 1)
        .map(|(_, name)| format!("CAP_{name}"))
        .collect()
}

/// The bounding, permitted and effective set of a container, with `CAP_`, in the kernel's order.
pub(crate) fn select(add: &[String], drop: &[String], privileged: bool) -> Result<Vec<String>, SpecError> {
    let all = all();
    if privileged {
        return Ok(all);
    }
    let add = normalise(add, &all, "CapAdd")?;
    let drop = normalise(drop, &all, "CapDrop")?;
    let contains = |list: &[String], name: &str| list.iter().any(|entry| entry == name);
    let keep = |name: &String| {
        if contains(&add, "ALL") {
            !contains(&drop, name)
        } else if contains(&drop, "ALL") {
            contains(&add, name)
        } else {
            (DEFAULT.contains(&&name[4..]) && !contains(&drop, name)) || contains(&add, name)
        }
    };
    Ok(all.into_iter().filter(keep).collect())
}

fn normalise(names: &[String], all: &[String], field: &'static str) -> Result<Vec<String>, SpecError> {
    names
        .iter()
        .map(|name| {
            let mut upper = name.to_ascii_uppercase();
            if upper == "ALL" || upper == "CAP_ALL" {
                return Ok("ALL".to_owned());
            }
            if !upper.starts_with("CAP_") {
                upper.insert_str(0, "CAP_");
            }
            if all.contains(&upper) {
                Ok(upper)
            } else {
                Err(SpecError::Capability { field, name: upper })
            }
        })
        .collect()
}

/// The sets of a process that has these and can gain no others.
pub(crate) fn sets(capabilities: &[String]) -> serde_json::Value {
    serde_json::json!({"bounding": capabilities, "effective": capabilities, "permitted": capabilities})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(capabilities: &[String]) -> u64 {
        capabilities
            .iter()
            .map(|name| 1 << NAMES.iter().position(|known| *known == &name[4..]).unwrap())
            .fold(0, |mask, bit: u64| mask | bit)
    }

    fn strings(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn default_set_is_dockers() {
        assert_eq!(mask(&select(&[], &[], false).unwrap()), 0xa80425fb);
    }

    #[test]
    fn add_and_drop() {
        let set = |add: &[&str], drop: &[&str]| select(&strings(add), &strings(drop), false).unwrap();
        assert_eq!(set(&["net_admin"], &["ALL"]), ["CAP_NET_ADMIN"]);
        assert_eq!(mask(&set(&["ALL"], &["CAP_CHOWN"])), mask(&all()) & !1);
        assert_eq!(
            mask(&set(&["SYS_ADMIN"], &["cap_kill"])),
            (0xa80425fb | 1 << 21) & !(1 << 5)
        );
        assert!(set(&[], &["all"]).is_empty());
        assert_eq!(select(&[], &[], true).unwrap(), all());
    }

    #[test]
    fn unknown_names_are_refused_as_docker_does() {
        let error = select(&strings(&["fly"]), &[], false).unwrap_err();
        assert_eq!(
            error.to_string(),
            r#"invalid CapAdd: unknown capability: "CAP_FLY""#
        );
    }
}
