//! Containers that share an interface of the host.

use serde_json::json;

use crate::world::World;

const LAN: &str = "network create -d macvlan --ipv6 --subnet 203.0.113.0/24 --gateway 203.0.113.1 --ip-range 203.0.113.128/25 \
    --subnet 2001:db8::/64 --gateway 2001:db8::1 -o parent=up0 lan";

#[test]
fn containers_on_a_macvlan_stand_beside_the_host() {
    let world = World::new();
    let id = world.ok(LAN);
    world.web("web", "--network lan --ip6 2001:db8::77 -p 8080:80");
    world.rest("other", "--network lan");
    let own = world.endpoint("web", "lan");
    assert_eq!(own["IPAddress"], "203.0.113.128");
    assert_eq!(own["GlobalIPv6Address"], "2001:db8::77");
    assert_eq!(own["Gateway"], "203.0.113.1");
    let link = world.ok("exec web ip link show eth0");
    assert!(link.contains("mtu 1400"), "its parent's: {link}");
    assert!(
        link.contains(own["MacAddress"].as_str().expect("an address")),
        "{link}"
    );
    assert!(world.ok("exec web ip route").contains("default via 203.0.113.1"));
    for address in ["203.0.113.128:80", "[2001:db8::77]:80"] {
        assert_eq!(world.get_outside(address).as_deref(), Some("web"), "{address}");
        assert_eq!(
            world.get_from("other", address).as_deref(),
            Some("web"),
            "{address}"
        );
        assert_eq!(
            world.get(address),
            None,
            "the host itself does not reach those who share: {address}"
        );
    }
    assert_eq!(world.ok("port web"), "", "it is reached without");
    assert_eq!(world.get_outside("203.0.113.2:8080"), None);
    let names = world.ok("exec other nslookup -type=a web");
    assert!(names.contains("203.0.113.128"), "{names}");

    let shown = world.network("lan");
    assert_eq!(shown["Driver"], "macvlan");
    assert_eq!(shown["Id"], id.trim());
    assert_eq!(shown["Options"], json!({"parent": "up0"}));
    let events = world.ok(
        "events --since 0 --until 0s --filter type=network --format {{.Action}},{{.Actor.Attributes.type}}",
    );
    assert!(
        events.contains("create,macvlan") && events.contains("connect,macvlan"),
        "{events}"
    );
    assert_eq!(
        world.ok("network ls -f driver=macvlan --format {{.Name}}").trim(),
        "lan"
    );

    world.engine.kill_daemon();
    assert_eq!(
        world.get_outside("203.0.113.128:80").as_deref(),
        Some("web"),
        "without a daemon"
    );
    world.engine.start_daemon();
    world.ok("restart -t 0 web");
    assert_eq!(
        world.address("web", "lan"),
        "203.0.113.128",
        "the same address at once"
    );
    havre_testing::eventually("it serves again", || {
        world.get_outside("203.0.113.128:80").is_some()
    });

    // Beside a bridge: out by the one, published by the other.
    world.ok("network create front");
    world.ok("network connect front web");
    world.ok("network disconnect lan web");
    assert_eq!(world.get_outside("203.0.113.2:8080").as_deref(), Some("web"));
    world.ok("network connect lan web");
    assert_eq!(
        world
            .get_outside("203.0.113.129:80")
            .or_else(|| world.get_outside("203.0.113.128:80"))
            .as_deref(),
        Some("web")
    );

    world.ok("rm -f web other");
    world.ok("network rm lan");
    assert!(
        world.host().run("ip -o link show up0").contains("up0"),
        "what was there stays"
    );
}

#[test]
fn without_a_parent_containers_reach_each_other_only() {
    let world = World::new();
    let id = world.ok("network create -d macvlan --ipv6 cellar");
    let made = format!("dm-{}", &id[..12]);
    world.host().run(&format!("ip link show {made}"));
    world.web("web", "--network cellar");
    world.rest("other", "--network cellar");
    let endpoint = world.endpoint("web", "cellar");
    for address in [
        format!("{}:80", endpoint["IPAddress"].as_str().expect("an address")),
        format!(
            "[{}]:80",
            endpoint["GlobalIPv6Address"].as_str().expect("an address")
        ),
    ] {
        assert_eq!(world.get_from("other", &address).as_deref(), Some("web"));
    }
    assert!(!world.ok("exec other ip route").contains("default"));
    assert_ne!(world.engine.run("exec other ping -c 1 -W 1 203.0.113.1").code, 0);
    // An internal one on a parent has no way out either.
    world.ok("network create -d macvlan --internal --subnet 203.0.113.0/24 -o parent=up0 inner");
    world.rest("third", "--network inner --ip 203.0.113.200");
    assert!(!world.ok("exec third ip route").contains("default"));

    world.ok("rm -f web other third");
    world.ok("network rm cellar inner");
    let links = world.host().run("ip -o link");
    assert!(!links.contains(&made) && links.contains("up0"), "{links}");
}

#[test]
fn what_cannot_be_shared_is_said() {
    let world = World::new();
    world.ok("network create -d macvlan -o parent=up0 -o macvlan_mode=private first");
    world.rest("cas", "--network first");
    for (line, says) in [
        (
            "-d macvlan -o parent=up0",
            "network first is already using parent interface up0",
        ),
        ("-d macvlan -o parent=nosuch", "no parent interface nosuch"),
        (
            "-d macvlan -o parent=nosuch.7",
            "-o parent interface was not found on the host: nosuch",
        ),
        (
            "-d macvlan -o parent=out.9999",
            "vlan id must be between 1-4094, received: 9999",
        ),
        (
            "-d macvlan -o parent=lo",
            "loopback interface is not a valid macvlan parent link",
        ),
        (
            "-d macvlan -o macvlan_mode=foo",
            "requested macvlan mode 'foo' is not valid",
        ),
        (
            "-d ipvlan -o ipvlan_mode=l9",
            "requested ipvlan mode 'l9' is not valid",
        ),
        (
            "-d ipvlan -o ipvlan_flag=x",
            "requested ipvlan flag 'x' is not valid",
        ),
        (
            "-d ipvlan -o parent=lo",
            "loopback interface is not a valid ipvlan parent link",
        ),
    ] {
        let error = world.engine.fails(1, format!("network create {line} x"));
        assert!(error.contains(says), "{line}: {error}");
    }
    assert_eq!(
        world.ok("network ls -q -f type=custom").lines().count(),
        1,
        "nothing is left of them"
    );
    let busy = world.engine.fails(1, "network rm first");
    assert!(busy.contains("has active endpoints"), "{busy}");
}

#[test]
fn ipvlans_share_the_hardware_address() {
    let world = World::new();
    if !world.knows_ipvlan() {
        return;
    }
    for mode in ["l2", "l3", "l3s"] {
        world.ok(format!(
            "network create -d ipvlan --subnet 203.0.113.0/24 --gateway 203.0.113.1 -o parent=up0 -o ipvlan_mode={mode} lan"
        ));
        world.web("web", "--network lan --ip 203.0.113.130");
        world.rest("other", "--network lan --ip 203.0.113.131");
        assert_eq!(
            world.get_from("other", "203.0.113.130:80").as_deref(),
            Some("web"),
            "{mode}"
        );
        if mode == "l2" {
            assert_eq!(
                world.get_outside("203.0.113.130:80").as_deref(),
                Some("web"),
                "{mode}"
            );
        }
        world.ok("rm -f web other");
        world.ok("network rm lan");
    }
}
