//! Container networks: bridges and shared interfaces, addresses, firewall, published ports.
//!
//! [`Network`] owns the default bridge and one bridge for every user-defined network, unless that shares an interface of the
//! host (macvlan, ipvlan). A container gets a *sandbox* (a
//! network namespace kept by a bind mount) and, for every network it is on, an *endpoint* in it (an interface, addresses,
//! routes, published ports). Everything is blocking and thread-safe; nothing here needs an async runtime.
//!
//! ```no_run
//! use havre_network::{DEFAULT_NETWORK, EndpointRequest, Network, NetworkConfig};
//!
//! let network = Network::open(NetworkConfig::new("/run/havre/network"))?;
//! network.recover(&[])?; // ids of the containers that still run
//! let sandbox = network.sandbox_create("f00d")?; // path to hand to the runtime
//! let endpoint = network.connect(&EndpointRequest::new(DEFAULT_NETWORK, "f00d"))?;
//! # let _ = (sandbox, endpoint);
//! network.disconnect("f00d");
//! network.sandbox_remove("f00d")?;
//! # Ok::<(), havre_network::NetworkError>(())
//! ```

mod bridge;
mod config;
mod endpoint;
mod error;
pub mod files;
mod firewall;
mod netlink;
mod network;
mod parent;
mod pool;
mod ports;
mod reaper;
mod records;

pub use config::{NetworkConfig, default_pools};
pub use endpoint::{
    BridgeDriver, BridgeInfo, DEFAULT_NETWORK, Driver, Endpoint, EndpointRequest, Ipv4Place, Ipv4Pool,
    Ipv6Place, Ipv6Pool, IpvlanFlag, IpvlanMode, MacAddress, MacvlanMode, ParentDriver, ParseMacError,
    ParseProtocolError, Place, Pool, PortBinding, PortRequest, Protocol, Sharing, UserNetwork,
};
pub use error::NetworkError;
pub use network::Network;
pub use pool::{overlap, private_pool};
pub use ports::has_ipv6;
