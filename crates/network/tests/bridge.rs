//! The bridge driver on a real kernel. Needs root, nft and ip.
//!
//! Every test is a small internet of its own, in network namespaces that end with it:
//!
//! ```text
//! outside 203.0.113.1 ── up0 203.0.113.2 host (the engine's namespace) ── bridge ── containers
//! ```

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use havre_network::{
    Endpoint, EndpointRequest, Ipv4Place, Network, NetworkConfig, NetworkError, PortRequest, Protocol,
};
use havre_sys::netns;

const OUTSIDE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
const HOST: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);
const ANY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;
const LOCAL: Ipv4Addr = Ipv4Addr::LOCALHOST;
const SHORT: Duration = Duration::from_millis(300);

struct World {
    dir: PathBuf,
    outside: PathBuf,
}

impl World {
    fn open(&self, name: &str) -> Network {
        let config = NetworkConfig {
            bridge: format!("{name}0"),
            table: format!("table_{name}"),
            ..NetworkConfig::new(self.dir.join(name))
        };
        Network::open(config).expect("open")
    }
}

/// Runs `test` in a host of its own and removes everything afterwards, whatever happens.
fn world(test: impl FnOnce(&World) + Send) {
    let dir = tempfile::tempdir().expect("directory");
    let world = World {
        dir: dir.path().to_path_buf(),
        outside: dir.path().join("outside"),
    };
    let host = dir.path().join("host");
    let outcome = netns::create(&host, || {
        ip("link set lo up");
        netns::create(&world.outside, || Ok(()))?;
        ip("link add up0 mtu 1400 type veth peer name out0");
        // `ip` names a namespace by a process in it.
        let mut holder = netns::within(&world.outside, || Command::new("sleep").arg("60").spawn())?;
        ip(&format!("link set out0 netns {}", holder.id()));
        holder.kill()?;
        holder.wait()?;
        ip("address add 203.0.113.2/24 dev up0");
        ip("link set up0 up");
        netns::within(&world.outside, || {
            ip("link set lo up");
            ip("address add 203.0.113.1/24 dev out0");
            ip("link set out0 up");
            Ok(())
        })?;
        ip("route add default via 203.0.113.1");
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

fn walk(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs_err::read_dir(dir).expect("read").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(walk(&path))
        } else {
            found.push(path)
        }
    }
    found
}

fn ip(arguments: &str) {
    let output = Command::new("ip")
        .args(arguments.split(' '))
        .output()
        .expect("ip");
    assert!(
        output.status.success(),
        "ip {arguments}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn output_of(program: &str, arguments: &str) -> String {
    let output = Command::new(program)
        .args(arguments.split(' '))
        .output()
        .expect(program);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn publish(container_port: u16, protocol: Protocol, host_ip: Ipv4Addr, host_port: u16) -> PortRequest {
    PortRequest {
        container_port,
        protocol,
        host_ips: vec![host_ip.into()],
        host_ports: (host_port != 0).then_some(host_port..=host_port),
    }
}

/// The subnet of the default bridge.
fn subnet(network: &Network) -> String {
    let ipv4 = network.inspect().expect("inspect").ipv4;
    ipv4.expect("IPv4").trunc().to_string()
}

fn ipv4(endpoint: &Endpoint) -> Ipv4Place {
    endpoint.ipv4.expect("IPv4")
}

fn start(network: &Network, container: &str, ports: &[PortRequest]) -> Endpoint {
    network.sandbox_create(container).expect("sandbox");
    connect(network, container, ports).expect("connect")
}

fn connect(network: &Network, container: &str, ports: &[PortRequest]) -> Result<Endpoint, NetworkError> {
    network.connect(&EndpointRequest {
        ports: ports.to_vec(),
        ..EndpointRequest::new(havre_network::DEFAULT_NETWORK, container)
    })
}

/// A server in a namespace that answers every TCP connection with the address it came from.
fn serve_tcp(namespace: &Path, port: u16) {
    let namespace = namespace.to_path_buf();
    let (ready, wait) = mpsc::channel();
    thread::spawn(move || {
        netns::within(&namespace, || {
            let listener = TcpListener::bind((ANY, port))?;
            let _ = ready.send(());
            while let Ok((mut stream, from)) = listener.accept() {
                let _ = write!(stream, "{}", from.ip());
            }
            Ok(())
        })
    });
    wait.recv().expect("server");
}

/// A UDP socket whose datagrams are counted, not answered: an attacker needs no answer.
fn listen_udp(ip: Ipv4Addr, port: u16) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((ip, port))?;
    socket.set_read_timeout(Some(SHORT))?;
    Ok(socket)
}

fn hears_something(socket: &UdpSocket) -> bool {
    socket.recv(&mut [0; 64]).is_ok()
}

/// Lets a namespace send to 127.0.0.1 through a gateway, as no honest host would.
fn aim_at_loopback(gateway: Ipv4Addr, source: Ipv4Addr) -> io::Result<()> {
    fs_err::write("/proc/sys/net/ipv4/conf/all/route_localnet", "1")?;
    ip("route delete local 127.0.0.0/8 dev lo table local");
    ip("route delete local 127.0.0.1 dev lo table local");
    ip(&format!("route add 127.0.0.1 via {gateway} src {source}"));
    Ok(())
}

fn send_udp(from: Ipv4Addr, to: Ipv4Addr, port: u16) -> io::Result<()> {
    UdpSocket::bind((from, 0))?
        .send_to(b"attack", (to, port))
        .map(|_| ())
}

/// What a server tells the caller; in the namespace of the caller's thread.
fn ask(ip: Ipv4Addr, port: u16) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from((ip, port)), SHORT)?;
    stream.set_read_timeout(Some(SHORT))?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

fn ask_from(namespace: &Path, ip: Ipv4Addr, port: u16) -> io::Result<String> {
    netns::within(namespace, || ask(ip, port))
}

#[test]
fn a_container_has_an_address_a_route_and_the_world() {
    world(|world| {
        let network = world.open("a");
        let endpoint = start(&network, "c1", &[]);
        assert_eq!(ipv4(&endpoint).ip, Ipv4Addr::new(172, 17, 0, 2));
        assert_eq!(endpoint.mac.to_string(), "02:42:ac:11:00:02");
        assert_eq!(ipv4(&start(&network, "c2", &[])).ip, Ipv4Addr::new(172, 17, 0, 3));
        assert_eq!(network.inspect().expect("inspect").mtu, 1400, "the uplink's");

        serve_tcp(&world.outside, 80);
        let c1 = network.sandbox_path("c1");
        assert_eq!(
            ask_from(&c1, OUTSIDE, 80).expect("the world"),
            HOST.to_string(),
            "masqueraded"
        );
        serve_tcp(&network.sandbox_path("c2"), 80);
        let neighbour = ask_from(&c1, Ipv4Addr::new(172, 17, 0, 3), 80).expect("the neighbour");
        assert_eq!(neighbour, "172.17.0.2", "neighbours see each other's own address");

        let inside = netns::within(&c1, || Ok(output_of("ip", "-o address"))).expect("ip");
        assert!(
            inside.contains("inet 172.17.0.2/16 brd 172.17.255.255"),
            "{inside}"
        );
        assert!(!inside.contains("inet6 fe80"), "{inside}");
    });
}

#[test]
fn a_published_port_is_reached_from_everywhere() {
    world(|world| {
        let network = world.open("a");
        let endpoint = start(&network, "web", &[publish(80, Protocol::Tcp, ANY, 8080)]);
        start(&network, "other", &[]);
        let (web, other) = (network.sandbox_path("web"), network.sandbox_path("other"));
        serve_tcp(&web, 80);

        assert_eq!(
            ask_from(&world.outside, HOST, 8080).expect("from outside"),
            OUTSIDE.to_string()
        );
        ask(LOCAL, 8080).expect("from 127.0.0.1");
        ask(HOST, 8080).expect("from the host's own address");
        ask(ipv4(&endpoint).gateway, 8080).expect("from the gateway's address");
        ask_from(&other, HOST, 8080).expect("from a neighbour by the host's address");
        ask_from(&web, HOST, 8080).expect("from itself by the host's address");
        ask_from(&other, ipv4(&endpoint).gateway, 8080).expect("from a neighbour by the gateway");

        network.disconnect("web");
        network.flush();
        assert!(ask(LOCAL, 8080).is_err(), "nobody is there any more");
        assert!(ask_from(&world.outside, HOST, 8080).is_err());
    });
}

#[test]
fn a_port_moves_to_the_next_container_at_once() {
    world(|world| {
        let network = world.open("a");
        let port = [publish(80, Protocol::Tcp, ANY, 8080)];
        for round in 0..5 {
            let name = format!("web{round}");
            let endpoint = start(&network, &name, &port);
            serve_tcp(&network.sandbox_path(&name), 80);
            let elements = output_of("nft", "list map inet table_a tcp_any");
            assert!(
                elements.contains(&format!("8080 : {} . 80", ipv4(&endpoint).ip)),
                "{elements}"
            );
            ask_from(&world.outside, HOST, 8080).expect("from outside");
            network.sandbox_remove(&name).expect("remove");
        }
        network.flush();
        assert!(!output_of("nft", "list map inet table_a tcp_any").contains("8080"));
        let links = output_of("ip", "-o link show master a0");
        assert_eq!(links, "", "no interface is left");
    });
}

#[test]
fn a_udp_port_is_published_too() {
    world(|world| {
        let network = world.open("a");
        let endpoint = start(&network, "dns", &[publish(53, Protocol::Udp, ANY, 0)]);
        let port = endpoint.ports[0].host_port;
        let namespace = network.sandbox_path("dns");
        let (ready, wait) = mpsc::channel();
        thread::spawn(move || {
            netns::within(&namespace, || {
                let socket = UdpSocket::bind((ANY, 53))?;
                let _ = ready.send(());
                let mut buffer = [0; 64];
                while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                    socket.send_to(&buffer[..length], from)?;
                }
                Ok(())
            })
        });
        wait.recv().expect("server");
        let echo = |to: Ipv4Addr| {
            let socket = UdpSocket::bind((ANY, 0))?;
            socket.set_read_timeout(Some(SHORT))?;
            socket.connect((to, port))?;
            socket.send(b"ping")?;
            let mut buffer = [0; 64];
            socket.recv(&mut buffer).map(|length| buffer[..length].to_vec())
        };
        assert_eq!(echo(LOCAL).expect("from 127.0.0.1"), b"ping");
        assert_eq!(
            netns::within(&world.outside, || echo(HOST)).expect("from outside"),
            b"ping"
        );
    });
}

