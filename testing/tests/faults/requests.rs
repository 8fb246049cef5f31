//! Requests of every malformed kind. The engine answers each with a status of the client's mistake and goes on.

use std::io::{BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use havre_testing::{TestEngine, http};
use serde_json::{Value, json};

/// Bodies that are right: what is wrong is made of them.
const BODIES: &str = include_str!("../../data/faults/bodies.json");

/// An engine with a container `box` that runs, a network `net`, and an exec that waits.
fn engine() -> (TestEngine, String) {
    let engine = TestEngine::with_busybox();
    engine.ok("network create net");
    engine.ok("run -d --name box busybox sleep 1000");
    let exec = engine
        .post("/containers/box/exec", &json!({"Cmd": ["true"]}))
        .json();
    let id = exec["Id"].as_str().expect("an id").to_owned();
    (engine, id)
}

/// The answer to a request that the engine may refuse before it has read all of it.
fn send(engine: &TestEngine, method: &str, target: &str, body: &[u8]) -> http::Response {
    let mut stream = UnixStream::connect(engine.socket()).expect("the socket");
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .expect("a timeout");
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all(&[head.as_bytes(), body].concat());
    http::read_response(&mut BufReader::new(stream), method == "HEAD").unwrap_or_else(|error| {
        panic!(
            "{method} {target} {}: {error}\n{}",
            String::from_utf8_lossy(body),
            engine.log()
        )
    })
}

/// Nothing of the engine broke, and it serves as before.
fn assert_unharmed(engine: &TestEngine) {
    let log = engine.log();
    let panics: Vec<&str> = log.lines().filter(|line| line.contains("panicked")).collect();
    assert!(panics.is_empty(), "{panics:#?}");
    assert_eq!(engine.api("GET", "/_ping").expect("an answer").status, 200);
    assert_eq!(engine.ok("run --rm busybox echo alive"), "alive");
}

/// Every place of a document, as the steps that lead there.
fn places(value: &Value, here: &mut Vec<String>, all: &mut Vec<Vec<String>>) {
    all.push(here.clone());
    let children: Vec<(String, &Value)> = match value {
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), value)).collect(),
        Value::Array(list) => list
            .iter()
            .enumerate()
            .map(|(at, value)| (at.to_string(), value))
            .collect(),
        _ => Vec::new(),
    };
    for (step, child) in children {
        here.push(step);
        places(child, here, all);
        here.pop();
    }
}

fn at<'a>(value: &'a mut Value, place: &[String]) -> &'a mut Value {
    place.iter().fold(value, |value, step| match value {
        Value::Array(list) => &mut list[step.parse::<usize>().expect("an index")],
        other => &mut other[step.as_str()],
    })
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Members of sets are empty structures, whatever stands there, and lists of words may be one word.
fn is_lenient(place: &[String], wrong: &Value) -> bool {
    let last = place.last().map(String::as_str).unwrap_or_default();
    let parent = place.iter().rev().nth(1).map(String::as_str).unwrap_or_default();
    let words = matches!(last, "Cmd" | "Entrypoint" | "Shell" | "OnBuild" | "Test");
    matches!(parent, "ExposedPorts" | "Volumes") || (wrong.is_string() && words)
}

#[test]
fn every_field_of_a_wrong_type_is_the_clients_mistake() {
    if TestEngine::is_dockerd() {
        return;
    }
    let (engine, exec) = engine();
    let wrongs = [
        json!(true),
        json!(7),
        json!(-1.5),
        json!("text"),
        json!([7]),
        json!({"nosuch": {}}),
    ];
    let requests: Vec<Value> = serde_json::from_str(BODIES).expect("data");
    let mut wrong_answers = Vec::new();
    let mut count = 0;
    for request in &requests {
        let method = request["method"].as_str().expect("a method");
        let target = request["target"]
            .as_str()
            .expect("a target")
            .replace("EXEC", &exec);
        let mut all = Vec::new();
        places(&request["body"], &mut Vec::new(), &mut all);
        for place in all {
            for wrong in &wrongs {
                let mut body = request["body"].clone();
                let there = at(&mut body, &place);
                let fraction = *wrong == json!(-1.5) && kind(there) == "number";
                if (kind(there) == kind(wrong) && !fraction) || is_lenient(&place, wrong) {
                    continue;
                }
                *there = wrong.clone();
                count += 1;
                let answer = send(&engine, method, &target, body.to_string().as_bytes());
                let message = serde_json::from_slice::<Value>(&answer.body).unwrap_or_default();
                if answer.status != 400 || message["message"].as_str().is_none_or(str::is_empty) {
                    wrong_answers.push(format!(
                        "{} {target} {}={wrong}: {} {}",
                        method,
                        place.join("."),
                        answer.status,
                        answer.text()
                    ));
                }
            }
        }
    }
    assert!(count > 1000, "{count}");
    assert!(
        wrong_answers.is_empty(),
        "{} of {count}:\n{}",
        wrong_answers.len(),
        wrong_answers.join("\n")
    );
    assert_eq!(engine.ok("ps -aq").lines().count(), 1);
    assert_unharmed(&engine);
}

