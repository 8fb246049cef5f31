//! The default bridge, published ports and name resolution, end to end. Needs root.

use std::net::{TcpListener, UdpSocket};
use std::time::Duration;

use havre_testing::{TestEngine, eventually, http, in_network_of};

/// A container with a web server on port 80 that serves its name.
fn web(engine: &TestEngine, name: &str, flags: &str) {
    let script = format!("mkdir -p /www; echo {name} > /www/index.html; exec httpd -f -p 80 -h /www");
    let mut words: Vec<String> = ["run", "-d", "--name", name].map(str::to_owned).to_vec();
    words.extend(flags.split_whitespace().map(str::to_owned));
    words.extend(["busybox", "sh", "-c", &script].map(str::to_owned));
    engine.ok(words);
}

fn get(address: &str) -> Option<String> {
    let answer = http::over_tcp(address, "GET", "/", Duration::from_millis(500)).ok()?;
    Some(answer.text().trim().to_owned())
}

/// A second container's view.
fn get_from(engine: &TestEngine, container: &str, address: &str) -> Option<String> {
    let pid = engine.inspect(container)["State"]["Pid"].as_u64().expect("a pid");
    in_network_of(pid, || get(address))
}

fn own_address() -> String {
    // No packet is sent: connecting a datagram socket only asks for the route.
    let socket = UdpSocket::bind("0.0.0.0:0").expect("socket");
    socket.connect("192.0.2.250:9").expect("a route");
    socket.local_addr().expect("address").ip().to_string()
}

#[test]
fn a_container_has_an_address_on_the_bridge() {
    let engine = TestEngine::with_busybox();
    engine.ok("run -d --name box busybox sleep 100");
    let settings = engine.inspect("box")["NetworkSettings"].clone();
    let bridge = settings["Networks"]["bridge"].clone();
    let ip = bridge["IPAddress"].as_str().expect("an address").to_owned();
    let gateway = bridge["Gateway"].as_str().expect("a gateway").to_owned();
    assert!(ip != gateway && !ip.is_empty(), "{settings}");
    let inside = engine.ok(["exec", "box", "sh", "-c", "ip -4 -o addr show eth0; ip route"]);
    assert!(inside.contains(&format!("inet {ip}/16")), "{inside}");
    assert!(
        inside.contains(&format!("default via {gateway} dev eth0")),
        "{inside}"
    );
    assert_eq!(
        engine
            .ok(format!("run --rm busybox ping -c 1 -W 2 -q {ip}"))
            .lines()
            .filter(|line| line.contains(" 0% packet loss"))
            .count(),
        1
    );
    engine.ok(format!("exec box ping -c 1 -W 2 {gateway}"));
    let names = engine.ok("exec box cat /etc/hosts");
    let id = engine.ok("ps -q");
    assert!(names.contains(&format!("{ip}\t{id}")), "{names}");
    assert!(names.starts_with("127.0.0.1\tlocalhost\n"), "{names}");
    engine.ok("stop -t 0 box");
    assert_eq!(
        engine.inspect("box")["NetworkSettings"]["Networks"]["bridge"]["IPAddress"],
        ""
    );
}

#[test]
fn published_ports_are_reached() {
    let engine = TestEngine::with_busybox();
    web(&engine, "web", "-p 127.0.0.1::80 -p 80/tcp");
    let ports = engine.ok("port web");
    let mut addresses: Vec<&str> = ports
        .lines()
        .filter_map(|line| line.split_once(" -> "))
        .map(|(_, to)| to)
        .collect();
    addresses.retain(|address| !address.starts_with('['));
    assert_eq!(addresses.len(), 2, "{ports}");
    for address in &addresses {
        let port = address.rsplit(':').next().expect("a port");
        let local = format!("127.0.0.1:{port}");
        eventually("the port answers on localhost", || {
            get(&local).as_deref() == Some("web")
        });
    }
    let every = addresses
        .iter()
        .find(|address| address.starts_with("0.0.0.0"))
        .expect("one on all addresses");
    let port = every.rsplit(':').next().expect("a port");
    assert_eq!(
        get(&format!("{}:{port}", own_address())).as_deref(),
        Some("web"),
        "on another address"
    );
    let gateway = engine.inspect("web")["NetworkSettings"]["Networks"]["bridge"]["Gateway"]
        .as_str()
        .expect("gateway")
        .to_owned();
    engine.ok("run -d --name neighbour busybox sleep 100");
    let seen = get_from(&engine, "neighbour", &format!("{gateway}:{port}"));
    assert_eq!(seen.as_deref(), Some("web"), "from another container");
    let own = get_from(&engine, "web", &format!("{gateway}:{port}"));
    assert_eq!(own.as_deref(), Some("web"), "from itself");
    engine.ok("rm -f web");
    eventually("the port is closed", || {
        get(&format!("127.0.0.1:{port}")).is_none()
    });
}

