//! User-defined networks end to end: names, isolation, connections while running, what outlives the daemon. Needs root.

use std::time::Duration;

use havre_testing::{TestEngine, eventually, http};

fn run(engine: &TestEngine, name: &str, flags: &str) {
    engine.ok(format!("run -d --name {name} {flags} busybox sleep 1000"));
}

fn address(engine: &TestEngine, container: &str, network: &str) -> String {
    let address = engine.inspect(container)["NetworkSettings"]["Networks"][network]["IPAddress"].clone();
    address.as_str().unwrap_or_default().to_owned()
}

/// Whether one container reaches another by this name or address.
fn reaches(engine: &TestEngine, from: &str, to: &str) -> bool {
    engine.run(format!("exec {from} ping -c 1 -W 1 -q {to}")).code == 0
}

fn resolves(engine: &TestEngine, from: &str, name: &str) -> Vec<String> {
    let answer = engine.run(format!("exec {from} nslookup -type=a {name}"));
    let answer = String::from_utf8_lossy(&answer.stdout).into_owned();
    let mut found: Vec<_> = answer
        .lines()
        .skip_while(|line| !line.starts_with("Name:"))
        .filter_map(|line| line.strip_prefix("Address:"))
        .map(|address| address.trim().to_owned())
        .collect();
    found.sort();
    found
}

/// The time, and some seconds more, since 1970.
fn seconds(more: u64) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    (now.expect("a clock").as_secs() + more).to_string()
}

fn network(engine: &TestEngine, name: &str) -> serde_json::Value {
    let shown = engine.ok(format!("network inspect {name}"));
    serde_json::from_str::<serde_json::Value>(&shown).expect("JSON")[0].clone()
}

#[test]
fn containers_find_each_other_by_their_names() {
    let engine = TestEngine::with_busybox();
    let id = engine.ok("network create --label tier=back shop");
    assert_eq!(id.trim().len(), 64);
    run(&engine, "web", "--network shop");
    run(
        &engine,
        "db",
        "--network shop --network-alias store --network-alias Store2",
    );
    run(
        &engine,
        "spare",
        "--network shop --network-alias store --hostname spare.example",
    );
    let db = address(&engine, "db", "shop");
    for name in ["db", "DB", "store2", "db.shop", "spare"] {
        assert!(reaches(&engine, "web", name), "{name}");
    }
    assert_eq!(resolves(&engine, "web", "db"), std::slice::from_ref(&db));
    let mut both = vec![db.clone(), address(&engine, "spare", "shop")];
    both.sort();
    assert_eq!(resolves(&engine, "web", "store"), both);
    let short = engine.ok("ps -q --filter name=db");
    assert_eq!(resolves(&engine, "web", short.trim()), std::slice::from_ref(&db));
    let reverse = engine.ok(format!("exec web nslookup {db}"));
    assert!(reverse.contains("name = db.shop"), "{reverse}");
    let resolv = engine.ok("exec web cat /etc/resolv.conf");
    assert!(resolv.starts_with("nameserver 127.0.0.11\n"), "{resolv}");
    assert!(resolv.contains("ndots:0"), "{resolv}");

    let settings = engine.inspect("db")["NetworkSettings"]["Networks"]["shop"].clone();
    assert_eq!(settings["Aliases"], serde_json::json!(["store", "Store2"]));
    assert_eq!(
        settings["DNSNames"],
        serde_json::json!(["db", "store", "Store2", short.trim()])
    );
    assert_eq!(settings["NetworkID"], id.trim());
    let shown = network(&engine, "shop");
    assert_eq!(shown["Containers"].as_object().expect("containers").len(), 3);
    assert_eq!(shown["Labels"]["tier"], "back");
    assert_eq!(shown["Driver"], "bridge");

    engine.ok("rm -f spare");
    assert_eq!(resolves(&engine, "web", "store"), [db]);
    assert!(!reaches(&engine, "web", "spare"));
    let error = engine.fails(1, "network rm shop");
    assert!(error.contains("network shop has active endpoints"), "{error}");
    engine.ok("rm -f web db");
    engine.ok("network rm shop");
    assert!(
        engine
            .fails(1, "network inspect shop")
            .contains("network shop not found")
    );
}

