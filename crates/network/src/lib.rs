//! Container networks: bridge driver, addresses, firewall, published ports.
//!
//! [`Network`] owns the default bridge and one bridge for every user-defined network. A container gets a *sandbox* (a
//! network namespace kept by a bind mount) and, for every network it is on, an *endpoint* in it (a veth pair, an address,
//! routes, published ports). Everything is blocking and thread-safe; nothing here needs an async runtime.
//!
//! ```no_run
//! use havre_network::{DEFAULT_NETWORK, EndpointRequest, Network, NetworkConfig};
//!
//! let network = Network::open(NetworkConfig::new("/run/havre/network"))?;
//! network.recover(&[])?; // ids of the containers that still run
//! let sandbox = network.sandbox_create("f00d")?; // path to hand to the runtime
//! let endpoint = network.connect(&EndpointRequest {
//!     network: DEFAULT_NETWORK.to_owned(),
//!     container: "f00d".to_owned(),
//!     ports: Vec::new(),
//!     ip: None,
//!     mac: None,
//!     priority: 0,
//! })?;
//! # let _ = (sandbox, endpoint);
//! network.disconnect("f00d")?;
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
mod pool;
mod ports;
mod reaper;
mod records;

pub use config::{NetworkConfig, default_pools};
pub use endpoint::{
    BridgeInfo, BridgeNetwork, DEFAULT_NETWORK, Endpoint, EndpointRequest, MacAddress, ParseMacError,
    ParseProtocolError, PortBinding, PortRequest, Protocol,
};
pub use error::NetworkError;
pub use network::Network;
