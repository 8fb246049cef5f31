//! `RUN --mount`.

use super::InstructionError;

/// One mount of a `RUN`. Paths are unexpanded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    pub kind: MountKind,
    pub target: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountKind {
    /// A directory or file of the context, a stage or an image; writes are thrown away.
    Bind {
        from: Option<String>,
        source: String,
        writable: bool,
    },
    /// A directory kept between builds.
    Cache {
        id: Option<String>,
        read_only: bool,
        mode: u32,
        uid: u32,
        gid: u32,
    },
    Tmpfs {
        size: Option<u64>,
    },
}

pub(super) fn read(text: &str) -> Result<Mount, InstructionError> {
    let bad = |reason: &str| InstructionError::Mount {
        text: text.to_owned(),
        reason: reason.to_owned(),
    };
    let mut kind = "bind";
    let (mut target, mut source, mut from, mut id, mut size) = (None, None, None, None, None);
    let (mut mode, mut uid, mut gid) = (0o755, 0, 0);
    let mut writable = None;
    let mut foreign = false;
    for field in text.split(',') {
        let (name, value) = match field.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (field, None),
        };
        let needed =
            || value.ok_or_else(|| bad(&format!("invalid field '{field}' must be a key=value pair")));
        let flag = || match value {
            None | Some("true" | "1") => Ok(true),
            Some("false" | "0") => Ok(false),
            Some(other) => Err(bad(&format!("invalid value for {name}: {other}"))),
        };
        match name.to_ascii_lowercase().as_str() {
            "type" => kind = needed()?,
            "target" | "dst" | "destination" => target = Some(needed()?.to_owned()),
            "source" | "src" => source = Some(needed()?.to_owned()),
            "from" => from = Some(needed()?.to_owned()),
            "id" => id = Some(needed()?.to_owned()),
            "rw" | "readwrite" => writable = Some(flag()?),
            "ro" | "readonly" => writable = Some(!flag()?),
            "size" => size = Some(bytes(needed()?).ok_or_else(|| bad("invalid size"))?),
            "mode" => mode = u32::from_str_radix(needed()?, 8).map_err(|_| bad("invalid mode"))?,
            "uid" => uid = needed()?.parse().map_err(|_| bad("invalid uid"))?,
            "gid" => gid = needed()?.parse().map_err(|_| bad("invalid gid"))?,
            "sharing" => match needed()? {
                "shared" => {}
                other => return Err(bad(&format!("sharing={other} is not supported, only shared"))),
            },
            "required" | "env" => foreign = true,
            other => return Err(bad(&format!("unexpected key '{other}'"))),
        }
    }
    if matches!(kind, "secret" | "ssh") {
        return Err(InstructionError::UnsupportedMount(kind.to_owned()));
    }
    if foreign {
        return Err(bad("required and env belong to secrets"));
    }
    let target = target
        .filter(|target| !target.is_empty())
        .ok_or_else(|| bad("it needs a target"))?;
    let kind = match kind {
        "bind" if id.is_some() || size.is_some() => return Err(bad("a bind mount takes no id and no size")),
        "bind" => MountKind::Bind {
            from,
            source: source.unwrap_or_else(|| "/".to_owned()),
            writable: writable.unwrap_or(false),
        },
        "cache" if from.is_some() || source.is_some() || size.is_some() => {
            return Err(bad("a cache that starts from another stage is not supported"));
        }
        "cache" => MountKind::Cache {
            id,
            read_only: writable == Some(false),
            mode: mode & 0o7777,
            uid,
            gid,
        },
        "tmpfs" if from.is_some() || source.is_some() || id.is_some() || writable.is_some() => {
            return Err(bad("a tmpfs takes only target and size"));
        }
        "tmpfs" => MountKind::Tmpfs { size },
        other => return Err(bad(&format!("unsupported mount type {other:?}"))),
    };
    Ok(Mount { kind, target })
}

/// `64m`, `1g`, `4096`, as Docker writes sizes.
fn bytes(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let digits = lower.trim_end_matches(|char: char| char.is_ascii_alphabetic());
    let shift = match &lower[digits.len()..] {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}
