//! From a query to an answer, or to the decision that somebody else has to answer.

use std::net::{IpAddr, Ipv4Addr};

use hickory_proto::op::{Header, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, PTR};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};
use rand::seq::SliceRandom;

use crate::directory::Names;

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

/// Decides about a packet. `networks` are looked through in order.
pub(crate) fn decide<'a>(
    packet: &[u8],
    networks: impl Iterator<Item = &'a Names> + Clone,
    datagram: bool,
) -> Decision {
    let Some(asked) = read(packet) else {
        return Decision::Ignore;
    };
    if asked.op_code != OpCode::Query || asked.query.query_class() != DNSClass::IN {
        return Decision::Forward;
    }
    let records: Vec<RData> = if asked.query.query_type() == RecordType::PTR {
        let Some(name) = reverse(&asked.query, networks) else {
            return Decision::Forward;
        };
        vec![RData::PTR(PTR(name))]
    } else {
        let Some(mut addresses) = addresses(&asked.query, networks) else {
            return Decision::Forward;
        };
        // Of a name that is ours there is nothing but addresses, and those of IPv4.
        if asked.query.query_type() != RecordType::A {
            addresses.clear();
        }
        addresses.shuffle(&mut rand::rng());
        addresses.into_iter().map(|ip| RData::A(A(ip))).collect()
    };
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
fn addresses<'a>(query: &Query, networks: impl Iterator<Item = &'a Names> + Clone) -> Option<Vec<Ipv4Addr>> {
    let name = query.name().to_lowercase().to_ascii();
    let name = name.trim_end_matches('.');
    let on = |network: &Names, name: &str| -> Option<Vec<Ipv4Addr>> {
        let hosts = network.hosts.iter();
        let found: Vec<_> = hosts
            .filter(|host| host.names.iter().any(|known| known == name))
            .map(|host| host.address)
            .collect();
        (!found.is_empty()).then_some(found)
    };
    let plain = networks.clone().find_map(|network| on(network, name));
    plain.or_else(|| {
        networks.into_iter().find_map(|network| {
            let suffix = network.network.to_ascii_lowercase();
            let name = name.strip_suffix(&suffix)?.strip_suffix('.')?;
            on(network, name)
        })
    })
}

/// The name of an address: the container's, then its network's.
fn reverse<'a>(query: &Query, mut networks: impl Iterator<Item = &'a Names>) -> Option<Name> {
    let net = query.name().parse_arpa_name().ok()?;
    let IpAddr::V4(ip) = net.addr() else { return None };
    if net.prefix_len() != 32 {
        return None;
    }
    networks.find_map(|network| {
        let host = network.hosts.iter().find(|host| host.address == ip)?;
        let name = format!("{}.{}.", host.names.first()?, network.network);
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
            address: Ipv4Addr::new(172, 18, 0, last),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
        };
        vec![
            Names {
                network: "shop".to_owned(),
                hosts: vec![host(2, &["db", "store"]), host(3, &["web", "store"])],
            },
            Names {
                network: "back".to_owned(),
                hosts: vec![host(9, &["db", "deep.name"])],
            },
        ]
    }

    fn query(name: &str, kind: RecordType) -> Vec<u8> {
        let mut message = Message::query();
        message.metadata.id = 4711;
        message.metadata.recursion_desired = true;
        message.add_query(Query::query(Name::from_ascii(name).expect("name"), kind));
        message.to_vec().expect("bytes")
    }

    fn ask(name: &str, kind: RecordType) -> Option<Vec<String>> {
        match decide(&query(name, kind), shop().iter(), true) {
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
                    address: Ipv4Addr::new(10, 0, 0, last),
                    names: vec!["all".to_owned()],
                })
                .collect(),
        };
        let ask = |datagram| match decide(&query("all.", RecordType::A), [&many].into_iter(), datagram) {
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
            assert_eq!(decide(packet, shop().iter(), true), Decision::Ignore);
        }
        let failed = failure(&query("x.", RecordType::A)).expect("an answer");
        let failed = Message::from_vec(&failed).expect("readable");
        assert_eq!(failed.metadata.response_code, ResponseCode::ServFail);
    }

    proptest! {
        #[test]
        fn no_packet_does_harm(packet in proptest::collection::vec(any::<u8>(), 0..600), flip in any::<(u8, u8)>()) {
            let _ = decide(&packet, shop().iter(), true);
            let mut near = query("db.shop.", RecordType::A);
            let at = usize::from(flip.0) % near.len();
            near[at] ^= flip.1;
            let _ = decide(&near, shop().iter(), true);
            let _ = failure(&near);
        }
    }
}
