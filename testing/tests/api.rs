//! The Engine API on the wire: statuses, headers, models and hijacked connections, as any client sees them. Needs root.

use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use bollard_stubs::models;
use fs_err as fs;
use havre_testing::{Layer, TestEngine, eventually, http};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

const JSON: &str = "application/json";

fn call(engine: &TestEngine, method: &str, target: &str, body: &Value) -> http::Response {
    http::over_unix(engine.socket(), method, target, JSON, body.to_string().as_bytes()).expect("an answer")
}

fn get(engine: &TestEngine, target: &str) -> http::Response {
    engine.api("GET", target).expect("an answer")
}

/// The answer as the client library's model reads it.
fn model<T: DeserializeOwned>(engine: &TestEngine, target: &str) -> T {
    let answer = get(engine, target);
    assert_eq!(answer.status, 200, "{target}: {}", answer.text());
    serde_json::from_slice(&answer.body)
        .unwrap_or_else(|error| panic!("{target}: {error}: {}", answer.text()))
}

fn create(engine: &TestEngine, name: &str, body: &Value) -> String {
    let answer = call(
        engine,
        "POST",
        &format!("/v1.44/containers/create?name={name}"),
        body,
    );
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()["Id"].as_str().expect("an id").to_owned()
}

#[test]
fn every_answer_says_who_and_which_version() {
    let engine = TestEngine::start();
    for (method, target, status) in [
        ("GET", "/_ping", 200),
        ("HEAD", "/_ping", 200),
        ("GET", "/v1.22/_ping", 200),
        ("GET", "/v1.53/_ping", 200),
        ("GET", "/nowhere", 404),
        ("DELETE", "/_ping", 404),
        ("GET", "/v1.21/_ping", 400),
        ("GET", "/v1.54/_ping", 400),
    ] {
        let answer = engine.api(method, target).expect("an answer");
        assert_eq!(answer.status, status, "{method} {target}");
        assert_eq!(answer.header("api-version"), Some("1.53"), "{method} {target}");
        assert_eq!(answer.header("ostype"), Some("linux"));
        assert_eq!(answer.header("docker-experimental"), Some("false"));
        assert!(
            answer
                .header("server")
                .is_some_and(|server| server.starts_with("Havre/"))
        );
    }
    let ping = get(&engine, "/_ping");
    assert_eq!(
        (ping.text().as_str(), ping.header("builder-version")),
        ("OK", Some("1"))
    );
    assert_eq!(
        get(&engine, "/v1.99/info").json()["message"],
        "client version 1.99 is too new. Maximum supported API version is 1.53"
    );
    assert_eq!(get(&engine, "/nowhere").json()["message"], "page not found");
}