#[test]
fn networks_are_apart_and_containers_move_between_them() {
    let engine = TestEngine::with_busybox();
    engine.ok("network create one");
    engine.ok("network create two");
    run(&engine, "ann", "--network one");
    run(&engine, "bob", "--network two");
    run(&engine, "cas", "");
    let (a, b, c) = (
        address(&engine, "ann", "one"),
        address(&engine, "bob", "two"),
        address(&engine, "cas", "bridge"),
    );
    for (from, to) in [("ann", &b), ("bob", &a), ("ann", &c), ("cas", &a)] {
        assert!(!reaches(&engine, from, to), "{from} {to}");
    }
    assert_eq!(resolves(&engine, "ann", "bob"), Vec::<String>::new());

    engine.ok("network connect --alias bee one bob");
    assert!(
        reaches(&engine, "ann", "bee") && reaches(&engine, "ann", "bob") && reaches(&engine, "bob", "ann")
    );
    let links = engine.ok("exec bob ip -o link");
    assert!(links.contains("eth1"), "{links}");
    let twice = engine.fails(1, "network connect one bob");
    assert!(
        twice.contains("endpoint with name bob already exists in network one"),
        "{twice}"
    );
    engine.ok("network disconnect one bob");
    assert!(!reaches(&engine, "ann", "bob") && !reaches(&engine, "bob", &a));
    assert!(!engine.ok("exec bob ip -o link").contains("eth1"));
    assert!(engine.inspect("bob")["NetworkSettings"]["Networks"]["one"].is_null());
    assert!(reaches(&engine, "bob", "bob"), "the other network is as it was");

    // One that had no names before gets them, and a way out again after it had none.
    engine.ok("network connect one cas");
    assert!(reaches(&engine, "cas", "ann") && reaches(&engine, "ann", "cas"));
    engine.ok("network disconnect bridge cas");
    let route = engine.ok("exec cas ip route");
    assert!(route.contains("default via"), "{route}");
    assert!(reaches(&engine, "cas", "ann"));

    // Connections of containers that rest are made when they start.
    engine.ok("create --name dan --network one busybox sleep 1000");
    engine.ok("network connect two dan");
    engine.ok("network disconnect one dan");
    engine.ok("start dan");
    assert!(reaches(&engine, "bob", "dan"));
    assert!(!reaches(&engine, "ann", "dan"));
    let not = engine.fails(1, "network disconnect one dan");
    assert!(not.contains("is not connected to network one"), "{not}");
}

#[test]
fn an_internal_network_has_no_way_out() {
    let engine = TestEngine::with_busybox();
    engine.ok("network create --internal cellar");
    run(&engine, "ann", "--network cellar");
    run(&engine, "bob", "--network cellar");
    run(&engine, "outside", "");
    assert!(reaches(&engine, "ann", "bob"));
    let route = engine.ok("exec ann ip route");
    assert!(!route.contains("default"), "{route}");
    let outside = address(&engine, "outside", "bridge");
    let gateway = network(&engine, "cellar")["IPAM"]["Config"][0]["Gateway"].clone();
    let gateway = gateway.as_str().expect("a gateway");
    // Even with a route nothing passes.
    run(&engine, "cas", "--cap-add NET_ADMIN --network cellar");
    engine.ok(format!("exec cas ip route add default via {gateway}"));
    assert!(!reaches(&engine, "cas", &outside));
    assert!(!reaches(&engine, "outside", &address(&engine, "ann", "cellar")));
}

