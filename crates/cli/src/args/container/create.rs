//! `docker container create`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};
use super::container_flags::ContainerFlags;

#[derive(Args, Debug)]
pub(crate) struct Create {
    #[arg(long, value_name = "string", help = "Assign a name to the container")]
    pub(crate) name: Option<String>,
    #[arg(
        long,
        value_name = "string",
        help = "Set platform if server is multi-platform capable"
    )]
    pub(crate) platform: Option<String>,
    #[arg(
        long,
        value_name = "string",
        help = "Pull image before creating (\"always\", \"|missing\", \"never\") (default \"missing\")"
    )]
    pub(crate) pull: Option<String>,
    #[arg(short = 'q', long, help = "Suppress the pull output")]
    pub(crate) quiet: bool,
    #[arg(
        long,
        help = "Automatically remove the container and its associated anonymous volumes when it exits"
    )]
    pub(crate) rm: bool,
    #[command(flatten)]
    pub(crate) container: ContainerFlags,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Create {
    const SHAPE: Shape = Shape {
        operands: Operands::AtLeast(1),
        usage: "[OPTIONS] IMAGE [COMMAND] [ARG...]",
        about: "Create a new container",
        aliases: &["container create", "create"],
        interspersed: false,
        refused: &[
            "annotation",
            "blkio-weight",
            "blkio-weight-device",
            "cpu-count",
            "cpu-percent",
            "cpu-rt-period",
            "cpu-rt-runtime",
            "device-cgroup-rule",
            "device-read-bps",
            "device-read-iops",
            "device-write-bps",
            "device-write-iops",
            "disable-content-trust",
            "gpus",
            "health-cmd",
            "health-interval",
            "health-retries",
            "health-start-interval",
            "health-start-period",
            "health-timeout",
            "io-maxbandwidth",
            "io-maxiops",
            "ip",
            "ip6",
            "isolation",
            "kernel-memory",
            "link",
            "link-local-ip",
            "mac-address",
            "memory-swappiness",
            "network-alias",
            "no-healthcheck",
            "oom-kill-disable",
            "runtime",
            "storage-opt",
            "use-api-socket",
            "userns",
            "volume-driver",
            "volumes-from",
        ],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
