//! Limits as such, `--ulimit`, `--device`, `--restart`, `--security-opt`, `--add-host`.

use std::path::Path;

use fs_err as fs;
use serde_json::{Map, Value, json};

use super::SpecError;
use crate::args::limits::LimitFlags;
use crate::error::CliError;
use crate::values::Size;

/// Adds the limits that were given to the fields of `HostConfig`, or to the body of an update.
pub(crate) fn fill(flags: &LimitFlags, into: &mut Map<String, Value>) {
    let process = &flags.process;
    let size = |size: Option<Size>| size.map(|Size(bytes)| Value::from(bytes));
    let text = |text: &Option<String>| text.clone().map(Value::from);
    let given = [
        ("BlkioWeight", flags.blkio_weight.map(Value::from)),
        ("CpuPeriod", process.cpu_period.map(Value::from)),
        ("CpuQuota", process.cpu_quota.map(Value::from)),
        ("CpuRealtimePeriod", flags.cpu_rt_period.map(Value::from)),
        ("CpuRealtimeRuntime", flags.cpu_rt_runtime.map(Value::from)),
        ("CpuShares", process.cpu_shares.map(Value::from)),
        ("NanoCpus", flags.cpus.map(|cpus| cpus.0.into())),
        ("CpusetCpus", text(&process.cpuset_cpus)),
        ("CpusetMems", text(&process.cpuset_mems)),
        ("Memory", size(process.memory)),
        ("MemoryReservation", size(flags.memory_reservation)),
        ("MemorySwap", size(process.memory_swap)),
        ("PidsLimit", flags.pids_limit.map(Value::from)),
    ];
    for (name, value) in given {
        if let Some(value) = value {
            into.insert(name.to_owned(), value);
        }
    }
}

/// Reads `--ulimit name=soft[:hard]`; which names there are, and that the soft limit fits, is the engine's to say.
pub(crate) fn ulimit(text: &str) -> Result<Value, SpecError> {
    let bad = |why: String| SpecError::flag("--ulimit", text, why);
    let (name, values) = text
        .split_once('=')
        .ok_or_else(|| bad(format!("invalid ulimit argument: {text}")))?;
    let number = |text: &str| {
        text.parse::<i64>()
            .map_err(|_| bad(format!("strconv.ParseInt: parsing {text:?}: invalid syntax")))
    };
    let (soft, hard) = values.split_once(':').unwrap_or((values, values));
    Ok(json!({"Name": name, "Soft": number(soft)?, "Hard": number(hard)?}))
}

/// Reads `--device host[:container[:permissions]]`.
pub(crate) fn device(text: &str) -> Result<Value, SpecError> {
    let parts: Vec<&str> = text.split(':').collect();
    let permissions_fit = |text: &str| !text.is_empty() && text.chars().all(|c| "rwm".contains(c));
    let (host, inside, permissions) = match parts.as_slice() {
        [host] => (*host, *host, "rwm"),
        [host, second] if permissions_fit(second) => (*host, *host, *second),
        [host, inside] => (*host, *inside, "rwm"),
        [host, inside, permissions] if permissions_fit(permissions) => (*host, *inside, *permissions),
        [_, _, mode] => return Err(SpecError::value(format!("bad mode specified: {mode}"))),
        _ => return Err(SpecError::value(format!("invalid device specification: {text}"))),
    };
    if !host.starts_with('/') || !inside.starts_with('/') {
        return Err(SpecError::value(format!("{text} is not an absolute path")));
    }
    Ok(json!({"PathOnHost": host, "PathInContainer": inside, "CgroupPermissions": permissions}))
}

/// Reads `--restart no|always|unless-stopped|on-failure[:times]`.
pub(crate) fn restart(text: &str) -> Result<Value, SpecError> {
    let (name, times) = match text.split_once(':') {
        Some((name, times)) => (name, Some(times)),
        None => (text, None),
    };
    if name.is_empty() && times.is_some() {
        return Err(SpecError::value(
            "invalid restart policy format: no policy provided before colon".to_owned(),
        ));
    }
    let count = match times {
        None => 0,
        Some(times) => times.parse::<i64>().map_err(|_| {
            SpecError::value(
                "invalid restart policy format: maximum retry count must be an integer".to_owned(),
            )
        })?,
    };
    Ok(json!({"Name": name, "MaximumRetryCount": count}))
}

