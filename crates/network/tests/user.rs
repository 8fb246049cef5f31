//! User-defined networks on a real kernel: IPv6, interfaces that are shared, what is left of them. Needs root, nft and ip.
//!
//! ```text
//! outside 203.0.113.1, 2001:db8::1 ── up0 203.0.113.2, 2001:db8::2 host ── bridge or up0 itself ── containers
//! ```

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use havre_network::{
    BridgeDriver, Driver, Endpoint, EndpointRequest, Ipv6Pool, IpvlanFlag, IpvlanMode, MacvlanMode, Network,
    NetworkConfig, NetworkError, ParentDriver, Pool, PortRequest, Protocol, Sharing, UserNetwork,
};
use havre_sys::netns;

const OUTSIDE: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
const HOST: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);
const SHORT: Duration = Duration::from_millis(300);

struct World {
    dir: PathBuf,
    outside: PathBuf,
}

/// Runs `test` in a host of its own and removes everything afterwards, whatever happens.
fn world(test: impl FnOnce(&World) + Send) {
    let dir = tempfile::tempdir().expect("directory");
    let world = World {
        dir: dir.path().to_path_buf(),
        outside: dir.path().join("outside"),
    };
    let outcome = netns::create(&dir.path().join("host"), || {
        // Addresses of links can be used at once.
        let at_once = || fs_err::write("/proc/sys/net/ipv6/conf/default/accept_dad", "0");
        at_once()?;
        ip("link set lo up");
        netns::create(&world.outside, at_once)?;
        ip("link add up0 mtu 1400 type veth peer name out0");
        // `ip` names a namespace by a process in it.
        let mut holder = netns::within(&world.outside, || Command::new("sleep").arg("60").spawn())?;
        ip(&format!("link set out0 netns {}", holder.id()));
        holder.kill()?;
        holder.wait()?;
        ip("address add 203.0.113.2/24 dev up0");
        ip("address add 2001:db8::2/64 dev up0 nodad");
        ip("link set up0 up");
        netns::within(&world.outside, || {
            ip("link set lo up");
            ip("address add 203.0.113.1/24 dev out0");
            ip("address add 2001:db8::1/64 dev out0 nodad");
            ip("link set out0 up");
            Ok(())
        })?;
        ip("route add default via 203.0.113.1");
        ip("route add default via 2001:db8::1");
        Ok(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            test(&world)
        })))
    });
    for entry in walk(dir.path()) {
        let _ = netns::remove(&entry);
    }
    match outcome {
        Ok(Ok(())) => {}
        Ok(Err(panic)) => std::panic::resume_unwind(panic),
        Err(error) => panic!("no world: {error}"),
    }
}

impl World {
    fn open(&self) -> Network {
        Network::open(NetworkConfig {
            bridge: "u0".to_owned(),
            table: "table_u".to_owned(),
            ipv6_pools: vec![havre_network::private_pool([1, 2, 3, 4, 5])],
            ..NetworkConfig::new(self.dir.join("state"))
        })
        .expect("open")
    }
}

fn walk(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs_err::read_dir(dir).expect("read").flatten() {
        let path = entry.path();
        match path.is_dir() {
            true => found.extend(walk(&path)),
            false => found.push(path),
        }
    }
    found
}