#[test]
fn what_is_not_published_is_not_reached() {
    world(|world| {
        let network = world.open("a");
        let endpoint = start(&network, "db", &[publish(81, Protocol::Tcp, LOCAL, 8081)]);
        let db = network.sandbox_path("db");
        serve_tcp(&db, 80);
        serve_tcp(&db, 81);
        netns::within(&world.outside, || {
            ip("route add 172.17.0.0/16 via 203.0.113.2");
            Ok(())
        })
        .expect("a route into the engine");
        let direct = ask_from(&world.outside, ipv4(&endpoint).ip, 80);
        assert!(direct.is_err(), "an unpublished port by the container's address");
        assert!(
            ask_from(&world.outside, HOST, 8081).is_err(),
            "a port of 127.0.0.1 by the host's address"
        );
        ask(LOCAL, 8081).expect("from 127.0.0.1");
        ask(ipv4(&endpoint).ip, 80).expect("from the host itself");
    });
}

#[test]
fn a_port_of_localhost_is_not_for_the_hosts_neighbours() {
    world(|world| {
        let network = world.open("a");
        start(&network, "db", &[publish(81, Protocol::Udp, LOCAL, 8081)]);
        let inside = netns::within(&network.sandbox_path("db"), || listen_udp(ANY, 81)).expect("socket");
        send_udp(ANY, LOCAL, 8081).expect("send");
        assert!(hears_something(&inside), "the host itself");
        netns::within(&world.outside, || {
            aim_at_loopback(HOST, OUTSIDE)?;
            send_udp(OUTSIDE, LOCAL, 8081)
        })
        .expect("send");
        assert!(!hears_something(&inside), "a neighbour of the host");
    });
}

