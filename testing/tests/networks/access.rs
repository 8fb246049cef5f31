//! Who reaches whom: as on dockerd, by trial.

use crate::world::World;

#[test]
fn networks_reach_each_other_by_what_is_published() {
    let world = World::new();
    world.ok("network create one");
    world.ok("network create --ipv6 two");
    world.web("ann", "-p 8080:80");
    world.web("bob", "--network one -p 8081:80");
    world.web("cas", "--network two -p 8082:80");
    let places = [
        ("ann", "bridge", 8080),
        ("bob", "one", 8081),
        ("cas", "two", 8082),
    ];
    for (from, own, _) in places {
        let gateway = world.endpoint(from, own)["Gateway"].clone();
        let gateway = gateway.as_str().expect("gateway");
        for (to, network, port) in places {
            // The container's own address is for its neighbours.
            let direct = world.get_from(from, &format!("{}:80", world.address(to, network)));
            assert_eq!(direct.is_some(), own == network, "{from} to {to} directly");
            // The host's addresses are for everybody, for the container itself, too.
            for address in [gateway, "203.0.113.2"] {
                let answer = world.get_from(from, &format!("{address}:{port}"));
                assert_eq!(answer.as_deref(), Some(to), "{from} to {to} by {address}");
            }
        }
    }
    let itself = world.get_from("cas", "[2001:db8::2]:8082");
    assert_eq!(itself.as_deref(), Some("cas"), "a hairpin in IPv6");
    let other = world.get_from("cas", "[2001:db8::2]:8081");
    assert_eq!(other.as_deref(), Some("bob"), "from IPv6 to a container without");

    let c6 = world.endpoint("cas", "two")["GlobalIPv6Address"].clone();
    let c6 = format!("[{}]:80", c6.as_str().expect("an address"));
    world.ok("network create --ipv6 three");
    world.rest("dan", "--network three");
    assert_eq!(
        world.get_from("dan", &c6),
        None,
        "networks are apart in IPv6, too"
    );
    assert_eq!(world.get(&c6).as_deref(), Some("cas"), "but not from the host");

    // From outside there is no way but a published port, even with a route.
    world.outside().run("ip route add 172.16.0.0/12 via 203.0.113.2");
    assert_eq!(
        world.get_outside(&format!("{}:80", world.address("bob", "one"))),
        None
    );
    assert_eq!(world.get_outside("203.0.113.2:8081").as_deref(), Some("bob"));
}

#[test]
fn an_internal_network_is_closed_in_both_families() {
    let world = World::new();
    world.ok("network create --internal --ipv6 cellar");
    world.web("in", "--network cellar -p 8080:80");
    world.rest("beside", "--network cellar");
    let endpoint = world.endpoint("in", "cellar");
    let (ip, ip6) = (
        endpoint["IPAddress"].clone(),
        endpoint["GlobalIPv6Address"].clone(),
    );
    let (ip, ip6) = (
        ip.as_str().expect("an address"),
        ip6.as_str().expect("an address"),
    );
    assert!(!world.ok("exec in ip -6 route").contains("default"));
    for address in [format!("{ip}:80"), format!("[{ip6}]:80")] {
        assert_eq!(world.get_from("beside", &address).as_deref(), Some("in"));
        assert_eq!(world.get(&address).as_deref(), Some("in"), "from the host");
    }
    assert_eq!(world.get("[::1]:8080"), None);
    assert_eq!(world.get_outside("203.0.113.2:8080"), None);
    world.rest("outsider", "");
    assert_eq!(world.get_from("outsider", &format!("{ip}:80")), None);
}
