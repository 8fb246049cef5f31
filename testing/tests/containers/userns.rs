//! `userns-remap`: containers whose root is nobody on the host.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;
use std::time::Duration;

use fs_err as fs;
use havre_testing::{Entry, Image, Layer, Surroundings, TestEngine, eventually, http};
use tempfile::TempDir;

/// The first id outside.
const FIRST: u32 = 300_000;

/// `uid_map` and `gid_map` as they are inside.
const MAP: &str = "0 300000 65536";

/// The host's own, inside.
const HOST_MAP: &str = "0 0 4294967295";

/// The machine's `/etc`, in which somebody has ids for containers.
fn etc() -> TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    let copied = Command::new("cp")
        .arg("-a")
        .arg("/etc/.")
        .arg(dir.path())
        .status();
    assert!(copied.expect("cp").success());
    for file in ["subuid", "subgid"] {
        fs::write(dir.path().join(file), format!("dockremap:{FIRST}:65536\n")).expect("ids");
    }
    dir
}

/// An engine with user namespaces, and with busybox, where `/data` holds a file of user 1000.
fn remapped() -> (TestEngine, TempDir) {
    remapped_amid(Surroundings::default())
}

fn remapped_amid(mut surroundings: Surroundings) -> (TestEngine, TempDir) {
    let etc = etc();
    surroundings.config = "userns-remap = \"default\"\n".to_owned();
    surroundings.files.push(("/etc".into(), etc.path().to_owned()));
    let engine = TestEngine::amid(surroundings);
    let seed = Entry {
        uid: 1000,
        size: 4,
        ..Entry::new("data/seed", b'0')
    };
    let layer = Layer::new().dir("data").raw(&seed, b"seed");
    engine.load(&Image::busybox().with_layer(&layer), "busybox:latest");
    (engine, etc)
}

/// Words of a command that runs a script in a container with these flags.
fn script(flags: &str, script: &str) -> Vec<String> {
    let words = "run --rm".split(' ').chain(flags.split_whitespace());
    let words = words.chain(["busybox", "sh", "-c", script]);
    words.map(str::to_owned).collect()
}