#[test]
fn a_port_is_published_on_a_user_network_and_moves_with_the_way_out() {
    let engine = TestEngine::with_busybox();
    engine.ok("network create front");
    engine.ok("network create rear");
    engine.ok([
        "run",
        "-d",
        "--name",
        "web",
        "--network",
        "front",
        "-p",
        "127.0.0.1::80",
        "busybox",
        "sh",
        "-c",
        "mkdir /www; echo served > /www/index.html; exec httpd -f -p 80 -h /www",
    ]);
    let port = engine.ok("port web 80").trim().to_owned();
    let answers = || {
        let answer = http::over_tcp(&port, "GET", "/", Duration::from_millis(500));
        answer.is_ok_and(|answer| answer.text().trim() == "served")
    };
    eventually("the port answers", answers);
    engine.ok("network connect rear web");
    engine.ok("network disconnect front web");
    assert_eq!(engine.ok("port web 80").trim(), port, "the same port");
    eventually("the port answers on the other network", answers);
    engine.ok("network disconnect rear web");
    assert!(!answers(), "on no network");
}

#[test]
fn addresses_are_as_asked_for() {
    let engine = TestEngine::with_busybox();
    engine.ok(
        "network create --subnet 10.201.0.0/16 --ip-range 10.201.4.0/24 --gateway 10.201.0.9 \
         --aux-address router=10.201.4.0 -o com.docker.network.driver.mtu=1400 \
         -o com.docker.network.bridge.enable_icc=false planned",
    );
    let pool = network(&engine, "planned")["IPAM"]["Config"][0].clone();
    assert_eq!(
        pool,
        serde_json::json!({"Subnet": "10.201.0.0/16", "IPRange": "10.201.4.0/24", "Gateway": "10.201.0.9",
            "AuxiliaryAddresses": {"router": "10.201.4.0"}})
    );
    run(&engine, "first", "--network planned");
    run(
        &engine,
        "fixed",
        "--network planned --ip 10.201.7.7 --mac-address 02:42:00:00:00:07",
    );
    assert_eq!(address(&engine, "first", "planned"), "10.201.4.1");
    assert_eq!(address(&engine, "fixed", "planned"), "10.201.7.7");
    let link = engine.ok("exec fixed ip link show eth0");
    assert!(
        link.contains("mtu 1400") && link.contains("02:42:00:00:00:07"),
        "{link}"
    );
    assert!(!reaches(&engine, "first", "fixed"), "neighbours are kept apart");

    engine.ok("network create plain");
    for (command, says) in [
        (
            "run --rm --network planned --ip 10.201.7.7 busybox true",
            "already in use",
        ),
        (
            "run --rm --network planned --ip 10.9.0.1 busybox true",
            "no configured subnet",
        ),
        (
            "run --rm --network plain --ip 10.9.0.1 busybox true",
            "user configured subnets",
        ),
        (
            "run --rm --ip 172.17.0.9 busybox true",
            "user defined networks only",
        ),
        (
            "run --rm --network-alias x busybox true",
            "only supported for user-defined networks",
        ),
        (
            "run --rm --network nowhere busybox true",
            "network nowhere not found",
        ),
    ] {
        let failed = engine.run(command);
        assert_eq!(failed.code, 125, "{command}");
        let error = String::from_utf8_lossy(&failed.stderr);
        assert!(error.contains(says), "{command}: {error}");
    }
    for (command, says) in [
        ("network create plain", "network with name plain already exists"),
        (
            "network create bridge",
            "operation is not permitted on predefined bridge network",
        ),
        (
            "network create --subnet 10.201.9.0/24 x",
            "Pool overlaps with other one on this address space",
        ),
        (
            "network create --subnet 10.202.0.1/16 x",
            "it should be 10.202.0.0/16",
        ),
        ("network create -d overlay x", "it belongs to swarm"),
        (
            "network rm bridge",
            "bridge is a pre-defined network and cannot be removed",
        ),
        ("network rm nowhere", "network nowhere not found"),
        ("network connect host first", "host network"),
    ] {
        let error = engine.fails(1, command);
        assert!(error.contains(says), "{command}: {error}");
    }
    engine.ok("network rm -f nowhere");
    let first = network(&engine, "plain")["IPAM"]["Config"][0]["Subnet"].clone();
    engine.ok("network create another");
    assert_ne!(first, network(&engine, "another")["IPAM"]["Config"][0]["Subnet"]);
}

