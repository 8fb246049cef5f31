//! The user-defined networks: documents of kind `network` in the store's database, and who is on them now.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use havre_dns::{Directory, Host, Link, Names, Resolver, Upstream};
use havre_network::{DEFAULT_NETWORK, Endpoint, Network, UserNetwork, overlap};
use havre_store::{Operation, Store, Taken};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::addresses::{self, Ipv4Given, Ipv6Given, Wanted};
use super::options::{self, Options};
use super::{CreateNetwork, NAMES, id_of};
use crate::{EngineError, ErrorKind, Event, EventType, Events, Result};

/// Kind of the documents.
pub(crate) const KIND: &str = "network";

/// A network as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub id: String,
    pub name: String,
    pub created: Timestamp,
    #[serde(default = "bridge")]
    pub driver: String,
    /// Name of the bridge's interface, or of the one that is shared.
    pub interface: String,
    /// In the document its parts stand beside the others.
    #[serde(flatten)]
    pub ipv4: Option<Ipv4Given>,
    #[serde(default)]
    pub ipv6: Option<Ipv6Given>,
    pub internal: bool,
    pub attachable: bool,
    pub options: BTreeMap<String, String>,
    #[serde(default)]
    pub ipam_options: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
}

fn bridge() -> String {
    "bridge".to_owned()
}

impl Record {
    fn definition(&self) -> Result<UserNetwork> {
        let options = self.options()?;
        Ok(UserNetwork {
            id: self.id.clone(),
            name: self.name.clone(),
            ipv4: self.ipv4.as_ref().map(addresses::Given::pool),
            ipv6: self.ipv6.as_ref().map(addresses::Given::pool),
            internal: !self.gets_out(),
            mtu: options.mtu,
            driver: options.driver(&self.interface),
            prefix: options.prefix,
        })
    }

    /// Of both families.
    fn subnets(&self) -> Vec<IpNet> {
        let ipv4 = self.ipv4.as_ref().map(|given| IpNet::V4(given.subnet));
        let ipv6 = self.ipv6.as_ref().map(|given| IpNet::V6(given.subnet));
        ipv4.into_iter().chain(ipv6).collect()
    }

    pub(crate) fn options(&self) -> Result<Options> {
        options::parse(&self.driver, &self.options)
    }

    /// Whether its containers have a way out.
    pub(crate) fn gets_out(&self) -> bool {
        !self.internal && !self.options().is_ok_and(|options| options.leads_nowhere())
    }
}

/// A network that was created, and what the user should know of it.
pub(crate) struct Created {
    pub record: Record,
    pub warnings: Vec<String>,
}

/// A network that was named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// `bridge`, `host` or `none`.
    Predefined(&'static str),
    User(Box<Record>),
}

impl Found {
    pub(crate) fn name(&self) -> &str {
        match self {
            Found::Predefined(name) => name,
            Found::User(record) => &record.name,
        }
    }

    pub(crate) fn id(&self) -> String {
        match self {
            Found::Predefined(name) => id_of(name),
            Found::User(record) => record.id.clone(),
        }
    }

    /// Under which the driver knows it.
    pub(crate) fn key(&self) -> &str {
        match self {
            Found::Predefined(_) => DEFAULT_NETWORK,
            Found::User(record) => &record.id,
        }
    }
}

/// The families in which a container gets out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Ways {
    pub ipv4: bool,
    pub ipv6: bool,
}

/// A container on a network.
#[derive(Debug, Clone)]
struct Member {
    ipv4: Option<Ipv4Addr>,
    ipv6: Option<Ipv6Addr>,
    name: String,
    dns_names: Vec<String>,
}

#[derive(Default)]
struct Table {
    records: BTreeMap<String, Record>,
    /// By network, then container.
    members: BTreeMap<String, BTreeMap<String, Member>>,
}

/// All user-defined networks.
pub(crate) struct Registry {
    store: Arc<Store>,
    network: Arc<Network>,
    events: Events,
    names: Directory,
    /// Held while a network is made or removed, and while a container joins: a network in use stays.
    table: Mutex<Table>,
}

