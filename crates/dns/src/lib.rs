//! Names of containers on user-defined networks.
//!
//! The engine writes what there is to know into a [`Directory`]; a container's [`Server`] answers from it. The server runs in
//! the container's shim and reads nothing but these files, so names resolve, appear and vanish whether a daemon runs or
//! not. Wire format: RFC 1035, with TCP as in RFC 7766.
//!
//! ```no_run
//! use havre_dns::{Directory, Host, Names, Resolver};
//!
//! let directory = Directory::open("/run/havre/network/dns".as_ref())?;
//! directory.set_names("f00d", &Names {
//!     network: "shop".to_owned(),
//!     hosts: vec![Host { address: "172.18.0.2".parse()?, ipv6: None, names: vec!["db".to_owned()] }],
//! })?;
//! directory.set_resolver("c0ffee", &Resolver { networks: vec!["f00d".to_owned()], ..Resolver::default() })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod answer;
mod directory;
mod forward;
mod server;

pub use directory::{Directory, Host, Link, Names, Resolver, Upstream};
pub use server::{ADDRESS, Server};