/// Reads `--security-opt`; a seccomp profile is read from its file, as the engine may be elsewhere.
pub(crate) fn security(text: &str) -> Result<String, CliError> {
    let (key, value) = match text.split_once('=').or_else(|| text.split_once(':')) {
        Some(parts) => parts,
        None if text == "no-new-privileges" => return Ok(text.to_owned()),
        None => return Err(SpecError::value(format!("Invalid --security-opt: {text:?}")).into()),
    };
    if key == "seccomp" && value != "unconfined" && value != "builtin" {
        let bytes = fs::read(Path::new(value)).map_err(|error| {
            CliError::Invalid(format!(
                "opening seccomp profile ({value}) failed: open {value}: {}",
                crate::input_stream::plain(&error)
            ))
        })?;
        let profile: Value = serde_json::from_slice(&bytes).map_err(|error| {
            CliError::Invalid(format!(
                "compacting json for seccomp profile ({value}) failed: {error}"
            ))
        })?;
        return Ok(format!("seccomp={profile}"));
    }
    Ok(format!("{key}={value}"))
}

/// Reads `--add-host name:address` (or with `=`).
pub(crate) fn extra_host(text: &str) -> Result<String, SpecError> {
    let bad = || SpecError::flag("--add-host", text, format!("bad format for add-host: {text:?}"));
    let (name, address) = text
        .split_once('=')
        .or_else(|| text.split_once(':'))
        .ok_or_else(bad)?;
    let address = address.trim_start_matches('[').trim_end_matches(']');
    if name.is_empty() {
        return Err(bad());
    }
    if address != "host-gateway" && address.parse::<std::net::IpAddr>().is_err() {
        return Err(SpecError::value(format!(
            "invalid IP address in add-host: {address:?}"
        )));
    }
    Ok(format!("{name}:{address}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ulimits() {
        assert_eq!(
            ulimit("nofile=1024:2048").unwrap(),
            json!({"Name":"nofile","Soft":1024,"Hard":2048})
        );
        assert_eq!(
            ulimit("core=-1").unwrap(),
            json!({"Name":"core","Soft":-1,"Hard":-1})
        );
        for wrong in ["nofile", "nofile=x", "nofile=1:", "nofile=1:2:3"] {
            assert!(ulimit(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn devices() {
        let device = |text| {
            device(text).map(|v| {
                format!(
                    "{} {} {}",
                    v["PathOnHost"], v["PathInContainer"], v["CgroupPermissions"]
                )
            })
        };
        assert_eq!(device("/dev/a").unwrap(), r#""/dev/a" "/dev/a" "rwm""#);
        assert_eq!(device("/dev/a:r").unwrap(), r#""/dev/a" "/dev/a" "r""#);
        assert_eq!(device("/dev/a:/dev/b:rw").unwrap(), r#""/dev/a" "/dev/b" "rw""#);
        assert!(device("/dev/a:/dev/b:x").is_err() && device("dev").is_err());
    }

    #[test]
    fn restart_policies() {
        assert_eq!(
            restart("on-failure:3").unwrap(),
            json!({"Name":"on-failure","MaximumRetryCount":3})
        );
        assert_eq!(restart("always").unwrap()["Name"], "always");
        assert!(restart("on-failure:x").is_err() && restart(":3").is_err());
    }

    #[test]
    fn security_options() {
        assert_eq!(security("no-new-privileges").unwrap(), "no-new-privileges");
        assert_eq!(security("seccomp:unconfined").unwrap(), "seccomp=unconfined");
        assert!(
            security("seccomp=/nonexistent.json")
                .unwrap_err()
                .to_string()
                .contains("/nonexistent.json")
        );
        assert!(security("bogus").is_err());
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "{ \"defaultAction\" : \"SCMP_ACT_ALLOW\" }").unwrap();
        assert_eq!(
            security(&format!("seccomp={}", file.path().display())).unwrap(),
            "seccomp={\"defaultAction\":\"SCMP_ACT_ALLOW\"}"
        );
    }

    #[test]
    fn hosts() {
        assert_eq!(extra_host("box:10.0.0.1").unwrap(), "box:10.0.0.1");
        assert_eq!(extra_host("box=::1").unwrap(), "box:::1");
        assert_eq!(extra_host("gw:host-gateway").unwrap(), "gw:host-gateway");
        assert!(extra_host("box").is_err() && extra_host("box:nowhere").is_err());
    }
}
