//! Requests to the kernel's routing netlink: links, addresses, routes. One connection talks to the namespace of the
//! thread that opened it, for as long as it lives.

mod shared;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkHeader,
    NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage, AddressScope};
use netlink_packet_route::link::{
    InfoBridgePort, InfoData, InfoKind, InfoPortData, InfoPortKind, InfoVeth, LinkAttribute, LinkFlags,
    LinkInfo, LinkMessage, State,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

pub(crate) use shared::{add_dummy, add_shared, add_vlan};

use crate::endpoint::MacAddress;

/// One request of a batch.
pub(crate) struct Request {
    message: RouteNetlinkMessage,
    flags: u16,
}

/// A link as the kernel lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) mtu: u32,
    pub(crate) is_bridge: bool,
    /// Index of the bridge (or other controller) it is a port of.
    pub(crate) controller: Option<u32>,
}

/// A route's destination and the link it leaves by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) destination: IpNet,
    pub(crate) link: Option<u32>,
}

pub(crate) struct Connection {
    socket: Socket,
    sequence: u32,
}

impl Connection {
    /// Opens a connection to the calling thread's namespace.
    pub(crate) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self { socket, sequence: 0 })
    }

    /// Sends all requests at once; they are carried out in order. The first refusal is the error, and later requests
    /// may have been carried out nevertheless.
    pub(crate) fn execute(&mut self, requests: Vec<Request>) -> io::Result<()> {
        let first = self.sequence + 1;
        let mut buffer = Vec::new();
        for request in requests {
            self.append(
                &mut buffer,
                request.message,
                request.flags | NLM_F_REQUEST | NLM_F_ACK,
            );
        }
        let last = self.sequence;
        self.socket.send(&buffer, 0)?;

        let mut refusal = None;
        let mut answered = first;
        while answered <= last {
            for message in self.receive()? {
                // Answers to an earlier batch that ended early are passed over.
                if message.header.sequence_number < first {
                    continue;
                }
                if let NetlinkPayload::Error(error) = message.payload {
                    answered += 1;
                    if error.code.is_some() {
                        refusal.get_or_insert_with(|| error.to_io());
                    }
                }
            }
        }
        refusal.map_or(Ok(()), Err)
    }

    /// Every link of the namespace.
    pub(crate) fn links(&mut self) -> io::Result<Vec<Link>> {
        let answers = self.dump(RouteNetlinkMessage::GetLink(LinkMessage::default()))?;
        Ok(answers
            .into_iter()
            .filter_map(|answer| match answer {
                RouteNetlinkMessage::NewLink(message) => link(&message),
                _ => None,
            })
            .collect())
    }

    /// Waits until the links are operational. They are some time after they (and for veth pairs, both ends) are up, when
    /// the kernel has got round to it, and drop what is sent before: a container's first datagram, often a DNS query.
    /// A kernel that takes longer than a second has other worries: not being ready then is no error.
    pub(crate) fn await_operation(&mut self, names: &[&str]) -> io::Result<()> {
        let patience = Instant::now() + Duration::from_secs(1);
        for name in names {
            while !self.is_operational(name)? && Instant::now() < patience {
                std::thread::sleep(Duration::from_micros(100));
            }
        }
        Ok(())
    }

    fn is_operational(&mut self, name: &str) -> io::Result<bool> {
        let mut query = LinkMessage::default();
        query.attributes = vec![LinkAttribute::IfName(name.to_owned())];
        let mut buffer = Vec::new();
        self.append(&mut buffer, RouteNetlinkMessage::GetLink(query), NLM_F_REQUEST);
        let asked = self.sequence;
        self.socket.send(&buffer, 0)?;
        loop {
            let mine = |message: &NetlinkMessage<_>| message.header.sequence_number == asked;
            let Some(answer) = self.receive()?.into_iter().find(mine) else {
                continue;
            };
            return match answer.payload {
                NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) => {
                    Ok(link.attributes.contains(&LinkAttribute::OperState(State::Up)))
                }
                NetlinkPayload::Error(error) => Err(error.to_io()),
                _ => Err(io::ErrorKind::InvalidData.into()),
            };
        }
    }

    /// Every address of the namespace with its prefix, and the link it belongs to.
    pub(crate) fn addresses(&mut self) -> io::Result<Vec<(u32, IpNet)>> {
        let query = AddressMessage::default();
        let answers = self.dump(RouteNetlinkMessage::GetAddress(query))?;
        Ok(answers
            .into_iter()
            .filter_map(|answer| {
                let RouteNetlinkMessage::NewAddress(message) = answer else {
                    return None;
                };
                // IPv6 addresses have no local side unless there is another one.
                let own = |attribute: &AddressAttribute| match attribute {
                    AddressAttribute::Local(ip) => Some(*ip),
                    AddressAttribute::Address(ip @ IpAddr::V6(_)) => Some(*ip),
                    _ => None,
                };
                let local = message.attributes.iter().find_map(own)?;
                Some((
                    message.header.index,
                    IpNet::new(local, message.header.prefix_len).ok()?,
                ))
            })
            .collect())
    }

    /// Every route of the namespace, in all tables, those of IPv4 first. A default route has a prefix of no length.
    pub(crate) fn routes(&mut self) -> io::Result<Vec<Route>> {
        let mut routes = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut query = RouteMessage::default();
            query.header.address_family = family;
            let answers = self.dump(RouteNetlinkMessage::GetRoute(query))?;
            routes.extend(answers.into_iter().filter_map(|answer| match answer {
                RouteNetlinkMessage::NewRoute(message) => route(&message),
                _ => None,
            }));
        }
        Ok(routes)
    }

    fn dump(&mut self, query: RouteNetlinkMessage) -> io::Result<Vec<RouteNetlinkMessage>> {
        let mut buffer = Vec::new();
        self.append(&mut buffer, query, NLM_F_REQUEST | NLM_F_DUMP);
        let asked = self.sequence;
        self.socket.send(&buffer, 0)?;
        let mut answers = Vec::new();
        loop {
            for message in self.receive()? {
                if message.header.sequence_number != asked {
                    continue;
                }
                match message.payload {
                    NetlinkPayload::Done(_) => return Ok(answers),
                    NetlinkPayload::Error(error) if error.code.is_some() => return Err(error.to_io()),
                    NetlinkPayload::InnerMessage(answer) => answers.push(answer),
                    _ => {}
                }
            }
        }
    }

    fn append(&mut self, buffer: &mut Vec<u8>, message: RouteNetlinkMessage, flags: u16) {
        self.sequence += 1;
        let mut header = NetlinkHeader::default();
        header.flags = flags;
        header.sequence_number = self.sequence;
        let mut packet = NetlinkMessage::new(header, NetlinkPayload::from(message));
        packet.finalize();
        let start = buffer.len();
        buffer.resize(start + packet.buffer_len().next_multiple_of(4), 0);
        packet.serialize(&mut buffer[start..start + packet.buffer_len()]);
    }

    fn receive(&self) -> io::Result<Vec<NetlinkMessage<RouteNetlinkMessage>>> {
        let (bytes, _) = self.socket.recv_from_full()?;
        let mut messages = Vec::new();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let length = match rest.first_chunk() {
                Some(length) => u32::from_ne_bytes(*length) as usize,
                None => return Err(io::ErrorKind::InvalidData.into()),
            };
            if length < 16 || length > rest.len() {
                return Err(io::ErrorKind::InvalidData.into());
            }
            // One message that the library cannot read (a new attribute's odd shape) must not hide the others.
            match NetlinkMessage::deserialize(&rest[..length]) {
                Ok(message) => messages.push(message),
                Err(error) => tracing::debug!(%error, "unreadable netlink message passed over"),
            }
            rest = &rest[length.next_multiple_of(4).min(rest.len())..];
        }
        Ok(messages)
    }
}