#[test]
fn a_container_does_not_reach_the_hosts_loopback() {
    world(|world| {
        let network = world.open("a");
        let endpoint = start(&network, "evil", &[]);
        let socket = listen_udp(LOCAL, 9000).expect("socket");
        send_udp(LOCAL, LOCAL, 9000).expect("send");
        assert!(hears_something(&socket), "the host itself");
        netns::within(&network.sandbox_path("evil"), || {
            aim_at_loopback(ipv4(&endpoint).gateway, ipv4(&endpoint).ip)?;
            send_udp(ipv4(&endpoint).ip, LOCAL, 9000)
        })
        .expect("send");
        assert!(!hears_something(&socket), "a container");
    });
}

#[test]
fn a_refused_port_leaves_nothing() {
    world(|world| {
        let network = world.open("a");
        start(&network, "one", &[publish(80, Protocol::Tcp, ANY, 8080)]);
        network.sandbox_create("two").expect("sandbox");
        let wanted = [
            publish(80, Protocol::Tcp, ANY, 8090),
            publish(80, Protocol::Tcp, LOCAL, 8080),
        ];
        let error = connect(&network, "two", &wanted).expect_err("allocated");
        assert_eq!(
            error.to_string(),
            "Bind for 127.0.0.1:8080 failed: port is already allocated"
        );
        assert!(network.endpoint("two").is_none());
        let endpoint = connect(&network, "two", &wanted[..1]).expect("the other port is still free");
        assert_eq!(
            ipv4(&endpoint).ip,
            Ipv4Addr::new(172, 17, 0, 3),
            "the address too"
        );

        let _program = TcpListener::bind((ANY, 9090)).expect("listener");
        network.sandbox_create("three").expect("sandbox");
        let error = connect(&network, "three", &[publish(80, Protocol::Tcp, ANY, 9090)]).expect_err("in use");
        assert_eq!(
            error.to_string(),
            "failed to bind host port 0.0.0.0:9090/tcp: address already in use"
        );
    });
}

