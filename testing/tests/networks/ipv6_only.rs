//! Networks without IPv4.

use std::net::UdpSocket;

use havre_testing::in_network_of;
use serde_json::json;

use crate::world::World;

#[test]
fn a_network_without_ipv4_has_nothing_of_it() {
    let world = World::new();
    world.ok("network create --ipv4=false --ipv6 --subnet fd66::/64 six");
    let shown = world.network("six");
    assert_eq!(shown["EnableIPv4"], false);
    assert_eq!(shown["EnableIPv6"], true);
    assert_eq!(
        shown["IPAM"]["Config"],
        json!([{"Subnet": "fd66::/64", "Gateway": "fd66::1"}])
    );
    assert_eq!(
        world
            .ok("network ls --filter name=six --format {{.IPv4}},{{.IPv6}}")
            .trim(),
        "false,true"
    );
    let bridge = format!("br-{}", &shown["Id"].as_str().expect("an id")[..12]);
    assert!(
        !world.host().run("ip -4 address show").contains(bridge.as_str()),
        "the bridge has no such address"
    );

    world.rest("ann", "--network six");
    world.web("bob", "--network six --ip6 fd66::99");
    let own = world.endpoint("ann", "six");
    for (field, value) in [
        ("IPAddress", json!("")),
        ("IPPrefixLen", json!(0)),
        ("Gateway", json!("")),
        ("GlobalIPv6Address", json!("fd66::2")),
        ("GlobalIPv6PrefixLen", json!(64)),
        ("IPv6Gateway", json!("fd66::1")),
    ] {
        assert_eq!(own[field], value, "{field}: {own}");
    }
    let listed = world.network("six")["Containers"].clone();
    let listed = listed.as_object().expect("containers").values().cloned();
    let ann = listed.into_iter().find(|one| one["Name"] == "ann").expect("ann");
    assert_eq!(
        (&ann["IPv4Address"], &ann["IPv6Address"]),
        (&json!(""), &json!("fd66::2/64"))
    );
    let inside = world.ok("exec ann ip address show eth0");
    assert!(
        inside.contains("fd66::2/64") && !inside.contains("inet "),
        "{inside}"
    );
    assert!(
        inside.contains(own["MacAddress"].as_str().expect("an address")),
        "{inside}"
    );
    assert_eq!(world.ok("exec ann ip -4 route").trim(), "");
    assert!(
        world
            .ok("exec ann ip -6 route")
            .contains("default via fd66::1 dev eth0")
    );
    let hosts = world.ok("exec ann cat /etc/hosts");
    assert!(hosts.contains("fd66::2\t") && !hosts.contains("172."), "{hosts}");
    let rules = world.host().run("nft list ruleset");
    let about: Vec<_> = rules.lines().filter(|line| line.contains(&bridge)).collect();
    assert!(
        about.iter().any(|line| line.contains("ip6 saddr fd66::/64")),
        "{about:?}"
    );
    assert!(
        !about.iter().any(|line| line.contains("ip saddr")),
        "no address of IPv4 is translated: {about:?}"
    );

    // Neighbours by name, the world with the host's address, and nobody from there.
    assert_eq!(world.get_from("ann", "[fd66::99]:80").as_deref(), Some("bob"));
    world.ok("exec ann ping -c 1 -W 2 bob");
    world.ok("exec ann ping -c 1 -W 2 2001:db8::1");
    world.outside().run("ip -6 route add default via 2001:db8::2");
    assert_eq!(world.get_outside("[fd66::99]:80"), None);
    world.ok("network create --ipv6 other");
    world.rest("eve", "--network other");
    assert_eq!(world.get_from("eve", "[fd66::99]:80"), None, "another network's");

    world.engine.kill_daemon();
    world.engine.start_daemon();
    assert_eq!(world.endpoint("ann", "six"), own);
    assert_eq!(world.network("six"), {
        let mut after = shown;
        after["Containers"] = world.network("six")["Containers"].clone();
        after
    });
    assert_eq!(world.get_from("ann", "[fd66::99]:80").as_deref(), Some("bob"));
    world.ok("restart -t 0 bob");
    assert_eq!(world.endpoint("bob", "six")["GlobalIPv6Address"], "fd66::99");
    world.ok("rm -f ann bob");
    world.ok("network rm six");
}

