//! `havre daemon --install`: unit and socket files for systemd, and the way back.

use std::path::{Path, PathBuf};
use std::process::Command;

use fs_err as fs;

use crate::args::daemon::Daemon;
use crate::daemon::Places;
use crate::endpoint::DEFAULT_ROOT;
use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::printer::Printer;

/// Where an administrator's units are.
const UNITS: &str = "/etc/systemd/system";
const SERVICE: &str = "havre.service";
const SOCKET: &str = "havre.socket";
/// Says that systemd runs this machine.
const BOOTED: &str = "/run/systemd/system";
/// Groups whose members may use the socket: the first that exists.
const GROUPS: [&str; 2] = ["docker", "havre"];

/// A file of ours begins so; others are not touched.
const MARK: &str = "# Written by havre daemon --install; edit with: systemctl edit havre\n";

/// Units to be written or removed.
#[derive(Debug)]
struct Units {
    directory: PathBuf,
    /// systemd is told of them.
    live: bool,
}

impl Units {
    fn of(args: &Daemon) -> Self {
        let directory = args.units.as_deref().map_or(Path::new(UNITS), Path::new);
        Self {
            live: args.units.is_none() && Path::new(BOOTED).is_dir(),
            directory: directory.to_owned(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn check_ours(&self, name: &str) -> Result<bool, CliError> {
        let path = self.path(name);
        match fs::read_to_string(&path) {
            Ok(text) if text.starts_with(MARK) => Ok(true),
            Ok(_) => Err(CliError::Invalid(format!(
                "{} was not written by this command: remove it first",
                path.display()
            ))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Runs systemctl, if systemd is there; what was done is told.
    fn systemctl(&self, words: &[&str]) -> Result<(), CliError> {
        let line = format!("systemctl {}", words.join(" "));
        if !self.live {
            return Ok(());
        }
        let output = Command::new("systemctl").args(words).output()?;
        if output.status.success() {
            Printer.line(&line);
            return Ok(());
        }
        Err(CliError::Invalid(format!(
            "{line}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )))
    }
}

/// Writes the units, and with systemd running starts the engine by them.
pub(crate) fn install(args: &Daemon, words: &[String]) -> Result<ExitStatus, CliError> {
    let units = Units::of(args);
    let program = std::env::current_exe()?;
    let places = Places::of(args);
    let group = first_group(&fs::read_to_string("/etc/group").unwrap_or_default());
    let files = [
        (SERVICE, service(&program, &daemon_words(words), &places)?),
        (SOCKET, socket(&places.socket, group)?),
    ];
    for (name, _) in &files {
        units.check_ours(name)?;
    }
    fs::create_dir_all(&units.directory)?;
    for (name, text) in files {
        let path = units.path(name);
        havre_sys::atomic::write(&path, text.as_bytes(), 0o644)?;
        Printer.line(&format!("wrote {}", path.display()));
    }
    units.systemctl(&["daemon-reload"])?;
    units.systemctl(&["enable", SERVICE, SOCKET])?;
    units.systemctl(&["restart", SOCKET])?;
    units.systemctl(&["restart", SERVICE])?;
    if units.live {
        Printer.line(&format!("The engine listens on {}.", places.socket.display()));
    } else {
        Printer.line("systemd does not run here, or the units are elsewhere. Where it does:");
        Printer.line("  systemctl daemon-reload && systemctl enable --now havre.socket havre.service");
    }
    Ok(ExitStatus::SUCCESS)
}

/// Takes back what an installation did. Containers go on; nothing of images, containers or volumes is removed.
pub(crate) fn uninstall(args: &Daemon) -> Result<ExitStatus, CliError> {
    let units = Units::of(args);
    let mut there = Vec::new();
    for name in [SOCKET, SERVICE] {
        if units.check_ours(name)? {
            there.push(name);
        }
    }
    if there.is_empty() {
        return Err(CliError::Invalid(format!(
            "there are no units of the engine in {}",
            units.directory.display()
        )));
    }
    for name in &there {
        units.systemctl(&["disable", "--now", name])?;
    }
    for name in &there {
        let path = units.path(name);
        fs::remove_file(&path)?;
        Printer.line(&format!("removed {}", path.display()));
    }
    units.systemctl(&["daemon-reload"])?;
    let root = args.root.as_deref().unwrap_or(DEFAULT_ROOT);
    Printer.line(&format!(
        "Images, containers and volumes stay in {root}; containers that run go on."
    ));
    Ok(ExitStatus::SUCCESS)
}

/// The flags of the daemon that is installed: those of this call, without its own.
fn daemon_words(words: &[String]) -> Vec<String> {
    let mut kept = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--install" | "--uninstall" => {}
            "--units" => {
                words.next();
            }
            word if word.starts_with("--units=") || word.starts_with("--install=") => {}
            word => kept.push(word.to_owned()),
        }
    }
    kept
}

fn service(program: &Path, words: &[String], places: &Places) -> Result<String, CliError> {
    let mut line = quoted(&program.to_string_lossy())?;
    line.push_str(" daemon");
    for word in words {
        line.push(' ');
        line.push_str(&quoted(word)?);
    }
    let root = quoted(&places.root.to_string_lossy())?;
    Ok(format!(
        "{MARK}[Unit]
Description=Havre container engine
After=network-online.target nss-lookup.target time-set.target {SOCKET}
Wants=network-online.target
Requires={SOCKET}
RequiresMountsFor={root}
StartLimitBurst=3
StartLimitIntervalSec=60

[Service]
Type=notify
ExecStart={line}
# A new binary takes over: containers go on, and clients wait a moment.
ExecReload=/bin/kill -HUP $MAINPID
TimeoutStartSec=0
TimeoutStopSec=30
Restart=always
RestartSec=2
# Containers and their shims outlive the daemon, and their cgroups are its own business.
KillMode=process
Delegate=yes
TasksMax=infinity
LimitNOFILE=infinity
LimitNPROC=infinity
LimitCORE=infinity
OOMScoreAdjust=-500

[Install]
WantedBy=multi-user.target
"
    ))
}

fn socket(path: &Path, group: Option<&str>) -> Result<String, CliError> {
    let path = path.to_string_lossy();
    if path.contains(['\n', '\0']) || path.trim() != path {
        return Err(CliError::Invalid(format!(
            "a unit cannot have the socket {path:?}: choose another --socket"
        )));
    }
    let group = group.unwrap_or("root");
    Ok(format!(
        "{MARK}[Unit]
Description=Havre container engine API socket

[Socket]
ListenStream={}
SocketUser=root
SocketGroup={group}
SocketMode=0660
DirectoryMode=0755

[Install]
WantedBy=sockets.target
",
        path.replace('%', "%%")
    ))
}

/// A word of a unit's command line or setting.
fn quoted(word: &str) -> Result<String, CliError> {
    if word.contains(['\n', '\0']) {
        return Err(CliError::Invalid(format!("a unit cannot have the word {word:?}")));
    }
    let word = word.replace('%', "%%").replace('$', "$$");
    let plain = |c: char| c.is_ascii_alphanumeric() || "/-_.=:,%$[]".contains(c);
    Ok(match word.chars().all(plain) && !word.is_empty() {
        true => word,
        false => format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\"")),
    })
}

fn first_group(groups: &str) -> Option<&'static str> {
    let there = |wanted: &&str| groups.lines().any(|line| line.split(':').next() == Some(*wanted));
    GROUPS.into_iter().find(there)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_the_daemon_are_kept_and_quoted() {
        let words = [
            "--install",
            "--root",
            "/srv/a b",
            "--units",
            "/x",
            "--units=/y",
            "-H=tcp://[::1]:1",
        ];
        let kept = daemon_words(&words.map(str::to_owned));
        assert_eq!(kept, ["--root", "/srv/a b", "-H=tcp://[::1]:1"]);
        let places = Places {
            root: "/srv/a b".into(),
            state: "/run/havre".into(),
            socket: "/run/havre/havre.sock".into(),
        };
        let text = service(Path::new("/usr/bin/havre"), &kept, &places).unwrap();
        assert!(
            text.contains("ExecStart=/usr/bin/havre daemon --root \"/srv/a b\" -H=tcp://[::1]:1\n"),
            "{text}"
        );
        assert_eq!(quoted("50%$x").unwrap(), "50%%$$x");
        assert_eq!(quoted("a\"b\\").unwrap(), "\"a\\\"b\\\\\"");
        assert!(quoted("a\nb").is_err());
    }

    #[test]
    fn the_socket_belongs_to_the_first_group_there_is() {
        assert_eq!(
            first_group("root:x:0:\nhavre:x:1:\ndocker:x:2:\n"),
            Some("docker")
        );
        assert_eq!(first_group("root:x:0:\nhavre:x:1:\n"), Some("havre"));
        assert_eq!(first_group("dockers:x:0:\n"), None);
        assert!(
            socket(Path::new("/run/x.sock"), None)
                .unwrap()
                .contains("SocketGroup=root")
        );
    }
}