#[test]
fn a_failed_connect_is_undone() {
    world(|world| {
        let network = world.open("a");
        let error =
            connect(&network, "c1", &[publish(80, Protocol::Tcp, ANY, 8080)]).expect_err("no sandbox");
        assert!(
            matches!(error, NetworkError::Namespace { action: "open", .. }),
            "{error}"
        );
        network.flush();
        assert_eq!(network.inspect().expect("inspect").endpoints, []);
        let endpoint = start(&network, "c1", &[publish(80, Protocol::Tcp, ANY, 8080)]);
        assert_eq!(ipv4(&endpoint).ip, Ipv4Addr::new(172, 17, 0, 2));
        let error = connect(&network, "c1", &[]).expect_err("twice");
        assert!(matches!(error, NetworkError::EndpointExists { .. }), "{error}");
    });
}

#[test]
fn a_fixed_address_and_hardware_address_are_given() {
    world(|world| {
        let network = world.open("a");
        network.sandbox_create("c1").expect("sandbox");
        let request = EndpointRequest {
            ip: Some(Ipv4Addr::new(172, 17, 5, 5)),
            mac: Some("02:00:00:00:00:05".parse().expect("address")),
            ..EndpointRequest::new(havre_network::DEFAULT_NETWORK, "c1")
        };
        network.connect(&request).expect("connect");
        let inside =
            netns::within(&network.sandbox_path("c1"), || Ok(output_of("ip", "-o address"))).expect("ip");
        assert!(inside.contains("172.17.5.5/16"), "{inside}");
        let link = netns::within(&network.sandbox_path("c1"), || {
            Ok(output_of("ip", "link show eth0"))
        })
        .expect("ip");
        assert!(link.contains("02:00:00:00:00:05"), "{link}");
        let elsewhere = EndpointRequest {
            container: "c2".to_owned(),
            ip: Some(OUTSIDE),
            ..request
        };
        assert!(matches!(
            network.connect(&elsewhere),
            Err(NetworkError::AddressOutside { .. })
        ));
    });
}

