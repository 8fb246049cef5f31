//! `-v`, `--mount` and `--tmpfs`.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::SpecError;
use crate::values::{Size, parse_bool};

/// A `-v` flag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Volume {
    /// A directory or named volume at a place: `source:target[:options]`.
    Bind(String),
    /// An anonymous volume at a place.
    Anonymous(String),
}

/// Reads `-v`; a relative source (`.`, `./x`, `../x`) is taken from `directory`.
pub(crate) fn volume(spec: &str, directory: &Path) -> Result<Volume, SpecError> {
    let parts: Vec<&str> = spec.split(':').collect();
    let invalid = || SpecError::value(format!("invalid spec: {spec}: empty section between colons"));
    if parts.len() > 3 {
        // The engine says what is wrong with it.
        return Ok(Volume::Bind(spec.to_owned()));
    }
    if parts.iter().any(|part| part.is_empty()) {
        return Err(invalid());
    }
    let &[source, target, ..] = parts.as_slice() else {
        return Ok(Volume::Anonymous(spec.to_owned()));
    };
    let source = if is_relative(source) {
        absolute(directory, source)
    } else {
        source.to_owned()
    };
    let options = parts
        .get(2)
        .map(|options| format!(":{options}"))
        .unwrap_or_default();
    Ok(Volume::Bind(format!("{source}:{target}{options}")))
}

fn is_relative(source: &str) -> bool {
    source == "." || source == ".." || source.starts_with("./") || source.starts_with("../")
}

/// Joins and cleans lexically, as Go's `filepath.Abs`.
pub(crate) fn absolute(directory: &Path, path: &str) -> String {
    let mut clean: Vec<&str> = Vec::new();
    let joined = directory.join(path);
    let joined = joined.to_string_lossy();
    for part in joined.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                clean.pop();
            }
            part => clean.push(part),
        }
    }
    format!("/{}", clean.join("/"))
}

/// Reads `--mount type=…,source=…,target=…` into the API's mount.
pub(crate) fn mount(spec: &str, directory: &Path) -> Result<Value, SpecError> {
    let error = |text: String| SpecError::flag("--mount", spec, text);
    let (mut kind, mut source, mut target) = ("volume".to_owned(), String::new(), String::new());
    let mut read_only = false;
    let (mut bind, mut volume, mut tmpfs) = (Map::new(), Map::new(), Map::new());
    let (mut labels, mut driver, mut driver_options) = (Map::new(), String::new(), Map::new());
    for field in csv(spec) {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key.to_ascii_lowercase(), value),
            None => match field.as_str() {
                "readonly" | "ro" | "volume-nocopy" | "bind-nonrecursive" => (field.clone(), "true"),
                _ => return Err(error(format!("invalid field '{field}' must be a key=value pair"))),
            },
        };
        let truth = || parse_bool(value).map_err(|_| error(format!("invalid value for {key}: {value}")));
        match key.as_str() {
            "type" => kind = value.to_ascii_lowercase(),
            "source" | "src" => source = value.to_owned(),
            "target" | "dst" | "destination" => target = value.to_owned(),
            "readonly" | "ro" => read_only = truth()?,
            "bind-propagation" => {
                bind.insert("Propagation".into(), value.to_ascii_lowercase().into());
            }
            "bind-nonrecursive" => {
                bind.insert("NonRecursive".into(), truth()?.into());
            }
            "bind-create-host-path" => {
                bind.insert("CreateMountpoint".into(), truth()?.into());
            }
            "volume-nocopy" => {
                volume.insert("NoCopy".into(), truth()?.into());
            }
            "volume-subpath" => {
                volume.insert("Subpath".into(), value.into());
            }
            "volume-label" => {
                let (name, text) = value.split_once('=').unwrap_or((value, ""));
                labels.insert(name.to_owned(), text.into());
            }
            "volume-driver" => driver = value.to_owned(),
            "volume-opt" => {
                let (name, text) = value.split_once('=').unwrap_or((value, ""));
                driver_options.insert(name.to_owned(), text.into());
            }
            "tmpfs-size" => {
                let size: Size = value
                    .parse()
                    .map_err(|_| error(format!("invalid value for {key}: {value}")))?;
                tmpfs.insert("SizeBytes".into(), size.0.into());
            }
            "tmpfs-mode" => {
                let mode = u32::from_str_radix(value, 8)
                    .map_err(|_| error(format!("invalid value for {key}: {value}")))?;
                tmpfs.insert("Mode".into(), mode.into());
            }
            _ => return Err(error(format!("unexpected key '{key}' in '{field}'"))),
        }
    }
    if target.is_empty() {
        return Err(error("target is required".to_owned()));
    }
    if !labels.is_empty() {
        volume.insert("Labels".into(), labels.into());
    }
    if !driver.is_empty() || !driver_options.is_empty() {
        volume.insert(
            "DriverConfig".into(),
            json!({"Name": driver, "Options": driver_options}),
        );
    }
    for (options, owner) in [(&bind, "bind"), (&volume, "volume"), (&tmpfs, "tmpfs")] {
        if !options.is_empty() && kind != owner {
            return Err(error(format!(
                "cannot mix '{owner}-*' options with mount type '{kind}'"
            )));
        }
    }
    // As Docker's client: a path that starts with a point is the client's, everything else the engine judges.
    if kind == "bind" && is_relative(&source) {
        source = absolute(directory, &source);
    }
    let mut mount = Map::new();
    mount.insert("Type".into(), kind.clone().into());
    if !source.is_empty() {
        mount.insert("Source".into(), source.into());
    }
    mount.insert("Target".into(), target.into());
    if read_only {
        mount.insert("ReadOnly".into(), true.into());
    }
    for (name, options) in [
        ("BindOptions", bind),
        ("VolumeOptions", volume),
        ("TmpfsOptions", tmpfs),
    ] {
        if !options.is_empty() {
            mount.insert(name.into(), options.into());
        }
    }
    Ok(mount.into())
}

