//! `docker network create`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};

#[derive(Args, Debug)]
pub(crate) struct Create {
    #[arg(long, help = "Enable manual container attachment")]
    pub(crate) attachable: bool,
    #[arg(
        long,
        value_name = "map",
        help = "Auxiliary IPv4 or IPv6 addresses used by Network driver (default map[])"
    )]
    pub(crate) aux_address: Vec<String>,
    #[arg(
        long,
        value_name = "string",
        help = "The network from which to copy the configuration"
    )]
    pub(crate) config_from: Option<String>,
    #[arg(long, help = "Create a configuration only network")]
    pub(crate) config_only: bool,
    #[arg(
        short = 'd',
        long,
        value_name = "string",
        help = "Driver to manage the Network (default \"bridge\")"
    )]
    pub(crate) driver: Option<String>,
    #[arg(
        long,
        value_name = "strings",
        help = "IPv4 or IPv6 Gateway for the master subnet"
    )]
    pub(crate) gateway: Vec<String>,
    #[arg(long, help = "Create swarm routing-mesh network")]
    pub(crate) ingress: bool,
    #[arg(long, help = "Restrict external access to the network")]
    pub(crate) internal: bool,
    #[arg(long, value_name = "strings", help = "Allocate container ip from a sub-range")]
    pub(crate) ip_range: Vec<String>,
    #[arg(
        long,
        value_name = "string",
        help = "IP Address Management Driver (default \"default\")"
    )]
    pub(crate) ipam_driver: Option<String>,
    #[arg(
        long,
        value_name = "map",
        help = "Set IPAM driver specific options (default map[])"
    )]
    pub(crate) ipam_opt: Vec<String>,
    #[arg(
        long,
        default_value_t = true,
        help = "Enable or disable IPv4 address assignment (default true)"
    )]
    pub(crate) ipv4: bool,
    #[arg(long, help = "Enable or disable IPv6 address assignment")]
    pub(crate) ipv6: bool,
    #[arg(long, value_name = "list", help = "Set metadata on a network")]
    pub(crate) label: Vec<String>,
    #[arg(
        short = 'o',
        long,
        value_name = "map",
        help = "Set driver specific options (default map[])"
    )]
    pub(crate) opt: Vec<String>,
    #[arg(long, value_name = "string", help = "Control the network's scope")]
    pub(crate) scope: Option<String>,
    #[arg(
        long,
        value_name = "strings",
        help = "Subnet in CIDR format that represents a network segment"
    )]
    pub(crate) subnet: Vec<String>,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Create {
    const SHAPE: Shape = Shape {
        operands: Operands::Exactly(1),
        usage: "[OPTIONS] NETWORK",
        about: "Create a network",
        aliases: &[],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
