//! Flags of `run` and `create` about the machine below: devices, kernel limits, volumes and links of other containers.

use clap::Args;

use crate::values::Size;

#[derive(Args, Debug)]
pub(crate) struct HostFlags {
    #[arg(
        long,
        value_name = "map",
        help = "Add an annotation to the container (passed through to the OCI runtime) (default map[])"
    )]
    pub(crate) annotation: Vec<String>,
    #[arg(
        long,
        value_name = "list",
        help = "Block IO weight (relative device weight) (default [])"
    )]
    pub(crate) blkio_weight_device: Vec<String>,
    #[arg(
        long,
        value_name = "list",
        help = "Add a rule to the cgroup allowed devices list"
    )]
    pub(crate) device_cgroup_rule: Vec<String>,
    #[arg(
        long,
        value_name = "list",
        help = "Limit read rate (bytes per second) from a device (default [])"
    )]
    pub(crate) device_read_bps: Vec<String>,
    #[arg(
        long,
        value_name = "list",
        help = "Limit read rate (IO per second) from a device (default [])"
    )]
    pub(crate) device_read_iops: Vec<String>,
    #[arg(
        long,
        value_name = "list",
        help = "Limit write rate (bytes per second) to a device (default [])"
    )]
    pub(crate) device_write_bps: Vec<String>,
    #[arg(
        long,
        value_name = "list",
        help = "Limit write rate (IO per second) to a device (default [])"
    )]
    pub(crate) device_write_iops: Vec<String>,
    #[arg(
        long,
        value_name = "gpu-request",
        help = "GPU devices to add to the container ('all' to pass all GPUs)"
    )]
    pub(crate) gpus: Option<String>,
    #[arg(long, value_name = "string", help = "Container isolation technology")]
    pub(crate) isolation: Option<String>,
    #[arg(long, value_name = "bytes", help = "Kernel memory limit")]
    pub(crate) kernel_memory: Option<Size>,
    #[arg(long, value_name = "list", help = "Add link to another container")]
    pub(crate) link: Vec<String>,
    #[arg(
        long,
        value_name = "int",
        help = "Tune container memory swappiness (0 to 100) (default -1)"
    )]
    pub(crate) memory_swappiness: Option<i64>,
    #[arg(long, help = "Disable OOM Killer")]
    pub(crate) oom_kill_disable: bool,
    #[arg(long, value_name = "string", help = "Runtime to use for this container")]
    pub(crate) runtime: Option<String>,
    #[arg(long, value_name = "list", help = "Storage driver options for the container")]
    pub(crate) storage_opt: Vec<String>,
    #[arg(long, value_name = "string", help = "User namespace to use")]
    pub(crate) userns: Option<String>,
    #[arg(
        long,
        value_name = "string",
        help = "Optional volume driver for the container"
    )]
    pub(crate) volume_driver: Option<String>,
    #[arg(
        long,
        value_name = "list",
        help = "Mount volumes from the specified container(s)"
    )]
    pub(crate) volumes_from: Vec<String>,
}
