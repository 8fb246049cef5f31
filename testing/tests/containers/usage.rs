//! What containers use: the numbers are true, and the table follows what starts and stops.

use std::time::{Duration, Instant};

use havre_testing::{TestEngine, eventually};
use serde_json::Value;

/// Holds 32 MB, and works as much as it may.
const WORKER: &str =
    "dd if=/dev/zero of=/dev/shm/held bs=1M count=32 2>/dev/null; echo ready; while :; do :; done";

fn json(engine: &TestEngine, target: &str) -> Value {
    let answer = engine.api("GET", target).expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
    serde_json::from_slice(&answer.body).expect("JSON")
}

/// The number before the unit, and the unit.
fn amount(text: &str) -> (f64, String) {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    (text[..end].parse().expect(text), text[end..].to_owned())
}

#[test]
fn numbers_are_true() {
    let engine = TestEngine::with_busybox();
    let limits = "run -d --name worker --cpus 0.5 -m 256m --pids-limit 20 busybox sh -c";
    let mut words: Vec<String> = limits.split(' ').map(str::to_owned).collect();
    words.push(WORKER.to_owned());
    engine.ok(words);
    eventually("it holds its memory", || engine.ok("logs worker") == "ready");

    let stats = json(&engine, "/containers/worker/stats?stream=0");
    let number = |pointer: &str| {
        stats
            .pointer(pointer)
            .and_then(Value::as_u64)
            .unwrap_or_else(|| panic!("{pointer}: {stats}"))
    };
    let (usage, before) = (
        number("/cpu_stats/cpu_usage/total_usage"),
        number("/precpu_stats/cpu_usage/total_usage"),
    );
    let passed = number("/cpu_stats/system_cpu_usage") - number("/precpu_stats/system_cpu_usage");
    let cpus = number("/cpu_stats/online_cpus");
    let share = (usage - before) as f64 / passed as f64 * cpus as f64;
    // Half a processor at most; what is less is left to a busy machine.
    assert!((0.05..0.65).contains(&share), "{share}: {stats}");
    assert!(
        number("/cpu_stats/throttling_data/throttled_periods") > 0,
        "{stats}"
    );
    assert_eq!(number("/memory_stats/limit"), 256 << 20);
    assert!(
        (32 << 20..200 << 20).contains(&number("/memory_stats/usage")),
        "{stats}"
    );
    assert_eq!(number("/pids_stats/limit"), 20);
    assert_eq!(number("/pids_stats/current"), 1);
    assert!(stats["networks"]["eth0"]["tx_bytes"].is_u64(), "{stats}");
    assert_eq!(stats["name"], "/worker");
    let v2 = std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    let inactive = if v2 {
        "inactive_file"
    } else {
        "total_inactive_file"
    };
    assert!(stats["memory_stats"]["stats"][inactive].is_u64(), "{stats}");
    assert_eq!(stats["cpu_stats"]["cpu_usage"]["percpu_usage"].is_array(), !v2);
    assert!(stats["read"].as_str() > stats["preread"].as_str(), "{stats}");

    let shown: Value =
        serde_json::from_str(&engine.ok("stats --no-stream --format json worker")).expect("JSON");
    let cpu = amount(shown["CPUPerc"].as_str().expect("text")).0;
    assert!((5.0..65.0).contains(&cpu), "{shown}");
    let memory = shown["MemUsage"].as_str().expect("text");
    let (used, limit) = memory.split_once(" / ").expect(memory);
    let (used, unit) = amount(used);
    assert!(
        (32.0..60.0).contains(&used) && unit == "MiB" && limit == "256MiB",
        "{memory}"
    );
    assert_eq!(shown["PIDs"], "1");
    assert_eq!(shown["Name"], "worker");

    // Bytes that come over the network are counted.
    let before = json(&engine, "/containers/worker/stats?stream=0&one-shot=1");
    let address = engine.inspect("worker")["NetworkSettings"]["Networks"]["bridge"]["IPAddress"].clone();
    let ping = format!(
        "run --rm busybox ping -c 3 -i 0.2 -s 1000 {}",
        address.as_str().expect("an address")
    );
    engine.ok(ping);
    let after = json(&engine, "/containers/worker/stats?stream=0&one-shot=1");
    let received = |stats: &Value| stats["networks"]["eth0"]["rx_bytes"].as_u64().expect("a number");
    assert!(received(&after) >= received(&before) + 3000, "{before} {after}");
    assert_eq!(
        after["preread"], "0001-01-01T00:00:00Z",
        "one shot compares with nothing"
    );
    engine.ok("rm -f worker");
}

