//! The flags about the machine below as fields of `HostConfig`.

use serde_json::{Map, Value, json};

use super::{SpecError, environment};
use crate::args::container::host_flags::HostFlags;
use crate::error::CliError;
use crate::values::Size;

/// Adds what was given to the fields of `HostConfig`.
pub(crate) fn fill(flags: &HostFlags, host: &mut Map<String, Value>) -> Result<(), CliError> {
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            host.insert(name.to_owned(), value);
        }
    };
    let text = |value: &Option<String>| value.clone().filter(|value| !value.is_empty()).map(Value::from);
    let list = |values: Vec<Value>| Some(values).filter(|values| !values.is_empty()).map(Value::from);
    let words = |values: &[String]| list(values.iter().cloned().map(Value::from).collect());

    let weights = each(&flags.blkio_weight_device, weight)?;
    set("BlkioWeightDevice", list(weights));
    set("BlkioDeviceReadBps", list(each(&flags.device_read_bps, bytes)?));
    set("BlkioDeviceWriteBps", list(each(&flags.device_write_bps, bytes)?));
    let operations = each(&flags.device_read_iops, operations_a_second)?;
    set("BlkioDeviceReadIOps", list(operations));
    let operations = each(&flags.device_write_iops, operations_a_second)?;
    set("BlkioDeviceWriteIOps", list(operations));
    let rules = each(&flags.device_cgroup_rule, rule)?;
    set("DeviceCgroupRules", list(rules));
    set(
        "DeviceRequests",
        flags
            .gpus
            .as_deref()
            .map(gpus)
            .transpose()?
            .map(|gpus| json!([gpus])),
    );
    set("Isolation", text(&flags.isolation));
    set(
        "KernelMemory",
        flags.kernel_memory.map(|Size(bytes)| bytes.into()),
    );
    let links = each(&flags.link, link)?;
    set("Links", list(links));
    set("MemorySwappiness", flags.memory_swappiness.map(Value::from));
    set("OomKillDisable", flags.oom_kill_disable.then_some(true.into()));
    set("Runtime", text(&flags.runtime));
    if flags
        .userns
        .as_deref()
        .is_some_and(|mode| !matches!(mode, "" | "host"))
    {
        return Err(SpecError::value("--userns: invalid USER mode".to_owned()).into());
    }
    set("UsernsMode", text(&flags.userns));
    set("VolumeDriver", text(&flags.volume_driver));
    set("VolumesFrom", words(&flags.volumes_from));
    let options = environment::options(&flags.storage_opt)?;
    set("StorageOpt", (!options.is_empty()).then(|| json!(options)));
    let annotations = environment::options(&flags.annotation)?;
    set(
        "Annotations",
        (!annotations.is_empty()).then(|| json!(annotations)),
    );
    Ok(())
}

fn each(values: &[String], read: impl Fn(&str) -> Result<Value, SpecError>) -> Result<Vec<Value>, SpecError> {
    values.iter().map(|value| read(value)).collect()
}

/// `path:value`, the path beneath `/dev`.
fn device(text: &str) -> Result<(&str, &str), SpecError> {
    let (path, value) = text
        .rsplit_once(':')
        .filter(|(path, _)| !path.is_empty())
        .ok_or_else(|| SpecError::value(format!("bad format: {text}")))?;
    if !path.starts_with("/dev/") {
        return Err(SpecError::value(format!("bad format for device path: {text}")));
    }
    Ok((path, value))
}

fn weight(text: &str) -> Result<Value, SpecError> {
    let (path, value) = device(text)?;
    let weight = value.parse::<u16>().ok();
    match weight.filter(|weight| *weight == 0 || (10..=1000).contains(weight)) {
        Some(weight) => Ok(json!({"Path": path, "Weight": weight})),
        None => Err(SpecError::value(format!("invalid weight for device: {text}"))),
    }
}

fn bytes(text: &str) -> Result<Value, SpecError> {
    let (path, value) = device(text)?;
    match value.parse::<Size>() {
        Ok(Size(rate)) if rate >= 0 => Ok(json!({"Path": path, "Rate": rate})),
        _ => Err(SpecError::value(format!(
            "invalid rate for device: {text}. The correct format is <device-path>:<number>[<unit>]. Number must be a positive \
             integer. Unit is optional and can be kb, mb, or gb"
        ))),
    }
}

fn operations_a_second(text: &str) -> Result<Value, SpecError> {
    let (path, value) = device(text)?;
    match value.parse::<u64>() {
        Ok(rate) => Ok(json!({"Path": path, "Rate": rate})),
        Err(_) => Err(SpecError::value(format!(
            "invalid rate for device: {text}. The correct format is <device-path>:<number>. Number must be a positive integer"
        ))),
    }
}