#[test]
fn a_port_is_shown_as_docker_shows_it() {
    let engine = TestEngine::with_busybox();
    let free = TcpListener::bind("127.0.0.1:0")
        .expect("a port")
        .local_addr()
        .expect("address")
        .port();
    web(&engine, "web", &format!("-p {free}:80 --expose 99"));
    let shown = engine.ok(["ps", "--format", "{{.Ports}}"]);
    assert!(
        shown.starts_with("99/tcp, ") && shown.contains(&format!("0.0.0.0:{free}->80/tcp")),
        "{shown}"
    );
    assert_eq!(
        engine.ok("port web 80").lines().next(),
        Some(format!("0.0.0.0:{free}").as_str())
    );
    let unknown = engine.fails(1, "port web 81");
    assert!(unknown.to_lowercase().contains("no public port '81"), "{unknown}");
    engine.ok("restart -t 0 web");
    eventually("the same port after a restart", || {
        get(&format!("127.0.0.1:{free}")).as_deref() == Some("web")
    });
}

#[test]
fn all_exposed_ports_are_published() {
    let engine = TestEngine::with_busybox();
    web(&engine, "web", "-P --expose 80 --expose 53/udp");
    let ports = engine.ok("port web");
    assert!(
        ports.contains("80/tcp -> 0.0.0.0:") && ports.contains("53/udp -> 0.0.0.0:"),
        "{ports}"
    );
}

#[test]
fn a_range_of_ports() {
    let engine = TestEngine::with_busybox();
    let base = 20_000 + std::process::id() % 20_000;
    web(&engine, "one", &format!("-p 127.0.0.1:{base}-{}:80", base + 5));
    web(&engine, "two", &format!("-p 127.0.0.1:{base}-{}:80", base + 5));
    let port = |name: &str| {
        engine
            .ok(format!("port {name} 80"))
            .rsplit(':')
            .next()
            .and_then(|port| port.parse::<u32>().ok())
            .expect("a port")
    };
    assert!(port("one") < port("two") && port("two") <= base + 5);
}

#[test]
fn udp_is_published() {
    let engine = TestEngine::with_busybox();
    engine.ok("run -d --name echo -p 127.0.0.1::7000/udp busybox sleep 100");
    let pid = engine.inspect("echo")["State"]["Pid"].as_u64().expect("a pid");
    let server = in_network_of(pid, || UdpSocket::bind("0.0.0.0:7000").expect("socket"));
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((length, from)) = server.recv_from(&mut buffer) {
            let _ = server.send_to(&buffer[..length], from);
        }
    });
    let address = engine.ok("port echo 7000/udp");
    eventually("a datagram comes back", || {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("socket");
        socket
            .set_read_timeout(Some(Duration::from_millis(300)))
            .expect("timeout");
        socket.send_to(b"ping", &address).is_ok() && socket.recv(&mut [0; 16]).is_ok_and(|length| length == 4)
    });
}