fn link(message: &LinkMessage) -> Option<Link> {
    let mut found = Link {
        index: message.header.index,
        name: String::new(),
        mtu: 0,
        is_bridge: false,
        controller: None,
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => found.name.clone_from(name),
            LinkAttribute::Mtu(mtu) => found.mtu = *mtu,
            LinkAttribute::Controller(index) => found.controller = Some(*index),
            LinkAttribute::LinkInfo(info) => {
                found.is_bridge |= info
                    .iter()
                    .any(|item| matches!(item, LinkInfo::Kind(InfoKind::Bridge)));
            }
            _ => {}
        }
    }
    (!found.name.is_empty()).then_some(found)
}

fn route(message: &RouteMessage) -> Option<Route> {
    let mut address: IpAddr = match message.header.address_family {
        AddressFamily::Inet6 => Ipv6Addr::UNSPECIFIED.into(),
        _ => Ipv4Addr::UNSPECIFIED.into(),
    };
    let mut link = None;
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(ip)) => address = (*ip).into(),
            RouteAttribute::Destination(RouteAddress::Inet6(ip)) => address = (*ip).into(),
            RouteAttribute::Oif(index) => link = Some(*index),
            RouteAttribute::MultiPath(hops) => link = hops.first().map(|hop| hop.interface_index),
            _ => {}
        }
    }
    let destination = IpNet::new(address, message.header.destination_prefix_length).ok()?;
    Some(Route { destination, link })
}

