//! Bad lines between the engine and a registry: packets that are lost, a megabyte a second, and connections that are cut on top.
//!
//! In a network namespace of its own the loopback is made so: its rate by the kernel's token bucket (`tc … tbf`), the losses by
//! the firewall, which drops one packet in twenty at random (the kernel's own emulator, netem, is not everywhere).

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};

use havre_testing::{
    Action, Compression, Image, Layer, Registry, TestEngine, eventually, http, in_network_of,
};
use serde_json::Value;

/// A network namespace whose loopback is a bad line, as long as this lives.
struct Line(Child);

impl Line {
    fn new() -> Self {
        let mut command = Command::new("unshare");
        command.args(["--net", "sleep", "600"]).stdin(Stdio::null());
        let line = Self(command.spawn().expect("unshare"));
        let own = fs_err::read_link("/proc/self/ns/net").expect("own namespace");
        let path = format!("/proc/{}/ns/net", line.0.id());
        eventually("the namespace is there", || {
            fs_err::read_link(&path).is_ok_and(|other| other != own)
        });
        for words in [
            "ip link set lo mtu 1500 up",
            "tc qdisc add dev lo root tbf rate 8mbit burst 64k latency 400ms",
            "nft add table inet losses",
            "nft add chain inet losses output { type filter hook output priority 0 ; }",
            "nft add rule inet losses output oif lo numgen random mod 20 == 0 drop",
        ] {
            let output = Command::new("nsenter")
                .arg(format!("--net={path}"))
                .args(words.split(' '))
                .output()
                .expect("nsenter");
            assert!(
                output.status.success(),
                "{words}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        line
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a pull tells is true: of no layer more than there is, never less than before, and everything at the end.
fn assert_honest(lines: &str, sizes: &[u64]) {
    let mut seen: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    let mut steps = 0;
    for line in lines.lines().filter(|line| !line.trim().is_empty()) {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(line["error"].is_null(), "{line}");
        if line["status"] != "Downloading" {
            continue;
        }
        let detail = &line["progressDetail"];
        let (Some(current), Some(total)) = (detail["current"].as_u64(), detail["total"].as_u64()) else {
            continue;
        };
        let id = line["id"].as_str().expect("an id").to_owned();
        let (before, whole) = *seen.entry(id).or_insert((0, total));
        assert!(
            current >= before && current <= total && total == whole,
            "{before} of {whole}, then {line}"
        );
        assert!(sizes.contains(&total), "{line}: the layers have {sizes:?}");
        seen.insert(
            line["id"].as_str().unwrap_or_default().to_owned(),
            (current, total),
        );
        steps += 1;
    }
    assert!(steps >= sizes.len(), "it tells how far it is: {lines}");
    assert!(lines.contains("Status: Downloaded newer image"), "{lines}");
}

#[test]
fn an_image_comes_whole_over_a_bad_line() {
    let line = Line::new();
    in_network_of(u64::from(line.0.id()), || {
        let (engine, registry) = (TestEngine::start(), Registry::start());
        let layers = [Layer::noise(1, 1_500_000), Layer::noise(2, 700_000)];
        let sizes = layers.clone().map(|layer| layer.tar().len() as u64);
        let image = Image::from_layers(layers.clone());
        for (tag, cuts) in [("plain", 0), ("cut", 5)] {
            registry.publish("team/app", tag, &image, Compression::None);
            // Several in a row, each a little further.
            registry.fail("GET", "/blobs/", Some(cuts), Action::CutAfter(150_000));
            let name = registry.name("team/app");
            let target = format!("/images/create?fromImage={name}&tag={tag}");
            let pulled = http::over_unix(engine.socket(), "POST", &target, "application/json", b"")
                .expect("an answer");
            assert_eq!(pulled.status, 200, "{}", pulled.text());
            assert_honest(&pulled.text(), &sizes);
            let found = engine.inspect(&format!("{name}:{tag}"));
            let diff_ids: Vec<String> = layers
                .iter()
                .map(|layer| havre_testing::digest_of(&layer.tar()))
                .collect();
            assert_eq!(found["RootFS"]["Layers"], Value::from(diff_ids), "byte for byte");
            engine.ok("system check -q");
            engine.ok(["rmi", &format!("{name}:{tag}")]);
        }
        let asked = registry.seen("GET", "/blobs/");
        // One of the cuts falls on the configuration, which is shorter than that.
        let ranges = asked
            .iter()
            .filter(|request| request.header("range").is_some())
            .count();
        assert!(
            ranges >= 4,
            "what had come was not asked for again: {ranges} of {}",
            asked.len()
        );
    });
}
