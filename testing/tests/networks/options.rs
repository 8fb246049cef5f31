//! Options of networks and of places on them.

use crate::world::World;

#[test]
fn options_of_bridges_have_their_effect() {
    let world = World::new();
    world.ok(
        "network create -o com.docker.network.bridge.name=shop0 -o com.docker.network.driver.mtu=1300 \
         -o com.docker.network.container_iface_prefix=lan -o com.docker.network.bridge.host_binding_ipv4=127.0.0.1 shop",
    );
    world.web("web", "--network shop -p 8080:80");
    assert!(world.host().run("ip link show shop0").contains("mtu 1300"));
    let link = world.ok("exec web ip link show lan0");
    assert!(link.contains("mtu 1300"), "{link}");
    assert_eq!(world.ok("port web"), "80/tcp -> 127.0.0.1:8080");
    assert_eq!(world.get("127.0.0.1:8080").as_deref(), Some("web"));
    assert_eq!(world.get_outside("203.0.113.2:8080"), None);
    world.ok("network connect bridge web");
    assert!(
        world.ok("exec web ip -o link").contains("eth0"),
        "a prefix is the network's"
    );

    // Without translation the container's own address is seen.
    world.ok(
        "network create --subnet 10.70.0.0/24 -o com.docker.network.bridge.enable_ip_masquerade=false plain",
    );
    world.rest("cas", "--network plain");
    assert_ne!(
        world.engine.run("exec cas ping -c 1 -W 1 203.0.113.1").code,
        0,
        "nobody knows the way back"
    );
    world.outside().run("ip route add 10.70.0.0/24 via 203.0.113.2");
    world.ok("exec cas ping -c 1 -W 2 203.0.113.1");

    // Neighbours that may not talk: only what is published is reached.
    world.ok("network create --ipv6 -o com.docker.network.bridge.enable_icc=false apart");
    world.web("ann", "--network apart -p 8090:80");
    world.rest("bob", "--network apart");
    assert_eq!(
        world.get_from("bob", &format!("{}:80", world.address("ann", "apart"))),
        None
    );
    let a6 = world.endpoint("ann", "apart")["GlobalIPv6Address"].clone();
    assert_eq!(
        world.get_from("bob", &format!("[{}]:80", a6.as_str().expect("an address"))),
        None
    );
    assert_eq!(world.get_from("bob", "203.0.113.2:8090").as_deref(), Some("ann"));

    world.ok("network create --subnet 10.71.0.0/24 -o com.docker.network.bridge.inhibit_ipv4=true -o com.docker.network.bridge.name=bare0 bare");
    world.rest("dan", "--network bare");
    world.rest("eve", "--network bare");
    assert_eq!(world.host().run("ip -o -4 address show dev bare0"), "");
    world.ok("exec dan ping -c 1 -W 2 eve");
    world.engine.kill_daemon();
    world.engine.start_daemon();
    world.rest("fay", "--network bare");
    world.ok("exec fay ping -c 1 -W 2 eve");
    assert_eq!(world.host().run("ip -o -4 address show dev bare0"), "");
}

#[test]
fn what_has_no_effect_is_said_and_what_is_wrong_refused() {
    let world = World::new();
    let created = world
        .engine
        .run("network create -o parent=up0 -o colour=red --ipam-opt a=b odd");
    assert_eq!(created.code, 0);
    let warnings = String::from_utf8_lossy(&created.stderr).into_owned();
    for key in ["parent", "colour", "a"] {
        assert!(
            warnings.contains(&format!("option {key} means nothing")),
            "{key}: {warnings}"
        );
    }
    assert_eq!(
        world.network("odd")["Options"]["colour"],
        "red",
        "kept, as Docker does"
    );
    assert_eq!(world.network("odd")["IPAM"]["Options"]["a"], "b");
    for (line, says) in [
        (
            "-o com.docker.network.bridge.enable_icc=perhaps",
            "failed to parse com.docker.network.bridge.enable_icc value: perhaps",
        ),
        (
            "-o com.docker.network.driver.mtu=abc",
            "strconv.Atoi: parsing \"abc\": invalid syntax",
        ),
        (
            "-o com.docker.network.bridge.host_binding_ipv4=here",
            "value: here (nil ip)",
        ),
        (
            "-o com.docker.network.bridge.gateway_mode_ipv4=routed",
            "is not supported",
        ),
        (
            "-o com.docker.network.bridge.name=averyveryverylongname",
            "1 to 15 letters",
        ),
        ("-o com.docker.network.bridge.name=up0", "up0"),
        ("--ipam-driver nosuch", "plugin \"nosuch\" not found"),
        ("-d nosuch", "plugin \"nosuch\" not found"),
    ] {
        let error = world.engine.fails(1, format!("network create {line} x"));
        assert!(error.contains(says), "{line}: {error}");
    }
    world.ok("network create -o com.docker.network.bridge.name=twice0 one");
    let twice = world
        .engine
        .fails(1, "network create -o com.docker.network.bridge.name=twice0 two");
    assert!(twice.contains("networks have same bridge name"), "{twice}");
    assert!(
        world.host().run("ip -o link show up0").contains("up0"),
        "somebody else's interface stays"
    );
}

#[test]
fn options_of_places_have_their_effect() {
    let world = World::new();
    world.ok("network create one");
    world.ok("network create two");
    world.rest(
        "cas",
        "--network name=one,driver-opt=com.docker.network.endpoint.ifname=inner --network name=two,gw-priority=5",
    );
    let links = world.ok("exec cas ip -o link");
    assert!(links.contains("inner") && links.contains("eth0"), "{links}");
    assert!(
        world.ok("exec cas ip route").contains("dev eth0"),
        "the way out is the other's"
    );
    assert_eq!(
        world.endpoint("cas", "one")["DriverOpts"]["com.docker.network.endpoint.ifname"],
        "inner"
    );
    world.rest("dan", "");
    world.ok("network connect --driver-opt com.docker.network.endpoint.sysctls=net.ipv4.conf.IFNAME.log_martians=1 one dan");
    assert_eq!(
        world
            .ok("exec dan cat /proc/sys/net/ipv4/conf/eth1/log_martians")
            .trim(),
        "1"
    );
    for (option, says) in [
        ("com.docker.network.endpoint.ifname=lo", "lo"),
        (
            "com.docker.network.endpoint.ifname=eth0",
            "has an interface eth0 already",
        ),
        (
            "com.docker.network.endpoint.sysctls=kernel.hostname=x",
            "net.X.Y.IFNAME.Z",
        ),
    ] {
        let error = world
            .engine
            .fails(1, format!("network connect --driver-opt {option} two dan"));
        assert!(error.contains(says), "{option}: {error}");
    }
    assert!(
        !world.ok("exec dan ip -o link").contains("eth2"),
        "nothing of it stays"
    );
}