/// Fields of one line of comma-separated values, with quoted fields as in RFC 4180.
pub(crate) fn csv(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        let last = fields.len() - 1;
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                fields[last].push('"');
            }
            '"' if quoted || fields[last].is_empty() => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            c => fields[last].push(c),
        }
    }
    fields
}

/// Reads `--tmpfs /path[:options]`.
pub(crate) fn tmpfs(spec: &str) -> (String, String) {
    let (path, options) = spec.split_once(':').unwrap_or((spec, ""));
    (path.to_owned(), options.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir() -> &'static Path {
        Path::new("/home/me")
    }

    #[test]
    fn volumes() {
        let bind = |text: &str| Ok(Volume::Bind(text.to_owned()));
        assert_eq!(volume("/a:/b", dir()), bind("/a:/b"));
        assert_eq!(volume("./a:/b:ro", dir()), bind("/home/me/a:/b:ro"));
        assert_eq!(volume("../x:/b", dir()), bind("/home/x:/b"));
        assert_eq!(volume(".:/b", dir()), bind("/home/me:/b"));
        assert_eq!(volume("data:/b", dir()), bind("data:/b"));
        assert_eq!(volume("/b", dir()), Ok(Volume::Anonymous("/b".to_owned())));
        assert_eq!(volume("a:b:c:d", dir()), bind("a:b:c:d"));
        for wrong in ["a:", ":/b", ""] {
            assert!(volume(wrong, dir()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn mounts() {
        assert_eq!(
            mount(
                "type=bind,src=./sub,dst=/x,readonly,bind-propagation=rshared",
                dir()
            )
            .unwrap(),
            json!({"Type":"bind","Source":"/home/me/sub","Target":"/x","ReadOnly":true,"BindOptions":{"Propagation":"rshared"}})
        );
        assert_eq!(
            mount(
                "source=v,target=/x,volume-nocopy=true,volume-label=a=b,\"volume-opt=o=addr=1,2\"",
                dir()
            )
            .unwrap(),
            json!({"Type":"volume","Source":"v","Target":"/x","VolumeOptions":{"NoCopy":true,"Labels":{"a":"b"},
                "DriverConfig":{"Name":"","Options":{"o":"addr=1,2"}}}})
        );
        assert_eq!(
            mount("type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=1770", dir()).unwrap(),
            json!({"Type":"tmpfs","Target":"/t","TmpfsOptions":{"SizeBytes":1_048_576,"Mode":0o1770}})
        );
        for (spec, words) in [
            ("type=bind,source=/x", "target is required"),
            (
                "type=tmpfs,target=/x,volume-nocopy",
                "cannot mix 'volume-*' options",
            ),
            ("target=/x,bogus=1", "unexpected key 'bogus'"),
            ("target=/x,bogus", "must be a key=value pair"),
        ] {
            let error = mount(spec, dir()).unwrap_err().to_string();
            assert!(error.contains(words), "{spec}: {error}");
        }
    }
}