fn output_of(program: &str, arguments: &str) -> (bool, String) {
    let output = Command::new(program)
        .args(arguments.split(' '))
        .output()
        .expect(program);
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

fn ip(arguments: &str) -> String {
    let (success, text) = output_of("ip", arguments);
    assert!(success, "ip {arguments}: {text}");
    text
}

fn inside(network: &Network, container: &str, arguments: &str) -> String {
    netns::within(&network.sandbox_path(container), || Ok(ip(arguments))).expect("inside")
}

fn ipv4(endpoint: &Endpoint) -> Ipv4Addr {
    endpoint.ipv4.expect("IPv4").ip
}

fn bridge(id: &str) -> UserNetwork {
    UserNetwork {
        id: id.to_owned(),
        name: id.to_owned(),
        ipv4: Some(Pool {
            subnet: "10.7.0.0/24".parse().expect("subnet"),
            gateway: Ipv4Addr::new(10, 7, 0, 1),
            range: None,
            reserved: Vec::new(),
        }),
        ipv6: Some(ipv6("fd07::/64", "fd07::1")),
        internal: false,
        mtu: None,
        prefix: "eth".to_owned(),
        driver: Driver::Bridge(BridgeDriver {
            interface: format!("br-{id}"),
            neighbours: true,
            masquerade: true,
            unnumbered: false,
        }),
    }
}

fn ipv6(subnet: &str, gateway: &str) -> Ipv6Pool {
    Pool {
        subnet: subnet.parse().expect("subnet"),
        gateway: gateway.parse().expect("gateway"),
        range: None,
        reserved: Vec::new(),
    }
}

fn sharing(id: &str, parent: &str, sharing: Sharing) -> UserNetwork {
    UserNetwork {
        ipv4: Some(Pool {
            subnet: "203.0.113.0/24".parse().expect("subnet"),
            gateway: Ipv4Addr::new(203, 0, 113, 1),
            range: Some("203.0.113.128/25".parse().expect("range")),
            reserved: Vec::new(),
        }),
        ipv6: Some(Pool {
            range: Some("2001:db8::8000/113".parse().expect("range")),
            ..ipv6("2001:db8::/64", "2001:db8::1")
        }),
        driver: Driver::Parent(ParentDriver {
            parent: parent.to_owned(),
            dummy: parent.starts_with("dm-"),
            sharing,
        }),
        ..bridge(id)
    }
}

fn request(network: &str, container: &str, ports: &[PortRequest]) -> EndpointRequest {
    EndpointRequest {
        ports: ports.to_vec(),
        ..EndpointRequest::new(network, container)
    }
}

fn publish(host_ips: &[IpAddr], port: u16) -> PortRequest {
    PortRequest {
        container_port: 80,
        protocol: Protocol::Tcp,
        host_ips: host_ips.to_vec(),
        host_ports: Some(port..=port),
    }
}

/// A server in a namespace that answers every TCP connection with the address it came from.
fn serve(namespace: &Path) {
    let listener =
        netns::within(namespace, || TcpListener::bind((Ipv6Addr::UNSPECIFIED, 80))).expect("listen");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = stream;
            let from = stream
                .peer_addr()
                .map(|peer| peer.ip().to_string())
                .unwrap_or_default();
            let _ = stream.write_all(from.as_bytes());
        }
    });
}

fn ask(ip: Ipv6Addr, port: u16) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::new(ip.into(), port), SHORT)?;
    stream.set_read_timeout(Some(SHORT))?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn ask_from(namespace: &Path, ip: Ipv6Addr, port: u16) -> io::Result<String> {
    netns::within(namespace, || ask(ip, port))
}

