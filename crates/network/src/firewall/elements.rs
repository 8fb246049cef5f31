//! Elements of the table's maps, over nfnetlink: what `nft add element` does in four milliseconds takes tens of
//! microseconds here. Formats: linux/netfilter/nfnetlink.h and nf_tables.h.

use std::io;
use std::net::IpAddr;

use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{Socket, SocketAddr};

use crate::endpoint::{PortBinding, Protocol};

const NLMSG_ERROR: u16 = 2;
const NFNL_MSG_BATCH_BEGIN: u16 = 16;
const NFNL_MSG_BATCH_END: u16 = 17;
const NFNL_SUBSYS_NFTABLES: u16 = 10;
const NFT_MSG_GETTABLE: u16 = 1;
const NFT_MSG_GETCHAIN: u16 = 4;
const NFT_MSG_NEWSETELEM: u16 = 12;
const NFT_MSG_DELSETELEM: u16 = 14;
const NFPROTO_UNSPEC: u8 = 0;
const NFPROTO_INET: u8 = 1;
const NFPROTO_IPV4: u8 = 2;
const NFPROTO_IPV6: u8 = 10;

const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_CREATE: u16 = 0x400;
const NLA_F_NESTED: u16 = 0x8000;

const NFTA_TABLE_NAME: u16 = 1;
const NFTA_CHAIN_TABLE: u16 = 1;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_SET_ELEM_LIST_TABLE: u16 = 1;
const NFTA_SET_ELEM_LIST_SET: u16 = 2;
const NFTA_SET_ELEM_LIST_ELEMENTS: u16 = 3;
const NFTA_LIST_ELEM: u16 = 1;
const NFTA_SET_ELEM_KEY: u16 = 1;
const NFTA_SET_ELEM_DATA: u16 = 2;
const NFTA_DATA_VALUE: u16 = 1;

/// A published port: where it arrives and where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Element {
    pub(crate) binding: PortBinding,
    /// Of the same family as the host's.
    pub(crate) container: IpAddr,
}

impl Element {
    pub(crate) fn map_name(&self) -> &'static str {
        let ip = self.binding.host_ip;
        match (self.binding.protocol, ip.is_ipv6(), ip.is_unspecified()) {
            (Protocol::Tcp, false, true) => "tcp_any",
            (Protocol::Udp, false, true) => "udp_any",
            (Protocol::Tcp, false, false) => "tcp_one",
            (Protocol::Udp, false, false) => "udp_one",
            (Protocol::Tcp, true, true) => "tcp6_any",
            (Protocol::Udp, true, true) => "udp6_any",
            (Protocol::Tcp, true, false) => "tcp6_one",
            (Protocol::Udp, true, false) => "udp6_one",
        }
    }

    /// Whether both would stand at the same place of the same map.
    pub(crate) fn is_at(&self, other: &Self) -> bool {
        self.map_name() == other.map_name() && self.key() == other.key()
    }

    /// As it stands in nft's language.
    pub(crate) fn to_nft(self) -> String {
        let PortBinding {
            container_port,
            host_ip,
            host_port,
            ..
        } = self.binding;
        let target = format!("{} . {container_port}", self.container);
        if host_ip.is_unspecified() {
            format!("{host_port} : {target}")
        } else {
            format!("{host_ip} . {host_port} : {target}")
        }
    }

    fn key(&self) -> Vec<u8> {
        let PortBinding {
            host_ip, host_port, ..
        } = self.binding;
        if host_ip.is_unspecified() {
            host_port.to_be_bytes().to_vec()
        } else {
            address_and_port(host_ip, host_port)
        }
    }

    fn data(&self) -> Vec<u8> {
        address_and_port(self.container, self.binding.container_port)
    }
}