/// Words of a table, each line's joined by single spaces.
fn words(text: &str) -> String {
    let line = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

fn pid(engine: &TestEngine, container: &str) -> u64 {
    let pid = engine.inspect(container)["State"]["Pid"].as_u64();
    pid.expect("a pid")
}

fn namespace(pid: u64, kind: &str) -> String {
    let link = fs::read_link(format!("/proc/{pid}/ns/{kind}")).expect("a process");
    link.to_string_lossy().into_owned()
}

/// Who a process is outside.
fn uid_outside(pid: u64) -> u32 {
    fs::metadata(format!("/proc/{pid}")).expect("a process").uid()
}

#[test]
fn root_of_a_container_is_nobody_outside() {
    let (engine, _etc) = remapped();
    let info = engine.ok(["info", "--format", "{{json .SecurityOptions}}"]);
    assert!(info.contains("\"name=userns\""), "{info}");

    engine.ok("run -d --name one busybox sleep 1000");
    engine.ok("run -d --name two busybox sleep 1000");
    assert_eq!(engine.inspect("one")["HostConfig"]["UsernsMode"], "");
    for who in ["one", "two"] {
        for file in ["uid_map", "gid_map"] {
            let path = format!("/proc/self/{file}");
            assert_eq!(words(&engine.ok(["exec", who, "cat", &path])), MAP);
        }
        let pid = pid(&engine, who);
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("status");
        assert!(
            status.contains(&format!("\nUid:\t{FIRST}\t{FIRST}\t{FIRST}\t{FIRST}\n")),
            "{status}"
        );
        assert!(status.contains(&format!("\nGid:\t{FIRST}\t")), "{status}");
    }
    let [one, two] = ["one", "two"].map(|who| namespace(pid(&engine, who), "user"));
    assert_ne!(one, two, "each has its own");

    // The image's files and its own are root's, and somebody's who is somebody inside.
    let script = "touch /new /tmp/new; stat -c '%u:%g' / /bin/busybox /etc /data/seed /new /tmp/new /etc/hosts \
                  /etc/resolv.conf /etc/hostname /dev /dev/shm";
    let owners = engine.ok(["exec", "one", "sh", "-c", script]);
    assert_eq!(
        words(&owners),
        "0:0\n0:0\n0:0\n1000:1000\n0:0\n0:0\n0:0\n0:0\n0:0\n0:0\n0:0"
    );
    let upper = engine
        .root()
        .join("containers")
        .join(engine.ok("inspect -f {{.Id}} one"));
    assert_eq!(fs::metadata(upper.join("upper/new")).expect("a file").uid(), 0);
    assert_eq!(
        engine.ok("exec -u user one id"),
        "uid=1000(user) gid=1000(user) groups=2000(extra)"
    );
    engine.ok([
        "exec",
        "-u",
        "user",
        "one",
        "sh",
        "-c",
        "echo x > /tmp/user; test -O /tmp/user",
    ]);
    assert_eq!(
        engine.ok("run --rm -u 5:6 --group-add extra busybox id"),
        "uid=5 gid=6 groups=6,2000(extra)"
    );

    // It has what root of any container has, over what is its own.
    let capabilities = "grep -E Cap|Seccomp: /proc/self/status";
    let plain = engine.ok(format!("run --rm --userns host busybox {capabilities}"));
    assert_eq!(engine.ok(format!("run --rm busybox {capabilities}")), plain);
    assert_eq!(engine.ok(format!("exec one {capabilities}")), plain);
    engine.ok("exec one chown 1000 /new");
}

#[test]
fn nobody_has_no_rights_on_the_host() {
    let (engine, _etc) = remapped();
    let shared = engine.files("shared", &[("secret", "s3cret"), ("open", "everybody's")]);
    fs::set_permissions(shared.join("secret"), PermissionsExt::from_mode(0o600)).expect("mode");
    let bind = format!("{}:/host", shared.display());
    let run = |script: &str| engine.run(["run", "--rm", "-v", &bind, "busybox", "sh", "-c", script]);
    assert_eq!(run("cat /host/open").ok(), "everybody's");
    assert!(run("cat /host/secret").fails(1).contains("Permission denied"));
    assert!(run("touch /host/new").fails(1).contains("Permission denied"));
    assert!(run("chown 0 /host/open").fails(1).contains("not permitted"));
    assert_eq!(run("stat -c %u:%g /host/open").ok(), "65534:65534", "as it is");
    // What belongs to its ids outside is its.
    let own = engine.files("own", &[]);
    std::os::unix::fs::chown(&own, Some(FIRST), Some(FIRST)).expect("owner");
    let bind = format!("{}:/own", own.display());
    engine.ok(["run", "--rm", "-v", &bind, "busybox", "touch", "/own/new"]);
    assert_eq!(fs::metadata(own.join("new")).expect("a file").uid(), FIRST);
    // Nor does a device of the host become its own by being there.
    let device = script(
        "--device /dev/null:/dev/other",
        "echo x > /dev/other && echo x > /dev/null && mknod /tmp/x c 1 3",
    );
    let refused = engine.fails(1, device);
    assert!(
        refused.contains("mknod") && refused.contains("not permitted"),
        "{refused}"
    );
}

#[test]
fn terminals_and_streams_belong_to_the_program() {
    let (engine, _etc) = remapped();
    let script = "echo > $(tty) && stat -c %u:%g $(tty)";
    let said = engine.ok(["run", "--rm", "-t", "busybox", "sh", "-c", script]);
    assert_eq!(words(&said).trim(), "0:5");
    engine.ok("run -d --name box busybox sleep 1000");
    for (user, uid) in [("root", 0), ("user", 1000)] {
        let said = engine.ok(["exec", "-t", "-u", user, "box", "sh", "-c", script]);
        assert_eq!(words(&said).trim(), format!("{uid}:5"), "{user}");
        let said = engine.ok(["exec", "-u", user, "box", "sh", "-c", "echo out > /dev/stdout"]);
        assert_eq!(said, "out", "{user}");
        let said = engine.ok([
            "run",
            "--rm",
            "-u",
            user,
            "busybox",
            "sh",
            "-c",
            "echo out > /dev/stdout",
        ]);
        assert_eq!(said, "out", "{user}");
    }
    let piped = engine.cmd("run --rm -i busybox cat").stdin("in").run();
    assert_eq!(piped.ok(), "in");
}

#[test]
fn archives_and_images_have_the_owners_of_the_container() {
    let (engine, _etc) = remapped();
    engine.ok("run -d --name box busybox sleep 1000");
    let inside = "mkdir /made; echo x > /made/file; chown 7:8 /made/file; rm /data/seed";
    engine.ok(["exec", "box", "sh", "-c", inside]);
    assert_eq!(
        engine.ok("diff box"),
        "C /data\nD /data/seed\nA /made\nA /made/file"
    );

    let dir = engine.files("cp", &[("file", "x")]);
    let file = dir.join("file");
    std::os::unix::fs::chown(&file, Some(1000), Some(2000)).expect("owner");
    let file = file.to_string_lossy().into_owned();
    engine.ok(["cp", &file, "box:/root/plain"]);
    engine.ok(["cp", "-a", &file, "box:/root/owned"]);
    let owners = "stat -c %u:%g /root/plain /root/owned /made/file";
    assert_eq!(
        words(&engine.ok(format!("exec box {owners}"))),
        "0:0\n1000:2000\n7:8"
    );
    let out = dir.join("out");
    let to = out.to_string_lossy().into_owned();
    engine.ok(["cp", "-a", "box:/made/file", &to]);
    let copied = fs::metadata(&out).expect("a file");
    assert_eq!((copied.uid(), copied.gid()), (7, 8));

    let exported = dir.join("export.tar").to_string_lossy().into_owned();
    engine.ok(["export", "-o", &exported, "box"]);
    let listed = Command::new("tar")
        .args(["--numeric-owner", "-tvf", &exported])
        .output()
        .expect("tar");
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let owner = |name: &str| {
        let line = listed
            .lines()
            .find(|line| line.ends_with(name))
            .expect("an entry");
        words(line).split(' ').nth(1).expect("an owner").to_owned()
    };
    assert_eq!(
        (owner(" made/file"), owner(" etc/passwd")),
        ("7/8".to_owned(), "0/0".to_owned())
    );

    // An image of it is one for everybody, and the container keeps its mark.
    engine.ok("commit box made");
    engine.ok("exec box test -e /.dockerenv");
    for user in ["", "--userns host "] {
        let seen = engine.ok(format!("run --rm {user}made {owners}"));
        assert_eq!(words(&seen), "0:0\n1000:2000\n7:8", "{user}");
    }

    // Stopped, it is the same.
    engine.ok("stop -t 0 box");
    engine.ok(["cp", "-a", &file, "box:/root/later"]);
    engine.ok(["cp", "-a", "box:/made/file", &to]);
    engine.ok("start box");
    let seen = engine.ok("exec box stat -c %u:%g /root/later /made/file");
    assert_eq!(words(&seen), "1000:2000\n7:8");
}

#[test]
fn volumes_are_shared_with_containers_of_the_host() {
    let (engine, _etc) = remapped();
    let run = |user: &str, text: &str| engine.ok(script(&format!("--userns={user} -v data:/data"), text));
    // With the image's files first.
    assert_eq!(
        run("", "stat -c %u:%g /data /data/seed; touch /data/remapped"),
        "0:0\n1000:1000"
    );
    assert_eq!(
        run(
            "host",
            "stat -c %u:%g /data/*; chown 3 /data/remapped; touch /data/host"
        ),
        "0:0\n1000:1000"
    );
    assert_eq!(
        run("", "stat -c %u:%g /data/*; rm /data/host"),
        "0:0\n3:0\n1000:1000"
    );
    engine.ok("run --rm -w /data/work/here -v data:/data busybox touch file");
    assert_eq!(
        run("", "stat -c %u:%g /data/work/here /data/work/here/file"),
        "0:0\n0:0"
    );
    let part = "run --rm --mount type=volume,src=data,dst=/part,volume-subpath=work busybox stat -c %u:%g /part/here";
    assert_eq!(engine.ok(part), "0:0");
    engine.ok("run -d --name box -v /anonymous busybox sleep 1000");
    engine.ok("exec box touch /anonymous/file");
    assert_eq!(
        engine.ok("run --rm --volumes-from box busybox stat -c %u:%g /anonymous/file"),
        "0:0"
    );
    let read_only = engine.fails(1, "run --rm -v data:/data:ro busybox touch /data/x");
    assert!(read_only.contains("Read-only"), "{read_only}");
}

#[test]
fn the_network_is_the_containers_own() {
    let (engine, _etc) = remapped();
    let serve = "echo served > /tmp/index.html; httpd -f -p 80 -h /tmp";
    engine.ok("network create net");
    engine.ok([
        "run",
        "-d",
        "--name",
        "web",
        "--network",
        "net",
        "-p",
        "127.0.0.1::80",
        "busybox",
        "sh",
        "-c",
        serve,
    ]);
    let port = engine.ok("port web 80");
    eventually("the published port is answered", || {
        http::over_tcp(&port, "GET", "/", Duration::from_secs(1))
            .is_ok_and(|answer| answer.text() == "served\n")
    });
    assert_eq!(
        engine.ok("run --rm --network net busybox wget -qO- http://web/"),
        "served"
    );
    assert_eq!(
        engine.ok("run --rm --network net --link web:other busybox wget -qO- http://other/"),
        "served"
    );
    engine.ok("run -d --name late busybox sleep 1000");
    engine.ok("network connect net late");
    assert_eq!(engine.ok("exec late wget -qO- http://web/"), "served");
    // Its root may do with it what capabilities say.
    let add = "run --rm --cap-add NET_ADMIN busybox ip addr add 10.9.9.9/32 dev eth0";
    engine.ok(add);
    let refused = engine.fails(2, add.replace("--cap-add NET_ADMIN ", ""));
    assert!(refused.contains("not permitted"), "{refused}");
    let setting = "run --rm --sysctl net.ipv4.ip_forward=1 busybox cat /proc/sys/net/ipv4/ip_forward";
    assert_eq!(engine.ok(setting), "1");
    assert_eq!(
        engine.ok("run --rm -u user busybox cat /proc/sys/net/ipv4/ip_unprivileged_port_start"),
        "0"
    );
    assert!(engine.ok("run --rm busybox ls /sys/class/net").contains("eth0"));
    assert_eq!(
        engine.ok("run --rm --network none busybox ls /sys/class/net"),
        "lo"
    );
}

#[test]
fn namespaces_are_shared_with_the_user_namespace() {
    let (engine, _etc) = remapped();
    engine.ok("run -d --name one --ipc shareable busybox sleep 1000");
    engine.ok("run -d --name two --ipc shareable busybox sleep 1000");
    engine.ok("run -d --name host --userns host busybox sleep 1000");
    let user = namespace(pid(&engine, "one"), "user");
    for flags in [
        "--network container:one",
        "--pid container:one",
        "--ipc container:one",
        "--network container:one --pid container:one --ipc container:one",
    ] {
        engine.ok(format!("run -d --name guest {flags} busybox sleep 1000"));
        assert_eq!(namespace(pid(&engine, "guest"), "user"), user, "{flags}");
        assert_eq!(engine.ok("exec guest id -u"), "0");
        engine.ok("rm -f guest");
    }
    let processes = engine.ok("run --rm --pid container:one busybox ps");
    assert!(processes.contains("sleep 1000"), "{processes}");
    engine.ok("exec one touch /dev/shm/file");
    assert_eq!(
        engine.ok("run --rm --ipc container:one busybox stat -c %u:%g /dev/shm/file"),
        "0:0"
    );
    for (flags, reason) in [
        (
            "--network container:host",
            "cannot join network namespace of container",
        ),
        (
            "--pid container:host",
            "it is in the host's user namespace; use --userns host here, too",
        ),
        (
            "--pid container:one --ipc container:two",
            "different user namespaces",
        ),
    ] {
        let refused = engine.fails(125, format!("run --rm {flags} busybox true"));
        assert!(refused.contains(reason), "{flags}: {refused}");
    }
    let processes =
        engine.ok("run --rm --userns host --pid container:one --network container:one busybox ps");
    assert!(processes.contains(&format!("{FIRST}")), "{processes}");
    engine.ok("run --rm --ipc host busybox true");
    engine.ok("run --rm --uts host busybox hostname");
}

#[test]
fn what_is_the_hosts_is_refused_unless_the_user_namespace_is_too() {
    let (engine, _etc) = remapped();
    for (flags, reason) in [
        (
            "--privileged",
            "privileged mode is incompatible with user namespaces.  You must run the container in the host namespace when \
             running privileged mode",
        ),
        (
            "--network host",
            "cannot share the host's network namespace when user namespaces are enabled",
        ),
        (
            "--pid host",
            "cannot share the host PID namespace when user namespaces are enabled",
        ),
        ("--userns private", "--userns: invalid USER mode"),
        (
            "-u 70000",
            "the container's user namespace has no uid 70000: give userns-remap more ids in /etc/subuid",
        ),
        ("-u 0:70000", "the container's user namespace has no gid 70000"),
    ] {
        let refused = engine.fails(125, format!("run --rm {flags} busybox true"));
        assert!(refused.contains(reason), "{flags}: {refused}");
        if !flags.starts_with("--userns") {
            let map = engine.ok(format!(
                "run --rm --userns host {flags} busybox cat /proc/self/uid_map"
            ));
            assert_eq!(words(&map), HOST_MAP, "{flags}");
        }
    }
    assert_eq!(
        words(&engine.ok("run --rm --userns= busybox cat /proc/self/uid_map")),
        MAP
    );
    engine.ok("create --name box --userns host busybox");
    assert_eq!(engine.inspect("box")["HostConfig"]["UsernsMode"], "host");
    let wrong = serde_json::json!({"Image": "busybox", "HostConfig": {"UsernsMode": "private"}});
    let answer = engine.post("/v1.44/containers/create", &wrong);
    assert!(
        answer.status == 400 && answer.text().contains("UsernsMode"),
        "{}",
        answer.text()
    );
}

#[test]
fn what_is_mounted_besides_works() {
    let (engine, _etc) = remapped();
    let run = |flags: &str, text: &str| engine.run(script(flags, text));
    assert_eq!(
        run(
            "--tmpfs /t:uid=1000,size=1m",
            "stat -c %u /t; touch /t/x; stat -c %u /t/x"
        )
        .ok(),
        "1000\n0"
    );
    assert_eq!(
        run("--mount type=tmpfs,dst=/t -u user", "touch /t/x; stat -c %u /t/x").ok(),
        "1000"
    );
    let read_only = run("--read-only --tmpfs /t", "touch /t/x && touch /x").fails(1);
    assert!(read_only.contains("Read-only"), "{read_only}");
    assert_eq!(
        run("--shm-size 8m", "df -k /dev/shm | tail -1 | awk '{print $2}'").ok(),
        "8192"
    );
    assert!(run("--init", "ps").ok().contains("docker-init"));
    assert_eq!(
        run(
            "-m 64m --pids-limit 50 --ulimit nofile=99 --oom-score-adj 100",
            "ulimit -n; cat /proc/self/oom_score_adj"
        )
        .ok(),
        "99\n100"
    );
    assert_eq!(
        run("--cgroupns private --security-opt no-new-privileges", "id -u").ok(),
        "0"
    );
    let hosts = run(
        "--add-host name:10.0.0.9 --dns 10.0.0.1",
        "echo 10.0.0.8 own >> /etc/hosts; cat /etc/hosts /etc/resolv.conf",
    )
    .ok();
    assert!(
        hosts.contains("10.0.0.9\tname")
            && hosts.contains("10.0.0.8 own")
            && hosts.contains("nameserver 10.0.0.1"),
        "{hosts}"
    );
    engine.ok("run -d --name sick --health-cmd true --health-interval 1s busybox sleep 1000");
    eventually("it is healthy", || {
        engine.inspect("sick")["State"]["Health"]["Status"] == "healthy"
    });
    let top = engine.ok("top sick");
    assert!(top.contains(&FIRST.to_string()), "{top}");
}

#[test]
fn containers_outlive_daemons_and_come_back() {
    let (engine, _etc) = remapped();
    engine.ok([
        "run",
        "-d",
        "--name",
        "box",
        "-p",
        "127.0.0.1::80",
        "busybox",
        "sh",
        "-c",
        "touch /made; httpd -f -p 80",
    ]);
    let before = pid(&engine, "box");
    engine.kill_daemon();
    engine.start_daemon();
    assert_eq!((pid(&engine, "box"), uid_outside(before)), (before, FIRST));
    assert_eq!(engine.ok("exec box stat -c %u:%g /made"), "0:0");
    let dir = engine.files("cp", &[("file", "x")]);
    engine.ok(["cp", &dir.join("file").to_string_lossy(), "box:/copied"]);
    assert_eq!(engine.ok("exec box stat -c %u:%g /copied"), "0:0");
    engine.ok("restart -t 0 box");
    assert_eq!(
        (
            engine.ok("exec box stat -c %u:%g /made"),
            uid_outside(pid(&engine, "box"))
        ),
        ("0:0".into(), FIRST)
    );
    engine.ok("run -d --name again --restart always busybox sleep 1000");
    let first = pid(&engine, "again");
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(i32::try_from(first).expect("a pid")).expect("a pid"),
        rustix::process::Signal::KILL,
    )
    .expect("kill");
    eventually("it is restarted", || {
        let again = pid(&engine, "again");
        again != first && again != 0 && uid_outside(again) == FIRST
    });

    // Without the setting, those that run keep their ids until they are started anew; nothing they wrote is lost to them.
    engine.stop_daemon();
    engine.configure("");
    engine.start_daemon();
    assert!(!engine.ok("info").contains("userns"));
    assert_eq!(words(&engine.ok("exec box cat /proc/self/uid_map")), MAP);
    engine.ok(["cp", &dir.join("file").to_string_lossy(), "box:/later"]);
    assert_eq!(
        words(&engine.ok("exec box stat -c %u:%g /made /later")),
        "0:0\n0:0"
    );
    engine.ok("restart -t 0 box");
    assert_eq!(words(&engine.ok("exec box cat /proc/self/uid_map")), HOST_MAP);
    assert_eq!(
        words(&engine.ok("exec box stat -c %u:%g /made /later /copied")),
        "0:0\n0:0\n0:0"
    );
}

