//! Docker's seccomp profile form (conditions on capabilities, architecture and kernel) made into the OCI one.
//!
//! The form is that of `--security-opt seccomp=FILE`: the OCI `linux.seccomp` object, with `archMap` instead of or
//! beside `architectures`, and with `includes` / `excludes` / `comment` / `name` in each rule.

use serde::{Deserialize, Serialize};

use super::SpecError;

const DEFAULT_PROFILE: &str = include_str!("../../data/seccomp-default.json");

/// Bounds on profiles that users give: text, rules, names in all rules.
const MAX_TEXT: usize = 1 << 20;
const MAX_RULES: usize = 4096;
const MAX_NAMES: usize = 16384;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    default_action: String,
    default_errno_ret: Option<u32>,
    #[serde(default)]
    architectures: Option<Vec<String>>,
    #[serde(default)]
    arch_map: Option<Vec<ArchMap>>,
    #[serde(default)]
    flags: Option<Vec<String>>,
    #[serde(default)]
    listener_path: Option<String>,
    #[serde(default)]
    syscalls: Option<Vec<Rule>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ArchMap {
    architecture: String,
    sub_architectures: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    name: Option<String>,
    #[serde(default)]
    names: Vec<String>,
    action: String,
    errno_ret: Option<u32>,
    args: Option<Vec<Argument>>,
    #[serde(default)]
    includes: Option<Filter>,
    #[serde(default)]
    excludes: Option<Filter>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Filter {
    #[serde(default)]
    caps: Vec<String>,
    #[serde(default)]
    arches: Vec<String>,
    min_kernel: Option<String>,
}

/// The OCI `linux.seccomp` object.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OciSeccomp {
    pub(super) default_action: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) default_errno_ret: Option<u32>,
    pub(super) architectures: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) flags: Vec<String>,
    pub(super) syscalls: Vec<OciRule>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OciRule {
    pub(super) names: Vec<String>,
    pub(super) action: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) errno_ret: Option<u32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) args: Vec<Argument>,
}

/// A condition on one argument of a system call.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Argument {
    pub(super) index: u32,
    pub(super) value: u64,
    #[serde(default)]
    pub(super) value_two: u64,
    pub(super) op: String,
}

/// What the conditions of a profile are about.
pub(crate) struct Host {
    /// As the profile's `arches` name it: `amd64`, `arm64` …
    pub(crate) arch: &'static str,
    /// As `SCMP_ARCH_…`.
    pub(crate) native: &'static str,
    pub(crate) kernel: (u32, u32),
}

impl Host {
    pub(crate) fn current() -> Host {
        let (arch, native) = match std::env::consts::ARCH {
            "x86_64" => ("amd64", "SCMP_ARCH_X86_64"),
            "aarch64" => ("arm64", "SCMP_ARCH_AARCH64"),
            "riscv64" => ("riscv64", "SCMP_ARCH_RISCV64"),
            "s390x" => ("s390x", "SCMP_ARCH_S390X"),
            "powerpc64" => ("ppc64le", "SCMP_ARCH_PPC64LE"),
            "loongarch64" => ("loong64", "SCMP_ARCH_LOONGARCH64"),
            "arm" => ("arm", "SCMP_ARCH_ARM"),
            _ => ("x86", "SCMP_ARCH_X86"),
        };
        let release = rustix::system::uname();
        let kernel = kernel_version(&release.release().to_string_lossy()).unwrap_or((4, 8));
        Host { arch, native, kernel }
    }
}

fn kernel_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Docker's default profile for a container with these capabilities.
pub(crate) fn default_profile(capabilities: &[String]) -> Result<OciSeccomp, SpecError> {
    convert(DEFAULT_PROFILE, capabilities, &Host::current())
}

/// A profile a user has given.
pub(crate) fn custom_profile(text: &str, capabilities: &[String]) -> Result<OciSeccomp, SpecError> {
    convert(text, capabilities, &Host::current())
}