#[test]
fn unused_networks_are_pruned_and_events_tell() {
    let engine = TestEngine::with_busybox();
    let begin = seconds(0);
    engine.ok("network create --label keep=yes kept");
    engine.ok("network create used");
    engine.ok("network create unused");
    engine.ok("create --name resting --network used busybox true");
    let pruned = engine.ok("network prune -f --filter label!=keep=yes");
    assert_eq!(pruned, "Deleted Networks:\nunused");
    let listed = engine.ok("network ls --filter type=custom --format {{.Name}}");
    assert_eq!(listed, "kept\nused");
    engine.ok("start -a resting");
    let end = seconds(1);
    let events = engine.ok([
        "events",
        "--since",
        &begin,
        "--until",
        &end,
        "--filter",
        "type=network",
        "--filter",
        "event=create",
        "--filter",
        "event=destroy",
        "--filter",
        "event=connect",
        "--filter",
        "event=disconnect",
        "--format",
        "{{.Action}} {{.Actor.Attributes.name}} {{.Actor.Attributes.type}}",
    ]);
    let wanted = [
        "create kept bridge",
        "create used bridge",
        "create unused bridge",
        "destroy unused bridge",
        "connect used bridge",
        "disconnect used bridge",
    ];
    let told: Vec<_> = events.lines().filter(|line| !line.starts_with("prune")).collect();
    assert_eq!(told, wanted);
}

#[test]
fn names_and_networks_outlive_the_daemon() {
    let engine = TestEngine::with_busybox();
    engine.ok("network create lasting");
    engine.ok("network create idle");
    run(&engine, "ann", "--network lasting");
    run(
        &engine,
        "bob",
        "--network lasting --network-alias bee --restart always",
    );
    let before = network(&engine, "lasting");
    let pid = engine.inspect("ann")["State"]["Pid"].as_u64().expect("a pid");
    let asks = |name: &str| {
        let words = [
            "-t",
            &pid.to_string(),
            "-n",
            "-m",
            "ping",
            "-c",
            "1",
            "-W",
            "1",
            "-q",
            name,
        ]
        .map(str::to_owned);
        std::process::Command::new("nsenter")
            .args(words)
            .output()
            .is_ok_and(|output| output.status.success())
    };
    assert!(asks("bee"));
    engine.kill_daemon();
    assert!(asks("bee"), "without a daemon");
    engine.start_daemon();
    assert_eq!(network(&engine, "lasting"), before);
    assert!(reaches(&engine, "ann", "bee"));
    run(&engine, "cas", "--network lasting");
    assert!(reaches(&engine, "ann", "cas"), "and new ones join");
    assert_ne!(
        address(&engine, "cas", "lasting"),
        address(&engine, "bob", "lasting")
    );
    engine.ok("rm -f ann cas");
    engine.ok("stop -t 0 bob");
    engine.stop_daemon();
    engine.start_daemon();
    eventually("the container is back", || {
        engine.inspect("bob")["State"]["Running"] == true
    });
    let error = engine.fails(1, "network rm lasting");
    assert!(error.contains("active endpoints"), "{error}");
    engine.ok("rm -f bob");
    engine.ok("network rm lasting idle");
}

#[test]
fn other_names_are_asked_elsewhere() {
    let engine = TestEngine::with_busybox();
    engine.ok("network create shop");
    let gateway = network(&engine, "shop")["IPAM"]["Config"][0]["Gateway"].clone();
    let gateway = gateway.as_str().expect("a gateway");
    let server = std::net::UdpSocket::bind((gateway, 53)).expect("a server on the host's side");
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
    run(&engine, "client", &format!("--network shop --dns {gateway}"));
    assert_eq!(resolves(&engine, "client", "far.example"), ["192.0.2.7"]);
    let own = address(&engine, "client", "shop");
    assert_eq!(resolves(&engine, "client", "client"), [own]);
}