fn up(message: &mut LinkMessage) {
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
}

/// Index of a link of the calling thread's namespace.
pub(crate) fn link_index(name: &str) -> io::Result<Option<u32>> {
    let socket = rustix::net::socket(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::DGRAM,
        None,
    )?;
    match rustix::net::netdevice::name_to_index(&socket, name) {
        Ok(index) => Ok(Some(index)),
        Err(rustix::io::Errno::NODEV) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A bridge, up, with a fixed hardware address: left alone it would take its ports' and change with them.
pub(crate) fn add_bridge(name: &str, mtu: u32, mac: MacAddress) -> Request {
    let mut message = LinkMessage::default();
    up(&mut message);
    message.attributes = vec![
        LinkAttribute::IfName(name.to_owned()),
        LinkAttribute::Mtu(mtu),
        LinkAttribute::Address(mac.0.to_vec()),
        LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]),
    ];
    Request {
        message: RouteNetlinkMessage::NewLink(message),
        flags: NLM_F_CREATE | NLM_F_EXCL,
    }
}

/// What makes a veth pair.
pub(crate) struct Veth<'a> {
    pub(crate) host_name: &'a str,
    pub(crate) bridge: u32,
    pub(crate) namespace: BorrowedFd<'a>,
    pub(crate) container_name: &'a str,
    pub(crate) mac: MacAddress,
    pub(crate) mtu: u32,
}

/// A veth pair: one end up and a port of the bridge, the other born in the namespace.
pub(crate) fn add_veth(veth: &Veth<'_>) -> Request {
    // Not up: the kernel joins the ends only after this one is configured, and an end alone cannot be up.
    let mut peer = LinkMessage::default();
    peer.attributes = vec![
        LinkAttribute::IfName(veth.container_name.to_owned()),
        LinkAttribute::NetNsFd(veth.namespace.as_raw_fd()),
        LinkAttribute::Address(veth.mac.0.to_vec()),
        LinkAttribute::Mtu(veth.mtu),
    ];
    let mut message = LinkMessage::default();
    up(&mut message);
    message.attributes = vec![
        LinkAttribute::IfName(veth.host_name.to_owned()),
        LinkAttribute::Controller(veth.bridge),
        LinkAttribute::Mtu(veth.mtu),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
        ]),
    ];
    Request {
        message: RouteNetlinkMessage::NewLink(message),
        flags: NLM_F_CREATE | NLM_F_EXCL,
    }
}

/// Makes a link a port of a bridge.
pub(crate) fn set_controller(name: &str, bridge: u32) -> Request {
    let mut message = LinkMessage::default();
    message.attributes = vec![
        LinkAttribute::IfName(name.to_owned()),
        LinkAttribute::Controller(bridge),
    ];
    Request {
        message: RouteNetlinkMessage::SetLink(message),
        flags: 0,
    }
}

/// Lets a bridge port send back what came from it: a container that calls itself by its published port.
pub(crate) fn set_hairpin(name: &str) -> Request {
    set_port(name, InfoBridgePort::HairpinMode(true))
}

/// Keeps a bridge port apart from the other isolated ones, or no more; the bridge itself reaches them all.
pub(crate) fn set_isolated(name: &str, isolated: bool) -> Request {
    set_port(name, InfoBridgePort::Isolated(isolated))
}

