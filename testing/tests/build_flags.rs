//! What can be said of the steps of a build: limits, hosts, security, images whose steps count as done. Needs root, and
//! `docker` on the PATH.

use fs_err as fs;
use havre_testing::{Program, Surroundings, TestEngine, http};

const BOTH: [Program; 2] = [Program::Havre, Program::Docker];

fn context(engine: &TestEngine, name: &str, dockerfile: &str) -> String {
    engine
        .files(name, &[("Dockerfile", dockerfile), ("file", "contents")])
        .display()
        .to_string()
}

/// A build by this client with these flags: everything it says.
#[track_caller]
fn build(engine: &TestEngine, program: Program, flags: &str, context: &str) -> String {
    let line = format!("build --no-cache {flags} {context}");
    let output = engine.cmd_of(program, &line).run();
    let (out, err) = (output.out(), output.err());
    output.ok();
    format!("{out}\n{err}")
}

#[test]
fn limits_reach_every_step() {
    let engine = TestEngine::with_busybox();
    let probe = context(
        &engine,
        "limits",
        "FROM busybox\nRUN ulimit -n; ulimit -Hn; df -k /dev/shm | tail -1 | awk '{print \"shm=\" $2}'; grep -h . \
         /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max /sys/fs/cgroup/cpu/cpu.cfs_quota_us \
         /sys/fs/cgroup/cpu/cpu.cfs_period_us /sys/fs/cgroup/cpu.max /sys/fs/cgroup/cpu/cpu.shares \
         /sys/fs/cgroup/cpuset/cpuset.cpus /sys/fs/cgroup/cpuset.cpus 2>/dev/null; cat /proc/self/cgroup; \
         grep -c . /proc/self/status; grep NoNewPrivs /proc/self/status; grep Seccomp: /proc/self/status; cat /etc/hosts\n",
    );
    for program in BOTH {
        let said = build(
            &engine,
            program,
            "--ulimit nofile=321:654 --shm-size 3m --memory 77m --memory-swap 77m --cpu-quota 43000 --cpu-period 90000 \
             --cpu-shares 512 --cpuset-cpus 0 --cgroup-parent /havre-test-parent --add-host far.test:192.0.2.7 \
             --security-opt no-new-privileges --force-rm",
            &probe,
        );
        let has = |text: &str| assert!(said.lines().any(|line| line.trim() == text), "{text}:\n{said}");
        has("321");
        has("654");
        has("shm=3072");
        has(&(77 << 20).to_string());
        assert!(said.contains("43000") && said.contains("90000"), "{said}");
        assert!(said.contains("/havre-test-parent/"), "{said}");
        has("192.0.2.7\tfar.test");
        has("NoNewPrivs:\t1");
        has("Seccomp:\t2");
        // Without a word of it, none of that.
        let said = build(&engine, program, "", &probe);
        assert!(
            !said.contains("havre-test-parent") && !said.contains("far.test"),
            "{said}"
        );
        assert!(said.contains("NoNewPrivs:\t0"), "{said}");
        let said = build(&engine, program, "--security-opt seccomp=unconfined", &probe);
        assert!(said.contains("Seccomp:\t0"), "{said}");
    }
    // Beyond its memory a step dies.
    let greedy = context(&engine, "greedy", "FROM busybox\nRUN tail /dev/zero\n");
    let failed = engine.run(format!("build --no-cache -m 16m --memory-swap 16m {greedy}"));
    let said = failed.fails(137);
    assert!(said.contains("returned a non-zero code: 137"), "{said}");
}

