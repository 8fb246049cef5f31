//! Base images from what the host has, without a registry.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use havre_oci::{Digest, History, ImageConfig, Platform, Reference};
use havre_store::{Layer, Lease};
use jiff::Timestamp;
use tokio::sync::mpsc;

use crate::{CreateImage, ImageError, ImageService, Progress, ProgressEvent, apply_changes};

/// Where Debian's administrators put CAs of their own.
const HOST_CAS: &str = "/usr/local/share/ca-certificates";
const HOST_BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";
const PATH: &str = "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Last lines of a failed program that are shown.
const SHOWN_LINES: usize = 12;

/// A base image made from what the host has, without a registry.
#[derive(Debug, Clone)]
pub struct BootstrapRequest {
    /// "debian", "debian:SUITE" or "busybox".
    pub source: String,
    /// Name of the image; "debian:SUITE" (and "debian:latest" for plain "debian") or "busybox:latest" when `None`.
    pub reference: Option<Reference>,
    /// Include the host's CA bundle; by default when the host has CAs of its own in /usr/local/share/ca-certificates.
    pub with_host_ca: Option<bool>,
    /// Debian mirror; mmdebstrap's default when `None`.
    pub mirror: Option<String>,
}

/// What is made, once the request has been understood.
enum Source {
    Debian { suite: String, plain: bool },
    Busybox,
}

impl Source {
    fn parse(text: &str) -> Result<Self, ImageError> {
        let invalid = || ImageError::BootstrapSource(text.to_owned());
        let (name, suite) = text
            .split_once(':')
            .map_or((text, None), |(name, suite)| (name, Some(suite)));
        let is_suite = |suite: &str| {
            suite.starts_with(|c: char| c.is_ascii_lowercase())
                && suite.len() <= 64
                && suite
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        };
        match (name, suite) {
            ("debian", None | Some("latest")) => Ok(Self::Debian {
                suite: "stable".to_owned(),
                plain: true,
            }),
            ("debian", Some(suite)) if is_suite(suite) => Ok(Self::Debian {
                suite: suite.to_owned(),
                plain: false,
            }),
            ("busybox", None | Some("latest")) => Ok(Self::Busybox),
            _ => Err(invalid()),
        }
    }

    fn names(&self) -> Result<Vec<Reference>, ImageError> {
        let names = match self {
            Self::Debian { suite, plain: true } => {
                vec!["debian:latest".to_owned(), format!("debian:{suite}")]
            }
            Self::Debian { suite, .. } => vec![format!("debian:{suite}")],
            Self::Busybox => vec!["busybox:latest".to_owned()],
        };
        Ok(names
            .iter()
            .map(|name| Reference::parse(name))
            .collect::<Result<_, _>>()?)
    }
}

