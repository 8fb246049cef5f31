//! A disk that is full under running containers.

use havre_testing::{Image, SmallDisk, TestEngine, eventually};

#[test]
fn containers_survive_a_full_disk() {
    if TestEngine::is_dockerd() {
        return;
    }
    let small = SmallDisk::memory(96);
    let engine = small.engine();
    engine.load(&Image::busybox(), "busybox");
    let script = "i=0; while true; do i=$((i+1)); echo $i; echo $i > /dev/shm/at; sleep 0.01; done";
    engine.ok(["run", "-d", "--name", "counter", "busybox", "sh", "-c", script]);
    engine.ok("run -d --name idle -v data:/data busybox sleep 1000");
    engine.ok("create --name waiting busybox echo started");
    let at = || {
        engine
            .ok("exec counter cat /dev/shm/at")
            .parse::<u64>()
            .unwrap_or_default()
    };
    eventually("it counts", || at() > 5);

    small.fill();
    // Whatever fails says why; what needs no room goes on.
    let failed = engine.run("create --name never busybox true");
    if failed.code != 0 {
        assert!(failed.err().to_lowercase().contains("no space left"), "{failed}");
    }
    let written = engine.run([
        "exec",
        "idle",
        "sh",
        "-c",
        "dd if=/dev/zero of=/data/file bs=1M count=8",
    ]);
    assert!(
        written.code != 0 && written.err().contains("No space left"),
        "{written}"
    );
    let before = at();
    eventually("the counter goes on, logged or not", || at() > before + 20);
    assert_eq!(engine.ok("exec counter echo alive"), "alive");
    assert!(engine.ok("ps -q").lines().count() == 2 && engine.inspect("counter")["State"]["Running"] == true);
    assert!(
        engine.ok("logs --tail 1 counter").parse::<u64>().is_ok(),
        "what was logged can be read"
    );
    engine.ok("stop -t 0 counter");
    assert_eq!(engine.inspect("counter")["State"]["ExitCode"], 137);
    // A way out: removing needs no room.
    engine.ok("rm counter");

    // A daemon that dies and starts without room finds its containers.
    engine.kill_daemon();
    small.clear();
    small.fill();
    engine.start_daemon();
    assert_eq!(engine.ok("exec idle echo alive"), "alive");

    small.clear();
    assert_eq!(engine.ok("start -a waiting"), "started");
    assert_eq!(engine.ok("run --rm busybox echo room"), "room");
    engine.ok(["exec", "idle", "sh", "-c", "echo kept > /data/file"]);
    engine.ok("rm -f idle waiting");
    if failed.code == 0 {
        engine.ok("rm never");
    }
    assert_eq!(engine.ok("run --rm -v data:/data busybox cat /data/file"), "kept");
}
