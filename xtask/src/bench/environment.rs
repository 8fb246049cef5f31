//! What the numbers were measured with, and what is brought into memory before they are.

use std::{io, path::Path, process::Command};

use fs_err as fs;

use super::{engines::official_client, volume::done};

/// Reads every file beneath a directory once.
pub(super) fn read_all(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            read_all(&entry.path())?;
        } else {
            io::copy(&mut fs::File::open(entry.path())?, &mut io::sink())?;
        }
    }
    Ok(())
}

/// Processors, kernel, and versions of the engines in one line.
pub(super) fn describe(havre: &Path, engines: &[String]) -> String {
    let said = |program: &str, args: &[&str]| done(Command::new(program).args(args)).unwrap_or_default();
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let processor = processor.lines().find_map(|line| line.strip_prefix("model name"));
    let processor = processor.map_or("", |name| name.trim_start_matches(['\t', ' ', ':']));
    let mut parts = vec![
        format!("{processors} x {processor}"),
        format!("Linux {}", said("uname", &["-r"])),
    ];
    for engine in engines {
        parts.push(match engine.as_str() {
            "havre" => said(&havre.to_string_lossy(), &["--version"]),
            "docker" => {
                let client =
                    official_client().map_or_else(|_| String::new(), |client| said(&client, &["--version"]));
                format!("{} with client {client}", said("dockerd", &["--version"]))
            }
            _ => said(engine, &["--version"]),
        });
    }
    parts.join("; ")
}