#[test]
fn runtimes_of_the_host_make_them_too() {
    const HYBRID: &str = "/sys/fs/cgroup/unified";
    let nothing = tempfile::tempdir().expect("a directory");
    let mut surroundings = Surroundings::default();
    if fs::exists(HYBRID).is_ok_and(|hybrid| hybrid) {
        surroundings
            .files
            .push((HYBRID.into(), nothing.path().to_owned()));
    }
    let (engine, _etc) = remapped_amid(surroundings);
    let null = || {
        let device = fs::metadata("/dev/null").expect("the null device");
        (device.uid(), device.gid())
    };
    let owner = null();
    for runtime in ["runc", "crun"] {
        let run = format!("run -d --name box --runtime {runtime} -v data:/data busybox sleep 1000");
        engine.ok(run);
        assert_eq!(
            words(&engine.ok("exec box cat /proc/self/uid_map")),
            MAP,
            "{runtime}"
        );
        let script = "touch /made; stat -c %u:%g /made /data/seed /etc/hosts; echo x > /dev/stdout";
        assert_eq!(
            words(&engine.ok(["exec", "box", "sh", "-c", script])),
            "0:0\n1000:1000\n0:0\nx",
            "{runtime}"
        );
        assert_eq!(
            words(&engine.ok("exec -t -u user box id -u")).trim(),
            "1000",
            "{runtime}"
        );
        assert_eq!(uid_outside(pid(&engine, "box")), FIRST, "{runtime}");
        let terminal =
            format!("run --rm -t --runtime {runtime} --device /dev/null:/dev/other busybox ls /dev/other");
        assert_eq!(engine.ok(terminal).trim(), "/dev/other", "{runtime}");
        engine.ok("rm -f box");
        assert_eq!(null(), owner, "the machine's own, {runtime}");
    }
}

