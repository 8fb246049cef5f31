//! Which of a container's networks gives it the default route and its published ports.

use havre_sys::netns;

use super::{Network, Table, elements, lock};
use crate::endpoint::{DEFAULT_NETWORK, Endpoint, EndpointRequest, Families, PortBinding};
use crate::error::NetworkError;
use crate::netlink::{self, Connection};
use crate::ports::Reservation;

impl Network {
    /// Whether an endpoint asked for will have the container's published ports.
    pub(super) fn publishes(&self, table: &Table, request: &EndpointRequest, families: Families) -> bool {
        let Some(rank) = rank(table, &request.network, request.priority) else {
            return false;
        };
        let wanted = (!families.ipv4, rank);
        table
            .of(&request.container)
            .filter_map(|endpoint| turn(table, endpoint))
            .all(|other| wanted < other)
    }

    pub(super) fn is_internal(&self, network: &str) -> bool {
        let table = lock(&self.table);
        table
            .networks
            .get(network)
            .is_some_and(|network| network.internal)
    }

    /// Sets the default routes of a container on several networks, and has its ports published on the network whose turn it is.
    pub(super) fn settle_gateway(&self, container: &str) -> Result<(), NetworkError> {
        let moved = {
            let mut table = lock(&self.table);
            if table.of(container).count() < 2 {
                return Ok(());
            }
            let Some(gateway) = gateway(&table, container).map(|endpoint| endpoint.network.clone()) else {
                return Ok(());
            };
            let Some(held) = table.held.get_mut(container) else {
                return Ok(());
            };
            let old = held
                .iter()
                .find(|(network, held)| **network != gateway && !held.endpoint.ports.is_empty())
                .map(|(network, _)| network.clone());
            old.and_then(|old| held.get_mut(&old)).map(|held| {
                let before = held.endpoint.clone();
                let ports = std::mem::take(&mut held.endpoint.ports);
                (before, ports, std::mem::take(&mut held.reservation))
            })
        };
        let Some((before, ports, reservation)) = moved else {
            return self.inherit(container, Vec::new(), Reservation::default());
        };
        {
            let _rules = lock(&self.rules);
            self.firewall.withdraw(&elements(&before))?;
        }
        self.records.save(&Endpoint {
            ports: Vec::new(),
            ..before
        })?;
        self.inherit(container, ports, reservation)
    }

    /// Gives the default routes, and ports that another endpoint had, to the endpoints whose turn it is.
    pub(super) fn inherit(
        &self,
        container: &str,
        ports: Vec<PortBinding>,
        reservation: Reservation,
    ) -> Result<(), NetworkError> {
        let (heir, ipv6_heir) = {
            let mut table = lock(&self.table);
            let Some(network) = gateway(&table, container).map(|endpoint| endpoint.network.clone()) else {
                return Ok(());
            };
            let ipv6_heir = table
                .of(container)
                .filter(|endpoint| endpoint.ipv6.is_some())
                .filter_map(|endpoint| Some((rank(&table, &endpoint.network, endpoint.priority)?, endpoint)))
                .min_by(|(one, _), (other, _)| one.cmp(other))
                .map(|(_, endpoint)| endpoint.clone());
            let held = table
                .held
                .get_mut(container)
                .and_then(|held| held.get_mut(&network));
            let Some(held) = held else { return Ok(()) };
            if !ports.is_empty() {
                held.endpoint.ports.clone_from(&ports);
                held.reservation = reservation;
                held.reservation.make_way(&held.endpoint.relayed());
            }
            (held.endpoint.clone(), ipv6_heir)
        };
        let failed = |source| NetworkError::Netlink {
            action: "change the default route of",
            object: format!("container {container}"),
            source,
        };
        let of = |endpoint: &Endpoint, ipv6: bool| {
            let hops = self
                .hops(endpoint)
                .into_iter()
                .filter(|hop| hop.is_ipv6() == ipv6);
            let interface = endpoint.interface.clone();
            hops.map(|hop| (interface.clone(), hop)).collect::<Vec<_>>()
        };
        let mut routes = of(&heir, false);
        routes.extend(ipv6_heir.iter().flat_map(|endpoint| of(endpoint, true)));
        netns::within(&self.records.namespace_path(container), || {
            let mut requests = Vec::new();
            for (interface, hop) in routes {
                let index = netlink::link_index(&interface)?.ok_or(std::io::ErrorKind::NotFound)?;
                requests.push(netlink::set_default_route(index, hop));
            }
            Connection::open()?.execute(requests)
        })
        .map_err(failed)?;
        if ports.is_empty() {
            return Ok(());
        }
        self.records.save(&heir)?;
        if heir.host_interface.is_empty() {
            return Ok(());
        }
        Connection::open()
            .and_then(|mut host| host.execute(vec![netlink::set_hairpin(&heir.host_interface)]))
            .map_err(failed)?;
        self.publish(&elements(&heir))
    }
}

/// The endpoint with the published ports. It gives the default route of IPv4, if any does.
fn gateway<'a>(table: &'a Table, container: &str) -> Option<&'a Endpoint> {
    let endpoints = table.of(container);
    endpoints
        .filter_map(|endpoint| Some((turn(table, endpoint)?, endpoint)))
        .min_by(|(one, _), (other, _)| one.cmp(other))
        .map(|(_, endpoint)| endpoint)
}

/// Who comes first has the published ports: what has no IPv4 comes last, because there less can be left to the firewall.
fn turn(table: &Table, endpoint: &Endpoint) -> Option<(bool, Rank)> {
    let rank = rank(table, &endpoint.network, endpoint.priority)?;
    Some((endpoint.ipv4.is_none(), rank))
}

/// The lowest comes first: by priority, then by the network's name.
type Rank = (std::cmp::Reverse<i64>, String);

/// `None`: it never gives a route.
fn rank(table: &Table, network: &str, priority: i64) -> Option<Rank> {
    let name = match table.networks.get(network) {
        Some(known) if known.internal => return None,
        Some(known) => known.name.clone(),
        None => DEFAULT_NETWORK.to_owned(),
    };
    Some((std::cmp::Reverse(priority), name))
}