#[test]
fn a_port_in_use_is_refused() {
    let engine = TestEngine::with_busybox();
    let program = TcpListener::bind("0.0.0.0:0").expect("a port");
    let port = program.local_addr().expect("address").port();
    let refused = engine.fails(125, format!("run -d --name aa -p {port}:80 busybox sleep 100"));
    assert!(
        refused.contains("driver failed programming external connectivity on endpoint aa ("),
        "{refused}"
    );
    assert!(refused.contains("address already in use"), "{refused}");
    drop(program);
    engine.ok("rm aa");
    engine.ok(format!("run -d --name bb -p {port}:80 busybox sleep 100"));
    let refused = engine.fails(125, format!("run -d --name cc -p {port}:80 busybox sleep 100"));
    assert!(
        refused.contains(&format!(
            "Bind for 0.0.0.0:{port} failed: port is already allocated"
        )),
        "{refused}"
    );
    assert_eq!(
        engine.inspect("cc")["State"]["Status"],
        "created",
        "it stays, and does not run"
    );
    engine.ok("rm -f bb");
    engine.ok("start cc");
    let invalid = engine.fails(125, "run --rm -p 70000:80 busybox true");
    assert!(invalid.contains("70000"), "{invalid}");
}

#[test]
fn no_network_at_all() {
    let engine = TestEngine::with_busybox();
    let inside = engine.ok("run --rm --network none busybox ip -o addr");
    assert!(
        inside.contains("127.0.0.1/8") && !inside.contains("eth0"),
        "{inside}"
    );
}

#[test]
fn the_hosts_network() {
    let engine = TestEngine::with_busybox();
    let port = TcpListener::bind("127.0.0.1:0")
        .expect("a port")
        .local_addr()
        .expect("address")
        .port();
    engine.ok([
        "run",
        "-d",
        "--name",
        "web",
        "--network",
        "host",
        "busybox",
        "sh",
        "-c",
        &format!("echo hosted > /tmp/index.html; exec httpd -f -p 127.0.0.1:{port} -h /tmp"),
    ]);
    eventually("it listens on the host", || {
        get(&format!("127.0.0.1:{port}")).as_deref() == Some("hosted")
    });
    let name = fs_err::read_to_string("/proc/sys/kernel/hostname").expect("hostname");
    assert_eq!(engine.ok("run --rm --network host busybox hostname"), name.trim());
}

#[test]
fn another_containers_network() {
    let engine = TestEngine::with_busybox();
    web(&engine, "web", "");
    engine.ok("run -d --name side --network container:web busybox sleep 100");
    assert_eq!(get_from(&engine, "side", "127.0.0.1:80").as_deref(), Some("web"));
    let ip = engine.inspect("web")["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
        .as_str()
        .expect("ip")
        .to_owned();
    assert!(
        engine
            .ok("run --rm --network container:web busybox ip -o -4 addr")
            .contains(&ip)
    );
    let ports = engine.fails(125, "run --rm --network container:web -p 80:80 busybox true");
    assert!(
        ports.contains("conflicting options: port publishing and the container type network mode"),
        "{ports}"
    );
    let unknown = engine.fails(125, "run --rm --network container:nosuch busybox true");
    assert!(unknown.contains("No such container: nosuch"), "{unknown}");
    let network = engine.fails(125, "run --rm --network nosuch busybox true");
    assert!(network.contains("network nosuch not found"), "{network}");
}

#[test]
fn names_are_resolved_as_the_user_says() {
    let engine = TestEngine::with_busybox();
    let text = engine.ok("run --rm --dns 10.11.12.13 --dns-search example.com --dns-option ndots:3 busybox cat /etc/resolv.conf");
    let mut lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        ["nameserver 10.11.12.13", "options ndots:3", "search example.com"]
    );
    let hosts = engine.ok("run --rm --add-host db:10.9.8.7 busybox cat /etc/hosts");
    assert!(hosts.contains("10.9.8.7\tdb"), "{hosts}");
    let servers = engine.ok("run --rm busybox grep nameserver /etc/resolv.conf");
    assert!(!servers.contains("127.0.0."), "{servers}");
}

#[test]
fn the_networks_are_listed() {
    let engine = TestEngine::with_busybox();
    let list = engine.ok(["network", "ls", "--format", "{{.Name}} {{.Driver}} {{.Scope}}"]);
    assert_eq!(list, "bridge bridge local\nhost host local\nnone null local");
    engine.ok("run -d --name box busybox sleep 100");
    let bridge = engine.ok("network inspect bridge");
    assert!(
        bridge.contains("\"Name\": \"box\"") && bridge.contains("\"Subnet\""),
        "{bridge}"
    );
    let unknown = engine.fails(1, "network inspect nosuch");
    assert!(unknown.contains("network nosuch not found"), "{unknown}");
}