#[test]
fn a_network_with_ipv6_has_addresses_routes_and_ports() {
    world(|world| {
        let network = world.open();
        network.define(bridge("shop")).expect("define");
        network.ensure_network("shop", true).expect("bridge");
        network.sandbox_create("web").expect("sandbox");
        let any = IpAddr::from(Ipv6Addr::UNSPECIFIED);
        let endpoint = network
            .connect(&EndpointRequest {
                link_local: vec![
                    "fe80::77".parse().expect("address"),
                    "169.254.7.7".parse().expect("address"),
                ],
                ..request(
                    "shop",
                    "web",
                    &[publish(&[any], 8080), publish(&[HOST.into()], 8081)],
                )
            })
            .expect("connect");
        let place = endpoint.ipv6.expect("IPv6");
        assert_eq!(place.ip.to_string(), "fd07::2");
        let addresses = inside(&network, "web", "-o address");
        for address in ["fd07::2/64", "10.7.0.2/24", "fe80::77/64", "169.254.7.7/16"] {
            assert!(addresses.contains(address), "{address} of {addresses}");
        }
        let mut given = addresses.lines().filter(|line| !line.contains("fe80::42:"));
        assert!(
            given.all(|line| !line.contains("tentative")),
            "all that were given can be used at once: {addresses}"
        );
        assert!(inside(&network, "web", "-6 route").contains("default via fd07::1 dev eth0"));

        serve(&network.sandbox_path("web"));
        serve(&world.outside);
        let out = ask_from(&network.sandbox_path("web"), OUTSIDE, 80).expect("the world");
        assert_eq!(out, HOST.to_string(), "with the host's address");
        assert_eq!(
            ask_from(&world.outside, HOST, 8080).expect("from elsewhere"),
            OUTSIDE.to_string()
        );
        assert_eq!(
            ask_from(&world.outside, HOST, 8081).expect("at one address"),
            OUTSIDE.to_string()
        );
        ask(HOST, 8080).expect("from the host itself");
        assert_eq!(
            ask_from(&network.sandbox_path("web"), HOST, 8080).expect("from itself"),
            "fd07::1"
        );
        netns::within(&world.outside, || Ok(ip("route add fd07::/64 via 2001:db8::2"))).expect("route");
        ask_from(&world.outside, place.ip, 80).expect_err("what is not published");

        // On ::1 somebody else has to listen, and its place is held until he does.
        let (relays, targets) = network.relays("web");
        assert_eq!(relays.len(), 1);
        assert_eq!(relays[0].host_port, 8080);
        assert_eq!(targets, [IpAddr::V6(place.ip), IpAddr::V4(ipv4(&endpoint))]);

        network.disconnect("web");
        network.flush();
        ask_from(&world.outside, HOST, 8080).expect_err("closed");
    });
}

#[test]
fn who_has_no_ipv6_needs_somebody_to_relay() {
    world(|world| {
        let network = world.open();
        network.sandbox_create("web").expect("sandbox");
        let both = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
        let wanted = request(havre_network::DEFAULT_NETWORK, "web", &[publish(&both, 8080)]);
        let endpoint = network.connect(&wanted).expect("connect");
        assert_eq!(endpoint.ports.len(), 2);
        let (relays, targets) = network.relays("web");
        assert_eq!(relays.len(), 1);
        assert_eq!(relays[0].host_ip, IpAddr::from(Ipv6Addr::UNSPECIFIED));
        assert_eq!(targets, [IpAddr::V4(ipv4(&endpoint))]);
        let serving =
            TcpListener::bind((Ipv6Addr::LOCALHOST, 8080)).expect("the place is free for the relay");
        network.relayed("web");
        drop(serving);
        assert_eq!(
            inside(&network, "web", "-6 -o address show dev eth0"),
            "",
            "no IPv6 where the network has none"
        );
        let refused = network.connect(&EndpointRequest {
            ip6: Some(HOST),
            ..request(havre_network::DEFAULT_NETWORK, "other", &[])
        });
        assert!(
            matches!(refused, Err(NetworkError::NoAddresses { .. })),
            "{refused:?}"
        );

        // The next daemon leaves it to who relays.
        let next = world.open();
        let kept = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 8080));
        next.recover(&["web".to_owned()]).expect("recover");
        assert_eq!(next.relays("web").0, relays);
        drop(kept);
    });
}

#[test]
fn subnets_of_ipv6_are_chosen_beside_those_of_others() {
    world(|world| {
        let network = world.open();
        let first = network.choose_ipv6_subnet(&[]).expect("first");
        assert_eq!(first.to_string(), "fd01:203:405::/64");
        ip("route add blackhole fd01:203:405:1::/64");
        let second = network.choose_ipv6_subnet(&[first]).expect("second");
        assert_eq!(second.to_string(), "fd01:203:405:2::/64");
    });
}

