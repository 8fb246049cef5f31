//! `-e`, `--env-file`, `-l`, `--label-file`, `--build-arg`.

use std::collections::BTreeMap;
use std::path::Path;

use fs_err as fs;

use super::SpecError;
use crate::error::CliError;

/// Variables of files, then those of flags; a bare name takes its value from `lookup`.
pub(crate) fn environment(
    files: &[String],
    flags: &[String],
    lookup: impl Fn(&str) -> Option<String>,
) -> Result<Vec<String>, CliError> {
    let mut result = Vec::new();
    for file in files {
        for line in read_lines(Path::new(file))? {
            // A bare name in a file counts only when it has a value here.
            match variable(&line, &lookup)? {
                bare if !bare.contains('=') => {}
                set => result.push(set),
            }
        }
    }
    for flag in flags {
        result.push(variable(flag, &lookup)?);
    }
    Ok(result)
}

fn variable(text: &str, lookup: &impl Fn(&str) -> Option<String>) -> Result<String, SpecError> {
    if text.is_empty() || text.starts_with('=') {
        return Err(SpecError::flag(
            "-e, --env",
            text,
            format!("invalid environment variable: {text}"),
        ));
    }
    if text.contains('=') {
        return Ok(text.to_owned());
    }
    Ok(lookup(text).map_or_else(|| text.to_owned(), |value| format!("{text}={value}")))
}

/// Labels of files, then those of flags.
pub(crate) fn labels(files: &[String], flags: &[String]) -> Result<BTreeMap<String, String>, CliError> {
    let mut labels = BTreeMap::new();
    for file in files {
        for line in read_lines(Path::new(file))? {
            add(&line, &mut labels)?;
        }
    }
    for flag in flags {
        add(flag, &mut labels)?;
    }
    Ok(labels)
}

fn add(text: &str, map: &mut BTreeMap<String, String>) -> Result<(), SpecError> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    if key.is_empty() {
        return Err(SpecError::flag(
            "-l, --label",
            text,
            format!("invalid label '{text}': empty name"),
        ));
    }
    map.insert(key.to_owned(), value.to_owned());
    Ok(())
}

/// `KEY=value` options of drivers and sysctls.
pub(crate) fn options(flags: &[String]) -> Result<BTreeMap<String, String>, SpecError> {
    let mut map = BTreeMap::new();
    for flag in flags {
        let (key, value) = flag
            .split_once('=')
            .ok_or_else(|| SpecError::value(format!("invalid option {flag:?}: use KEY=value")))?;
        map.insert(key.to_owned(), value.to_owned());
    }
    Ok(map)
}

/// Lines that are neither empty nor comments.
fn read_lines(path: &Path) -> Result<Vec<String>, CliError> {
    let bytes = fs::read(path).map_err(|error| {
        SpecError::value(format!(
            "open {}: {}",
            path.display(),
            crate::input_stream::plain(&error)
        ))
    })?;
    let mut lines = Vec::new();
    for (number, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let line = std::str::from_utf8(line).map_err(|_| {
            SpecError::value(format!(
                "env file {} contains invalid utf8 bytes at line {}",
                path.display(),
                number + 1
            ))
        })?;
        let line = if number == 0 {
            line.trim_start_matches('\u{feff}')
        } else {
            line
        };
        let line = line.trim_end_matches('\r').trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let name = line.split('=').next().unwrap_or_default();
        if name.is_empty() {
            return Err(SpecError::value(format!("no variable name on line '{line}'")).into());
        }
        if name.contains(char::is_whitespace) {
            return Err(SpecError::value(format!(
                "invalid env file ({}): variable '{name}' contains whitespaces",
                path.display()
            ))
            .into());
        }
        lines.push(line.to_owned());
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_come_before_flags_and_bare_names_take_the_hosts_value() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("env");
        fs::write(
            &path,
            "\u{feff}# comment\nA=1\n\n  B = with blanks \r\nHOME\nUNSET\n".replace("B =", "B="),
        )
        .unwrap();
        let lookup = |name: &str| (name == "HOME").then(|| "/root".to_owned());
        let files = [path.to_string_lossy().into_owned()];
        let flags = ["A=2".to_owned(), "HOME".to_owned(), "UNSET".to_owned()];
        assert_eq!(
            environment(&files, &flags, lookup).unwrap(),
            [
                "A=1",
                "B= with blanks ",
                "HOME=/root",
                "A=2",
                "HOME=/root",
                "UNSET"
            ]
        );
    }

    #[test]
    fn bad_files_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("env");
        let files = [path.to_string_lossy().into_owned()];
        for (text, words) in [
            (&b"A B=1"[..], "variable 'A B' contains whitespaces"),
            (b"=1", "no variable name on line '=1'"),
            (b"A=\xff", "invalid utf8 bytes at line 1"),
        ] {
            fs::write(&path, text).unwrap();
            let error = environment(&files, &[], |_| None).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
        assert!(environment(&[], &["=x".to_owned()], |_| None).is_err());
    }

    #[test]
    fn label_flags() {
        let labels = labels(&[], &["a=b=c".to_owned(), "bare".to_owned()]).unwrap();
        assert_eq!(labels["a"], "b=c");
        assert_eq!(labels["bare"], "");
    }
}
