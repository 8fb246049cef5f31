//! Published ports in both families.

use std::net::UdpSocket;
use std::time::Duration;

use havre_testing::{eventually, in_network_of};
use serde_json::json;

use crate::world::World;

#[test]
fn a_port_is_published_in_both_families() {
    let world = World::new();
    world.ok("network create --ipv6 six");
    world.web("four", "-p 8080:80");
    world.web("both", "--network six -p 8081:80");
    for (name, port) in [("four", 8080), ("both", 8081)] {
        assert_eq!(
            world.ok(format!("port {name}")),
            format!("80/tcp -> 0.0.0.0:{port}\n80/tcp -> [::]:{port}")
        );
        assert_eq!(
            world.engine.inspect(name)["NetworkSettings"]["Ports"]["80/tcp"],
            json!([{"HostIp": "0.0.0.0", "HostPort": port.to_string()}, {"HostIp": "::", "HostPort": port.to_string()}])
        );
        let listed = world.ok(format!("ps --filter name={name} --format {{{{.Ports}}}}"));
        assert_eq!(
            listed.trim(),
            format!("0.0.0.0:{port}->80/tcp, [::]:{port}->80/tcp")
        );
        for address in ["127.0.0.1", "[::1]", "203.0.113.2", "[2001:db8::2]"] {
            let address = format!("{address}:{port}");
            assert_eq!(world.get(&address).as_deref(), Some(name), "{address}");
        }
        for address in ["203.0.113.2", "[2001:db8::2]"] {
            let address = format!("{address}:{port}");
            assert_eq!(world.get_outside(&address).as_deref(), Some(name), "{address}");
        }
    }
    let taken = world.engine.fails(125, "run --rm -p 8080:80 busybox true");
    assert!(taken.contains("port is already allocated"), "{taken}");
    let taken = world.engine.fails(125, "run --rm -p [::1]:8080:80 busybox true");
    assert!(
        taken.contains("Bind for [::1]:8080 failed: port is already allocated"),
        "{taken}"
    );

    // Nobody is missed who answers.
    world.engine.kill_daemon();
    for address in ["[::1]:8080", "[2001:db8::2]:8080", "[::1]:8081", "127.0.0.1:8081"] {
        assert!(world.get(address).is_some(), "{address} without a daemon");
    }
    world.engine.start_daemon();
    for address in ["[::1]:8080", "[2001:db8::2]:8080", "[::1]:8081", "127.0.0.1:8081"] {
        assert!(world.get(address).is_some(), "{address} with the next daemon");
    }
    world.ok("restart -t 0 four");
    eventually("the same port after a restart", || {
        world.get("[::1]:8080").as_deref() == Some("four")
    });
    world.ok("rm -f four both");
    for address in ["127.0.0.1:8080", "[::1]:8080", "[2001:db8::2]:8081"] {
        assert_eq!(world.get(address), None, "{address} after the end");
    }
}

#[test]
fn a_port_of_one_address_is_only_there() {
    let world = World::new();
    world.ok("network create --ipv6 six");
    world.web("four", "-p [::1]:8080:80 -p 203.0.113.2:8082:80");
    world.web("both", "--network six -p [::1]:8081:80 -p [2001:db8::2]:8083:80");
    assert_eq!(world.ok("port four 80"), "[::1]:8080\n203.0.113.2:8082");
    assert_eq!(world.get("[::1]:8080").as_deref(), Some("four"));
    assert_eq!(world.get("[::1]:8081").as_deref(), Some("both"));
    assert_eq!(world.get_outside("[2001:db8::2]:8083").as_deref(), Some("both"));
    assert_eq!(world.get_outside("203.0.113.2:8082").as_deref(), Some("four"));
    for elsewhere in [
        "127.0.0.1:8080",
        "[2001:db8::2]:8080",
        "[::1]:8083",
        "127.0.0.1:8082",
        "[2001:db8::2]:8082",
    ] {
        assert_eq!(world.get(elsewhere), None, "{elsewhere}");
    }
    let bad = world
        .engine
        .fails(125, "run --rm -p [fe80::nope]:80:80 busybox true");
    assert!(bad.contains("fe80::nope"), "{bad}");
    let foreign = world
        .engine
        .fails(125, "run --rm -p [2001:db8::77]:80:80 busybox true");
    assert!(
        foreign.contains("failed to bind host port [2001:db8::77]:80/tcp"),
        "{foreign}"
    );
}

