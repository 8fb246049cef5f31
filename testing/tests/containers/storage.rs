//! `--storage-opt size`: where the file system has project quotas, and where it has none.

use std::process::Command;

use fs_err as fs;
use havre_testing::{Image, TestEngine};

/// A file system with project quotas, if this kernel has them.
struct Disk(tempfile::TempDir);

impl Disk {
    fn make() -> Option<Self> {
        let dir = tempfile::Builder::new()
            .prefix("havre-quota-")
            .tempdir_in("/var/tmp")
            .expect("a directory");
        let image = dir.path().join("image");
        let file = fs::File::create(&image).expect("a file");
        file.set_len(96 << 20).expect("a disk");
        fs::create_dir(dir.path().join("root")).expect("a directory");
        let made = Command::new("mkfs.ext4")
            .args(["-q", "-F", "-O", "quota,project", "-E", "quotatype=prjquota"])
            .arg(&image)
            .status();
        assert!(made.expect("mkfs.ext4").success());
        let disk = Disk(dir);
        let mounted = Command::new("mount")
            .args(["-o", "loop,prjquota"])
            .arg(&image)
            .arg(disk.root())
            .output();
        mounted.expect("mount").status.success().then_some(disk)
    }

    fn root(&self) -> std::path::PathBuf {
        self.0.path().join("root")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.root()).status();
    }
}

fn write(engine: &TestEngine, container: &str, file: &str, megabytes: u32) -> String {
    let (file, count) = (format!("of={file}"), format!("count={megabytes}"));
    let output = engine.run(["exec", container, "dd", "if=/dev/zero", &file, "bs=1M", &count]);
    output.err()
}

fn is_full(said: &str) -> bool {
    ["No space left on device", "Disk quota exceeded", "Quota exceeded"]
        .iter()
        .any(|reason| said.contains(reason))
}

#[test]
fn what_a_container_writes_is_limited() {
    let Some(disk) = Disk::make() else {
        without_quotas();
        return;
    };
    let engine = TestEngine::at(&disk.root().join("havre"));
    engine.load(&Image::busybox(), "busybox:latest");
    engine.ok("run -d --name small --storage-opt size=4m busybox sleep 1000");
    engine.ok("run -d --name other --storage-opt size=8m busybox sleep 1000");
    engine.ok("run -d --name free busybox sleep 1000");
    assert!(is_full(&write(&engine, "small", "/file", 6)));
    assert!(!is_full(&write(&engine, "other", "/file", 6)), "each has its own");
    assert!(is_full(&write(&engine, "other", "/more", 6)));
    assert!(!is_full(&write(&engine, "free", "/file", 12)));
    // The limit is the container's, for as long as it is there, and comes back with it.
    engine.ok("restart -t 0 small");
    assert!(is_full(&write(&engine, "small", "/more", 1)));
    engine.ok("exec small rm -f /file /more");
    assert!(!is_full(&write(&engine, "small", "/again", 2)));
    engine.kill_daemon();
    engine.start_daemon();
    engine.ok("rm -f small");
    engine.ok("undo");
    engine.ok("start small");
    assert_eq!(engine.ok("exec small stat -c %s /again"), "2097152");
    assert!(is_full(&write(&engine, "small", "/more", 4)));
    assert_eq!(engine.inspect("small")["HostConfig"]["StorageOpt"]["size"], "4m");

    engine.ok("volume create --opt size=2m little");
    engine.ok("run -d --name user -v little:/data busybox sleep 1000");
    assert!(is_full(&write(&engine, "user", "/data/file", 4)));
    assert!(engine.ok("system df -v").contains("little"));
    engine.ok("rm -f small other free user");
    engine.ok("volume rm little");
    engine.ok("undo --forget -f");
}

/// The refusal names the reason and the way out.
fn without_quotas() {
    let engine = TestEngine::with_busybox();
    let refused = engine.fails(125, "run --rm --storage-opt size=1g busybox true");
    for part in ["file system without project quotas", "pquota", "prjquota"] {
        assert!(refused.contains(part), "{refused}");
    }
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let engine = TestEngine::with_busybox();
    let refused = engine.fails(125, "run --rm --storage-opt size=much busybox true");
    assert!(refused.contains("invalid size: 'much'"), "{refused}");
    let refused = engine.fails(125, "run --rm --storage-opt inodes=5 busybox true");
    assert!(
        refused.contains("unknown storage option inodes: there is size"),
        "{refused}"
    );
}