#[test]
fn a_router_that_was_listened_to_is_listened_to_still() {
    world(|world| {
        let setting =
            |path: &str| fs_err::read_to_string(format!("/proc/sys/net/ipv6/conf/{path}")).expect("setting");
        assert_eq!(setting("all/forwarding").trim(), "0");
        assert_eq!(setting("up0/accept_ra").trim(), "1");
        let network = world.open();
        network.define(bridge("shop")).expect("define");
        network.ensure_network("shop", true).expect("bridge");
        assert_eq!(setting("all/forwarding").trim(), "1");
        assert_eq!(setting("up0/accept_ra").trim(), "2");
        assert_eq!(
            setting("br-shop/accept_ra").trim(),
            "0",
            "a container is no router"
        );
    });
}

#[test]
fn the_way_out_moves_in_both_families() {
    world(|world| {
        let network = world.open();
        network.define(bridge("back")).expect("define");
        let other = UserNetwork {
            ipv4: Some(Pool {
                subnet: "10.8.0.0/24".parse().expect("subnet"),
                gateway: Ipv4Addr::new(10, 8, 0, 1),
                range: None,
                reserved: Vec::new(),
            }),
            ipv6: None,
            ..bridge("aisle")
        };
        network.define(other).expect("define");
        network.sandbox_create("c").expect("sandbox");
        network.connect(&request("back", "c", &[])).expect("connect");
        network.connect(&request("aisle", "c", &[])).expect("connect");
        assert!(
            inside(&network, "c", "route").contains("default via 10.8.0.1 dev eth1"),
            "the first name"
        );
        assert!(
            inside(&network, "c", "-6 route").contains("default via fd07::1 dev eth0"),
            "the only one"
        );
        network.leave("c", "back").expect("leave");
        assert!(!inside(&network, "c", "-6 route").contains("default"));
        network.connect(&request("back", "c", &[])).expect("connect");
        network.leave("c", "aisle").expect("leave");
        assert!(inside(&network, "c", "route").contains("default via 10.7.0.1"));
        assert!(inside(&network, "c", "-6 route").contains("default via fd07::1"));
    });
}

#[test]
fn a_bridge_without_an_address_carries_its_containers() {
    world(|world| {
        let network = world.open();
        let mut plain = bridge("plain");
        plain.driver = Driver::Bridge(BridgeDriver {
            interface: "br-plain".to_owned(),
            neighbours: true,
            masquerade: true,
            unnumbered: true,
        });
        plain.ipv6 = None;
        plain.prefix = "lan".to_owned();
        network.define(plain).expect("define");
        network.ensure_network("plain", true).expect("bridge");
        assert_eq!(ip("-o -4 address show dev br-plain"), "");
        network.sandbox_create("c").expect("sandbox");
        let named = EndpointRequest {
            settings: vec![("ipv4/conf/IFNAME/log_martians".to_owned(), "1".to_owned())],
            ..request("plain", "c", &[])
        };
        network.connect(&named).expect("connect");
        assert!(inside(&network, "c", "-o address").contains("lan0"));
        let martians = netns::within(&network.sandbox_path("c"), || {
            fs_err::read_to_string("/proc/sys/net/ipv4/conf/lan0/log_martians")
        });
        assert_eq!(martians.expect("setting").trim(), "1");
        // A second life finds the bridge as it is.
        world_again(&network, world);
    });
}

fn world_again(first: &Network, world: &World) {
    let second = world.open();
    let mut plain = bridge("plain");
    plain.driver = Driver::Bridge(BridgeDriver {
        interface: "br-plain".to_owned(),
        neighbours: true,
        masquerade: true,
        unnumbered: true,
    });
    plain.ipv6 = None;
    second.define(plain).expect("define");
    assert_eq!(
        second.recover(&["c".to_owned()]).expect("recover"),
        Vec::<String>::new()
    );
    assert_eq!(ip("-o -4 address show dev br-plain"), "");
    let _ = first;
}

