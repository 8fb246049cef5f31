//! The network service: the predefined networks `bridge`, `host` and `none`.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::{EndpointView, Filters, Result};

/// A network.
#[derive(Debug, Clone)]
pub struct NetworkInfo {
    pub name: String,
    /// 64 hex digits.
    pub id: String,
    pub created: Timestamp,
    /// `bridge`, `host`, `null`
    pub driver: String,
    pub enable_ipv4: bool,
    pub enable_ipv6: bool,
    pub internal: bool,
    pub attachable: bool,
    /// Subnet and gateway.
    pub ipam: Vec<(String, String)>,
    pub options: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
    /// By container id: name and endpoint. Filled by `inspect` only.
    pub containers: BTreeMap<String, (String, EndpointView)>,
}

/// The networks.
#[derive(Clone)]
pub struct Networks(Arc<()>);

#[allow(clippy::todo, unused_variables)]
impl Networks {
    /// dangling driver id label name scope type
    pub async fn list(&self, filters: Filters) -> Result<Vec<NetworkInfo>> {
        todo!()
    }
    /// By name, id or unique prefix.
    pub async fn inspect(&self, name: &str) -> Result<NetworkInfo> {
        todo!()
    }
    /// Predefined networks cannot be removed; others do not exist yet.
    pub async fn remove(&self, name: &str) -> Result<()> {
        todo!()
    }
}