#[test]
fn the_next_daemon_takes_over_without_disturbing() {
    world(|world| {
        let first = world.open("a");
        let kept = start(&first, "live", &[publish(80, Protocol::Tcp, ANY, 8080)]);
        start(&first, "dead", &[publish(80, Protocol::Tcp, ANY, 8081)]);
        let live = first.sandbox_path("live");
        let (send, receive) = mpsc::channel::<()>();
        let (ready, wait) = mpsc::channel();
        let namespace = live.clone();
        let server = thread::spawn(move || {
            netns::within(&namespace, move || {
                let listener = TcpListener::bind((ANY, 80))?;
                let _ = ready.send(());
                let (mut stream, _) = listener.accept()?;
                stream.write_all(b"before ")?;
                let _ = receive.recv();
                stream.write_all(b"after")
            })
        });
        wait.recv().expect("server");
        let mut stream = TcpStream::connect((HOST, 8080)).expect("connect");
        let mut text = [0; 7];
        stream.read_exact(&mut text).expect("before");
        drop(first);
        TcpListener::bind((ANY, 8080)).expect("the dead daemon holds no port");

        let second = world.open("a");
        assert_eq!(
            second.recover(&["live".to_owned()]).expect("recover"),
            Vec::<String>::new()
        );
        send.send(()).expect("server");
        let mut rest = String::new();
        stream.read_to_string(&mut rest).expect("after");
        assert_eq!(rest, "after", "the connection went on");
        server.join().expect("server").expect("server");

        assert_eq!(second.endpoint("live"), Some(kept));
        assert!(TcpListener::bind((ANY, 8080)).is_err(), "the port is held again");
        second.flush();
        assert!(second.endpoint("dead").is_none());
        assert!(!second.sandbox_path("dead").exists());
        TcpListener::bind((ANY, 8081)).expect("the dead container's port is free");
        let ports = output_of("ip", "-o link show master a0");
        assert_eq!(ports.lines().count(), 1, "{ports}");
        assert_eq!(ipv4(&start(&second, "new", &[])).ip, Ipv4Addr::new(172, 17, 0, 3));

        drop(second);
        netns::remove(&live).expect("somebody removes the namespace");
        let third = world.open("a");
        assert_eq!(
            third
                .recover(&["live".to_owned(), "new".to_owned()])
                .expect("recover"),
            ["live"]
        );
    });
}

#[test]
fn ports_whose_withdrawal_a_killed_daemon_still_owed_are_withdrawn() {
    world(|world| {
        let first = world.open("a");
        start(&first, "c1", &[publish(80, Protocol::Tcp, ANY, 8080)]);
        drop(first);
        // The record goes before the port does.
        fs_err::remove_dir_all(world.dir.join("a/endpoints")).expect("the record");
        assert!(output_of("nft", "list map inet table_a tcp_any").contains("8080"));

        let second = world.open("a");
        second.recover(&[]).expect("recover");
        assert_eq!(output_of("nft", "list tables").trim(), "");
        start(&second, "c2", &[publish(80, Protocol::Tcp, ANY, 8080)]);
        serve_tcp(&second.sandbox_path("c2"), 80);
        ask_from(&world.outside, HOST, 8080).expect("the rules are made again");
    });
}

