//! `havre daemon`: what may be typed.

use clap::Args;

use super::{Declaration, Operands, Shape};

#[derive(Args, Debug)]
pub(crate) struct Daemon {
    #[arg(
        long,
        value_name = "string",
        help = "Directory of images, containers and volumes (default \"/var/lib/havre\")"
    )]
    pub(crate) root: Option<String>,
    #[arg(
        long,
        value_name = "string",
        help = "Unix socket to listen on (default \"/run/havre/havre.sock\"; with --root: \"ROOT/havre.sock\")"
    )]
    pub(crate) socket: Option<String>,
    #[arg(
        long,
        value_name = "string",
        help = "Directory of sockets and process state (default \"/run/havre\"; with --root: \"ROOT/run\")"
    )]
    pub(crate) state: Option<String>,
    #[arg(
        long,
        value_name = "string",
        help = "Configuration file in TOML, or Docker's daemon.json"
    )]
    pub(crate) config: Option<String>,
    #[arg(
        long,
        value_name = "string",
        help = "Logging level (\"error\", \"warn\", \"info\", \"debug\", \"trace\") (default \"info\")"
    )]
    pub(crate) log_level: Option<String>,
    #[arg(
        long,
        value_name = "string",
        help = "User/Group setting for user namespaces: \"default\", USER, USER:GROUP, UID or UID:GID of /etc/subuid and /etc/subgid"
    )]
    pub(crate) userns_remap: Option<String>,
    #[command(flatten)]
    pub(crate) listening: Listening,
    #[arg(
        long,
        conflicts_with = "uninstall",
        help = "Set the engine up as a service of systemd with the other flags given, and start it"
    )]
    pub(crate) install: bool,
    #[arg(
        long,
        help = "Take the service away again; containers, images and volumes stay"
    )]
    pub(crate) uninstall: bool,
    #[arg(
        long,
        value_name = "string",
        help = "Directory of the unit files for --install and --uninstall (default \"/etc/systemd/system\")"
    )]
    pub(crate) units: Option<String>,
    #[arg(long, hide = true)]
    pub(crate) notify: bool,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

/// Where a daemon listens beside its socket, and with whom it speaks there.
#[derive(Args, Debug, Default)]
pub(crate) struct Listening {
    #[arg(
        short = 'H',
        long = "host",
        alias = "listen",
        value_name = "list",
        help = "Listen there as well: tcp://ADDRESS:PORT or unix:///PATH. Beyond this machine tcp:// needs --tlsverify: who reaches it is root"
    )]
    pub(crate) hosts: Vec<String>,
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = crate::values::parse_bool, help = "Use TLS for tcp://; implied by --tlsverify")]
    pub(crate) tls: Option<bool>,
    #[arg(
        long,
        value_name = "string",
        help = "Take clients with a certificate of this CA only (default \"~/.docker/ca.pem\")"
    )]
    pub(crate) tlscacert: Option<String>,
    #[arg(
        long,
        value_name = "string",
        help = "Path to TLS certificate file (default \"~/.docker/cert.pem\")"
    )]
    pub(crate) tlscert: Option<String>,
    #[arg(
        long,
        value_name = "string",
        help = "Path to TLS key file (default \"~/.docker/key.pem\")"
    )]
    pub(crate) tlskey: Option<String>,
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = crate::values::parse_bool, help = "Use TLS and verify the remote; =false takes clients without a certificate")]
    pub(crate) tlsverify: Option<bool>,
}

impl Declaration for Daemon {
    const SHAPE: Shape = Shape {
        operands: Operands::None,
        usage: "[OPTIONS]",
        about: "Serve the engine",
        aliases: &[],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