fn set_port(name: &str, setting: InfoBridgePort) -> Request {
    let mut message = LinkMessage::default();
    message.attributes = vec![
        LinkAttribute::IfName(name.to_owned()),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::PortKind(InfoPortKind::Bridge),
            LinkInfo::PortData(InfoPortData::BridgePort(vec![setting])),
        ]),
    ];
    Request {
        message: RouteNetlinkMessage::NewLink(message),
        flags: 0,
    }
}

pub(crate) fn delete_link(name: &str) -> Request {
    let mut message = LinkMessage::default();
    message.attributes = vec![LinkAttribute::IfName(name.to_owned())];
    Request {
        message: RouteNetlinkMessage::DelLink(message),
        flags: 0,
    }
}

/// The group of links that are to be deleted, of whatever engine: "HVRM".
const CONDEMNED: u32 = 0x4856_524d;

/// Puts a link among those that [`delete_condemned_links`] deletes.
pub(crate) fn condemn_link(name: &str) -> Request {
    let mut message = LinkMessage::default();
    message.attributes = vec![
        LinkAttribute::IfName(name.to_owned()),
        LinkAttribute::Group(CONDEMNED),
    ];
    Request {
        message: RouteNetlinkMessage::SetLink(message),
        flags: 0,
    }
}

/// Deletes all condemned links together, in the time of one. `ENODEV` when there is none.
pub(crate) fn delete_condemned_links() -> Request {
    let mut message = LinkMessage::default();
    message.attributes = vec![LinkAttribute::Group(CONDEMNED)];
    Request {
        message: RouteNetlinkMessage::DelLink(message),
        flags: 0,
    }
}

/// Turns a link on. Index 1 is always `lo`.
pub(crate) fn set_up(index: u32) -> Request {
    let mut message = LinkMessage::default();
    up(&mut message);
    message.header.index = index;
    Request {
        message: RouteNetlinkMessage::SetLink(message),
        flags: 0,
    }
}

/// An address with its subnet's prefix. Nobody is asked whether an IPv6 address is free: it is, and can be used at once.
pub(crate) fn add_address(link: u32, address: IpNet) -> Request {
    let mut message = AddressMessage::default();
    message.header.prefix_len = address.prefix_len();
    message.header.scope = AddressScope::Universe;
    message.header.index = link;
    message.attributes = vec![
        AddressAttribute::Local(address.addr()),
        AddressAttribute::Address(address.addr()),
    ];
    match address {
        IpNet::V4(address) => {
            message.header.family = AddressFamily::Inet;
            message
                .attributes
                .push(AddressAttribute::Broadcast(address.broadcast()));
        }
        IpNet::V6(_) => {
            message.header.family = AddressFamily::Inet6;
            message.header.flags = AddressHeaderFlags::Nodad;
        }
    }
    Request {
        message: RouteNetlinkMessage::NewAddress(message),
        flags: NLM_F_CREATE | NLM_F_EXCL,
    }
}

/// Where a default route leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hop {
    Gateway(IpAddr),
    /// Everybody is on the link: for IPv6 or not.
    Link {
        ipv6: bool,
    },
}

impl Hop {
    pub(crate) fn is_ipv6(self) -> bool {
        match self {
            Self::Gateway(gateway) => gateway.is_ipv6(),
            Self::Link { ipv6 } => ipv6,
        }
    }
}

/// The default route, in place of another one of its family.
pub(crate) fn set_default_route(link: u32, hop: Hop) -> Request {
    let mut message = RouteMessage::default();
    let ipv6 = hop.is_ipv6();
    message.header = RouteHeader {
        address_family: match ipv6 {
            true => AddressFamily::Inet6,
            false => AddressFamily::Inet,
        },
        table: RouteHeader::RT_TABLE_MAIN,
        protocol: RouteProtocol::Boot,
        scope: match hop {
            Hop::Link { ipv6: false } => RouteScope::Link,
            _ => RouteScope::Universe,
        },
        kind: RouteType::Unicast,
        ..RouteHeader::default()
    };
    message.attributes = vec![RouteAttribute::Oif(link)];
    if let Hop::Gateway(gateway) = hop {
        message.attributes.push(RouteAttribute::Gateway(gateway.into()));
    }
    Request {
        message: RouteNetlinkMessage::NewRoute(message),
        flags: NLM_F_CREATE | NLM_F_REPLACE,
    }
}