#[test]
fn what_others_remove_is_made_again() {
    world(|world| {
        let network = world.open("a");
        start(&network, "web", &[publish(80, Protocol::Tcp, ANY, 8080)]);
        serve_tcp(&network.sandbox_path("web"), 80);
        output_of("nft", "flush ruleset");
        start(&network, "c2", &[publish(80, Protocol::Tcp, ANY, 8082)]);
        ask_from(&world.outside, HOST, 8080).expect("rules are back, the older container's too");

        network.disconnect("c2");
        network.flush();
        output_of("nft", "flush ruleset");
        network.disconnect("c2");
        ip("link delete a0");
        start(&network, "c3", &[]);
        ask_from(&world.outside, HOST, 8080).expect("the bridge is back, the older container on it");
    });
}

#[test]
fn engines_beside_each_other_take_different_subnets() {
    world(|world| {
        let names = ["a", "b", "c", "d"];
        let networks: Vec<_> = names.iter().map(|name| world.open(name)).collect();
        let mut subnets: Vec<_> = thread::scope(|scope| {
            let all: Vec<_> = networks
                .iter()
                .map(|network| scope.spawn(|| subnet(network)))
                .collect();
            all.into_iter().map(|one| one.join().expect("thread")).collect()
        });
        subnets.sort();
        assert_eq!(
            subnets,
            ["172.17.0.0/16", "172.18.0.0/16", "172.19.0.0/16", "172.20.0.0/16"]
        );

        let (one, two) = (start(&networks[0], "c1", &[]), start(&networks[1], "c2", &[]));
        serve_tcp(&networks[1].sandbox_path("c2"), 80);
        assert_ne!(ipv4(&one).gateway, ipv4(&two).gateway);
        assert!(
            ask_from(&networks[0].sandbox_path("c1"), ipv4(&two).ip, 80).is_err(),
            "engines are apart"
        );
    });
}

#[test]
fn a_subnet_is_kept_across_reboots_and_given_up_when_taken() {
    world(|world| {
        ip("link add first type bridge");
        ip("address add 172.17.0.1/16 dev first");
        ip("link set first up");
        let network = world.open("a");
        assert_eq!(subnet(&network), "172.18.0.0/16");
        drop(network);
        ip("link delete first");
        ip("link delete a0");
        let network = world.open("a");
        assert_eq!(subnet(&network), "172.18.0.0/16", "remembered");
        drop(network);
        ip("link delete a0");
        ip("link add first type bridge");
        ip("address add 172.18.0.1/24 dev first");
        ip("link set first up");
        assert_eq!(subnet(&world.open("a")), "172.17.0.0/16");
    });
}

#[test]
fn a_foreign_firewall_that_drops_gets_an_exception() {
    world(|world| {
        for rule in [
            "-P FORWARD DROP",
            "-N DOCKER-USER",
            "-A DOCKER-USER -j RETURN",
            "-I FORWARD -j DOCKER-USER",
        ] {
            output_of("iptables", rule);
        }
        let network = world.open("a");
        start(&network, "web", &[publish(80, Protocol::Tcp, ANY, 8080)]);
        serve_tcp(&network.sandbox_path("web"), 80);
        serve_tcp(&world.outside, 80);
        ask_from(&world.outside, HOST, 8080).expect("in");
        ask_from(&network.sandbox_path("web"), OUTSIDE, 80).expect("out");
        assert_eq!(output_of("iptables", "-S DOCKER-USER").matches("a0").count(), 2);
        network.destroy().expect("destroy");
        assert_eq!(output_of("iptables", "-S DOCKER-USER").matches("a0").count(), 0);
    });
}

#[test]
fn an_interface_of_that_name_is_not_taken_for_the_bridge() {
    world(|world| {
        ip("link add a0 type veth peer name a1");
        let error = world.open("a").ensure_bridge().expect_err("no bridge");
        assert!(matches!(error, NetworkError::NotABridge { .. }), "{error}");
    });
}