impl Registry {
    /// Reads the documents and makes the networks known to the driver.
    pub(crate) fn open(store: Arc<Store>, network: Arc<Network>, events: Events) -> Result<Self> {
        let mut table = Table::default();
        for document in store.meta().documents(KIND)? {
            let record: Record = serde_json::from_str(&document.body).map_err(|error| {
                EngineError::system(format!("the record of network {} is damaged", document.id))
                    .with_source(error)
            })?;
            network.define(record.definition()?)?;
            table.records.insert(record.id.clone(), record);
        }
        let names = Directory::open(&network.state_dir().join("dns"))?;
        Ok(Registry {
            store,
            network,
            events,
            names,
            table: Mutex::new(table),
        })
    }

    /// The ways out of some networks together.
    pub(crate) fn ways<'a>(&self, networks: impl IntoIterator<Item = &'a Found>) -> Ways {
        let mut ways = Ways::default();
        for found in networks {
            let (ipv4, ipv6) = match found {
                Found::Predefined(_) => (true, self.network.default_ipv6_subnet().is_some()),
                Found::User(record) if record.gets_out() => (record.ipv4.is_some(), record.ipv6.is_some()),
                Found::User(_) => continue,
            };
            ways.ipv4 |= ipv4;
            ways.ipv6 |= ipv6;
        }
        ways
    }

    /// Where the names are, for those who answer for them.
    pub(crate) fn names(&self) -> &Directory {
        &self.names
    }

    pub(crate) fn all(&self) -> Vec<Record> {
        self.table().records.values().cloned().collect()
    }

    /// By full id, name, or unique id prefix, in this order.
    pub(crate) fn find(&self, wanted: &str) -> Result<Found> {
        let table = self.table();
        let known: Vec<Found> = NAMES
            .into_iter()
            .map(Found::Predefined)
            .chain(
                table
                    .records
                    .values()
                    .cloned()
                    .map(|record| Found::User(Box::new(record))),
            )
            .collect();
        let exact = known
            .iter()
            .find(|found| found.id() == wanted)
            .or_else(|| known.iter().find(|found| found.name() == wanted));
        if let Some(found) = exact {
            return Ok(found.clone());
        }
        let mut matching = known
            .iter()
            .filter(|found| !wanted.is_empty() && found.id().starts_with(wanted));
        match (matching.next(), matching.count()) {
            (Some(found), 0) => Ok(found.clone()),
            (Some(_), others) => Err(EngineError::invalid(format!(
                "network {wanted} is ambiguous ({} matches found based on ID prefix)",
                others + 1
            ))),
            (None, _) => Err(EngineError::not_found(format!("network {wanted} not found"))),
        }
    }

    pub(crate) fn create(&self, request: CreateNetwork) -> Result<Created> {
        let mut table = self.table();
        let taken = NAMES.contains(&request.name.as_str())
            || table.records.values().any(|record| record.name == request.name);
        if NAMES.contains(&request.name.as_str()) {
            return Err(EngineError::new(
                ErrorKind::Forbidden,
                format!(
                    "operation is not permitted on predefined {} network",
                    request.name
                ),
            ));
        }
        if taken {
            return Err(EngineError::conflict(format!(
                "network with name {} already exists",
                request.name
            )));
        }
        let Created { record, warnings } = self.decide(&table, request)?;
        let definition = record.definition()?;
        let body = serde_json::to_string(&record)
            .map_err(|error| EngineError::system("cannot write the network's record").with_source(error))?;
        self.network.define(definition)?;
        let made = self
            .network
            .ensure_network(&record.id, true)
            .map_err(EngineError::from)
            .and_then(|()| {
                // Stored when all is there: a bridge without a document is swept by the next start.
                Ok(self
                    .store
                    .meta()
                    .put_document(KIND, &record.id, Some(&record.name), &body)?)
            });
        if let Err(error) = made {
            if let Err(undo) = self.network.undefine(&record.id) {
                tracing::warn!(error = %undo, network = record.name, "a network that failed left something");
            }
            return Err(error);
        }
        table.records.insert(record.id.clone(), record.clone());
        drop(table);
        self.publish("create", &record);
        Ok(Created { record, warnings })
    }

    fn decide(&self, table: &Table, request: CreateNetwork) -> Result<Created> {
        let id = crate::containers::new_id();
        let driver = match request.driver.as_str() {
            "" | "default" => "bridge",
            driver => driver,
        };
        let options = options::parse(driver, &request.options)?;
        let plan = addresses::plan(driver, &request.ipam)?;
        let mut warnings: Vec<_> = options
            .ignored
            .iter()
            .map(|key| format!("option {key} means nothing to the driver {driver}: it has no effect"))
            .collect();
        let ipam = request.ipam.options.keys();
        warnings.extend(
            ipam.map(|key| format!("IPAM option {key} means nothing to the IPAM driver: it has no effect")),
        );

        let mut without = |subnet: IpNet, how: &str| {
            warnings.push(format!(
                "subnet {subnet} has no effect: the network was created {how}"
            ));
        };
        let mut ipv4 = None;
        if request.enable_ipv4 != Some(false) {
            let known = table.records.values().filter_map(|record| record.ipv4.as_ref());
            let taken: Vec<Ipv4Net> = known.map(|given| given.subnet).collect();
            let wanted = match &plan.ipv4 {
                Some(wanted) => wanted.clone(),
                None => Wanted::of(self.network.choose_subnet(&taken)?.into()),
            };
            let taken = taken
                .into_iter()
                .chain(self.network.default_subnet())
                .map(IpNet::V4);
            check_free(&wanted, taken)?;
            ipv4 = addresses::ipv4(&wanted, plan.ipv4.is_some())?;
        } else if let Some(wanted) = &plan.ipv4 {
            without(wanted.subnet, "with --ipv4=false");
        }
        let mut ipv6 = None;
        if request.enable_ipv6 == Some(true) {
            let known = table.records.values().filter_map(|record| record.ipv6.as_ref());
            let taken: Vec<Ipv6Net> = known.map(|given| given.subnet).collect();
            let wanted = match &plan.ipv6 {
                Some(wanted) => wanted.clone(),
                None => Wanted::of(self.network.choose_ipv6_subnet(&taken)?.into()),
            };
            let taken = taken
                .into_iter()
                .chain(self.network.default_ipv6_subnet())
                .map(IpNet::V6);
            check_free(&wanted, taken)?;
            ipv6 = addresses::ipv6(&wanted, plan.ipv6.is_some())?;
        } else if let Some(wanted) = &plan.ipv6 {
            without(wanted.subnet, "without --ipv6");
        }

        let interface = options.interface_of(&id);
        let same = |record: &&Record| record.interface == interface;
        if let Some(other) = table.records.values().find(same) {
            return Err(EngineError::new(
                ErrorKind::Forbidden,
                match driver {
                    "bridge" => format!(
                        "cannot create network {id} ({interface}): conflicts with network {} ({interface}): networks have same \
                         bridge name",
                        other.id
                    ),
                    _ => format!(
                        "network {} is already using parent interface {interface}",
                        other.name
                    ),
                },
            ));
        }
        let record = Record {
            interface,
            id,
            name: request.name,
            created: Timestamp::now(),
            driver: driver.to_owned(),
            ipv4,
            ipv6,
            internal: request.internal,
            attachable: request.attachable,
            options: request.options,
            ipam_options: request.ipam.options,
            labels: request.labels,
        };
        Ok(Created { record, warnings })
    }

    /// Removes a network nobody is on; with an operation, so that it can be brought back.
    pub(crate) fn remove(&self, id: &str, operation: Option<&Operation>) -> Result<()> {
        let mut table = self.table();
        let Some(record) = table.records.get(id).cloned() else {
            return Err(EngineError::not_found(format!("network {id} not found")));
        };
        check_idle(&table, &record)?;
        match operation {
            Some(operation) => {
                let taken = Taken {
                    kind: KIND,
                    id,
                    snapshot: None,
                    data: None,
                };
                self.store.removals().take(operation, &[taken])?;
            }
            None => {
                self.store.meta().delete_document(KIND, id)?;
            }
        }
        table.records.remove(id);
        table.members.remove(id);
        // A bridge that stays behind is swept by the next start.
        if let Err(error) = self.network.undefine(id) {
            tracing::warn!(%error, network = record.name, "not everything of a removed network is gone");
        }
        if let Err(error) = self.names.forget_names(id) {
            tracing::warn!(%error, network = record.name, "the names of a removed network stay");
        }
        drop(table);
        self.publish("destroy", &record);
        Ok(())
    }

    /// Whether the network could be removed now, in the words of a removal.
    pub(crate) fn check_removal(&self, record: &Record) -> Result<()> {
        check_idle(&self.table(), record)
    }

    /// Makes a removed network anew, from its document, which the caller brings back before he calls [`Registry::adopt`];
    /// or [`Registry::abandon`], if he cannot.
    pub(crate) fn prepare(&self, body: &str) -> Result<Record> {
        let record: Record = serde_json::from_str(body).map_err(|error| {
            EngineError::system("the record of a removed network is damaged").with_source(error)
        })?;
        self.network.define(record.definition()?)?;
        if let Err(error) = self.network.ensure_network(&record.id, true) {
            self.abandon(&record);
            return Err(error.into());
        }
        Ok(record)
    }

    pub(crate) fn abandon(&self, record: &Record) {
        if let Err(error) = self.network.undefine(&record.id) {
            tracing::warn!(%error, network = record.name, "a network that failed left something");
        }
    }

    pub(crate) fn adopt(&self, record: Record, removal: u64) {
        let event = Event::new(EventType::Network, "create", &record.id)
            .with("name", &record.name)
            .with("type", &record.driver)
            .with("undo", removal);
        self.table().records.insert(record.id.clone(), record);
        self.events.publish(event);
    }

    /// Why a removed network cannot come back now.
    pub(crate) fn obstacle(&self, body: &str) -> Option<String> {
        let record: Record = serde_json::from_str(body).ok()?;
        let table = self.table();
        let by = |reason: String| Some(format!("network {}: {reason}", record.name));
        for other in table.records.values() {
            if other.name == record.name {
                return by(format!(
                    "another network has its name: remove {} first",
                    &other.id[..12]
                ));
            }
            let mut shared = record.subnets().into_iter().filter(|own| {
                let mut others = other.subnets().into_iter();
                others.any(|other| overlap(other, *own))
            });
            if let Some(subnet) = shared.next() {
                return by(format!(
                    "its subnet {subnet} overlaps with that of network {}: remove that first",
                    other.name
                ));
            }
            if other.interface == record.interface {
                return by(format!(
                    "network {} has its interface {}",
                    other.name, record.interface
                ));
            }
        }
        None
    }

    /// Whether no running container is on it.
    pub(crate) fn is_idle(&self, id: &str) -> bool {
        self.table().members.get(id).is_none_or(BTreeMap::is_empty)
    }

    /// Reserves a place, so that the network stays while the container connects.
    pub(crate) fn enter(&self, network: &Found, container: &str, name: &str) -> Result<()> {
        let Found::User(record) = network else {
            return Ok(());
        };
        let mut table = self.table();
        if !table.records.contains_key(&record.id) {
            return Err(EngineError::not_found(format!(
                "network {} not found",
                record.name
            )));
        }
        let members = table.members.entry(record.id.clone()).or_default();
        members.entry(container.to_owned()).or_insert_with(|| Member {
            ipv4: None,
            ipv6: None,
            name: name.to_owned(),
            dns_names: Vec::new(),
        });
        Ok(())
    }

    /// Tells the others on the network the names of a container.
    pub(crate) fn announce(
        &self,
        network: &str,
        container: &str,
        name: &str,
        endpoint: &Endpoint,
        dns_names: &[String],
    ) -> Result<()> {
        let mut table = self.table();
        if !table.records.contains_key(network) {
            return Ok(());
        }
        let member = Member {
            ipv4: endpoint.ipv4.map(|place| place.ip),
            ipv6: endpoint.ipv6.map(|place| place.ip),
            name: name.to_owned(),
            dns_names: dns_names.iter().map(|name| name.to_ascii_lowercase()).collect(),
        };
        let members = table.members.entry(network.to_owned()).or_default();
        members.insert(container.to_owned(), member);
        self.write_names(&table, network)
    }

    /// The id of the container of this name that is on a network, though nobody may know it otherwise any more.
    pub(crate) fn member(&self, network: &str, name: &str) -> Option<String> {
        let table = self.table();
        let mut members = table.members.get(network)?.iter();
        let found = members.find(|(id, member)| member.name == name || *id == name);
        found.map(|(id, _)| id.clone())
    }

    /// The container is on this network no more.
    pub(crate) fn leave(&self, network: &str, container: &str) {
        let mut table = self.table();
        let left = table
            .members
            .get_mut(network)
            .and_then(|members| members.remove(container));
        if left.is_some()
            && let Err(error) = self.write_names(&table, network)
        {
            tracing::warn!(%error, network, "names of a network cannot be written");
        }
    }

    /// The container is on no network any more.
    pub(crate) fn leave_all(&self, container: &str) {
        let networks: Vec<_> = {
            let table = self.table();
            let on = table
                .members
                .iter()
                .filter(|(_, members)| members.contains_key(container));
            on.map(|(network, _)| network.clone()).collect()
        };
        for network in networks {
            self.leave(&network, container);
        }
        if let Err(error) = self.names.forget_resolver(container) {
            tracing::warn!(%error, container, "the resolver of a container stays");
        }
    }

    /// Whom a container's name server asks and where it looks. Servers of a family in which the container cannot get out are
    /// asked from the host; a container that cannot get out at all asks nobody.
    pub(crate) fn set_resolver(
        &self,
        container: &str,
        networks: Vec<String>,
        links: Vec<Link>,
        servers: &[(IpAddr, bool)],
        ways: Ways,
    ) -> Result<()> {
        let servers = servers
            .iter()
            .filter(|_| ways.ipv4 || ways.ipv6)
            .map(|(address, from_host)| Upstream {
                address: *address,
                from_host: *from_host
                    || match address {
                        IpAddr::V4(_) => !ways.ipv4,
                        IpAddr::V6(_) => !ways.ipv6,
                    },
            });
        let resolver = Resolver {
            networks,
            servers: servers.collect(),
            links,
        };
        Ok(self.names.set_resolver(container, &resolver)?)
    }

    fn write_names(&self, table: &Table, network: &str) -> Result<()> {
        let Some(record) = table.records.get(network) else {
            return Ok(());
        };
        let members = table.members.get(network).into_iter().flat_map(BTreeMap::values);
        let hosts = members
            .filter(|member| !member.dns_names.is_empty())
            .map(|member| Host {
                address: member.ipv4,
                ipv6: member.ipv6,
                names: member.dns_names.clone(),
            });
        let names = Names {
            network: record.name.clone(),
            hosts: hosts.collect(),
        };
        Ok(self.names.set_names(network, &names)?)
    }

    /// After a restart: writes what is known now, and forgets the resolvers of containers that are gone.
    pub(crate) fn settle(&self, live: impl Fn(&str) -> bool) -> Result<()> {
        let table = self.table();
        for network in table.records.keys() {
            self.write_names(&table, network)?;
        }
        for container in self.names.resolvers()? {
            if !live(&container) {
                self.names.forget_resolver(&container)?;
            }
        }
        Ok(())
    }

    fn publish(&self, action: &str, record: &Record) {
        self.events.publish(
            Event::new(EventType::Network, action, &record.id)
                .with("name", &record.name)
                .with("type", &record.driver),
        );
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Refuses what containers are on.
fn check_idle(table: &Table, record: &Record) -> Result<()> {
    let members = table.members.get(&record.id);
    let Some(members) = members.filter(|members| !members.is_empty()) else {
        return Ok(());
    };
    let listed: Vec<_> = members
        .iter()
        .map(|(id, member)| format!("name:\"{}\" id:\"{}\"", member.name, &id[..12.min(id.len())]))
        .collect();
    Err(EngineError::new(
        ErrorKind::Forbidden,
        format!(
            "error while removing network: network {} has active endpoints ({})",
            record.name,
            listed.join(", ")
        ),
    ))
}

/// Refuses a subnet that overlaps one that is taken.
fn check_free(wanted: &Wanted, mut taken: impl Iterator<Item = IpNet>) -> Result<()> {
    match taken.any(|other| overlap(other, wanted.subnet)) {
        true => Err(EngineError::new(
            ErrorKind::Forbidden,
            "invalid pool request: Pool overlaps with other one on this address space",
        )),
        false => Ok(()),
    }
}