#[test]
fn a_chosen_port_is_the_same_in_both_families() {
    let world = World::new();
    world.web("web", "-p 80 -P --expose 81");
    let ports = world.engine.inspect("web")["NetworkSettings"]["Ports"].clone();
    for port in ["80/tcp", "81/tcp"] {
        let bindings = ports[port].as_array().expect("bindings");
        assert_eq!(bindings.len(), 2, "{ports}");
        assert_eq!(bindings[0]["HostPort"], bindings[1]["HostPort"]);
    }
    let port = ports["80/tcp"][0]["HostPort"].as_str().expect("a port");
    assert_eq!(world.get(&format!("[::1]:{port}")).as_deref(), Some("web"));
}

/// Answers every datagram at port 53 of a container with itself, in both families.
fn echo(world: &World, container: &str) {
    let pid = world.engine.inspect(container)["State"]["Pid"]
        .as_u64()
        .expect("a pid");
    let server = in_network_of(pid, || UdpSocket::bind("[::]:53")).expect("server");
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((length, from)) = server.recv_from(&mut buffer) {
            let _ = server.send_to(&buffer[..length], from);
        }
    });
}

#[test]
fn datagrams_are_published_in_both_families() {
    let world = World::new();
    world.ok("network create --ipv6 six");
    for (name, flags, port) in [("four", "", 5300), ("both", "--network six", 5301)] {
        world.rest(name, &format!("{flags} -p {port}:53/udp"));
        echo(&world, name);
        for (own, address) in [
            ("127.0.0.1:0", "127.0.0.1"),
            ("[::1]:0", "[::1]"),
            ("[2001:db8::2]:0", "[2001:db8::2]"),
        ] {
            let answer = in_network_of(world.host().pid(), || {
                let socket = UdpSocket::bind(own).expect("socket");
                socket
                    .set_read_timeout(Some(Duration::from_secs(2)))
                    .expect("patience");
                socket.connect(format!("{address}:{port}")).expect("address");
                let mut buffer = [0; 16];
                // Twice: what has been asked once is remembered.
                for _ in 0..2 {
                    socket.send(b"hello").expect("sent");
                    let length = socket.recv(&mut buffer)?;
                    assert_eq!(&buffer[..length], b"hello");
                }
                Ok::<_, std::io::Error>(())
            });
            answer.unwrap_or_else(|error| panic!("{name} at {address}: {error}"));
        }
    }
}

#[test]
fn ports_go_along_when_the_way_out_moves() {
    let world = World::new();
    world.ok("network create four");
    world.ok("network create --ipv6 six");
    world.web("web", "--network four -p 8080:80");
    let everywhere = |what: &str| {
        for address in [
            "127.0.0.1:8080",
            "[::1]:8080",
            "203.0.113.2:8080",
            "[2001:db8::2]:8080",
        ] {
            assert_eq!(world.get(address).as_deref(), Some("web"), "{address} {what}");
        }
    };
    everywhere("at first");
    world.ok("network connect six web");
    world.ok("network disconnect four web");
    everywhere("on the network with IPv6");
    world.ok("network connect four web");
    world.ok("network disconnect six web");
    everywhere("on the network without");
    world.ok("network disconnect four web");
    assert_eq!(world.get("[::1]:8080"), None);
    assert_eq!(world.get("127.0.0.1:8080"), None);
    world.ok("network connect six web");
    world.ok("restart -t 0 web");
    eventually("published again", || world.get("[2001:db8::2]:8080").is_some());
    everywhere("after all that");
}