#[test]
fn failures_have_dockers_statuses() {
    let engine = TestEngine::with_busybox();
    create(&engine, "taken", &json!({"Image": "busybox"}));
    let nothing = json!({});
    let mut wrong = Vec::new();
    for (method, target, body, status) in [
        ("GET", "/containers/none/json", &nothing, 404),
        ("GET", "/images/none/json", &nothing, 404),
        ("GET", "/images/a/b/c/json", &nothing, 404),
        ("GET", "/volumes/none", &nothing, 404),
        ("GET", "/networks/nothing", &nothing, 404),
        ("GET", "/exec/none/json", &nothing, 404),
        ("GET", "/images/busybox/unheard-of", &nothing, 404),
        ("POST", "/containers/none/start", &nothing, 404),
        ("POST", "/containers/taken/stop", &nothing, 304),
        ("POST", "/containers/taken/kill", &nothing, 409),
        (
            "POST",
            "/containers/create?name=taken",
            &json!({"Image": "busybox"}),
            409,
        ),
        (
            "POST",
            "/containers/create?name=-",
            &json!({"Image": "busybox"}),
            400,
        ),
        ("POST", "/containers/create", &json!({"Image": "none"}), 404),
        (
            "POST",
            "/containers/create",
            &json!({"Image": "busybox", "Tty": 5}),
            400,
        ),
        ("POST", "/containers/create", &json!({"Image": "Busy Box"}), 400),
        ("POST", "/containers/taken/exec", &json!({"Cmd": ["true"]}), 409),
        ("POST", "/containers/taken/exec", &json!({"Cmd": []}), 400),
        ("POST", "/containers/taken/wait?condition=never", &nothing, 400),
        ("POST", "/containers/taken/rename", &nothing, 400),
        ("GET", "/containers/taken/logs", &nothing, 400),
        (
            "GET",
            "/containers/json?filters=%7B%22colour%22%3A%5B%22red%22%5D%7D",
            &nothing,
            400,
        ),
        ("GET", "/containers/json?limit=many", &nothing, 400),
        ("GET", "/events?since=yesterday", &nothing, 400),
        ("POST", "/images/busybox/tag?repo=UPPER", &nothing, 400),
        ("POST", "/images/create?fromImage=UPPER", &nothing, 400),
        ("POST", "/images/create", &nothing, 400),
        ("POST", "/build?remote=http://x/y", &nothing, 501),
        ("POST", "/build?buildargs=%5B", &nothing, 400),
        ("POST", "/networks/create", &nothing, 400),
        (
            "POST",
            "/networks/create",
            &json!({"Name": "x", "Driver": "overlay"}),
            400,
        ),
        ("GET", "/services", &nothing, 503),
        ("POST", "/volumes/create", &json!({"Name": "../escape"}), 400),
    ] {
        let answer = call(&engine, method, target, body);
        if answer.status != status {
            wrong.push(format!(
                "{method} {target} {body}: {} {}",
                answer.status,
                answer.text()
            ));
            continue;
        }
        if status == 304 {
            assert!(answer.body.is_empty());
        } else {
            assert_eq!(answer.header("content-type"), Some(JSON), "{target}");
            assert!(
                answer.json()["message"]
                    .as_str()
                    .is_some_and(|message| !message.is_empty()),
                "{target}"
            );
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let plain = http::over_unix(engine.socket(), "POST", "/containers/create", "text/plain", b"{}")
        .expect("an answer");
    assert_eq!(plain.status, 400);
    let broken =
        http::over_unix(engine.socket(), "POST", "/containers/create", JSON, b"{").expect("an answer");
    assert_eq!(broken.status, 400);
    assert!(broken.text().contains("invalid JSON"), "{}", broken.text());
    let empty = http::over_unix(engine.socket(), "POST", "/containers/create", JSON, b"").expect("an answer");
    assert!(
        empty.text().contains("config cannot be empty"),
        "{}",
        empty.text()
    );
}

#[test]
fn answers_are_what_client_libraries_read() {
    let engine = TestEngine::with_busybox();
    let body = json!({
        "Image": "busybox", "Cmd": ["sleep", "100"], "Labels": {"a": "b"}, "ExposedPorts": {"80/tcp": {}},
        "Env": ["X=1"], "Healthcheck": {"Test": ["NONE"]},
        "HostConfig": {
            "Binds": ["data:/data"], "Memory": 67_108_864, "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 2},
            "Mounts": [{"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 65536}}],
            "PortBindings": {"80/tcp": [{"HostPort": "0"}]},
        },
    });
    let id = create(&engine, "box", &body);
    for version in ["/v1.22", "/v1.41", "/v1.53", ""] {
        let version_info: models::SystemVersion = model(&engine, &format!("{version}/version"));
        assert_eq!(version_info.api_version.as_deref(), Some("1.53"));
        assert_eq!(version_info.min_api_version.as_deref(), Some("1.22"));
        let info: models::SystemInfo = model(&engine, &format!("{version}/info"));
        assert_eq!((info.containers, info.images), (Some(1), Some(1)));

        let list: Vec<models::ContainerSummary> =
            model(&engine, &format!("{version}/containers/json?all=1&size=1"));
        assert_eq!(list[0].id.as_deref(), Some(id.as_str()));
        assert_eq!(list[0].names.as_deref(), Some(&["/box".to_owned()][..]));
        let one: models::ContainerInspectResponse =
            model(&engine, &format!("{version}/containers/box/json?size=1"));
        let (config, host) = (one.config.expect("config"), one.host_config.expect("host config"));
        assert_eq!(config.cmd, Some(vec!["sleep".to_owned(), "100".to_owned()]));
        assert_eq!(config.exposed_ports, Some(vec!["80/tcp".to_owned()]));
        assert_eq!(host.memory, Some(67_108_864));
        assert_eq!(host.binds, Some(vec!["data:/data".to_owned()]));
        assert_eq!(
            host.restart_policy.and_then(|policy| policy.maximum_retry_count),
            Some(2)
        );
        assert!(one.size_rw.is_some() && one.size_root_fs.is_some());

        let images: Vec<models::ImageSummary> = model(&engine, &format!("{version}/images/json"));
        assert_eq!(images[0].repo_tags, ["busybox:latest"]);
        let image: models::ImageInspect = model(&engine, &format!("{version}/images/busybox:latest/json"));
        assert_eq!(image.id.as_deref(), Some(images[0].id.as_str()));
        let history: Vec<models::ImageHistoryResponseItem> =
            model(&engine, &format!("{version}/images/busybox/history"));
        assert!(!history.is_empty());

        let volumes: models::VolumeListResponse = model(&engine, &format!("{version}/volumes"));
        assert_eq!(volumes.volumes.expect("volumes")[0].name, "data");
        let _: models::Volume = model(&engine, &format!("{version}/volumes/data"));
        let networks: Vec<models::NetworkInspect> = model(&engine, &format!("{version}/networks"));
        assert_eq!(networks.len(), 3);
        let _: models::NetworkInspect = model(&engine, &format!("{version}/networks/bridge"));
        let usage: Value = get(&engine, &format!("{version}/system/df")).json();
        assert_eq!(usage["Images"][0]["Containers"], 1);
        assert_eq!(usage["Volumes"][0]["UsageData"]["RefCount"], 1);
    }
    let sums: models::SystemDataUsageResponse = model(&engine, "/v1.52/system/df?verbose=1");
    let images = sums.image_usage.expect("images");
    assert_eq!((images.total_count, images.active_count), (Some(1), Some(1)));
    assert_eq!(images.items.map(|items| items.len()), Some(1));
    assert!(get(&engine, "/v1.43/images/json").json()[0]["VirtualSize"].is_number());
    assert!(get(&engine, "/v1.44/images/json").json()[0]["VirtualSize"].is_null());
}

/// A connection whose request was answered with a head, and what follows it.
fn open(engine: &TestEngine, request: &str, body: &str) -> (String, BufReader<UnixStream>) {
    let mut stream = UnixStream::connect(engine.socket()).expect("the socket");
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .expect("a timeout");
    let length = body.len();
    write!(
        stream,
        "{request} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n"
    )
    .expect("a request");
    write!(stream, "Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n{body}").expect("a request");
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut head).expect("a head") > 0, "closed: {head}");
    }
    (head, reader)
}

/// Takes frames apart: what went to standard output, and what to standard error.
fn frames(mut bytes: &[u8]) -> (String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    while let [stream, 0, 0, 0, a, b, c, d, rest @ ..] = bytes {
        let (payload, rest) = rest.split_at(u32::from_be_bytes([*a, *b, *c, *d]) as usize);
        if *stream == 2 { &mut err } else { &mut out }.extend_from_slice(payload);
        bytes = rest;
    }
    assert!(bytes.is_empty(), "not frames: {bytes:?}");
    (
        String::from_utf8(out).expect("text"),
        String::from_utf8(err).expect("text"),
    )
}

#[test]
fn an_attached_connection_is_framed_and_half_closes() {
    let engine = TestEngine::with_busybox();
    let body = json!({
        "Image": "busybox", "Cmd": ["sh", "-c", "cat; echo end; echo complaint >&2"],
        "OpenStdin": true, "StdinOnce": true, "AttachStdin": true, "AttachStdout": true, "AttachStderr": true,
    });
    create(&engine, "box", &body);
    let target = "POST /v1.44/containers/box/attach?stream=1&stdin=1&stdout=1&stderr=1";
    let (head, mut connection) = open(&engine, target, "");
    assert!(head.starts_with("HTTP/1.1 101 UPGRADED\r\n"), "{head}");
    let head = head.to_lowercase();
    assert!(
        head.contains("content-type: application/vnd.docker.multiplexed-stream"),
        "{head}"
    );
    assert!(
        head.contains("connection: upgrade") && head.contains("upgrade: tcp"),
        "{head}"
    );
    assert_eq!(engine.post("/containers/box/start", &json!({})).status, 204);
    let input = "line\n".repeat(20_000);
    let mut writer = connection.get_ref().try_clone().expect("a second handle");
    let sent = input.clone();
    let sender = std::thread::spawn(move || {
        writer.write_all(sent.as_bytes()).expect("input");
        writer.shutdown(Shutdown::Write).expect("half-close");
    });
    let mut output = Vec::new();
    connection.read_to_end(&mut output).expect("output");
    sender.join().expect("the sender");
    let (out, err) = frames(&output);
    assert_eq!(out, input + "end\n");
    assert_eq!(err, "complaint\n");
}

#[test]
fn a_terminal_is_raw_and_detach_keys_leave_it() {
    let engine = TestEngine::with_busybox();
    let body = json!({
        "Image": "busybox", "Cmd": ["sh", "-c", "stty -echo; while read line; do echo got $line; done"],
        "Tty": true, "OpenStdin": true, "AttachStdin": true, "AttachStdout": true,
    });
    create(&engine, "box", &body);
    let target = "POST /v1.44/containers/box/attach?stream=1&stdin=1&stdout=1&stderr=1";
    let (head, mut connection) = open(&engine, target, "");
    assert!(
        head.to_lowercase().contains("application/vnd.docker.raw-stream"),
        "{head}"
    );
    assert_eq!(engine.post("/containers/box/start", &json!({})).status, 204);
    assert_eq!(
        engine
            .post("/containers/box/resize?h=30&w=100", &json!({}))
            .status,
        200
    );
    std::thread::sleep(Duration::from_millis(300));
    connection.get_mut().write_all(b"word\n").expect("input");
    let mut line = String::new();
    while !line.contains("got word") {
        line.clear();
        assert!(connection.read_line(&mut line).expect("output") > 0, "closed");
    }
    connection.get_mut().write_all(b"\x10\x11").expect("detach keys");
    let mut rest = Vec::new();
    connection.read_to_end(&mut rest).expect("the end of the stream");
    assert_eq!(
        engine.inspect("box")["State"]["Running"],
        true,
        "left, not stopped"
    );
}

/// The number in the last whole entry of a container's log.
fn last_logged(log: &Path) -> u64 {
    let mut number = None;
    // One that was rotated just now is not there yet, or empty.
    eventually("an entry is logged", || {
        number = last_entry(log);
        number.is_some()
    });
    number.expect("a number")
}

fn last_entry(log: &Path) -> Option<u64> {
    let mut file = fs::File::open(log).ok()?;
    let length = file.metadata().expect("its size").len();
    file.seek(SeekFrom::Start(length.saturating_sub(4096)))
        .expect("its end");
    let mut end = String::new();
    file.read_to_string(&mut end).expect("its end");
    let entry = end[..=end.rfind('\n')?].lines().last()?;
    let entry: Value = serde_json::from_str(entry).expect("JSON");
    let text = entry["log"].as_str().expect("text");
    Some(text.trim().parse().expect("a number"))
}

#[test]
fn nothing_is_missed_or_repeated_between_the_log_and_the_stream() {
    let engine = TestEngine::with_busybox();
    let log = |name: &str| {
        let id = engine.inspect(name)["Id"].as_str().expect("an id").to_owned();
        engine.root().join(format!("containers/{id}/{id}-json.log"))
    };
    let target =
        |name: &str| format!("POST /v1.44/containers/{name}/attach?logs=1&stream=1&stdout=1&stderr=1");
    for (name, options) in [
        ("whole", json!({})),
        ("rotated", json!({"max-size": "4m", "max-file": "3"})),
    ] {
        let body = json!({
            "Image": "busybox", "Cmd": ["sh", "-c", "n=0; while :; do echo $n; n=$((n+1)); done"],
            "HostConfig": {"LogConfig": {"Type": "json-file", "Config": options}},
        });
        create(&engine, name, &body);
        engine.post(&format!("/containers/{name}/start"), &json!({}));
        let log = log(name);
        eventually("something is logged", || {
            fs::metadata(&log).is_ok_and(|log| log.len() > 10_000)
        });
        let follow = || {
            let (head, mut connection) = open(&engine, &target(name), "");
            assert!(head.starts_with("HTTP/1.1 101"), "{head}");
            // It has joined by now, so what comes after this is of the stream.
            let enough = last_logged(&log) + 2000;
            let (mut expected, mut begun) = (None, Vec::new());
            while expected.is_none_or(|next| next < enough) {
                let mut header = [0; 8];
                connection.read_exact(&mut header).expect("a frame");
                let length = u32::from_be_bytes(*header.last_chunk().expect("a length"));
                let mut payload = vec![0; length as usize];
                connection.read_exact(&mut payload).expect("a frame");
                begun.extend_from_slice(&payload);
                let whole = begun
                    .iter()
                    .rposition(|byte| *byte == b'\n')
                    .map_or(0, |end| end + 1);
                let rest = begun.split_off(whole);
                for line in String::from_utf8(begun).expect("text").lines() {
                    let number: u64 = line.parse().expect("a number");
                    // Files of a log that is rotated go, so that it begins anywhere.
                    let first = if name == "whole" { 0 } else { number };
                    assert_eq!(number, expected.unwrap_or(first), "{name}");
                    expected = Some(number + 1);
                }
                begun = rest;
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| (0..5).for_each(|_| follow()));
            }
        });
        engine.ok(format!("rm -f {name}"));
    }

    // A line that was begun is not in the log, and not what comes next of the stream either.
    let body = json!({
        "Image": "busybox", "Cmd": ["sh", "-c", "echo first; printf begun; read word; echo \" $word\""],
        "OpenStdin": true,
    });
    create(&engine, "begun", &body);
    engine.post("/containers/begun/start", &json!({}));
    let (_, mut early) = open(&engine, &target("begun"), "");
    let mut seen = Vec::new();
    while !seen.ends_with(b"begun") {
        let mut byte = [0];
        early.read_exact(&mut byte).expect("output");
        seen.push(byte[0]);
    }
    let (_, mut late) = open(&engine, &(target("begun") + "&stdin=1"), "");
    late.get_mut().write_all(b"ended\n").expect("input");
    let mut output = Vec::new();
    late.read_to_end(&mut output).expect("output");
    assert_eq!(frames(&output).0, "first\nbegun ended\n");

    // One that does not run yet.
    create(
        &engine,
        "again",
        &json!({"Image": "busybox", "Cmd": ["seq", "1", "5000"]}),
    );
    engine.ok("start -a again");
    let (_, mut connection) = open(&engine, &target("again"), "");
    engine.post("/containers/again/start", &json!({}));
    let mut output = Vec::new();
    connection.read_to_end(&mut output).expect("output");
    let numbers: Vec<u32> = (frames(&output).0.lines())
        .map(|line| line.parse().expect("a number"))
        .collect();
    assert!(
        numbers.iter().copied().eq((1..=5000).chain(1..=5000)),
        "{} lines",
        numbers.len()
    );
}