#[test]
fn null_is_the_same_as_nothing() {
    if TestEngine::is_dockerd() {
        return;
    }
    let (engine, exec) = engine();
    let requests: Vec<Value> = serde_json::from_str(BODIES).expect("data");
    let mut wrong_answers = Vec::new();
    for request in &requests {
        let target = request["target"]
            .as_str()
            .expect("a target")
            .replace("EXEC", &exec);
        let mut all = Vec::new();
        places(&request["body"], &mut Vec::new(), &mut all);
        // Members of lists have no default.
        let is_member = |place: &Vec<String>| place.last().is_some_and(|step| step.parse::<usize>().is_ok());
        for place in all.into_iter().filter(|place| !is_member(place)) {
            let mut body = request["body"].clone();
            *at(&mut body, &place) = Value::Null;
            let answer = send(&engine, "POST", &target, body.to_string().as_bytes());
            // Whether it can be done is another matter; it is understood.
            let text = answer.text();
            if answer.status >= 500 && !target.starts_with("/auth") || text.contains("invalid type") {
                wrong_answers.push(format!("{target} {}: {} {text}", place.join("."), answer.status));
            }
            if answer.status == 201 && target.starts_with("/containers/create") {
                engine.api("DELETE", "/containers/never?force=1&v=1");
            }
        }
    }
    assert!(wrong_answers.is_empty(), "{}", wrong_answers.join("\n"));
    assert_unharmed(&engine);
}

/// Every route with queries and bodies that make no sense, thousands of times: never a mistake of the engine's.
#[test]
fn nonsense_on_every_route() {
    if TestEngine::is_dockerd() {
        return;
    }
    let (engine, exec) = engine();
    let gets = [
        "/containers/json",
        "/containers/box/json",
        "/containers/box/top",
        "/containers/box/changes",
        "/containers/nosuch/stats",
        "/containers/box/archive?path=/etc",
        "/containers/box/logs?stdout=1",
        "/images/json",
        "/images/busybox/json",
        "/images/busybox/history",
        "/volumes",
        "/volumes/v",
        "/networks",
        "/networks/net",
        "/exec/EXEC/json",
        "/system/df",
        "/info",
        "/version",
        "/events?until=1",
        "/plugins",
        "/swarm",
        "/nodes",
        "/tasks",
        "/secrets",
    ];
    let posts = [
        "/containers/create",
        "/containers/nosuch/start",
        "/containers/nosuch/stop",
        "/containers/box/resize",
        "/containers/box/rename",
        "/containers/box/update",
        "/containers/box/attach",
        "/containers/box/exec",
        "/containers/nosuch/kill",
        "/containers/nosuch/wait",
        "/containers/prune",
        "/exec/EXEC/start",
        "/exec/EXEC/resize",
        "/images/create",
        "/images/load",
        "/images/busybox/tag",
        "/images/busybox/push",
        "/images/prune",
        "/build",
        "/build/prune",
        "/commit",
        "/volumes/create",
        "/volumes/prune",
        "/networks/create",
        "/networks/prune",
        "/networks/net/connect",
        "/networks/net/disconnect",
        "/swarm/init",
        "/session",
        "/grpc",
    ];
    let keys = [
        "all",
        "limit",
        "size",
        "filters",
        "signal",
        "t",
        "h",
        "w",
        "condition",
        "name",
        "since",
        "until",
        "tail",
        "stdout",
        "stream",
        "path",
        "container",
        "repo",
        "tag",
        "platform",
        "dockerfile",
        "buildargs",
        "labels",
        "cachefrom",
        "memory",
        "shmsize",
        "ulimits",
        "detachKeys",
        "changes",
        "force",
        "v",
        "link",
        "ps_args",
        "noOverwriteDirNonDir",
        "type",
        "version",
        "term",
        "target",
        "networkmode",
        "extrahosts",
        "memswap",
        "cpuperiod",
    ];
    let values = [
        "",
        "x",
        "-1",
        "99999999999999999999999",
        "1e9",
        "true",
        "%00",
        "%ff%fe",
        "%2e%2e%2f",
        "{",
        "{}",
        "[]",
        "%7B%22a%22%3A1%7D",
        "%7B%22label%22%3A%5B1%5D%7D",
        "%7B%22a%22%3A%7B%22b%22%3Atrue%7D%7D",
        "null",
        "%22",
        "0x10",
        "2024-99-99T00%3A00%3A00Z",
        "NaN",
        "..",
        "%F0%9F%92%A9",
        "%",
        "%zz",
        "a%0d%0ab",
        "/",
    ];
    let bodies: [&[u8]; 11] = [
        b"",
        b"{",
        b"null",
        b"[]",
        b"7",
        b"\"text\"",
        b"{\"Image\":\"busybox\",\"HostConfig\":[]}",
        b"\xff\xfe",
        b"{\"a\":1}{\"b\":2}",
        b"\0\0\0\0",
        b"{\"Image\":{\"Image\":{}}}",
    ];
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut pick = |count: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random >> 11) as usize % count
    };
    let mut bad = Vec::new();
    for round in 0..15 {
        for (method, target) in gets
            .iter()
            .map(|target| ("GET", target))
            .chain(posts.iter().map(|target| ("POST", target)))
        {
            let mut target = target.replace("EXEC", &exec);
            for at in 0..1 + pick(3) {
                target.push(if at == 0 && !target.contains('?') {
                    '?'
                } else {
                    '&'
                });
                target.push_str(&format!(
                    "{}={}",
                    keys[pick(keys.len())],
                    values[pick(values.len())]
                ));
            }
            // A stream that ends by itself.
            if target.contains("/logs") {
                target.push_str("&follow=0");
            }
            let method = if round % 5 == 4 {
                ["PUT", "DELETE", "PATCH", "HEAD"][pick(4)]
            } else {
                method
            };
            // What these do when they succeed would end the round.
            if (method == "DELETE" && target.starts_with("/images"))
                || target.contains("/images/prune")
                || target.contains("/attach")
            {
                continue;
            }
            let body = bodies[pick(bodies.len())];
            let answer = send(&engine, method, &target, body);
            // 501 and 503: what is not served at all, and registries that cannot be reached.
            if answer.status == 500 || !(200..600).contains(&answer.status) {
                bad.push(format!(
                    "{method} {target} {}: {} {}",
                    String::from_utf8_lossy(body),
                    answer.status,
                    answer.text()
                ));
            }
        }
        for extra in engine.ok("ps -aq --no-trunc --filter status=created").lines() {
            engine.api("DELETE", &format!("/containers/{extra}?force=1&v=1"));
        }
    }
    bad.sort();
    assert!(bad.is_empty(), "{}:\n{}", bad.len(), bad.join("\n"));
    assert_unharmed(&engine);
}