#[test]
fn names_on_a_network_without_ipv4_are_of_ipv6() {
    let world = World::new();
    world.ok("network create --ipv4=false --ipv6 six");
    let subnet = world.network("six")["IPAM"]["Config"][0]["Subnet"].clone();
    let subnet = subnet.as_str().expect("a subnet");
    assert!(subnet.starts_with("fd") && subnet.ends_with("::/64"), "{subnet}");
    let server = in_network_of(world.outside().pid(), || UdpSocket::bind("203.0.113.1:53")).expect("server");
    std::thread::spawn(move || {
        let mut packet = [0; 512];
        while let Ok((length, client)) = server.recv_from(&mut packet) {
            // The header of an answer with one record, the question, and the address.
            let mut answer = packet[..length].to_vec();
            answer[2..8].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1]);
            answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 192, 0, 2, 7]);
            let _ = server.send_to(&answer, client);
        }
    });
    world.rest("ann", "--network six --dns 203.0.113.1");
    world.rest("bob", "--network six --network-alias robert");
    assert!(
        world
            .ok("exec ann cat /etc/resolv.conf")
            .contains("nameserver 127.0.0.11")
    );
    let bob = world.endpoint("bob", "six")["GlobalIPv6Address"].clone();
    let bob = bob.as_str().expect("an address").to_owned();
    for name in ["bob", "robert", "bob.six"] {
        let answer = world.ok(format!("exec ann nslookup -type=aaaa {name}"));
        assert!(answer.contains(&format!("Address: {bob}")), "{answer}");
        let answer = world.ok(format!("exec ann nslookup -type=a {name}"));
        assert!(
            !answer.contains("192.0.2.7"),
            "it is no other server's to answer: {answer}"
        );
    }
    let reverse = world.ok(format!("exec ann nslookup {bob}"));
    assert!(reverse.contains("name = bob.six"), "{reverse}");
    // The server has an address to which the container has no way.
    let far = world.ok("exec ann nslookup -type=a far.example");
    assert!(far.contains("192.0.2.7"), "{far}");
}

#[test]
fn ports_of_a_container_without_ipv4_are_published_in_both_families() {
    let world = World::new();
    world.ok("network create --ipv4=false --ipv6 --subnet fd66::/64 six");
    world.ok("network create --subnet 10.66.0.0/24 four");
    world.web(
        "web",
        "--network six -p 8080:80 -p [2001:db8::2]:8081:80 -p 127.0.0.1:8082:80",
    );
    let everywhere = |when: &str| {
        for address in ["127.0.0.1", "[::1]", "203.0.113.2", "[2001:db8::2]"] {
            let address = format!("{address}:8080");
            assert_eq!(world.get(&address).as_deref(), Some("web"), "{address} {when}");
        }
        for address in ["203.0.113.2:8080", "[2001:db8::2]:8080", "[2001:db8::2]:8081"] {
            assert_eq!(
                world.get_outside(address).as_deref(),
                Some("web"),
                "{address} {when}"
            );
        }
        assert_eq!(world.get("127.0.0.1:8082").as_deref(), Some("web"), "{when}");
        assert_eq!(world.get_outside("203.0.113.2:8082"), None, "{when}");
        assert_eq!(world.get_outside("203.0.113.2:8081"), None, "{when}");
    };
    everywhere("at first");
    let published = world.ok("port web");
    assert_eq!(
        published,
        "80/tcp -> 0.0.0.0:8080\n80/tcp -> 127.0.0.1:8082\n80/tcp -> [2001:db8::2]:8081\n80/tcp -> [::]:8080"
    );
    let taken = world.engine.fails(125, "run --rm -p 8082:80 busybox true");
    assert!(taken.contains("port is already allocated"), "{taken}");

    world.engine.kill_daemon();
    assert_eq!(world.get_outside("203.0.113.2:8080").as_deref(), Some("web"));
    world.engine.start_daemon();
    everywhere("after a restart of the daemon");

    // With IPv4 besides, the firewall passes on what was relayed, and the other way round.
    world.ok("network connect four web");
    assert!(world.ok("exec web ip route").contains("default via 10.66.0.1"));
    assert!(world.ok("exec web ip -6 route").contains("default via fd66::1"));
    everywhere("with IPv4 besides");
    assert_eq!(world.ok("port web"), published);
    world.ok("network disconnect six web");
    assert_eq!(world.get_outside("203.0.113.2:8080").as_deref(), Some("web"));
    assert_eq!(world.get("[::1]:8080").as_deref(), Some("web"));
    world.ok("network connect six web");
    world.ok("network disconnect four web");
    assert_eq!(world.ok("exec web ip -4 route").trim(), "");
    everywhere("without IPv4 again");
    assert_eq!(world.ok("port web"), published);

    world.rest("datagrams", "--network six -p 5300:53/udp");
    let pid = world.engine.inspect("datagrams")["State"]["Pid"]
        .as_u64()
        .expect("a pid");
    let server = in_network_of(pid, || UdpSocket::bind("[::]:53")).expect("server");
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((length, from)) = server.recv_from(&mut buffer) {
            let _ = server.send_to(&buffer[..length], from);
        }
    });
    let answered = in_network_of(world.outside().pid(), || {
        let socket = UdpSocket::bind("203.0.113.1:0")?;
        socket.set_read_timeout(Some(std::time::Duration::from_secs(5)))?;
        socket.connect("203.0.113.2:5300")?;
        socket.send(b"hello")?;
        let mut buffer = [0; 16];
        socket.recv(&mut buffer).map(|length| buffer[..length].to_vec())
    });
    assert_eq!(answered.expect("an answer"), b"hello");
    world.ok("rm -f web datagrams");
    for address in ["127.0.0.1:8080", "[::1]:8080", "[2001:db8::2]:8081"] {
        assert_eq!(world.get(address), None, "{address} after the end");
    }
}

