//! From a query to an answer, or to the decision that somebody else has to answer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_proto::op::{Header, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, PTR};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};
use rand::seq::SliceRandom;

use crate::directory::{Link, Names};

/// Seconds an answer may be kept; Docker's.
const TTL: u32 = 600;
/// Bytes of an answer by datagram (RFC 1035, 4.2.1); who wants more comes back over TCP.
const DATAGRAM: usize = 512;

/// What is to be done with a query.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Send this back.
    Answer(Vec<u8>),
    /// Ask somebody else.
    Forward,
    /// It was no query.
    Ignore,
}

/// A query as far as it matters: the header and its only question.
pub(crate) struct Asked {
    pub(crate) id: u16,
    op_code: OpCode,
    recursion_desired: bool,
    query: Query,
}

/// Reads a query; what follows the question is not looked at.
pub(crate) fn read(packet: &[u8]) -> Option<Asked> {
    let mut decoder = BinDecoder::new(packet);
    let header = Header::read(&mut decoder).ok()?;
    let asked = header.metadata.message_type == MessageType::Query && header.counts.queries == 1;
    let query = asked.then(|| Query::read(&mut decoder).ok()).flatten()?;
    Some(Asked {
        id: header.metadata.id,
        op_code: header.metadata.op_code,
        recursion_desired: header.metadata.recursion_desired,
        query,
    })
}

/// A network as a container sees it: its names, and what the container calls them besides.
#[derive(Clone, Copy)]
pub(crate) struct Seen<'a> {
    pub(crate) id: &'a str,
    pub(crate) names: &'a Names,
    /// Of all networks.
    pub(crate) links: &'a [Link],
}

/// The addresses of one or several hosts that a name stands for.
#[derive(Default)]
struct Found {
    ipv4: Vec<Ipv4Addr>,
    ipv6: Vec<Ipv6Addr>,
}

/// Decides about a packet. `networks` are looked through in order.
pub(crate) fn decide<'a>(
    packet: &[u8],
    networks: impl Iterator<Item = Seen<'a>> + Clone,
    datagram: bool,
) -> Decision {
    let Some(asked) = read(packet) else {
        return Decision::Ignore;
    };
    if asked.op_code != OpCode::Query || asked.query.query_class() != DNSClass::IN {
        return Decision::Forward;
    }
    let kind = asked.query.query_type();
    let mut records: Vec<RData> = if kind == RecordType::PTR {
        let Some(name) = reverse(&asked.query, networks) else {
            return Decision::Forward;
        };
        vec![RData::PTR(PTR(name))]
    } else {
        let Some(found) = addresses(&asked.query, networks) else {
            return Decision::Forward;
        };
        // Of a name that is ours there is nothing but addresses.
        match kind {
            RecordType::A => found.ipv4.into_iter().map(|ip| RData::A(A(ip))).collect(),
            RecordType::AAAA => found.ipv6.into_iter().map(|ip| RData::AAAA(AAAA(ip))).collect(),
            _ => Vec::new(),
        }
    };
    records.shuffle(&mut rand::rng());
    answer(&asked, ResponseCode::NoError, records, datagram).map_or(Decision::Ignore, Decision::Answer)
}

/// Nobody could be asked, or nobody answered.
pub(crate) fn failure(packet: &[u8]) -> Option<Vec<u8>> {
    answer(&read(packet)?, ResponseCode::ServFail, Vec::new(), true)
}

fn answer(asked: &Asked, code: ResponseCode, records: Vec<RData>, datagram: bool) -> Option<Vec<u8>> {
    let mut message = Message::response(asked.id, asked.op_code);
    message.metadata.recursion_desired = asked.recursion_desired;
    message.metadata.recursion_available = true;
    message.metadata.response_code = code;
    message.add_query(asked.query.clone());
    for record in records {
        message.add_answer(Record::from_rdata(asked.query.name().clone(), TTL, record));
    }
    let bytes = message.to_vec().ok()?;
    if datagram && bytes.len() > DATAGRAM {
        return message.truncate().to_vec().ok();
    }
    Some(bytes)
}

/// The addresses of a name on the first network that knows it; `None`: it is not ours.
fn addresses<'a>(query: &Query, networks: impl Iterator<Item = Seen<'a>> + Clone) -> Option<Found> {
    let name = query.name().to_lowercase().to_ascii();
    let name = name.trim_end_matches('.');
    let plain = networks.clone().find_map(|network| on(network, name));
    plain.or_else(|| {
        networks.into_iter().find_map(|network| {
            let suffix = network.names.network.to_ascii_lowercase();
            let name = name.strip_suffix(&suffix)?.strip_suffix('.')?;
            on(network, name)
        })
    })
}