#[test]
fn steps_of_builds_are_nobody_too() {
    let (engine, _etc) = remapped();
    let dockerfile = "FROM busybox\nWORKDIR /work\nCOPY file /work/\nCOPY --chown=5:6 file /work/owned\n\
        RUN cat /proc/self/uid_map > map; cat file; touch made; chown 7 made\n\
        USER user\nRUN --mount=type=cache,target=/cache,uid=1000 --mount=type=bind,target=/context \\\n\
        cat /context/file > /tmp/user && touch /cache/x && stat -c %u:%g /cache/x /context/file > /tmp/seen\n";
    let context = engine.files("context", &[("Dockerfile", dockerfile), ("file", "copied")]);
    let context = context.to_string_lossy().into_owned();
    engine.ok(["build", "-q", "-t", "built", &context]);
    for user in ["", "--userns host "] {
        let run = |words: &str| words_of(&engine, user, words);
        assert_eq!(run("cat map"), MAP);
        assert_eq!(
            run("stat -c %u:%g . file owned made"),
            "0:0\n0:0\n5:6\n7:0",
            "{user}"
        );
        assert_eq!(run("stat -c %u:%g /tmp/user"), "1000:1000", "{user}");
        assert_eq!(run("cat /tmp/seen"), "1000:1000\n0:0", "{user}");
    }
    engine.ok(["build", "-q", "-t", "again", &context]);
    let refused = engine.fails(1, ["build", "--no-cache", "--network", "host", &context]);
    assert!(
        refused.contains("cannot share the host's network namespace"),
        "{refused}"
    );
}

