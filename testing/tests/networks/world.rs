//! A host in a network namespace, the engine on it, and the world outside:
//!
//! ```text
//! outside 203.0.113.1, 2001:db8::1 ── up0 203.0.113.2, 2001:db8::2 host ── containers
//! ```

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use havre_testing::{Surroundings, TestEngine, http, in_network_of};

pub(crate) struct World {
    // Ended before its namespace.
    pub(crate) engine: TestEngine,
    host: Namespace,
    outside: Namespace,
}

/// A network namespace, kept by a process that sleeps.
pub(crate) struct Namespace(Child);

impl Namespace {
    pub(crate) fn new() -> Self {
        let mut command = Command::new("unshare");
        command.args(["--net", "sleep", "600"]).stdin(Stdio::null());
        let namespace = Self(command.spawn().expect("unshare"));
        let own = fs_err::read_link("/proc/self/ns/net").expect("own namespace");
        havre_testing::eventually("the namespace is there", || {
            fs_err::read_link(namespace.path()).is_ok_and(|other| other != own)
        });
        // Addresses of links can be used at once.
        in_network_of(namespace.pid(), || {
            fs_err::write("/proc/sys/net/ipv6/conf/default/accept_dad", "0").expect("IPv6");
        });
        namespace.run("ip link set lo up");
        namespace
    }

    pub(crate) fn pid(&self) -> u64 {
        u64::from(self.0.id())
    }

    pub(crate) fn path(&self) -> String {
        format!("/proc/{}/ns/net", self.0.id())
    }

    /// Runs a command line in it, which must succeed; what it printed.
    pub(crate) fn run(&self, line: &str) -> String {
        let output = Command::new("nsenter")
            .arg(format!("--net={}", self.path()))
            .args(line.split(' '))
            .output()
            .expect("nsenter");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{line}: {text}{complaint}");
        text
    }

    /// What a web server says there.
    pub(crate) fn get(&self, address: &str) -> Option<String> {
        in_network_of(self.pid(), || get(address))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn get(address: &str) -> Option<String> {
    let answer = http::over_tcp(address, "GET", "/", Duration::from_millis(800)).ok()?;
    Some(answer.text().trim().to_owned())
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with_config("")
    }

    pub(crate) fn with_config(config: &str) -> Self {
        let (host, outside) = internet();
        let engine = TestEngine::amid(Surroundings {
            config: config.to_owned(),
            network: Some(host.path().into()),
            ..Surroundings::default()
        });
        engine.load(&havre_testing::Image::busybox(), "busybox");
        Self {
            engine,
            host,
            outside,
        }
    }

    pub(crate) fn ok(&self, words: impl havre_testing::Args) -> String {
        self.engine.ok(words)
    }

    /// A kernel built without has nothing to test; the virtual machine's has it.
    pub(crate) fn knows_ipvlan(&self) -> bool {
        let link = "ip link add try0 link up0 type ipvlan";
        let made = Command::new("nsenter")
            .arg(format!("--net={}", self.host.path()))
            .args(link.split(' '))
            .output()
            .expect("nsenter");
        if made.status.success() {
            self.host.run("ip link delete try0");
        }
        made.status.success()
    }

    /// What a web server says to the host itself.
    pub(crate) fn get(&self, address: &str) -> Option<String> {
        self.host.get(address)
    }

    /// What it says to somebody outside.
    pub(crate) fn get_outside(&self, address: &str) -> Option<String> {
        self.outside.get(address)
    }

    /// What it says to a container.
    pub(crate) fn get_from(&self, container: &str, address: &str) -> Option<String> {
        let pid = self.engine.inspect(container)["State"]["Pid"]
            .as_u64()
            .expect("a pid");
        in_network_of(pid, || get(address))
    }

    pub(crate) fn host(&self) -> &Namespace {
        &self.host
    }

    pub(crate) fn outside(&self) -> &Namespace {
        &self.outside
    }

    /// A container with a web server on port 80, in both families if it has both, that serves its name.
    pub(crate) fn web(&self, name: &str, flags: &str) {
        let script = format!("mkdir -p /www; echo {name} > /www/index.html; exec httpd -f -p 80 -h /www");
        let mut words: Vec<String> = ["run", "-d", "--name", name].map(str::to_owned).to_vec();
        words.extend(flags.split_whitespace().map(str::to_owned));
        words.extend(["busybox", "sh", "-c", &script].map(str::to_owned));
        self.ok(words);
        havre_testing::eventually("the web server listens", || {
            self.get_from(name, "127.0.0.1:80").as_deref() == Some(name)
        });
    }

    /// A container that does nothing.
    pub(crate) fn rest(&self, name: &str, flags: &str) {
        self.ok(format!("run -d --name {name} {flags} busybox sleep 1000"));
    }

    /// What `inspect` says of a container on a network.
    pub(crate) fn endpoint(&self, container: &str, network: &str) -> serde_json::Value {
        self.engine.inspect(container)["NetworkSettings"]["Networks"][network].clone()
    }

    pub(crate) fn address(&self, container: &str, network: &str) -> String {
        let address = self.endpoint(container, network)["IPAddress"].clone();
        address.as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn network(&self, name: &str) -> serde_json::Value {
        let shown = self.ok(format!("network inspect {name}"));
        serde_json::from_str::<serde_json::Value>(&shown).expect("JSON")[0].clone()
    }
}

/// Two namespaces with a cable between them.
pub(crate) fn internet() -> (Namespace, Namespace) {
    let (host, outside) = (Namespace::new(), Namespace::new());
    host.run(&format!(
        "ip link add up0 mtu 1400 type veth peer name out0 netns {}",
        outside.pid()
    ));
    for (namespace, device, last) in [(&host, "up0", 2), (&outside, "out0", 1)] {
        namespace.run(&format!("ip address add 203.0.113.{last}/24 dev {device}"));
        namespace.run(&format!("ip address add 2001:db8::{last}/64 dev {device} nodad"));
        namespace.run(&format!("ip link set {device} up"));
    }
    host.run("ip route add default via 203.0.113.1");
    host.run("ip route add default via 2001:db8::1");
    (host, outside)
}
