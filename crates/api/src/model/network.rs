//! Networks.

use std::collections::BTreeMap;

use havre_engine::NetworkInfo;
use serde::Serialize;

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
    driver: &'static str,
    options: Option<()>,
    config: Vec<Subnet>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Subnet {
    subnet: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    gateway: String,
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
    ipv6_address: &'static str,
}

impl From<NetworkInfo> for NetworkView {
    fn from(network: NetworkInfo) -> Self {
        let endpoint = |(id, (name, view)): (String, (String, havre_engine::EndpointView))| {
            let address = match view.ip_address.as_str() {
                "" => String::new(),
                address => format!("{address}/{}", view.ip_prefix_len),
            };
            let endpoint = Endpoint {
                name,
                endpoint_id: view.endpoint_id,
                mac_address: view.mac_address,
                ipv4_address: address,
                ipv6_address: "",
            };
            (id, endpoint)
        };
        Self {
            name: network.name,
            id: network.id,
            created: network.created.to_string(),
            scope: "local",
            driver: network.driver,
            enable_ipv4: network.enable_ipv4,
            enable_ipv6: network.enable_ipv6,
            ipam: Ipam {
                driver: "default",
                options: None,
                config: network
                    .ipam
                    .into_iter()
                    .map(|(subnet, gateway)| Subnet { subnet, gateway })
                    .collect(),
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