fn words_of(engine: &TestEngine, flags: &str, command: &str) -> String {
    words(&engine.ok(format!("run --rm {flags}built {command}")))
}

#[test]
fn ids_that_nobody_has_are_asked_for() {
    let dir = tempfile::tempdir().expect("a directory");
    let start = |setting: &str| {
        let daemon = Command::new(havre_testing::havre_binary())
            .args(["daemon", "--userns-remap", setting, "--root"])
            .arg(dir.path().join("root"))
            .env_remove("DOCKER_HOST")
            .output()
            .expect("the havre binary");
        assert!(!daemon.status.success());
        String::from_utf8_lossy(&daemon.stderr).into_owned()
    };
    for (setting, said) in [
        (
            "no-such-user",
            "userns-remap: no user no-such-user in /etc/passwd",
        ),
        ("root", "userns-remap: root cannot be remapped to itself"),
        (
            "a:b:c",
            "userns-remap: invalid user/group specification \"a:b:c\"",
        ),
        (
            "nobody:no-such-group",
            "userns-remap: no group no-such-group in /etc/group",
        ),
    ] {
        let error = start(setting);
        assert!(error.contains(said), "{setting}: {error}");
    }
    if !fs::read_to_string("/etc/subuid")
        .unwrap_or_default()
        .contains("nobody:")
    {
        let error = start("nobody");
        assert!(
            error.contains("/etc/subuid has no ids for nobody: add the line \"nobody:"),
            "{error}"
        );
    }
}