impl ImageService {
    /// Makes the image; lines of the tools are emitted as progress. Needs root.
    pub async fn bootstrap(
        &self,
        request: &BootstrapRequest,
        progress: &dyn Progress,
    ) -> Result<Digest, ImageError> {
        let source = Source::parse(&request.source)?;
        let names = match &request.reference {
            Some(reference) if reference.digest().is_some() => return Err(ImageError::TagWithDigest),
            Some(reference) => vec![reference.clone().with_default_tag()],
            None => source.names()?,
        };
        if let Some(mirror) = request.mirror.as_deref().filter(|mirror| !is_mirror(mirror)) {
            return Err(ImageError::BootstrapMirror(mirror.to_owned()));
        }
        let host_cas = host_cas();
        let with_ca = request.with_host_ca.unwrap_or(!host_cas.is_empty());
        if with_ca && matches!(source, Source::Debian { .. }) {
            progress.emit(ProgressEvent::line(format!(
                "Including the host's CA certificates ({} of its own from {HOST_CAS})",
                host_cas.len()
            )));
        }
        let lease = self.lease();
        let (lines, mut emitted) = mpsc::unbounded_channel::<String>();
        let work = {
            let (lease, mirror) = (lease.clone(), request.mirror.clone());
            self.blocking(move |service| match source {
                Source::Debian { suite, .. } => {
                    let mut command = mmdebstrap(&suite, mirror.as_deref(), with_ca, &host_cas);
                    for option in host_apt_options() {
                        let _ = lines.send(format!("As on this host: {option}"));
                        command.arg(format!("--aptopt={option}"));
                    }
                    let layer = service.apply_output(command, &lines, &lease)?;
                    Ok((layer, "mmdebstrap", [PATH, r#"CMD ["bash"]"#]))
                }
                Source::Busybox => {
                    let layer = service.busybox(&lease)?;
                    Ok((layer, "busybox-static", [PATH, r#"CMD ["sh"]"#]))
                }
            })
        };
        tokio::pin!(work);
        let (layer, tool, changes) = loop {
            tokio::select! {
                biased;
                Some(line) = emitted.recv() => progress.emit(ProgressEvent::line(line)),
                outcome = &mut work => break outcome?,
            }
        };
        while let Ok(line) = emitted.try_recv() {
            progress.emit(ProgressEvent::line(line));
        }
        let now = Timestamp::now();
        let mut config = ImageConfig::new(&Platform::host());
        config.created = Some(now);
        apply_changes(&mut config.config, &changes.map(str::to_owned))?;
        config.history.push(History {
            created: Some(now),
            comment: format!("Bootstrapped {} by {tool}", request.source),
            ..History::default()
        });
        let create = CreateImage {
            parent: None,
            layers: vec![layer.diff_id],
            config,
            tags: names,
            command: "bootstrap".to_owned(),
        };
        let image = self.create_from(create, &lease).await?;
        progress.emit(ProgressEvent::line(image.id.to_string()));
        Ok(image.id)
    }

    /// Runs a program whose output is a tar, and unpacks it while it comes.
    fn apply_output(
        &self,
        mut command: Command,
        lines: &mpsc::UnboundedSender<String>,
        lease: &Lease,
    ) -> Result<Layer, ImageError> {
        let program = command.get_program().to_string_lossy().into_owned();
        let failed = |source: std::io::Error| match source.kind() {
            std::io::ErrorKind::NotFound => ImageError::MissingProgram {
                program: program.clone(),
                package: program.clone(),
            },
            _ => ImageError::Program {
                program: program.clone(),
                source,
            },
        };
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().map_err(failed)?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let (Some(mut stdout), Some(stderr)) = (stdout, stderr) else {
            return Err(ImageError::Interrupted);
        };
        std::thread::scope(|scope| {
            let listener = scope.spawn(|| listen(stderr, lines));
            let applied = self.apply_any(&mut stdout, lease);
            if applied.is_err() {
                // It may still be writing to nobody.
                let _ = child.kill();
            }
            drop(stdout);
            let status = child.wait().map_err(failed)?;
            let last = listener.join().unwrap_or_default();
            // The program's own complaint explains a broken tar; the other way round a full disk kills the program.
            match applied {
                Err(error @ ImageError::Store(_)) => Err(error),
                Err(error @ ImageError::Layer { .. }) if status.code().is_none() => Err(error),
                _ if !status.success() => Err(ImageError::ProgramFailed {
                    program: program.clone(),
                    status: status.to_string(),
                    output: complaint(&last),
                }),
                other => other,
            }
        })
    }

    /// The host's static busybox with a link for each of its commands.
    fn busybox(&self, lease: &Lease) -> Result<Layer, ImageError> {
        let path = ["/usr/bin/busybox", "/bin/busybox"]
            .into_iter()
            .find(|path| Path::new(path).is_file());
        let Some(path) = path else {
            let (program, package) = ("busybox".to_owned(), "busybox-static".to_owned());
            return Err(ImageError::MissingProgram { program, package });
        };
        let failed = |source| ImageError::Program {
            program: path.to_owned(),
            source,
        };
        let binary = fs_err::read(path).map_err(failed)?;
        if has_interpreter(&binary) {
            return Err(ImageError::NotStatic {
                path: path.to_owned(),
            });
        }
        let output = Command::new(path)
            .arg("--list")
            .stdin(Stdio::null())
            .output()
            .map_err(failed)?;
        let list = String::from_utf8_lossy(&output.stdout);
        let commands: BTreeSet<&str> = list
            .lines()
            .map(str::trim)
            .filter(|name| is_command(name))
            .collect();
        let tar = busybox_tar(&binary, &commands).map_err(failed)?;
        self.apply_any(tar.as_slice(), lease)
    }
}

/// An address, and nothing that mmdebstrap would take for an option, a file or a line of sources.list.
fn is_mirror(text: &str) -> bool {
    let known = ["http://", "https://", "file://", "copy://"];
    known.iter().any(|scheme| text.starts_with(scheme))
        && text.len() <= 2048
        && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Certificates the host's administrator added.
fn host_cas() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut dirs = vec![PathBuf::from(HOST_CAS)];
    while let Some(dir) = dirs.pop() {
        let Ok(entries) = fs_err::read_dir(&dir) else {
            continue;
        };
        for entry in entries.flatten() {
            let path = entry.path();
            if path.is_dir() && dirs.len() < 100 {
                dirs.push(path);
            } else if path.extension().is_some_and(|extension| extension == "crt") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// `mmdebstrap` writes the tar to its output. The host's CAs come in by hooks, after the packages are set up.
fn mmdebstrap(suite: &str, mirror: Option<&str>, with_ca: bool, cas: &[PathBuf]) -> Command {
    let mut command = Command::new("mmdebstrap");
    command.args([
        "--variant=minbase",
        "--format=tar",
        "--mode=root",
        "--skip=output/dev",
    ]);
    if with_ca {
        command.arg("--include=ca-certificates");
        command.arg("--customize-hook=mkdir -p \"$1/usr/local/share/ca-certificates\"");
        for ca in cas {
            command.arg(hook(
                "upload",
                ca,
                &Path::new(HOST_CAS).join(ca.file_name().unwrap_or_default()),
            ));
        }
        command.arg("--customize-hook=chroot \"$1\" update-ca-certificates");
        if Path::new(HOST_BUNDLE).is_file() {
            command.arg(hook("upload", Path::new(HOST_BUNDLE), Path::new(HOST_BUNDLE)));
        }
    }
    command.arg(suite).arg("-");
    command.args(mirror);
    command
        .env("DEBIAN_FRONTEND", "noninteractive")
        .env("LC_ALL", "C.UTF-8");
    command
}

/// What the host's apt was told about the age of package lists: a host whose mirror is a snapshot of the past switches
/// these checks off, and an image that takes its packages from the same mirror has to as well.
fn host_apt_options() -> Vec<String> {
    let Ok(output) = Command::new("apt-config")
        .args(["dump", "--no-empty"])
        .stdin(Stdio::null())
        .output()
    else {
        return Vec::new();
    };
    let settings = String::from_utf8_lossy(&output.stdout).into_owned();
    apt_options(&settings)
}

/// The lines of `apt-config dump` that say how old a list may be.
fn apt_options(settings: &str) -> Vec<String> {
    const CHECKS: [&str; 4] = [
        "Check-Valid-Until",
        "Check-Date",
        "Max-ValidTime",
        "Min-ValidTime",
    ];
    let is_check = |line: &&str| {
        let key = line
            .split_whitespace()
            .next()
            .and_then(|key| key.strip_prefix("Acquire::"));
        key.is_some_and(|key| CHECKS.contains(&key))
    };
    settings
        .lines()
        .filter(is_check)
        .map(|line| line.trim_end_matches(';').to_owned())
        .collect()
}

/// One of mmdebstrap's own hooks, which split their arguments as a shell does.
fn hook(name: &str, from: &Path, to: &Path) -> OsString {
    let quoted = |path: &Path| format!("'{}'", path.to_string_lossy().replace('\'', "'\\''"));
    format!("--customize-hook={name} {} {}", quoted(from), quoted(to)).into()
}

/// Passes the lines of a program on; the last ones.
fn listen(stderr: impl Read, lines: &mpsc::UnboundedSender<String>) -> Vec<String> {
    use std::io::BufRead as _;
    let mut last = std::collections::VecDeque::new();
    let mut reader = std::io::BufReader::new(stderr);
    let mut line = Vec::new();
    while reader
        .by_ref()
        .take(4096)
        .read_until(b'\n', &mut line)
        .is_ok_and(|count| count > 0)
    {
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        line.clear();
        if text.is_empty() {
            continue;
        }
        if last.len() == SHOWN_LINES {
            last.pop_front();
        }
        last.push_back(text.clone());
        let _ = lines.send(text);
    }
    last.into()
}

/// The lines in which the program names its trouble; everything it said was passed on already.
fn complaint(last: &[String]) -> String {
    let errors: Vec<&str> = last
        .iter()
        .map(String::as_str)
        .filter(|line| line.starts_with("E: "))
        .collect();
    match errors.as_slice() {
        [] => last.last().cloned().unwrap_or_default(),
        errors => errors.join("\n"),
    }
}

fn is_command(name: &str) -> bool {
    !name.is_empty()
        && name.len() < 64
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"[._-+".contains(&b))
}

/// Whether an ELF program needs a dynamic loader (a program header of type PT_INTERP, see elf(5)).
fn has_interpreter(elf: &[u8]) -> bool {
    const PT_INTERP: u32 = 3;
    let word = |at: usize, len: usize| -> Option<u64> {
        let bytes = elf.get(at..at.checked_add(len)?)?;
        Some(
            bytes
                .iter()
                .rev()
                .fold(0, |value, byte| value << 8 | u64::from(*byte)),
        )
    };
    // 64-bit little endian, as on all platforms this is built for.
    if elf.get(..6) != Some(b"\x7fELF\x02\x01") {
        return true;
    }
    let (Some(table), Some(entry), Some(count)) = (word(32, 8), word(54, 2), word(56, 2)) else {
        return true;
    };
    (0..count).any(|index| {
        let at = usize::try_from(table + index * entry).unwrap_or(usize::MAX);
        word(at, 4) == Some(u64::from(PT_INTERP))
    })
}

/// The root of a busybox image; the same for the same binary.
fn busybox_tar(binary: &[u8], commands: &BTreeSet<&str>) -> std::io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::with_capacity(binary.len() + (1 << 20)));
    let header = |kind, mode, size| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(size);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header
    };
    for (path, mode) in [
        ("bin/", 0o755),
        ("dev/", 0o755),
        ("etc/", 0o755),
        ("home/", 0o755),
        ("proc/", 0o755),
        ("root/", 0o700),
        ("sys/", 0o755),
        ("tmp/", 0o1777),
        ("usr/", 0o755),
        ("var/", 0o755),
        ("var/tmp/", 0o1777),
    ] {
        tar.append_data(
            &mut header(tar::EntryType::Directory, mode, 0),
            path,
            std::io::empty(),
        )?;
    }
    for (path, mode, text) in [
        ("bin/busybox", 0o755, binary),
        (
            "etc/passwd",
            0o644,
            &b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"[..],
        ),
        (
            "etc/group",
            0o644,
            &b"root:x:0:\ntty:x:5:\nnogroup:x:65534:\n"[..],
        ),
    ] {
        tar.append_data(
            &mut header(tar::EntryType::Regular, mode, text.len() as u64),
            path,
            text,
        )?;
    }
    for command in commands.iter().filter(|command| **command != "busybox") {
        let mut link = header(tar::EntryType::Link, 0o755, 0);
        tar.append_link(&mut link, format!("bin/{command}"), "bin/busybox")?;
    }
    tar.into_inner()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_age_checks_are_taken_over_from_the_host() {
        let dump = "APT \"\";\nAcquire::Check-Valid-Until \"false\";\nAcquire::http::Proxy \"http://p:1\";\n";
        assert_eq!(apt_options(dump), [r#"Acquire::Check-Valid-Until "false""#]);
    }

    #[test]
    fn a_failure_repeats_only_the_errors() {
        let lines = ["I: working", "E: no such suite", "I: removing"].map(str::to_owned);
        assert_eq!(complaint(&lines), "E: no such suite");
        assert_eq!(complaint(&lines[..1]), "I: working");
        assert_eq!(complaint(&[]), "");
    }

    #[test]
    fn sources() {
        assert!(matches!(
            Source::parse("debian"),
            Ok(Source::Debian { plain: true, .. })
        ));
        assert!(
            matches!(Source::parse("debian:bookworm"), Ok(Source::Debian { suite, plain: false }) if suite == "bookworm")
        );
        assert!(matches!(Source::parse("busybox"), Ok(Source::Busybox)));
        for bad in [
            "",
            "ubuntu",
            "debian:--evil",
            "debian:",
            "debian:a b",
            "busybox:1",
        ] {
            assert!(Source::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_mirror_is_an_address() {
        for good in [
            "http://deb.debian.org/debian",
            "https://m/x",
            "file:///srv/debian",
        ] {
            assert!(is_mirror(good), "{good}");
        }
        for bad in [
            "",
            "-",
            "--setup-hook=sh",
            "/etc/passwd",
            "deb http://m x main",
            "http://m/\ndeb x",
        ] {
            assert!(!is_mirror(bad), "{bad}");
        }
    }

    #[test]
    fn hooks_quote_names() {
        let hook = hook("upload", Path::new("/a/it's here.crt"), Path::new("/b"));
        assert_eq!(
            hook.to_str().unwrap(),
            r"--customize-hook=upload '/a/it'\''s here.crt' '/b'"
        );
    }

    #[test]
    fn interpreters_are_seen() {
        let shell = fs_err::read("/bin/sh").unwrap();
        assert!(has_interpreter(&shell));
        assert!(has_interpreter(b"#!/bin/sh"));
    }
}