#[test]
fn a_macvlan_stands_beside_the_host() {
    world(|world| {
        let network = world.open();
        network
            .define(sharing("lan", "up0", Sharing::Macvlan(MacvlanMode::Bridge)))
            .expect("define");
        network.ensure_network("lan", true).expect("parent");
        for container in ["a", "b"] {
            network.sandbox_create(container).expect("sandbox");
        }
        let any = IpAddr::from(Ipv4Addr::UNSPECIFIED);
        let a = network
            .connect(&request("lan", "a", &[publish(&[any], 8080)]))
            .expect("connect");
        let b = network.connect(&request("lan", "b", &[])).expect("connect");
        assert_eq!(ipv4(&a), Ipv4Addr::new(203, 0, 113, 128));
        assert_eq!(b.ipv6.expect("IPv6").ip.to_string(), "2001:db8::8001");
        assert!(a.ports.is_empty(), "it is reached without");
        assert_eq!(a.host_interface, "");
        let link = inside(&network, "a", "-d link show eth0");
        assert!(
            link.contains("macvlan mode bridge") && link.contains("mtu 1400"),
            "{link}"
        );
        assert!(link.contains(&a.mac.to_string()), "{link}");
        assert!(inside(&network, "a", "route").contains("default via 203.0.113.1"));
        serve(&network.sandbox_path("a"));
        let from = ask_from(&world.outside, a.ipv6.expect("IPv6").ip, 80).expect("from the outside");
        assert_eq!(from, OUTSIDE.to_string(), "nobody translates");
        ask_from(&network.sandbox_path("b"), a.ipv6.expect("IPv6").ip, 80).expect("from a neighbour");

        // A container that goes leaves its address, one that leaves the network its interface.
        network.leave("b", "lan").expect("leave");
        network.flush();
        assert!(!inside(&network, "b", "-o link").contains("eth0"));
        let again = network.connect(&request("lan", "b", &[])).expect("again");
        assert_eq!(ipv4(&again), ipv4(&b));
        let next = world.open();
        next.define(sharing("lan", "up0", Sharing::Macvlan(MacvlanMode::Bridge)))
            .expect("define");
        assert_eq!(
            next.recover(&["a".to_owned(), "b".to_owned()]).expect("recover"),
            Vec::<String>::new()
        );
        ask_from(&world.outside, a.ipv6.expect("IPv6").ip, 80).expect("undisturbed");
        next.sandbox_remove("a").expect("remove");
        next.sandbox_remove("b").expect("remove");
        next.undefine("lan").expect("undefine");
        assert!(ip("-o link").contains("up0"), "what was there stays");
    });
}

#[test]
fn modes_of_macvlan_are_the_kernels() {
    world(|world| {
        let network = world.open();
        for (mode, name) in [
            (MacvlanMode::Vepa, "vepa"),
            (MacvlanMode::Private, "private"),
            (MacvlanMode::Passthru, "passthru"),
        ] {
            network
                .define(sharing("lan", "up0", Sharing::Macvlan(mode)))
                .expect("define");
            network.sandbox_create("c").expect("sandbox");
            network.connect(&request("lan", "c", &[])).expect("connect");
            let link = inside(&network, "c", "-d link show eth0");
            assert!(link.contains(&format!("macvlan mode {name}")), "{link}");
            network.sandbox_remove("c").expect("remove");
            network.flush();
            network.undefine("lan").expect("undefine");
        }
    });
}