/// Bytes that are no HTTP, or HTTP that ends too early, lies about its length, or never comes.
#[test]
fn what_is_no_request() {
    if TestEngine::is_dockerd() {
        return;
    }
    let (engine, _) = engine();
    let long = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(3 << 20));
    let headers = format!(
        "GET /_ping HTTP/1.1\r\nHost: x\r\n{}\r\n",
        "X-Y: z\r\n".repeat(200_000)
    );
    let deep = format!("{}1{}", "[".repeat(200_000), "]".repeat(200_000));
    let nested = format!(
        "POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{deep}",
        deep.len()
    );
    let texts: [&[u8]; 20] = [
        b"\0\0\0\0\0\0\0\0\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET  /_ping  HTTP/1.1\r\n\r\n",
        b"get /_ping http/1.1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http://elsewhere/containers/json HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v1.x/info HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /%ff%fe/%00 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /_ping HTTP/1.1\r\nHost: x\r\nBroken\r\n\r\n",
        b"POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n{}",
        b"POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        b"POST /containers/create HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
        b"POST /containers/create HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
        long.as_bytes(),
        headers.as_bytes(),
        nested.as_bytes(),
    ];
    for text in texts {
        let mut stream = UnixStream::connect(engine.socket()).expect("the socket");
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .expect("a timeout");
        // It may stop listening before all is sent.
        let _ = stream.write_all(text);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer);
        let status: u16 = answer
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .unwrap_or(400);
        assert!(
            status < 500 || status == 501 || status == 505,
            "{:?}: {answer}",
            String::from_utf8_lossy(&text[..text.len().min(100)])
        );
    }
    // Half a body, and its sender gone.
    for target in [
        "/containers/create",
        "/images/load",
        "/build",
        "/images/create?fromSrc=-&repo=never",
        "/volumes/create",
    ] {
        let mut stream = UnixStream::connect(engine.socket()).expect("the socket");
        let head = format!(
            "POST {target} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n{{\"Image\":"
        );
        stream.write_all(head.as_bytes()).expect("sent");
    }
    // A body far larger than any request needs is refused without being kept.
    let mut stream = UnixStream::connect(engine.socket()).expect("the socket");
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("a timeout");
    stream
        .write_all(b"POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000000000\r\n\r\n\"")
        .expect("sent");
    let piece = vec![b'a'; 1 << 20];
    let sent = (0..1000).take_while(|_| stream.write_all(&piece).is_ok()).count();
    assert!(sent < 200, "{sent} MiB were taken");
    if let Ok(answer) = http::read_response(&mut BufReader::new(&stream), false) {
        assert!((400..500).contains(&answer.status), "{}", answer.status);
    }
    // Many who connect and say nothing keep nobody out.
    let silent: Vec<_> = (0..300)
        .map(|_| UnixStream::connect(engine.socket()).expect("the socket"))
        .collect();
    assert_unharmed(&engine);
    drop(silent);
}
