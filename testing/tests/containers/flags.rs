//! Flags about the machine below: each has its effect in the container or the kernel's files, or is refused with a reason.

use fs_err as fs;
use havre_testing::TestEngine;

use crate::update::limit;

fn is_v2() -> bool {
    std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

/// A disk of this machine, as `/dev/NAME`.
fn disk() -> Option<String> {
    let disks = fs::read_dir("/sys/block").ok()?.flatten();
    let names = disks.map(|disk| disk.file_name().to_string_lossy().into_owned());
    let real = names.filter(|name| ["vd", "sd", "nvme"].iter().any(|kind| name.starts_with(kind)));
    real.map(|name| format!("/dev/{name}"))
        .find(|path| fs::metadata(path).is_ok())
}

#[test]
fn volumes_of_another_container() {
    let engine = TestEngine::with_busybox();
    let files = engine.files("shared", &[("a", "from the host")]);
    let bind = format!("{}:/host:ro", files.display());
    engine.ok([
        "create",
        "--name",
        "store",
        "-v",
        "data:/data",
        "-v",
        &bind,
        "-v",
        "/own",
        "busybox",
        "true",
    ]);
    engine.ok([
        "run",
        "--rm",
        "--volumes-from",
        "store",
        "busybox",
        "sh",
        "-c",
        "echo kept > /data/x; echo too > /own/y",
    ]);
    let seen = engine.ok([
        "run",
        "--rm",
        "--volumes-from",
        "store:ro",
        "busybox",
        "sh",
        "-c",
        "cat /data/x /own/y /host/a",
    ]);
    assert_eq!(seen, "kept\ntoo\nfrom the host");
    for (mode, writes) in [
        ("store:ro", false),
        ("store:rw", true),
        ("store:z", true),
        ("store", true),
    ] {
        let output = engine.run([
            "run",
            "--rm",
            "--volumes-from",
            mode,
            "busybox",
            "touch",
            "/data/z",
        ]);
        assert_eq!(output.code == 0, writes, "{mode}: {output}");
        let output = engine.run([
            "run",
            "--rm",
            "--volumes-from",
            mode,
            "busybox",
            "touch",
            "/host/z",
        ]);
        assert!(output.err().contains("Read-only file system"), "{mode}: {output}");
    }
    engine.ok("create --name second --volumes-from store:ro busybox true");
    assert_eq!(
        engine.inspect("second")["HostConfig"]["VolumesFrom"][0],
        "store:ro"
    );
    let refused = engine.fails(125, "run --rm --volumes-from nobody busybox true");
    assert!(refused.contains("No such container: nobody"), "{refused}");
    let refused = engine.fails(125, "run --rm --volumes-from store:x busybox true");
    assert!(refused.contains("invalid mode"), "{refused}");
    engine.ok("rm -v store second");
}

#[test]
fn devices_by_rule() {
    let engine = TestEngine::with_busybox();
    let open = "mknod /fuse c 10 229 && : < /fuse && echo opened";
    let refused = engine.run(["run", "--rm", "busybox", "sh", "-c", open]);
    assert!(refused.err().contains("not permitted"), "{refused}");
    let opened = engine.ok([
        "run",
        "--rm",
        "--device-cgroup-rule",
        "c 10:229 rwm",
        "busybox",
        "sh",
        "-c",
        open,
    ]);
    assert_eq!(opened, "opened");
    let bad = engine.fails(
        125,
        [
            "run",
            "--rm",
            "--device-cgroup-rule",
            "c 10:229 xyz",
            "busybox",
            "true",
        ],
    );
    assert!(
        bad.contains("invalid device cgroup format 'c 10:229 xyz'"),
        "{bad}"
    );
}

#[test]
fn memory_and_the_oom_killer() {
    let engine = TestEngine::with_busybox();
    let output =
        engine.run("run -d --name box -m 64m --memory-swappiness 13 --oom-kill-disable busybox sleep 100");
    assert_eq!(output.code, 0, "{output}");
    if is_v2() {
        assert!(
            output.err().contains("memory swappiness") && output.err().contains("OomKillDisable discarded"),
            "{output}"
        );
    } else {
        assert_eq!(limit(&engine, "box", "memory/memory.swappiness", ""), "13");
        let control = limit(&engine, "box", "memory/memory.oom_control", "");
        assert!(control.contains("oom_kill_disable 1"), "{control}");
        assert_eq!(engine.inspect("box")["HostConfig"]["MemorySwappiness"], 13);
        assert_eq!(engine.inspect("box")["HostConfig"]["OomKillDisable"], true);
    }
    let bad = engine.fails(125, "run --rm --memory-swappiness 101 busybox true");
    assert!(bad.contains("valid memory swappiness range is 0-100"), "{bad}");
}

#[test]
fn block_io() {
    let engine = TestEngine::with_busybox();
    let output = engine.run("run -d --name weighed --blkio-weight 300 busybox sleep 100");
    assert_eq!(output.code, 0, "{output}");
    if output.err().is_empty() {
        let weight = limit(&engine, "weighed", "blkio/blkio.bfq.weight", "io.weight");
        assert!(weight.ends_with("300") || weight.ends_with("2930"), "{weight}");
    } else {
        assert!(output.err().contains("Weight discarded"), "{output}");
    }
    let bad = engine.fails(125, "run --rm --blkio-weight 5 busybox true");
    assert!(bad.contains("Range of blkio weight is from 10 to 1000"), "{bad}");
    let bad = engine.fails(125, "run --rm --device-read-bps /dev/nothing:1mb busybox true");
    assert!(bad.contains("/dev/nothing"), "{bad}");
    let bad = engine.fails(125, "run --rm --device-read-bps /dev/null:1mb busybox true");
    assert!(bad.contains("not a block device"), "{bad}");
    let bad = engine.fails(125, "run --rm --device-write-iops /dev/null:many busybox true");
    assert!(bad.contains("invalid rate for device"), "{bad}");
    let Some(disk) = disk() else { return };
    engine.ok(format!(
        "run -d --name slow --device-read-bps {disk}:1mb --device-write-bps {disk}:2mb --device-read-iops {disk}:300 \
         --device-write-iops {disk}:400 busybox sleep 100"
    ));
    let io = |v1: &str| {
        limit(
            &engine,
            "slow",
            &format!("blkio/blkio.throttle.{v1}_device"),
            "io.max",
        )
    };
    for (file, v1, v2) in [
        ("read_bps", "1048576", "rbps=1048576"),
        ("write_bps", "2097152", "wbps=2097152"),
        ("read_iops", "300", "riops=300"),
        ("write_iops", "400", "wiops=400"),
    ] {
        let text = io(file);
        assert!(text.contains(if is_v2() { v2 } else { v1 }), "{file}: {text}");
    }
    assert_eq!(
        engine.inspect("slow")["HostConfig"]["BlkioDeviceReadBps"][0]["Rate"],
        1 << 20
    );
}

#[test]
fn what_has_no_effect_is_refused() {
    let engine = TestEngine::with_busybox();
    for (flags, reason) in [
        (
            "--gpus all",
            "could not select device driver \"\" with capabilities: [[gpu]]",
        ),
        (
            "--runtime nosuch",
            "unknown or invalid runtime name: nosuch (there are ",
        ),
        ("--isolation hyperv", "Isolation is not supported"),
        (
            "--storage-opt other=1g",
            "unknown storage option other: there is size",
        ),
        ("--disable-content-trust=false", "content trust is not supported"),
        (
            "--cpu-rt-runtime 2000 --cpu-rt-period 1000",
            "cpu real-time runtime cannot be higher than cpu real-time period",
        ),
        ("--volume-driver nfs", "only the local driver exists"),
        ("--userns private", "--userns: invalid USER mode"),
    ] {
        let refused = engine.fails(125, format!("run --rm {flags} busybox true"));
        assert!(refused.contains(reason), "{flags}: {refused}");
    }
    assert_eq!(engine.ok("ps -aq"), "");
    let map = engine.ok(
        "run --rm --isolation default --runtime havre --userns host --disable-content-trust --volume-driver local \
         --annotation a=b busybox cat /proc/self/uid_map",
    );
    let map: Vec<_> = map.split_whitespace().collect();
    assert_eq!(map, ["0", "0", "4294967295"]);
    let kernel = engine.run("run --rm --kernel-memory 50m busybox true");
    assert!(
        kernel.code == 0 && kernel.err().contains("deprecated"),
        "{kernel}"
    );
    engine.ok("create --name noted --annotation a=b busybox true");
    assert_eq!(engine.inspect("noted")["HostConfig"]["Annotations"]["a"], "b");
}

#[test]
fn links() {
    let engine = TestEngine::with_busybox();
    engine.ok("run -d --name db --expose 5432 -e SECRET=s3 -h dbhost busybox sleep 100");
    let address = engine.inspect("db")["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
        .as_str()
        .expect("an address")
        .to_owned();
    engine.ok("run -d --name web --link db:my-store busybox sleep 100");
    let hosts = engine.ok("exec web cat /etc/hosts");
    for name in ["my-store", "db", "dbhost"] {
        assert!(hosts.contains(&format!("{address}\t{name}")), "{hosts}");
    }
    let env = engine.ok("exec web env");
    for variable in [
        format!("MY_STORE_PORT=tcp://{address}:5432"),
        format!("MY_STORE_PORT_5432_TCP_ADDR={address}"),
        "MY_STORE_PORT_5432_TCP_PORT=5432".to_owned(),
        "MY_STORE_PORT_5432_TCP_PROTO=tcp".to_owned(),
        "MY_STORE_NAME=/web/my-store".to_owned(),
        "MY_STORE_ENV_SECRET=s3".to_owned(),
    ] {
        assert!(env.lines().any(|line| line == variable), "{variable}: {env}");
    }
    engine.ok("exec web ping -c 1 my-store");
    assert_eq!(
        engine.inspect("web")["HostConfig"]["Links"][0],
        "/db:/web/my-store"
    );
    let saved = engine.inspect("web")["Config"]["Env"].to_string();
    assert!(
        !saved.contains("MY_STORE"),
        "what a link adds is not the container's own: {saved}"
    );

    // Another container takes the address; the linked one learns where the other is now.
    engine.ok("stop -t 0 db");
    engine.ok("run -d --name squatter busybox sleep 100");
    engine.ok("start db");
    let moved = engine.inspect("db")["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
        .as_str()
        .expect("an address")
        .to_owned();
    let hosts = engine.ok("exec web cat /etc/hosts");
    assert!(hosts.contains(&format!("{moved}\tmy-store")), "{moved}: {hosts}");

    assert_eq!(engine.ok("rm --link /web/my-store"), "/web/my-store");
    assert!(engine.inspect("web")["HostConfig"]["Links"].is_null());
    let unknown = engine.fails(1, "rm --link web/nothing");
    assert!(unknown.contains("No such link: /web/nothing"), "{unknown}");

    let nobody = engine.fails(125, "run --rm --link nobody busybox true");
    assert!(nobody.contains("could not get container for nobody"), "{nobody}");
    engine.ok("create --name asleep busybox true");
    let asleep = engine.fails(125, "run --name late --link asleep:a1 busybox true");
    assert!(
        asleep.contains("Cannot link to a non running container: /asleep AS /late/a1"),
        "{asleep}"
    );
    let host = engine.fails(125, "run --rm --network host --link db busybox true");
    assert!(
        host.contains("host type networking can't be used with links"),
        "{host}"
    );
}
