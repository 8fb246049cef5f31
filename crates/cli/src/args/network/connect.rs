//! `docker network connect`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};

#[derive(Args, Debug)]
pub(crate) struct Connect {
    #[arg(
        long,
        value_name = "strings",
        help = "Add network-scoped alias for the container"
    )]
    pub(crate) alias: Vec<String>,
    #[arg(long, value_name = "strings", help = "driver options for the network")]
    pub(crate) driver_opt: Vec<String>,
    #[arg(
        long,
        value_name = "int",
        help = "Highest gw-priority provides the default gateway. Accepts positive and negative values."
    )]
    pub(crate) gw_priority: Option<i64>,
    #[arg(long, value_name = "string", help = "IPv4 address (e.g., \"172.30.100.104\")")]
    pub(crate) ip: Option<String>,
    #[arg(long, value_name = "string", help = "IPv6 address (e.g., \"2001:db8::33\")")]
    pub(crate) ip6: Option<String>,
    #[arg(long, value_name = "list", help = "Add link to another container")]
    pub(crate) link: Vec<String>,
    #[arg(
        long,
        value_name = "strings",
        help = "Add a link-local address for the container"
    )]
    pub(crate) link_local_ip: Vec<String>,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Connect {
    const SHAPE: Shape = Shape {
        operands: Operands::Exactly(2),
        usage: "[OPTIONS] NETWORK CONTAINER",
        about: "Connect a container to a network",
        aliases: &[],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
