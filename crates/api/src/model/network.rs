//! Networks.

use std::collections::BTreeMap;

use havre_engine::{CreateNetwork, IpamPool, NetworkInfo};
use serde::{Deserialize, Serialize};

use super::create::EndpointBody;

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct NetworkView {
    name: String,
    id: String,
    created: String,
    scope: &'static str,
    driver: String,
    #[serde(rename = "EnableIPv4")]
    enable_ipv4: bool,
    #[serde(rename = "EnableIPv6")]
    enable_ipv6: bool,
    #[serde(rename = "IPAM")]
    ipam: Ipam,
    internal: bool,
    attachable: bool,
    ingress: bool,
    config_from: ConfigFrom,
    config_only: bool,
    containers: BTreeMap<String, Endpoint>,
    options: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Ipam {
    driver: String,
    options: Option<BTreeMap<String, String>>,
    config: Vec<Subnet>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Subnet {
    subnet: String,
    #[serde(rename = "IPRange", skip_serializing_if = "String::is_empty")]
    range: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    gateway: String,
    #[serde(rename = "AuxiliaryAddresses", skip_serializing_if = "BTreeMap::is_empty")]
    auxiliary: BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ConfigFrom {
    network: &'static str,
}

#[derive(Debug, Serialize)]
struct Endpoint {
    #[serde(rename = "Name")]
    name: String,
    #[serde(rename = "EndpointID")]
    endpoint_id: String,
    #[serde(rename = "MacAddress")]
    mac_address: String,
    #[serde(rename = "IPv4Address")]
    ipv4_address: String,
    #[serde(rename = "IPv6Address")]
    ipv6_address: String,
}

impl From<NetworkInfo> for NetworkView {
    fn from(network: NetworkInfo) -> Self {
        let endpoint = |(id, (name, view)): (String, (String, havre_engine::EndpointView))| {
            let with_prefix = |address: &str, prefix: u8| match address {
                "" => String::new(),
                address => format!("{address}/{prefix}"),
            };
            let endpoint = Endpoint {
                name,
                endpoint_id: view.endpoint_id,
                mac_address: view.mac_address,
                ipv4_address: with_prefix(&view.ip_address, view.ip_prefix_len),
                ipv6_address: with_prefix(&view.global_ipv6_address, view.global_ipv6_prefix_len),
            };
            (id, endpoint)
        };
        let subnet = |pool: IpamPool| Subnet {
            subnet: pool.subnet,
            range: pool.range,
            gateway: pool.gateway,
            auxiliary: pool.auxiliary,
        };
        let predefined = matches!(network.name.as_str(), "bridge" | "host" | "none");
        Self {
            name: network.name,
            id: network.id,
            created: network.created.to_string(),
            scope: "local",
            driver: network.driver,
            enable_ipv4: network.enable_ipv4,
            enable_ipv6: network.enable_ipv6,
            ipam: Ipam {
                driver: network.ipam.driver,
                // Docker: nothing for the networks it made itself, an empty map for those of users.
                options: (!predefined).then_some(network.ipam.options),
                config: network.ipam.pools.into_iter().map(subnet).collect(),
            },
            internal: network.internal,
            attachable: network.attachable,
            ingress: false,
            config_from: ConfigFrom { network: "" },
            config_only: false,
            containers: network.containers.into_iter().map(endpoint).collect(),
            options: network.options,
            labels: network.labels,
        }
    }
}

/// The body of `POST /networks/create`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct CreateBody {
    name: String,
    driver: String,
    scope: String,
    internal: bool,
    attachable: bool,
    ingress: bool,
    config_only: bool,
    config_from: ConfigFromBody,
    #[serde(rename = "EnableIPv4")]
    enable_ipv4: Option<bool>,
    #[serde(rename = "EnableIPv6")]
    enable_ipv6: Option<bool>,
    #[serde(rename = "IPAM")]
    ipam: IpamBody,
    options: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ConfigFromBody {
    network: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct IpamBody {
    driver: String,
    options: BTreeMap<String, String>,
    config: Vec<PoolBody>,
}

#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct PoolBody {
    subnet: String,
    #[serde(rename = "IPRange")]
    range: String,
    gateway: String,
    auxiliary_addresses: BTreeMap<String, String>,
}

impl From<CreateBody> for CreateNetwork {
    fn from(body: CreateBody) -> Self {
        let pool = |pool: PoolBody| IpamPool {
            subnet: pool.subnet,
            range: pool.range,
            gateway: pool.gateway,
            auxiliary: pool.auxiliary_addresses,
        };
        Self {
            name: body.name,
            driver: body.driver,
            scope: body.scope,
            internal: body.internal,
            attachable: body.attachable,
            ingress: body.ingress,
            config_only: body.config_only,
            config_from: body.config_from.network,
            enable_ipv4: body.enable_ipv4,
            enable_ipv6: body.enable_ipv6,
            ipam: havre_engine::Ipam {
                driver: body.ipam.driver,
                options: body.ipam.options,
                // Clients send an empty one when nothing was said.
                pools: body
                    .ipam
                    .config
                    .into_iter()
                    .filter(|pool| *pool != PoolBody::default())
                    .map(pool)
                    .collect(),
            },
            options: body.options,
            labels: body.labels,
        }
    }
}

/// The body of `POST /networks/{id}/connect`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct ConnectBody {
    pub(crate) container: String,
    pub(crate) endpoint_config: EndpointBody,
}

/// The body of `POST /networks/{id}/disconnect`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct DisconnectBody {
    pub(crate) container: String,
    pub(crate) force: bool,
}