#[test]
fn what_stands_uses_nothing() {
    let engine = TestEngine::with_busybox();
    engine.ok("run --name done busybox true");
    let stats = json(&engine, "/containers/done/stats?stream=0");
    assert_eq!(stats["read"], "0001-01-01T00:00:00Z");
    assert_eq!(stats["memory_stats"], serde_json::json!({}));
    assert_eq!(stats["cpu_stats"]["cpu_usage"]["total_usage"], 0);
    let id = stats["id"].as_str().expect("an id").to_owned();
    let table = engine.ok("stats --no-stream -a");
    let row: Vec<_> = table.lines().nth(1).expect("a row").split_whitespace().collect();
    assert_eq!(
        row.join(" "),
        format!("{} done 0.00% 0B / 0B 0.00% 0B / 0B 0B / 0B 0", &id[..12])
    );
    let head: Vec<_> = table
        .lines()
        .next()
        .expect("a head")
        .split("  ")
        .map(str::trim)
        .filter(|cell| !cell.is_empty())
        .collect();
    assert_eq!(
        head,
        [
            "CONTAINER ID",
            "NAME",
            "CPU %",
            "MEM USAGE / LIMIT",
            "MEM %",
            "NET I/O",
            "BLOCK I/O",
            "PIDS"
        ]
    );
    assert_eq!(
        engine.ok("stats --no-stream --format {{.Name}}"),
        "",
        "only what runs"
    );
    assert_eq!(
        engine.ok("stats --no-stream --no-trunc --format {{.ID}} done"),
        id
    );
    let unknown = engine.fails(1, "stats --no-stream done nobody");
    assert!(unknown.contains("No such container: nobody"), "{unknown}");
    let both = engine
        .api("GET", "/containers/done/stats?stream=1&one-shot=1")
        .expect("an answer");
    assert_eq!(both.status, 400, "{}", both.text());
    let absent = engine.api("GET", "/containers/nobody/stats").expect("an answer");
    assert_eq!(absent.status, 404, "{}", absent.text());
}

#[test]
fn the_table_follows_what_starts_and_stops() {
    let engine = TestEngine::with_busybox();
    engine.ok("run -d --name first busybox sleep 100");
    let mut stream = engine.cmd(["stats", "--format", "[{{.Name}}]"]).spawn();
    stream.wait_for("[first]");
    engine.ok("run -d --name second busybox sleep 100");
    stream.wait_for("[second]");
    engine.ok("rm -f first");
    let patience = Instant::now() + Duration::from_secs(20);
    loop {
        let seen = stream.stdout();
        let last: Vec<_> = seen.lines().rev().take(3).collect();
        if last == ["[second]"; 3] {
            break;
        }
        assert!(Instant::now() < patience, "the removed one stays: {last:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
    stream.signal(rustix::process::Signal::INT);
    let ended = stream.finish();
    assert!(!ended.out().contains('\u{1b}'), "nothing for terminals in a pipe");
}

#[test]
fn a_stream_ends_with_its_container() {
    let engine = TestEngine::with_busybox();
    engine.ok("run -d --name box busybox sleep 100");
    std::thread::scope(|scope| {
        let answer = scope.spawn(|| engine.api("GET", "/containers/box/stats").expect("an answer"));
        std::thread::sleep(Duration::from_millis(2500));
        engine.ok("stop -t 0 box");
        std::thread::sleep(Duration::from_millis(1500));
        engine.ok("rm box");
        let text = answer.join().expect("no panic").text();
        let lines: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).expect(line))
            .collect();
        assert!(lines.len() >= 3, "{text}");
        assert!(lines[0]["precpu_stats"]["system_cpu_usage"].is_null());
        assert_eq!(lines[1]["preread"], lines[0]["read"]);
        assert_eq!(lines[lines.len() - 1]["read"], "0001-01-01T00:00:00Z", "{text}");
    });
}