#[test]
fn what_a_network_without_ipv4_cannot_give_is_refused() {
    let world = World::new();
    let fails = |line: &str, says: &str| {
        let failed = world.engine.run(line);
        assert_ne!(failed.code, 0, "{line}");
        let error = String::from_utf8_lossy(&failed.stderr);
        assert!(error.contains(says), "{line}: {error}");
    };
    fails(
        "network create --ipv4=false none-at-all",
        "IPv4 or IPv6 must be enabled",
    );
    fails(
        "network create --ipv4=false --ipv6=false none-at-all",
        "IPv4 or IPv6 must be enabled",
    );
    world.ok("network create --ipv4=false --ipv6 --subnet fd66::/64 six");
    fails(
        "run --rm --network six --ip 10.66.0.5 busybox true",
        "network six has no IPv4",
    );
    fails(
        "network create --ipv4=false --ipv6 --subnet fd66::/80 x",
        "Pool overlaps",
    );
    let said = world
        .engine
        .run("network create --ipv4=false --ipv6 --subnet 10.67.0.0/24 --subnet fd67::/64 other");
    assert_eq!(said.code, 0);
    let warning = String::from_utf8_lossy(&said.stderr);
    assert!(
        warning.contains("subnet 10.67.0.0/24 has no effect: the network was created with --ipv4=false"),
        "{warning}"
    );
    world.ok("network create --subnet 10.67.0.0/24 free");
}

#[test]
fn a_container_that_runs_comes_to_a_network_without_ipv4_and_leaves_it() {
    let world = World::new();
    world.ok("network create --ipv4=false --ipv6 --subnet fd66::/64 a-six");
    world.rest("ann", "");
    world.rest("bob", "--network a-six");
    let before = world.ok("exec ann ip route");
    world.ok("network connect --ip6 fd66::77 a-six ann");
    assert_eq!(world.endpoint("ann", "a-six")["IPAddress"], "");
    assert!(world.ok("exec ann ip address show eth1").contains("fd66::77/64"));
    assert_eq!(world.ok("exec ann ip route"), before, "its way out stays");
    assert!(
        world
            .ok("exec ann ip -6 route")
            .contains("default via fd66::1 dev eth1")
    );
    world.ok("exec ann ping -c 1 -W 2 bob");
    let hosts = world.ok("exec ann cat /etc/hosts");
    assert!(hosts.contains("fd66::77\t"), "{hosts}");
    world.ok("network disconnect a-six ann");
    assert!(!world.ok("exec ann ip -6 address").contains("fd66::77"));
    assert_eq!(world.ok("exec ann ip route"), before);
    world.ok("exec ann ping -c 1 -W 2 203.0.113.1");

    // A step of a build, too.
    let context = tempfile::tempdir().expect("directory");
    fs_err::write(
        context.path().join("Dockerfile"),
        "FROM busybox\nRUN ip address show eth0 | tee /addresses && ping -c 1 -W 2 bob\n",
    )
    .expect("Dockerfile");
    world.ok([
        "build",
        "--network",
        "a-six",
        "-t",
        "built",
        &context.path().to_string_lossy(),
    ]);
    let addresses = world.ok("run --rm --network none built cat /addresses");
    assert!(
        addresses.contains("inet6 fd66::") && !addresses.contains("inet "),
        "{addresses}"
    );
}

#[test]
fn networks_that_share_an_interface_can_be_without_ipv4() {
    for driver in ["macvlan", "ipvlan"] {
        let world = World::new();
        if driver == "ipvlan" && !world.knows_ipvlan() {
            continue;
        }
        world.ok(format!(
            "network create -d {driver} --ipv4=false --ipv6 --subnet 2001:db8::/64 --gateway 2001:db8::1 --ip-range \
             2001:db8::8000/113 -o parent=up0 lan"
        ));
        assert_eq!(world.network("lan")["EnableIPv4"], false);
        world.web("web", "--network lan");
        world.rest("other", "--network lan");
        let inside = world.ok("exec web ip address show eth0");
        assert!(
            inside.contains("2001:db8::8000/64") && !inside.contains("inet "),
            "{driver}: {inside}"
        );
        assert!(
            world
                .ok("exec web ip -6 route")
                .contains("default via 2001:db8::1")
        );
        assert_eq!(
            world.get_outside("[2001:db8::8000]:80").as_deref(),
            Some("web"),
            "{driver}"
        );
        world.ok("exec other ping -c 1 -W 2 web");
    }
}