fn on(network: Seen<'_>, name: &str) -> Option<Found> {
    let linked = network
        .links
        .iter()
        .find(|link| link.alias == name && link.network == network.id);
    let name = linked.map_or(name, |link| link.name.as_str());
    let hosts = network.names.hosts.iter();
    let mut hosts = hosts
        .filter(|host| host.names.iter().any(|known| known == name))
        .peekable();
    hosts.peek()?;
    let mut found = Found::default();
    for host in hosts {
        found.ipv4.extend(host.address);
        found.ipv6.extend(host.ipv6);
    }
    Some(found)
}

/// The name of an address: the container's, then its network's.
fn reverse<'a>(query: &Query, mut networks: impl Iterator<Item = Seen<'a>>) -> Option<Name> {
    let net = query.name().parse_arpa_name().ok()?;
    let ip = net.addr();
    if net.prefix_len() != if ip.is_ipv4() { 32 } else { 128 } {
        return None;
    }
    networks.find_map(|network| {
        let host = network.names.hosts.iter().find(|host| match ip {
            IpAddr::V4(ip) => host.address == Some(ip),
            IpAddr::V6(ip) => host.ipv6 == Some(ip),
        })?;
        let name = format!("{}.{}.", host.names.first()?, network.names.network);
        Name::from_ascii(name).ok()
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::directory::Host;

    fn shop() -> Vec<Names> {
        let host = |last: u8, names: &[&str]| Host {
            // One has none.
            address: (last != 6).then(|| Ipv4Addr::new(172, 18, 0, last)),
            ipv6: matches!(last, 6 | 9).then(|| Ipv6Addr::new(0xfd18, 0, 0, 0, 0, 0, 0, last.into())),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
        };
        vec![
            Names {
                network: "shop".to_owned(),
                hosts: vec![host(2, &["db", "store"]), host(3, &["web", "store"])],
            },
            Names {
                network: "back".to_owned(),
                hosts: vec![host(9, &["db", "deep.name"]), host(6, &["six"])],
            },
        ]
    }

    fn seen<'a>(names: &'a [Names], links: &'a [Link]) -> impl Iterator<Item = Seen<'a>> + Clone {
        names.iter().map(move |names| Seen {
            id: &names.network,
            names,
            links,
        })
    }

    fn query(name: &str, kind: RecordType) -> Vec<u8> {
        let mut message = Message::query();
        message.metadata.id = 4711;
        message.metadata.recursion_desired = true;
        message.add_query(Query::query(Name::from_ascii(name).expect("name"), kind));
        message.to_vec().expect("bytes")
    }

    fn ask(name: &str, kind: RecordType) -> Option<Vec<String>> {
        ask_linked(name, kind, &[])
    }

    fn ask_linked(name: &str, kind: RecordType, links: &[Link]) -> Option<Vec<String>> {
        match decide(&query(name, kind), seen(&shop(), links), true) {
            Decision::Answer(bytes) => {
                let message = Message::from_vec(&bytes).expect("an answer");
                assert_eq!(message.metadata.id, 4711);
                assert_eq!(message.metadata.response_code, ResponseCode::NoError);
                assert!(message.metadata.recursion_available);
                assert_eq!(message.queries.len(), 1);
                let mut found: Vec<_> = message
                    .answers
                    .iter()
                    .map(|record| record.data.to_string())
                    .collect();
                found.sort();
                Some(found)
            }
            Decision::Forward => None,
            Decision::Ignore => panic!("ignored"),
        }
    }

    #[test]
    fn names_have_the_addresses_of_their_network() {
        let a = |name| ask(name, RecordType::A);
        assert_eq!(a("db."), Some(vec!["172.18.0.2".to_owned()]));
        assert_eq!(a("DB."), Some(vec!["172.18.0.2".to_owned()]));
        assert_eq!(a("db.back."), Some(vec!["172.18.0.9".to_owned()]));
        assert_eq!(a("deep.name."), Some(vec!["172.18.0.9".to_owned()]));
        assert_eq!(a("deep.name.back."), Some(vec!["172.18.0.9".to_owned()]));
        assert_eq!(
            a("store."),
            Some(vec!["172.18.0.2".to_owned(), "172.18.0.3".to_owned()])
        );
        for unknown in ["example.com.", "shop.", "b.", "db.sho.", "xdb.", "."] {
            assert_eq!(a(unknown), None, "{unknown}");
        }
        assert_eq!(
            ask("db.", RecordType::AAAA),
            Some(Vec::new()),
            "known, but without such an address"
        );
        assert_eq!(ask("db.", RecordType::MX), Some(Vec::new()));
    }

    #[test]
    fn ipv6_addresses_are_told_where_there_are_some() {
        let ipv6 = |name| ask(name, RecordType::AAAA);
        assert_eq!(ipv6("deep.name."), Some(vec!["fd18::9".to_owned()]));
        assert_eq!(ipv6("db.back."), Some(vec!["fd18::9".to_owned()]));
        assert_eq!(ipv6("example.com."), None);
        assert_eq!(ipv6("six."), Some(vec!["fd18::6".to_owned()]));
        assert_eq!(
            ask("six.", RecordType::A),
            Some(Vec::new()),
            "known, but without such an address"
        );
        let reverse = format!("9.{}8.1.d.f.ip6.arpa.", "0.".repeat(27));
        assert_eq!(ask(&reverse, RecordType::PTR), Some(vec!["db.back.".to_owned()]));
        let other = format!("8.{}8.1.d.f.ip6.arpa.", "0.".repeat(27));
        assert_eq!(ask(&other, RecordType::PTR), None);
    }

    #[test]
    fn a_link_is_a_name_on_its_network_alone() {
        let links = [("shop", "money"), ("back", "vault")].map(|(network, alias)| Link {
            network: network.to_owned(),
            alias: alias.to_owned(),
            name: "db".to_owned(),
        });
        let a = |name| ask_linked(name, RecordType::A, &links);
        assert_eq!(a("money."), Some(vec!["172.18.0.2".to_owned()]));
        assert_eq!(a("Vault."), Some(vec!["172.18.0.9".to_owned()]));
        assert_eq!(a("money.shop."), Some(vec!["172.18.0.2".to_owned()]));
        assert_eq!(a("money.back."), None);
        assert_eq!(
            a("db."),
            Some(vec!["172.18.0.2".to_owned()]),
            "its own name stays"
        );
        assert_eq!(ask("money.", RecordType::A), None, "others do not know it");
    }

    #[test]
    fn addresses_have_names() {
        let ptr = |name| ask(name, RecordType::PTR);
        assert_eq!(
            ptr("3.0.18.172.in-addr.arpa."),
            Some(vec!["web.shop.".to_owned()])
        );
        assert_eq!(ptr("4.0.18.172.in-addr.arpa."), None);
        assert_eq!(ptr("18.172.in-addr.arpa."), None);
        assert_eq!(ptr("db."), None);
    }

    #[test]
    fn a_name_of_many_is_told_in_turns_and_over_tcp() {
        let many = Names {
            network: "n".to_owned(),
            hosts: (1..=100)
                .map(|last| Host {
                    address: Some(Ipv4Addr::new(10, 0, 0, last)),
                    ipv6: None,
                    names: vec!["all".to_owned()],
                })
                .collect(),
        };
        let ask = |datagram| match decide(
            &query("all.", RecordType::A),
            seen(std::slice::from_ref(&many), &[]),
            datagram,
        ) {
            Decision::Answer(bytes) => Message::from_vec(&bytes).expect("an answer"),
            other => panic!("{other:?}"),
        };
        assert!(ask(true).metadata.truncation);
        let (one, other) = (ask(false), ask(false));
        assert_eq!(one.answers.len(), 100);
        assert_ne!(one.answers, other.answers, "the same order twice");
    }

    #[test]
    fn what_is_no_query_is_ignored() {
        let mut response = Message::response(1, OpCode::Query);
        response.add_query(Query::query(
            Name::from_ascii("db.").expect("name"),
            RecordType::A,
        ));
        let response = response.to_vec().expect("bytes");
        for packet in [&[][..], &[0; 11], &[0; 12], &response] {
            assert_eq!(decide(packet, seen(&shop(), &[]), true), Decision::Ignore);
        }
        let failed = failure(&query("x.", RecordType::A)).expect("an answer");
        let failed = Message::from_vec(&failed).expect("readable");
        assert_eq!(failed.metadata.response_code, ResponseCode::ServFail);
    }

    proptest! {
        #[test]
        fn no_packet_does_harm(packet in proptest::collection::vec(any::<u8>(), 0..600), flip in any::<(u8, u8)>()) {
            let _ = decide(&packet, seen(&shop(), &[]), true);
            let mut near = query("db.shop.", RecordType::A);
            let at = usize::from(flip.0) % near.len();
            near[at] ^= flip.1;
            let _ = decide(&near, seen(&shop(), &[]), true);
            let _ = failure(&near);
        }
    }
}