#[test]
fn an_internal_network_makes_an_interface_that_leads_nowhere() {
    world(|world| {
        let network = world.open();
        let cellar = UserNetwork {
            internal: true,
            ..sharing("cellar", "dm-cellar", Sharing::Macvlan(MacvlanMode::Bridge))
        };
        network.define(cellar.clone()).expect("define");
        network.ensure_network("cellar", true).expect("made");
        assert!(ip("-o link").contains("dm-cellar"));
        for container in ["a", "b"] {
            network.sandbox_create(container).expect("sandbox");
            network
                .connect(&request("cellar", container, &[]))
                .expect("connect");
        }
        assert!(!inside(&network, "a", "route").contains("default"));
        serve(&network.sandbox_path("a"));
        let there = "2001:db8::8000".parse().expect("address");
        ask_from(&network.sandbox_path("b"), there, 80).expect("neighbours");
        // A daemon that knows the network no more takes the interface away.
        for container in ["a", "b"] {
            network.sandbox_remove(container).expect("remove");
        }
        network.flush();
        world.open().recover(&[]).expect("recover");
        assert!(!ip("-o link").contains("dm-cellar"));

        let nowhere = sharing("nowhere", "nosuch0", Sharing::Macvlan(MacvlanMode::Bridge));
        network.define(nowhere).expect("define");
        let error = network.ensure_network("nowhere", true).expect_err("no parent");
        assert!(
            error.to_string().contains("no parent interface nosuch0"),
            "{error}"
        );
        let below = sharing("below", "nosuch0.7", Sharing::Macvlan(MacvlanMode::Bridge));
        network.define(below).expect("define");
        network
            .ensure_network("below", true)
            .expect_err("no parent of the VLAN");
    });
}

/// What this kernel was built without cannot be tried.
fn kernel_has(kind: &str) -> bool {
    let (made, _) = output_of("ip", &format!("link add try0 link up0 type {kind}"));
    if made {
        ip("link delete try0");
    }
    made
}

#[test]
fn ipvlans_share_the_hardware_address() {
    world(|world| {
        if !kernel_has("ipvlan mode l2") {
            return;
        }
        let network = world.open();
        let flag = IpvlanFlag::Bridge;
        for (mode, name) in [
            (IpvlanMode::L2, "l2"),
            (IpvlanMode::L3, "l3"),
            (IpvlanMode::L3s, "l3s"),
        ] {
            network
                .define(sharing("lan", "up0", Sharing::Ipvlan(mode, flag)))
                .expect("define");
            for container in ["a", "b"] {
                network.sandbox_create(container).expect("sandbox");
                network.connect(&request("lan", container, &[])).expect("connect");
            }
            let link = inside(&network, "a", "-d link show eth0");
            assert!(link.contains(&format!("ipvlan  mode {name} bridge")), "{link}");
            let route = inside(&network, "a", "route");
            match mode {
                IpvlanMode::L2 => assert!(route.contains("default via 203.0.113.1"), "{route}"),
                _ => assert!(route.contains("default dev eth0 scope link"), "{route}"),
            }
            serve(&network.sandbox_path("a"));
            let there = "2001:db8::8000".parse().expect("address");
            ask_from(&network.sandbox_path("b"), there, 80).expect("neighbours");
            for container in ["a", "b"] {
                network.sandbox_remove(container).expect("remove");
            }
            network.flush();
            network.undefine("lan").expect("undefine");
        }
    });
}

#[test]
fn a_vlan_is_made_and_goes_with_its_network() {
    world(|world| {
        if !kernel_has("vlan id 9") {
            return;
        }
        let network = world.open();
        network
            .define(sharing("ten", "up0.10", Sharing::Macvlan(MacvlanMode::Bridge)))
            .expect("define");
        network.ensure_network("ten", true).expect("made");
        assert!(ip("-d link show up0.10").contains("vlan protocol 802.1Q id 10"));
        network.undefine("ten").expect("undefine");
        assert!(!ip("-o link").contains("up0.10"));
    });
}