/// `c 10:200 rwm`, with `a` for all kinds and `*` for any number.
fn rule(text: &str) -> Result<Value, SpecError> {
    let number = |text: &str| text == "*" || (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()));
    let fields: Vec<&str> = text.split(' ').collect();
    let fits = match fields[..] {
        [kind, numbers, access] => {
            matches!(kind, "a" | "b" | "c")
                && numbers
                    .split_once(':')
                    .is_some_and(|(major, minor)| number(major) && number(minor))
                && (1..=3).contains(&access.len())
                && access.bytes().all(|b| b"rwm".contains(&b))
        }
        _ => false,
    };
    match fits {
        true => Ok(text.into()),
        false => Err(SpecError::flag(
            "--device-cgroup-rule",
            text,
            format!("invalid device cgroup format '{text}'"),
        )),
    }
}

/// `container[:alias]`; without an alias, the name is it.
fn link(text: &str) -> Result<Value, SpecError> {
    let (name, alias) = text.split_once(':').unwrap_or((text, text));
    if name.is_empty() || alias.is_empty() || alias.contains(':') {
        return Err(SpecError::flag(
            "--link",
            text,
            format!("bad format for links: {text}"),
        ));
    }
    Ok(format!("{name}:{}", alias.trim_start_matches('/')).into())
}

/// `all`, a number, or `key=value,…`, as one device request.
fn gpus(text: &str) -> Result<Value, SpecError> {
    let bad = |reason: String| SpecError::flag("--gpus", text, reason);
    let count = |value: &str| match value {
        "all" => Ok(-1),
        number => number.parse::<i64>().map_err(|_| {
            bad(format!(
                "invalid count ({number}): value must be either \"all\" or an integer"
            ))
        }),
    };
    let mut request =
        json!({"Driver": "", "Count": 0, "DeviceIDs": null, "Capabilities": [["gpu"]], "Options": {}});
    if !text.contains('=') {
        request["Count"] = count(text)?.into();
        return Ok(request);
    }
    for field in text.split(',') {
        match field.split_once('=') {
            Some(("driver", value)) => request["Driver"] = value.into(),
            Some(("count", value)) => request["Count"] = count(value)?.into(),
            Some(("device", value)) => request["DeviceIDs"] = json!([value]),
            Some(("capabilities", value)) => request["Capabilities"] = json!([["gpu", value]]),
            Some(("options", _)) => {}
            _ => return Err(bad(format!("unexpected key in '{field}'"))),
        }
    }
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_and_rates() {
        assert_eq!(
            bytes("/dev/sda:1mb").unwrap(),
            json!({"Path": "/dev/sda", "Rate": 1 << 20})
        );
        assert_eq!(
            operations_a_second("/dev/sda:100").unwrap(),
            json!({"Path": "/dev/sda", "Rate": 100})
        );
        assert_eq!(
            weight("/dev/sda:200").unwrap(),
            json!({"Path": "/dev/sda", "Weight": 200})
        );
        for bad in ["/dev/sda", "sda:1", "/dev/sda:x", "/dev/sda:-1"] {
            assert!(bytes(bad).is_err() && weight(bad).is_err(), "{bad}");
        }
        assert!(weight("/dev/sda:5").is_err() && weight("/dev/sda:1001").is_err());
        assert!(operations_a_second("/dev/sda:1mb").is_err());
    }

    #[test]
    fn rules_and_links() {
        for good in ["c 10:200 rwm", "a *:* r", "b 8:* m"] {
            assert_eq!(rule(good).unwrap(), *good);
        }
        for bad in ["", "c 10 rwm", "x 1:1 r", "c 1:1 x", "c 1:1 rwmr", "c 1:a r"] {
            assert!(rule(bad).is_err(), "{bad}");
        }
        assert_eq!(link("db").unwrap(), "db:db");
        assert_eq!(link("db:store").unwrap(), "db:store");
        assert!(link("").is_err() && link("a:b:c").is_err() && link(":x").is_err());
    }

    #[test]
    fn graphics_cards() {
        assert_eq!(gpus("all").unwrap()["Count"], -1);
        assert_eq!(gpus("2").unwrap()["Count"], 2);
        assert_eq!(gpus("driver=nvidia,count=1").unwrap()["Driver"], "nvidia");
        assert!(gpus("some").is_err() && gpus("x=1").is_err());
    }
}
