//! What `run` and `create` have in common.

use clap::Args;

use super::host_flags::HostFlags;
use crate::args::limits::LimitFlags;
use crate::args::trust::TrustFlags;
use crate::values::{Size, Span};

#[derive(Args, Debug)]
pub(crate) struct ContainerFlags {
    #[arg(long, value_name = "list", help = "Add a custom host-to-IP mapping (host:ip)")]
    pub(crate) add_host: Vec<String>,
    #[arg(
        short = 'a',
        long,
        value_name = "list",
        help = "Attach to STDIN, STDOUT or STDERR"
    )]
    pub(crate) attach: Vec<String>,
    #[arg(long, value_name = "list", help = "Add Linux capabilities")]
    pub(crate) cap_add: Vec<String>,
    #[arg(long, value_name = "list", help = "Drop Linux capabilities")]
    pub(crate) cap_drop: Vec<String>,
    #[arg(
        long,
        value_name = "string",
        help = "Optional parent cgroup for the container"
    )]
    pub(crate) cgroup_parent: Option<String>,
    #[arg(
        long,
        value_name = "string",
        help = "Cgroup namespace to use (host|private)\n'host':    Run the container in the Docker host's cgroup namespace\n'private': Run the container in its own private cgroup namespace\n'':        Use the cgroup namespace as configured by the\ndefault-cgroupns-mode option on the daemon (default)"
    )]
    pub(crate) cgroupns: Option<String>,
    #[arg(long, value_name = "string", help = "Write the container ID to the file")]
    pub(crate) cidfile: Option<String>,
    #[arg(long, value_name = "list", help = "Add a host device to the container")]
    pub(crate) device: Vec<String>,
    #[arg(long, value_name = "list", help = "Set custom DNS servers")]
    pub(crate) dns: Vec<String>,
    #[arg(long, value_name = "list", help = "Set DNS options")]
    pub(crate) dns_option: Vec<String>,
    #[arg(long, value_name = "list", help = "Set custom DNS search domains")]
    pub(crate) dns_search: Vec<String>,
    #[arg(long, value_name = "string", help = "Container NIS domain name")]
    pub(crate) domainname: Option<String>,
    #[arg(
        long,
        value_name = "string",
        help = "Overwrite the default ENTRYPOINT of the image"
    )]
    pub(crate) entrypoint: Option<String>,
    #[arg(short = 'e', long, value_name = "list", help = "Set environment variables")]
    pub(crate) env: Vec<String>,
    #[arg(long, value_name = "list", help = "Read in a file of environment variables")]
    pub(crate) env_file: Vec<String>,
    #[arg(long, value_name = "list", help = "Expose a port or a range of ports")]
    pub(crate) expose: Vec<String>,
    #[arg(long, value_name = "list", help = "Add additional groups to join")]
    pub(crate) group_add: Vec<String>,
    #[arg(long, value_name = "string", help = "Command to run to check health")]
    pub(crate) health_cmd: Option<String>,
    #[arg(
        long,
        value_name = "duration",
        help = "Time between running the check (ms|s|m|h) (default 0s)"
    )]
    pub(crate) health_interval: Option<Span>,
    #[arg(
        long,
        value_name = "int",
        help = "Consecutive failures needed to report unhealthy"
    )]
    pub(crate) health_retries: Option<i64>,
    #[arg(
        long,
        value_name = "duration",
        help = "Time between running the check during the start period (ms|s|m|h) (default 0s)"
    )]
    pub(crate) health_start_interval: Option<Span>,
    #[arg(
        long,
        value_name = "duration",
        help = "Start period for the container to initialize before starting health-retries countdown (ms|s|m|h) (default 0s)"
    )]
    pub(crate) health_start_period: Option<Span>,
    #[arg(
        long,
        value_name = "duration",
        help = "Maximum time to allow one check to run (ms|s|m|h) (default 0s)"
    )]
    pub(crate) health_timeout: Option<Span>,
    #[arg(short = 'h', long, value_name = "string", help = "Container host name")]
    pub(crate) hostname: Option<String>,
    #[arg(
        long,
        help = "Run an init inside the container that forwards signals and reaps processes"
    )]
    pub(crate) init: bool,
    #[arg(short = 'i', long, help = "Keep STDIN open even if not attached")]
    pub(crate) interactive: bool,
    #[arg(long, value_name = "string", help = "IPC mode to use")]
    pub(crate) ipc: Option<String>,
    #[arg(short = 'l', long, value_name = "list", help = "Set meta data on a container")]
    pub(crate) label: Vec<String>,
    #[arg(long, value_name = "list", help = "Read in a line delimited file of labels")]
    pub(crate) label_file: Vec<String>,
    #[arg(long, value_name = "string", help = "Logging driver for the container")]
    pub(crate) log_driver: Option<String>,
    #[arg(long, value_name = "list", help = "Log driver options")]
    pub(crate) log_opt: Vec<String>,
    #[arg(
        long,
        value_name = "mount",
        help = "Attach a filesystem mount to the container"
    )]
    pub(crate) mount: Vec<String>,
    #[arg(long, value_name = "network", help = "Connect a container to a network")]
    pub(crate) network: Vec<String>,
    #[arg(long, help = "Disable any container-specified HEALTHCHECK")]
    pub(crate) no_healthcheck: bool,
    #[arg(
        long,
        value_name = "int",
        help = "Tune host's OOM preferences (-1000 to 1000)"
    )]
    pub(crate) oom_score_adj: Option<i64>,
    #[arg(long, value_name = "string", help = "PID namespace to use")]
    pub(crate) pid: Option<String>,
    #[arg(long, help = "Give extended privileges to this container")]
    pub(crate) privileged: bool,
    #[arg(
        short = 'p',
        long,
        value_name = "list",
        help = "Publish a container's port(s) to the host"
    )]
    pub(crate) publish: Vec<String>,
    #[arg(short = 'P', long, help = "Publish all exposed ports to random ports")]
    pub(crate) publish_all: bool,
    #[arg(long, help = "Mount the container's root filesystem as read only")]
    pub(crate) read_only: bool,
    #[arg(
        long,
        value_name = "string",
        help = "Restart policy to apply when a container exits (default \"no\")"
    )]
    pub(crate) restart: Option<String>,
    #[arg(long, value_name = "list", help = "Security Options")]
    pub(crate) security_opt: Vec<String>,
    #[arg(long, value_name = "bytes", help = "Size of /dev/shm")]
    pub(crate) shm_size: Option<Size>,
    #[arg(long, value_name = "string", help = "Signal to stop the container")]
    pub(crate) stop_signal: Option<String>,
    #[arg(long, value_name = "int", help = "Timeout (in seconds) to stop a container")]
    pub(crate) stop_timeout: Option<i64>,
    #[arg(long, value_name = "map", help = "Sysctl options (default map[])")]
    pub(crate) sysctl: Vec<String>,
    #[arg(long, value_name = "list", help = "Mount a tmpfs directory")]
    pub(crate) tmpfs: Vec<String>,
    #[arg(short = 't', long, help = "Allocate a pseudo-TTY")]
    pub(crate) tty: bool,
    #[arg(long, value_name = "ulimit", help = "Ulimit options (default [])")]
    pub(crate) ulimit: Vec<String>,
    #[arg(
        short = 'u',
        long,
        value_name = "string",
        help = "Username or UID (format: <name|uid>[:<group|gid>])"
    )]
    pub(crate) user: Option<String>,
    #[arg(long, value_name = "string", help = "UTS namespace to use")]
    pub(crate) uts: Option<String>,
    #[arg(short = 'v', long, value_name = "list", help = "Bind mount a volume")]
    pub(crate) volume: Vec<String>,
    #[arg(
        short = 'w',
        long,
        value_name = "string",
        help = "Working directory inside the container"
    )]
    pub(crate) workdir: Option<String>,
    #[arg(long, help = "Bind mount Docker API socket and required auth")]
    pub(crate) use_api_socket: bool,
    #[command(flatten)]
    pub(crate) limits: LimitFlags,
    #[command(flatten)]
    pub(crate) trust: TrustFlags,
    #[command(flatten)]
    pub(crate) below: HostFlags,
    #[command(flatten)]
    pub(crate) endpoint: EndpointFlags,
}

/// What is asked of the first network.
#[derive(Args, Debug)]
pub(crate) struct EndpointFlags {
    #[arg(long, value_name = "string", help = "IPv4 address (e.g., 172.30.100.104)")]
    pub(crate) ip: Option<String>,
    #[arg(long, value_name = "string", help = "IPv6 address (e.g., 2001:db8::33)")]
    pub(crate) ip6: Option<String>,
    #[arg(long, value_name = "list", help = "Container IPv4/IPv6 link-local addresses")]
    pub(crate) link_local_ip: Vec<String>,
    #[arg(
        long,
        value_name = "string",
        help = "Container MAC address (e.g., 92:d0:c6:0a:29:33)"
    )]
    pub(crate) mac_address: Option<String>,
    #[arg(
        long,
        value_name = "list",
        help = "Add network-scoped alias for the container"
    )]
    pub(crate) network_alias: Vec<String>,
}

/// Docker's flags of `create` and `run` that have no effect here and are refused by name.
pub(crate) const REFUSED: &[&str] = &["cpu-count", "cpu-percent", "io-maxbandwidth", "io-maxiops"];