#[test]
fn exceptions_in_another_firewall_go_when_nobody_needs_them() {
    world(|world| {
        for program in ["iptables", "ip6tables"] {
            for rule in [
                "-P FORWARD DROP",
                "-N DOCKER-USER",
                "-A DOCKER-USER -j RETURN",
                "-I FORWARD -j DOCKER-USER",
            ] {
                assert!(output_of(program, rule).0, "{program} {rule}");
            }
        }
        let before =
            ["iptables-save", "ip6tables-save"].map(|program| rules(&output_of(program, "-t filter").1));
        let network = world.open();
        network.define(bridge("shop")).expect("define");
        network.sandbox_create("c").expect("sandbox");
        network
            .connect(&request(
                "shop",
                "c",
                &[publish(&[Ipv6Addr::UNSPECIFIED.into()], 8080)],
            ))
            .expect("connect");
        serve(&network.sandbox_path("c"));
        serve(&world.outside);
        ask_from(&world.outside, HOST, 8080).expect("in");
        ask_from(&network.sandbox_path("c"), OUTSIDE, 80).expect("out");
        network.rest().expect("rest");
        ask_from(&world.outside, HOST, 8080).expect("somebody is on it");
        network.sandbox_remove("c").expect("remove");
        network.rest().expect("rest");
        let after =
            ["iptables-save", "ip6tables-save"].map(|program| rules(&output_of(program, "-t filter").1));
        assert_eq!(after, before);
    });
}

/// Without times and counters.
fn rules(saved: &str) -> Vec<String> {
    let lines = saved.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.split(" [").next().unwrap_or_default().to_owned())
        .collect()
}

#[test]
fn neighbours_are_kept_apart_whoever_does_it() {
    world(|world| {
        let network = world.open();
        let mut apart = bridge("apart");
        apart.driver = Driver::Bridge(BridgeDriver {
            interface: "br-apart".to_owned(),
            neighbours: false,
            masquerade: true,
            unnumbered: false,
        });
        network.define(apart).expect("define");
        let filter = |value: &str| {
            let names = ["bridge-nf-call-iptables", "bridge-nf-call-ip6tables"];
            names
                .iter()
                .all(|name| fs_err::write(format!("/proc/sys/net/bridge/{name}"), value).is_ok())
        };
        let any = [Ipv6Addr::UNSPECIFIED.into()];
        for container in ["a", "b"] {
            network.sandbox_create(container).expect("sandbox");
            let ports: &[_] = if container == "a" {
                &[publish(&any, 8080)]
            } else {
                &[]
            };
            network
                .connect(&request("apart", container, ports))
                .expect("connect");
        }
        serve(&network.sandbox_path("a"));
        let (a, b) = ("fd07::2".parse().expect("address"), network.sandbox_path("b"));
        for value in ["1", "0", "1"] {
            // A kernel without it has only one way.
            if !filter(value) && value == "1" {
                continue;
            }
            // It is looked after every two seconds.
            let patience = std::time::Instant::now() + Duration::from_secs(10);
            while ask_from(&b, HOST, 8080).is_err() || ask_from(&b, a, 80).is_ok() {
                assert!(
                    std::time::Instant::now() < patience,
                    "by the ports: {}",
                    value == "0"
                );
                thread::sleep(Duration::from_millis(50));
            }
        }
    });
}

#[test]
fn a_datagram_is_published_in_ipv6() {
    world(|world| {
        let network = world.open();
        network.define(bridge("shop")).expect("define");
        network.sandbox_create("c").expect("sandbox");
        let port = PortRequest {
            protocol: Protocol::Udp,
            ..publish(&[Ipv6Addr::UNSPECIFIED.into()], 5353)
        };
        network.connect(&request("shop", "c", &[port])).expect("connect");
        let server = netns::within(&network.sandbox_path("c"), || {
            UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 80))
        });
        let server = server.expect("server");
        server
            .set_read_timeout(Some(Duration::from_secs(2)))
            .expect("patience");
        netns::within(&world.outside, || {
            UdpSocket::bind((OUTSIDE, 0))?.send_to(b"hello", (HOST, 5353))
        })
        .expect("send");
        let mut buffer = [0; 16];
        let (length, from) = server.recv_from(&mut buffer).expect("arrives");
        assert_eq!(&buffer[..length], b"hello");
        assert_eq!(from.ip(), IpAddr::V6(OUTSIDE));
    });
}
