//! Networks with IPv6.

use serde_json::json;

use crate::world::World;

#[test]
fn a_network_with_ipv6_gets_a_private_subnet() {
    let world = World::new();
    world.ok("network create --ipv6 six");
    let shown = world.network("six");
    assert_eq!(shown["EnableIPv6"], true);
    assert_eq!(shown["EnableIPv4"], true);
    let pools = shown["IPAM"]["Config"].as_array().expect("pools").clone();
    assert_eq!(pools.len(), 2, "{shown}");
    let subnet = pools[1]["Subnet"].as_str().expect("subnet");
    assert!(subnet.starts_with("fd") && subnet.ends_with("::/64"), "{subnet}");
    assert_eq!(pools[1]["Gateway"], subnet.replace("::/64", "::1"));
    world.ok("network create --ipv6 other");
    let other = world.network("other")["IPAM"]["Config"][1]["Subnet"].clone();
    assert_ne!(other, pools[1]["Subnet"], "another one");
    assert_eq!(
        world
            .ok("network ls --filter name=six --format {{.IPv4}},{{.IPv6}}")
            .trim(),
        "true,true"
    );

    world.rest("ann", "--network six");
    world.web("bob", "--network six");
    let inside = world.ok("exec ann ip -6 address show eth0");
    let own = world.endpoint("ann", "six");
    let ip = own["GlobalIPv6Address"].as_str().expect("an address").to_owned();
    assert_eq!(own["GlobalIPv6PrefixLen"], 64);
    assert_eq!(own["IPv6Gateway"], pools[1]["Gateway"]);
    assert!(inside.contains(&format!("{ip}/64")), "{inside}");
    let route = world.ok("exec ann ip -6 route");
    let gateway = pools[1]["Gateway"].as_str().expect("gateway");
    assert!(
        route.contains(&format!("default via {gateway} dev eth0")),
        "{route}"
    );
    assert_eq!(
        world.network("six")["Containers"]
            .as_object()
            .expect("containers")
            .values()
            .find(|container| container["Name"] == "ann")
            .expect("ann")["IPv6Address"],
        format!("{ip}/64")
    );
    let hosts = world.ok("exec ann cat /etc/hosts");
    assert!(hosts.contains(&format!("{ip}\t")), "{hosts}");

    let bob = world.endpoint("bob", "six")["GlobalIPv6Address"].clone();
    let bob = bob.as_str().expect("an address");
    let names = world.ok("exec ann nslookup -type=aaaa bob");
    assert!(names.contains(&format!("Address: {bob}")), "{names}");
    assert!(!names.contains("172."), "nothing else was asked for: {names}");
    let reverse = world.ok(format!("exec ann nslookup {bob}"));
    assert!(reverse.contains("name = bob.six"), "{reverse}");
    assert_eq!(
        world.get_from("ann", &format!("[{bob}]:80")).as_deref(),
        Some("bob")
    );
    world.ok("exec ann ping -6 -c 1 -W 2 bob");

    // To the world with the host's address, and only there and back.
    world.ok("exec ann ping -6 -c 1 -W 2 2001:db8::1");
    world.outside().run("ip -6 route add default via 2001:db8::2");
    assert_eq!(world.get_outside(&format!("[{bob}]:80")), None);

    world.engine.kill_daemon();
    world.engine.start_daemon();
    assert_eq!(
        world.get_from("ann", &format!("[{bob}]:80")).as_deref(),
        Some("bob")
    );
    assert_eq!(world.endpoint("ann", "six"), own);
    world.ok("restart -t 0 ann");
    assert!(world.ok("exec ann ip -6 address show eth0").contains("/64"));
}