fn convert(text: &str, capabilities: &[String], host: &Host) -> Result<OciSeccomp, SpecError> {
    let invalid = |detail: String| SpecError::SeccompProfile { detail };
    if text.len() > MAX_TEXT {
        return Err(invalid(format!("larger than {MAX_TEXT} bytes")));
    }
    let profile: Profile = serde_json::from_str(text).map_err(|error| invalid(error.to_string()))?;
    if profile.listener_path.is_some() {
        return Err(invalid("listenerPath is not supported".into()));
    }
    let architectures = profile.architectures.unwrap_or_default();
    let arch_map = profile.arch_map.unwrap_or_default();
    if !architectures.is_empty() && !arch_map.is_empty() {
        return Err(invalid("use either 'architectures' or 'archMap'".into()));
    }
    let architectures = match arch_map
        .into_iter()
        .find(|entry| entry.architecture == host.native)
    {
        Some(entry) => std::iter::once(entry.architecture)
            .chain(entry.sub_architectures.unwrap_or_default())
            .collect(),
        None => architectures,
    };
    let rules = profile.syscalls.unwrap_or_default();
    if rules.len() > MAX_RULES {
        return Err(invalid(format!("more than {MAX_RULES} rules")));
    }
    let mut syscalls = Vec::new();
    let mut names_total = 0;
    for rule in rules {
        let mut names = rule.names;
        match rule.name {
            Some(_) if !names.is_empty() => {
                return Err(invalid("use either 'name' or 'names' in a rule".into()));
            }
            Some(name) => names.push(name),
            None => {}
        }
        names_total += names.len();
        if names_total > MAX_NAMES {
            return Err(invalid(format!("more than {MAX_NAMES} names")));
        }
        let excluded = match rule.excludes {
            Some(filter) => filter.excludes(capabilities, host, &invalid)?,
            None => false,
        };
        let included = match rule.includes {
            Some(filter) => filter.includes(capabilities, host, &invalid)?,
            None => true,
        };
        if excluded || !included || names.is_empty() {
            continue;
        }
        syscalls.push(OciRule {
            names,
            action: rule.action,
            errno_ret: rule.errno_ret,
            args: rule.args.unwrap_or_default(),
        });
    }
    Ok(OciSeccomp {
        default_action: profile.default_action,
        default_errno_ret: profile.default_errno_ret,
        architectures,
        flags: profile.flags.unwrap_or_default(),
        syscalls,
    })
}

impl Filter {
    fn kernel_reached(
        &self,
        host: &Host,
        invalid: &dyn Fn(String) -> SpecError,
    ) -> Result<Option<bool>, SpecError> {
        let Some(wanted) = &self.min_kernel else {
            return Ok(None);
        };
        let wanted = kernel_version(wanted)
            .ok_or_else(|| invalid(format!("invalid kernel version {wanted:?} in minKernel")))?;
        Ok(Some(host.kernel >= wanted))
    }

    /// Every condition named must hold; of the architectures, one.
    fn includes(
        &self,
        capabilities: &[String],
        host: &Host,
        invalid: &dyn Fn(String) -> SpecError,
    ) -> Result<bool, SpecError> {
        Ok(
            (self.arches.is_empty() || self.arches.iter().any(|arch| arch == host.arch))
                && self.caps.iter().all(|cap| capabilities.contains(cap))
                && self.kernel_reached(host, invalid)?.unwrap_or(true),
        )
    }

    /// Any condition named excludes the rule.
    fn excludes(
        &self,
        capabilities: &[String],
        host: &Host,
        invalid: &dyn Fn(String) -> SpecError,
    ) -> Result<bool, SpecError> {
        Ok(self.arches.iter().any(|arch| arch == host.arch)
            || self.caps.iter().any(|cap| capabilities.contains(cap))
            || self.kernel_reached(host, invalid)?.unwrap_or(false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: Host = Host {
        arch: "amd64",
        native: "SCMP_ARCH_X86_64",
        kernel: (6, 1),
    };

    fn rules_for<'a>(profile: &'a OciSeccomp, name: &str) -> Vec<&'a OciRule> {
        profile
            .syscalls
            .iter()
            .filter(|rule| rule.names.iter().any(|n| n == name))
            .collect()
    }

    #[test]
    fn default_profile_follows_capabilities_and_architecture() {
        let plain = convert(DEFAULT_PROFILE, &[], &HOST).unwrap();
        assert_eq!(
            plain.architectures,
            ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]
        );
        assert_eq!(plain.default_action, "SCMP_ACT_ERRNO");
        assert!(rules_for(&plain, "mount").is_empty());
        assert_eq!(rules_for(&plain, "arch_prctl").len(), 1);
        assert!(rules_for(&plain, "riscv_flush_icache").is_empty());
        assert_eq!(rules_for(&plain, "clone3")[0].errno_ret, Some(38));
        let admin = convert(DEFAULT_PROFILE, &["CAP_SYS_ADMIN".to_owned()], &HOST).unwrap();
        assert_eq!(rules_for(&admin, "mount").len(), 1);
        assert_eq!(rules_for(&admin, "clone3")[0].action, "SCMP_ACT_ALLOW");
        let old = convert(
            DEFAULT_PROFILE,
            &[],
            &Host {
                kernel: (4, 4),
                ..HOST
            },
        )
        .unwrap();
        assert!(rules_for(&old, "ptrace").is_empty());
        assert!(!rules_for(&plain, "ptrace").is_empty());
    }

    #[test]
    fn default_profile_is_an_oci_object() {
        let profile = default_profile(&[]).unwrap();
        let value = serde_json::to_value(&profile).unwrap();
        let parsed: oci_spec::runtime::LinuxSeccomp = serde_json::from_value(value).unwrap();
        assert!(parsed.syscalls().as_ref().unwrap().len() > 5);
    }

    #[test]
    fn broken_profiles_are_refused() {
        for text in [
            "",
            "{}",
            "[]",
            r#"{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"/x"}"#,
        ] {
            assert!(convert(text, &[], &HOST).is_err(), "{text}");
        }
        assert!(convert(r#"{"defaultAction":"SCMP_ACT_ALLOW"}"#, &[], &HOST).is_ok());
    }
}