#[test]
fn waiting_is_answered_before_the_end() {
    let engine = TestEngine::with_busybox();
    create(
        &engine,
        "box",
        &json!({"Image": "busybox", "Cmd": ["sh", "-c", "sleep 1; exit 7"]}),
    );
    let begin = Instant::now();
    let (head, mut body) = open(&engine, "POST /v1.44/containers/box/wait?condition=next-exit", "");
    assert!(
        head.starts_with("HTTP/1.1 200 OK") && begin.elapsed() < Duration::from_millis(900),
        "{head}"
    );
    engine.post("/containers/box/start", &json!({}));
    let mut text = String::new();
    while !text.contains('}') {
        assert!(body.read_line(&mut text).expect("the body") > 0, "closed: {text}");
    }
    assert!(text.contains(r#""StatusCode":7"#), "{text}");
}

#[test]
fn exec_streams_with_and_without_an_upgrade() {
    let engine = TestEngine::with_busybox();
    create(
        &engine,
        "box",
        &json!({"Image": "busybox", "Cmd": ["sleep", "1000"]}),
    );
    engine.post("/containers/box/start", &json!({}));
    let exec = |command: Value| {
        let body = json!({"Cmd": command, "AttachStdin": true, "AttachStdout": true, "AttachStderr": true});
        let answer = engine.post("/v1.44/containers/box/exec", &body);
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()["Id"].as_str().expect("an id").to_owned()
    };
    let id = exec(json!(["sh", "-c", "cat; exit 3"]));
    let (head, mut connection) = open(
        &engine,
        &format!("POST /v1.44/exec/{id}/start"),
        r#"{"Detach":false}"#,
    );
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    connection.get_mut().write_all(b"input").expect("input");
    connection
        .get_ref()
        .shutdown(Shutdown::Write)
        .expect("half-close");
    let mut output = Vec::new();
    connection.read_to_end(&mut output).expect("output");
    assert_eq!(frames(&output).0, "input");
    let inspect: models::ExecInspectResponse = model(&engine, &format!("/exec/{id}/json"));
    assert_eq!((inspect.exit_code, inspect.running), (Some(3), Some(false)));

    let id = exec(json!(["sh", "-c", "echo out; echo err >&2"]));
    let answer = engine.post(&format!("/v1.41/exec/{id}/start"), &json!({}));
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.header("content-type"),
        Some("application/vnd.docker.raw-stream")
    );
    assert_eq!(frames(&answer.body), ("out\n".to_owned(), "err\n".to_owned()));

    let id = exec(json!(["no-such-program"]));
    let answer = engine.post(&format!("/v1.44/exec/{id}/start"), &json!({}));
    assert!(
        frames(&answer.body)
            .0
            .contains("executable file not found in $PATH"),
        "{}",
        answer.text()
    );
    let inspect: models::ExecInspectResponse = model(&engine, &format!("/exec/{id}/json"));
    assert_eq!(inspect.exit_code, Some(127));
}

#[test]
fn files_go_in_and_come_out() {
    let engine = TestEngine::with_busybox();
    create(&engine, "box", &json!({"Image": "busybox"}));
    let tar = Layer::new().file_with_mode("note", "hello", 0o4755).tar();
    let put = |path: &str, tar: &[u8]| {
        let target = format!("/v1.44/containers/box/archive?path={path}");
        http::over_unix(engine.socket(), "PUT", &target, "application/x-tar", tar).expect("an answer")
    };
    assert_eq!(put("/tmp", &tar).status, 200);
    assert_eq!(put("/none", &tar).status, 404);
    assert_ne!(
        put(
            "/tmp",
            b"this is no archive, however long it is and whatever it says"
        )
        .status,
        200
    );
    let answer = get(&engine, "/containers/box/archive?path=/tmp/note");
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, Some("application/x-tar"))
    );
    let mut archive = tar::Archive::new(&answer.body[..]);
    let mut entry = archive
        .entries()
        .expect("entries")
        .next()
        .expect("one")
        .expect("readable");
    let mut text = String::new();
    entry.read_to_string(&mut text).expect("text");
    assert_eq!(text, "hello");
    let head = engine
        .api("HEAD", "/containers/box/archive?path=/tmp/note")
        .expect("an answer");
    let stat = head.header("x-docker-container-path-stat").expect("the header");
    assert_eq!(answer.header("x-docker-container-path-stat"), Some(stat));
    // {"name":"note","size":5,"mode":8389101, in base64; the mode is Go's.
    assert!(
        stat.starts_with("eyJuYW1lIjoibm90ZSIsInNpemUiOjUsIm1vZGUiOjgzODkxMDEs"),
        "{stat}"
    );
    assert_eq!(
        engine
            .api("HEAD", "/containers/box/archive?path=/none")
            .expect("an answer")
            .status,
        404
    );
}

#[test]
fn events_are_lines_and_end_when_told() {
    let engine = TestEngine::with_busybox();
    create(&engine, "box", &json!({"Image": "busybox", "Labels": {"a": "b"}}));
    assert_eq!(call(&engine, "DELETE", "/containers/box", &json!({})).status, 204);
    let until = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("a clock")
        .as_secs()
        + 1;
    let text = get(
        &engine,
        &format!("/v1.44/events?since=1&until={until}&filters=%7B%22type%22:%5B%22container%22%5D%7D"),
    );
    let events: Vec<Value> = text
        .text()
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect();
    let actions: Vec<_> = events
        .iter()
        .map(|event| event["Action"].as_str().expect("an action"))
        .collect();
    assert_eq!(actions, ["create", "destroy"]);
    assert_eq!(events[0]["Actor"]["Attributes"]["a"], "b");
    assert_eq!(
        (&events[0]["status"], &events[0]["scope"]),
        (&json!("create"), &json!("local"))
    );
}