#[test]
fn an_image_is_a_source_of_the_cache() {
    let engine = TestEngine::with_busybox();
    let dockerfile = "FROM busybox\nENV A=b\nWORKDIR /made\nRUN head -c 16 /dev/urandom > random\nCOPY file /file\nRUN cat /file > copy\n";
    let place = context(&engine, "app", dockerfile);
    engine.ok(format!("build -t app {place}"));
    let random = engine.ok("run --rm app md5sum random");
    let id = engine.ok("inspect -f {{.Id}} app");
    // All the engine knows of it is the image.
    engine.ok("save -o /dev/null app");
    let forget = || {
        engine.ok("builder prune -af");
    };
    forget();
    for program in BOTH {
        let line = format!("build -t again --cache-from nosuch --cache-from app {place}");
        let output = engine.cmd_of(program, &line).run();
        let said = format!("{}{}", output.out(), output.err());
        output.ok();
        assert_eq!(said.matches("Using cache").count(), 5, "{said}");
        assert!(
            said.contains("Could not look up nosuch for cache resolution, skipping: No such image: nosuch"),
            "{said}"
        );
        assert_eq!(engine.ok("run --rm again md5sum random"), random);
        assert_eq!(
            engine.ok("inspect -f {{.Id}} again"),
            id,
            "the same in everything"
        );
        forget();
    }
    // What has changed, and all behind it, is done anew.
    fs::write(format!("{place}/file"), "others").expect("file");
    let said = engine.ok(format!("build -t changed --cache-from app {place}"));
    assert_eq!(said.matches("Using cache").count(), 3, "{said}");
    assert_eq!(engine.ok("run --rm changed md5sum random"), random);
    assert_eq!(engine.ok("run --rm changed cat copy"), "others");
    forget();
    let said = engine.ok(format!("build -t anew --no-cache --cache-from app {place}"));
    assert!(!said.contains("Using cache"), "{said}");
    assert_ne!(engine.ok("run --rm anew md5sum random"), random);
    // Another base is another story.
    forget();
    fs::write(
        format!("{place}/Dockerfile"),
        dockerfile.replace("FROM busybox\n", "FROM busybox\nUSER 0\n"),
    )
    .expect("file");
    let said = engine.ok(format!("build -t other --cache-from app {place}"));
    assert!(!said.contains("Using cache"), "{said}");
}

#[test]
fn a_context_is_compressed_on_its_way() {
    let port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.local_addr().expect("an address").port()
    };
    let engine = TestEngine::amid(Surroundings {
        config: format!("[listen]\nhosts = [\"tcp://127.0.0.1:{port}\"]\n"),
        ..Surroundings::default()
    });
    engine.load(&havre_testing::Image::busybox(), "busybox");
    let place = engine.files("large", &[("Dockerfile", "FROM busybox\nCOPY zeros /zeros\n")]);
    fs::write(place.join("zeros"), vec![0; 8 << 20]).expect("file");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let counted = listener.local_addr().expect("an address").port();
    // Between client and engine somebody counts.
    let counter = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let sum = std::sync::Arc::clone(&counter);
    std::thread::spawn(move || {
        while let Ok((client, _)) = listener.accept() {
            let server = std::net::TcpStream::connect(("127.0.0.1", port)).expect("the engine");
            let (from, to) = (
                client.try_clone().expect("a socket"),
                server.try_clone().expect("a socket"),
            );
            let sum = std::sync::Arc::clone(&sum);
            std::thread::spawn(move || {
                let (mut from, mut to) = (from, to);
                let count = std::io::copy(&mut from, &mut to).unwrap_or(0);
                sum.fetch_add(count, std::sync::atomic::Ordering::Relaxed);
                let _ = to.shutdown(std::net::Shutdown::Write);
            });
            std::thread::spawn(move || std::io::copy(&mut &server, &mut &client));
        }
    });
    let mut sent = Vec::new();
    for flag in ["", "--compress"] {
        let before = counter.load(std::sync::atomic::Ordering::Relaxed);
        let line = format!(
            "-H tcp://127.0.0.1:{counted} build -q -t zeros {flag} {}",
            place.display()
        );
        engine.cmd(&line).env("DOCKER_HOST", "").ok();
        havre_testing::eventually("the connection is counted", || {
            counter.load(std::sync::atomic::Ordering::Relaxed) > before
        });
        sent.push(counter.load(std::sync::atomic::Ordering::Relaxed) - before);
        assert_eq!(
            engine.ok("run --rm zeros stat -c %s /zeros"),
            (8 << 20).to_string()
        );
    }
    assert!(sent[0] > 8 << 20 && sent[1] < 1 << 20, "{sent:?}");
}