#[test]
fn addresses_of_both_families_are_as_asked_for() {
    let world = World::new();
    world.ok(
        "network create --ipv6 --subnet 10.60.0.0/24 --subnet fd99:5::/64 --gateway fd99:5::99 --ip-range fd99:5::8000/113 \
         --aux-address x=fd99:5::8001 --aux-address y=10.60.0.2 six",
    );
    assert_eq!(
        world.network("six")["IPAM"]["Config"],
        json!([
            {"Subnet": "10.60.0.0/24", "Gateway": "10.60.0.1", "AuxiliaryAddresses": {"y": "10.60.0.2"}},
            {"Subnet": "fd99:5::/64", "IPRange": "fd99:5::8000/113", "Gateway": "fd99:5::99",
             "AuxiliaryAddresses": {"x": "fd99:5::8001"}},
        ])
    );
    world.rest("first", "--network six");
    world.rest("second", "--network six");
    let of = |container: &str| world.endpoint(container, "six")["GlobalIPv6Address"].clone();
    assert_eq!(of("first"), "fd99:5::8000");
    assert_eq!(of("second"), "fd99:5::8002", "not the one of somebody else");
    assert_eq!(world.address("first", "six"), "10.60.0.3");
    world.rest("fixed", "--network six --ip 10.60.0.77 --ip6 fd99:5::77");
    assert_eq!(of("fixed"), "fd99:5::77");
    assert_eq!(
        world.endpoint("fixed", "six")["IPAMConfig"],
        json!({"IPv4Address": "10.60.0.77", "IPv6Address": "fd99:5::77"})
    );
    world.ok("exec first ping -6 -c 1 -W 2 fixed");

    // While it runs, and with addresses of the link alone.
    world.rest("late", "");
    world
        .ok("network connect --ip6 fd99:5::88 --link-local-ip fe80::88 --link-local-ip 169.254.8.8 six late");
    let inside = world.ok("exec late ip address show eth1");
    for address in ["fd99:5::88/64", "fe80::88/64", "169.254.8.8/16"] {
        assert!(inside.contains(address), "{address}: {inside}");
    }
    assert_eq!(
        world.endpoint("late", "six")["IPAMConfig"]["LinkLocalIPs"],
        json!(["fe80::88", "169.254.8.8"])
    );
    assert!(
        world
            .ok("exec late ip -6 route")
            .contains("default via fd99:5::99")
    );
    world.ok("network disconnect six late");
    assert!(!world.ok("exec late ip -6 route").contains("default"));

    world.ok("network create --subnet 10.61.0.0/24 four");
    let fails = |line: &str, says: &str| {
        let failed = world.engine.run(line);
        assert_ne!(failed.code, 0, "{line}");
        let error = String::from_utf8_lossy(&failed.stderr);
        assert!(error.contains(says), "{line}: {error}");
    };
    fails(
        "run --rm --network six --ip6 fd99:5::77 busybox true",
        "already in use",
    );
    fails(
        "run --rm --network six --ip6 fd00::1 busybox true",
        "no configured subnet",
    );
    fails(
        "run --rm --network six --ip6 10.60.0.5 busybox true",
        "invalid IPv6 address: 10.60.0.5",
    );
    fails(
        "run --rm --network four --ip6 fd00::1 busybox true",
        "network four has no IPv6",
    );
    fails(
        "run --rm --network four --link-local-ip 10.0.0.1 busybox true",
        "invalid link-local IP address",
    );
    fails("network create --ipv6 --subnet fd99:5::/80 x", "Pool overlaps");
    fails(
        "network create --ipv6 --subnet fd98::/64 --subnet fd97::/64 x",
        "multiple subnets",
    );
    fails(
        "network create --ipv6 --subnet fd98::1/64 x",
        "it should be fd98::/64",
    );
    let said = world.engine.run("network create --subnet fd96::/64 unused");
    let warning = String::from_utf8_lossy(&said.stderr);
    assert!(warning.contains("created without --ipv6"), "{warning}");
    assert_eq!(world.network("unused")["EnableIPv6"], false);
}

#[test]
fn the_default_bridge_has_ipv6_when_asked_for() {
    let world = World::with_config("[network]\nipv6 = true\nipv6-subnet = \"fd17::/64\"\n");
    world.web("web", "-p 8080:80");
    let own = world.endpoint("web", "bridge");
    assert_eq!(own["GlobalIPv6Address"], "fd17::2");
    assert_eq!(own["IPv6Gateway"], "fd17::1");
    let settings = world.engine.inspect("web")["NetworkSettings"].clone();
    assert_eq!(
        settings["GlobalIPv6Address"], "fd17::2",
        "as in the time before networks had names"
    );
    assert_eq!(settings["GlobalIPv6PrefixLen"], 64);
    let shown = world.network("bridge");
    assert_eq!(shown["EnableIPv6"], true);
    assert_eq!(
        shown["IPAM"]["Config"][1],
        json!({"Subnet": "fd17::/64", "Gateway": "fd17::1"})
    );
    world.ok("exec web ping -6 -c 1 -W 2 2001:db8::1");
    for address in ["[2001:db8::2]:8080", "203.0.113.2:8080"] {
        assert_eq!(world.get_outside(address).as_deref(), Some("web"), "{address}");
    }
    let overlapping = world
        .engine
        .fails(1, "network create --ipv6 --subnet fd17::/72 x");
    assert!(overlapping.contains("Pool overlaps"), "{overlapping}");
}