/// A concatenation: every part fills up to four bytes.
fn address_and_port(address: IpAddr, port: u16) -> Vec<u8> {
    let mut bytes = match address {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    bytes.extend(port.to_be_bytes());
    bytes.extend([0, 0]);
    bytes
}

/// Adds all elements or none.
pub(super) fn add(table: &str, elements: &[Element]) -> io::Result<()> {
    batch(table, elements, NFT_MSG_NEWSETELEM, NLM_F_CREATE)
}

/// Deletes all elements or none; `NotFound` when one is not there.
pub(super) fn delete(table: &str, elements: &[Element]) -> io::Result<()> {
    batch(table, elements, NFT_MSG_DELSETELEM, 0)
}

pub(super) fn table_exists(table: &str) -> io::Result<bool> {
    let mut message = Message::begin(
        NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETTABLE,
        NLM_F_REQUEST,
        1,
        NFPROTO_INET,
        0,
    );
    message.text(NFTA_TABLE_NAME, table);
    match exchange(&message.finish(), 1) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether iptables (in nftables) has a chain in its filter table, in IPv4 or IPv6.
pub(super) fn foreign_chain_exists(ipv6: bool, chain: &str) -> bool {
    let family = if ipv6 { NFPROTO_IPV6 } else { NFPROTO_IPV4 };
    let kind = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETCHAIN;
    let mut message = Message::begin(kind, NLM_F_REQUEST, 1, family, 0);
    message.text(NFTA_CHAIN_TABLE, "filter");
    message.text(NFTA_CHAIN_NAME, chain);
    exchange(&message.finish(), 1).is_ok()
}

fn batch(table: &str, elements: &[Element], kind: u16, flags: u16) -> io::Result<()> {
    if elements.is_empty() {
        return Ok(());
    }
    let mut bytes = Message::begin(
        NFNL_MSG_BATCH_BEGIN,
        NLM_F_REQUEST,
        0,
        NFPROTO_UNSPEC,
        NFNL_SUBSYS_NFTABLES,
    )
    .finish();
    let mut sequence = 0;
    for element in elements {
        sequence += 1;
        let kind = NFNL_SUBSYS_NFTABLES << 8 | kind;
        let mut message = Message::begin(kind, NLM_F_REQUEST | NLM_F_ACK | flags, sequence, NFPROTO_INET, 0);
        message.text(NFTA_SET_ELEM_LIST_TABLE, table);
        message.text(NFTA_SET_ELEM_LIST_SET, element.map_name());
        message.nested(NFTA_SET_ELEM_LIST_ELEMENTS, |list| {
            list.nested(NFTA_LIST_ELEM, |item| {
                item.nested(NFTA_SET_ELEM_KEY, |key| {
                    key.bytes(NFTA_DATA_VALUE, &element.key())
                });
                if flags & NLM_F_CREATE != 0 {
                    item.nested(NFTA_SET_ELEM_DATA, |data| {
                        data.bytes(NFTA_DATA_VALUE, &element.data())
                    });
                }
            });
        });
        bytes.extend(message.finish());
    }
    bytes.extend(
        Message::begin(
            NFNL_MSG_BATCH_END,
            NLM_F_REQUEST,
            sequence + 1,
            NFPROTO_UNSPEC,
            NFNL_SUBSYS_NFTABLES,
        )
        .finish(),
    );
    exchange(&bytes, sequence)
}

/// Sends a batch and waits for `answers` answers; the first refusal is the error.
fn exchange(bytes: &[u8], answers: u32) -> io::Result<()> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.send(bytes, 0)?;
    let mut answered = 0;
    while answered < answers {
        let (received, _) = socket.recv_from_full()?;
        let mut rest = &received[..];
        while let Some((header, body)) = rest.split_at_checked(16) {
            let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
            if length < 16 || length > rest.len() {
                return Err(io::ErrorKind::InvalidData.into());
            }
            let kind = u16::from_ne_bytes([header[4], header[5]]);
            if kind == NLMSG_ERROR {
                let code = body.first_chunk().map_or(0, |code| i32::from_ne_bytes(*code));
                // A refused batch is answered once for what was refused, not once for each message.
                if code != 0 {
                    return Err(io::Error::from_raw_os_error(-code));
                }
            }
            answered += 1;
            rest = &rest[length.next_multiple_of(4).min(rest.len())..];
        }
    }
    Ok(())
}

/// A netlink message in the making: header, nfgenmsg, attributes.
struct Message(Vec<u8>);

impl Message {
    fn begin(kind: u16, flags: u16, sequence: u32, family: u8, resource: u16) -> Self {
        let mut bytes = Vec::with_capacity(128);
        bytes.extend(0_u32.to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend(0_u32.to_ne_bytes());
        bytes.extend([family, 0]);
        bytes.extend(resource.to_be_bytes());
        Self(bytes)
    }

    fn bytes(&mut self, kind: u16, value: &[u8]) {
        let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
        self.0.extend(length.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    fn text(&mut self, kind: u16, value: &str) {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.bytes(kind, &bytes);
    }

    fn nested(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) {
        let mut inner = Self(Vec::with_capacity(64));
        fill(&mut inner);
        self.bytes(kind | NLA_F_NESTED, &inner.0);
    }

    fn finish(mut self) -> Vec<u8> {
        let length = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        self.0[..4].copy_from_slice(&length.to_ne_bytes());
        self.0
    }
}