#[test]
fn destroyed_means_gone() {
    world(|world| {
        let network = world.open("a");
        start(&network, "c1", &[publish(80, Protocol::Tcp, ANY, 8080)]);
        network.destroy().expect("destroy");
        assert_eq!(output_of("nft", "list tables").trim(), "");
        let links = output_of("ip", "-o link");
        assert!(!links.contains(": a0:") && !links.contains(": hv"), "{links}");
        assert!(!network.sandbox_path("c1").exists());
        network.destroy().expect("again");
        assert_eq!(
            ipv4(&start(&network, "c1", &[])).ip,
            Ipv4Addr::new(172, 17, 0, 2),
            "and it can begin anew"
        );
    });
}

#[test]
fn a_sandbox_alone_has_only_loopback() {
    world(|world| {
        let network = world.open("a");
        let path = network.sandbox_create("quiet").expect("sandbox");
        let links = netns::within(&path, || Ok(output_of("ip", "-o -4 address"))).expect("ip");
        assert_eq!(links.lines().count(), 1, "{links}");
        assert!(links.contains("127.0.0.1/8"), "{links}");
        network.sandbox_remove("quiet").expect("remove");
        network.sandbox_create("quiet").expect("at once again");
        network.sandbox_remove("quiet").expect("remove");
        network.flush();
        assert!(!path.exists());
        network.sandbox_remove("quiet").expect("removing none");
    });
}

#[test]
fn a_container_that_starts_again_at_once_keeps_its_new_namespace_and_its_address() {
    world(|world| {
        let network = world.open("a");
        let request = EndpointRequest {
            ip: Some(Ipv4Addr::new(172, 17, 5, 5)),
            ..EndpointRequest::new(havre_network::DEFAULT_NETWORK, "c1")
        };
        for round in 0..20 {
            let path = network.sandbox_create("c1").expect("sandbox");
            network.connect(&request).expect("connect");
            if round % 4 == 0 {
                // Time for what comes from the rounds before.
                network.flush();
            }
            let inside = netns::within(&path, || Ok(output_of("ip", "-o address"))).expect("its namespace");
            assert!(inside.contains("172.17.5.5/16"), "{round}: {inside}");
            network.sandbox_remove("c1").expect("remove");
        }
        network.flush();
        assert!(!network.sandbox_path("c1").exists());
        let links = output_of("ip", "-o link");
        assert!(!links.contains(": hv"), "{links}");
    });
}

/// Not a limit but a report: `cargo test -p havre-network -- --ignored --nocapture takes`.
#[test]
#[ignore = "measures"]
fn how_long_it_takes() {
    world(|world| {
        let network = world.open("a");
        let first = std::time::Instant::now();
        network.ensure_bridge().expect("bridge");
        println!("bridge and table: {:?}", first.elapsed());
        let mut times: Vec<Vec<Duration>> = vec![Vec::new(); 5];
        let names: Vec<_> = (0..100).map(|round| format!("c{round}")).collect();
        for (round, name) in names.iter().enumerate() {
            let (row, ports) = if round % 2 == 0 {
                (1, vec![])
            } else {
                (2, vec![publish(80, Protocol::Tcp, ANY, 0)])
            };
            let clock = std::time::Instant::now();
            network.sandbox_create(name).expect("sandbox");
            times[0].push(clock.elapsed());
            let clock = std::time::Instant::now();
            connect(&network, name, &ports).expect("connect");
            times[row].push(clock.elapsed());
        }
        for (round, name) in names.iter().enumerate() {
            let clock = std::time::Instant::now();
            network.sandbox_remove(name).expect("remove");
            times[3 + round % 2].push(clock.elapsed());
        }
        let flush = std::time::Instant::now();
        network.flush();
        for (row, name) in [
            "sandbox",
            "connect",
            "connect with a port",
            "remove",
            "remove with a port",
        ]
        .iter()
        .enumerate()
        {
            times[row].sort();
            println!(
                "{name}: median {:?}, worst {:?}",
                times[row][times[row].len() / 2],
                times[row].last()
            );
        }
        println!("flush of 100: {:?}", flush.elapsed());
    });
}