#[test]
fn what_cannot_be_done_is_said() {
    let engine = TestEngine::with_busybox();
    let place = context(&engine, "plain", "FROM busybox\nRUN true\n");
    for (flags, words) in [
        (
            "--rm=false",
            "--rm=false is not supported: no step leaves a container behind that could be kept",
        ),
        (
            "--disable-content-trust=false",
            "content trust is not supported: leave the flag out, and name the image by its digest to be sure of what it is",
        ),
        (
            "--isolation hyperv",
            "Error response from daemon: invalid isolation \"hyperv\": on Linux there is none but default",
        ),
        ("--add-host nonsense", "bad format for add-host: \"nonsense\""),
        ("--cgroup-parent ../up", "invalid cgroup parent \"../up\""),
        (
            "--security-opt apparmor=mine",
            "security option apparmor=mine is not supported",
        ),
        (
            "--ulimit nofile=x",
            "invalid argument \"nofile=x\" for \"--ulimit\" flag",
        ),
    ] {
        let said = engine.run(format!("build --no-cache {flags} {place}"));
        let said = format!("{}{}", said.out(), said.err());
        assert!(said.contains(words), "{flags}: {said}");
    }
    engine.ok(format!(
        "build --rm --disable-content-trust=true --isolation default {place}"
    ));
    let trusting = engine.cmd("pull busybox").env("DOCKER_CONTENT_TRUST", "1").run();
    let said = trusting.fails(1);
    assert!(said.contains("unset DOCKER_CONTENT_TRUST"), "{said}");
    for line in [
        "pull --disable-content-trust=false x",
        "push --disable-content-trust=false x",
        "run --disable-content-trust=false x",
    ] {
        let output = engine.run(line);
        assert_ne!(output.code, 0);
        assert!(
            output.err().contains("content trust is not supported"),
            "{line}: {}",
            output.err()
        );
    }
}

#[test]
fn the_engines_socket_in_a_container() {
    let engine = TestEngine::with_busybox();
    let client = engine.client_dir();
    fs::write(
        client.join("config.json"),
        r#"{"auths":{"registry.test":{"auth":"bWU6c2VjcmV0"}}}"#,
    )
    .expect("file");
    let look = "ls -l /var/run/docker.sock; echo $DOCKER_CONFIG; cat $DOCKER_CONFIG/config.json; ls -ln $DOCKER_CONFIG/config.json; \
                printf 'GET /_ping HTTP/1.0\\r\\n\\r\\n' | nc local:/var/run/docker.sock 2>/dev/null || true";
    let said = engine.ok(["run", "--rm", "--use-api-socket", "busybox", "sh", "-c", look]);
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].starts_with('s'), "{said}");
    assert_eq!(lines[1], "/run/secrets/docker");
    let secret = r#"{"auths":{"registry.test":{"auth":"bWU6c2VjcmV0"}}}-rw-------"#;
    assert!(lines[2].starts_with(secret), "{said}");
    let id = engine.ok("create --use-api-socket busybox");
    let mounts = engine.inspect(&id)["Mounts"].clone();
    assert_eq!(mounts[0]["Source"], engine.socket().display().to_string());
    assert_eq!(mounts[0]["Destination"], "/var/run/docker.sock");
    let _ = http::over_unix(engine.socket(), "GET", "/_ping", "", b"").expect("the engine is there still");
}

#[test]
fn a_quiet_build_that_fails_tells_all() {
    let engine = TestEngine::with_busybox();
    let failing = engine.files(
        "failing",
        &[("Dockerfile", "FROM busybox\nRUN echo the reason && exit 3\n")],
    );
    let failed = engine.cmd(["build", "-q", &failing.to_string_lossy()]).run();
    assert_eq!(failed.code, 3, "{failed}");
    assert!(failed.err().contains("the reason"), "{failed}");
    assert!(failed.stdout.is_empty(), "{failed}");
}
