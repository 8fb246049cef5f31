//! What a container may not: capabilities, seccomp, masked paths; and what a privileged one may.

use havre_testing::TestEngine;

#[test]
fn capabilities_are_dockers_and_can_change() {
    let engine = TestEngine::with_busybox();
    let bounding = |flags: &str| {
        let text = engine.ok(format!("run --rm {flags} busybox grep CapBnd /proc/self/status"));
        u64::from_str_radix(text.split_whitespace().last().expect("a mask"), 16).expect("hexadecimal")
    };
    const DEFAULT: u64 = 0xa804_25fb;
    const NET_RAW: u64 = 1 << 13;
    const NET_ADMIN: u64 = 1 << 12;
    assert_eq!(bounding(""), DEFAULT);
    assert_eq!(bounding("--cap-drop NET_RAW"), DEFAULT & !NET_RAW);
    assert_eq!(bounding("--cap-add CAP_NET_ADMIN"), DEFAULT | NET_ADMIN);
    assert_eq!(bounding("--cap-drop ALL"), 0);
    assert_eq!(bounding("--cap-drop ALL --cap-add net_raw"), NET_RAW);
    // runc insists on all capabilities, and fails where the host itself lacks one.
    assert!(
        TestEngine::is_dockerd() || bounding("--privileged") & (1 << 21) != 0,
        "SYS_ADMIN"
    );
    let unknown = engine.fails(125, "run --rm --cap-add NOSUCH busybox true");
    assert!(
        unknown.to_lowercase().contains("capability") && unknown.contains("NOSUCH"),
        "{unknown}"
    );
    let effective = engine.ok("run --rm -u user busybox grep CapEff /proc/self/status");
    assert!(effective.ends_with("0000000000000000"), "{effective}");
}

#[test]
fn the_kernel_is_out_of_reach() {
    let engine = TestEngine::with_busybox();
    let script = "mount -t tmpfs none /tmp 2>&1; echo x > /proc/sys/kernel/hostname 2>&1; echo b > /proc/sysrq-trigger 2>&1; \
        head -c1 /proc/kcore | wc -c; ls /sys/firmware | wc -l; mknod /tmp/disk b 8 0 && cat /tmp/disk 2>&1; grep Seccomp: /proc/self/status";
    let text = engine.run(["run", "--rm", "busybox", "sh", "-c", script]).out();
    assert!(
        text.contains("mount: permission denied")
            || text.contains("Operation not permitted")
            || text.contains("Permission denied"),
        "{text}"
    );
    assert!(
        text.contains("Operation not permitted"),
        "the device cgroup: {text}"
    );
    assert!(text.contains("Seccomp:\t2"), "{text}");
    assert!(text.contains("\n0\n0\n"), "kcore and firmware are masked: {text}");
    let free =
        engine.ok("run --rm --security-opt seccomp=unconfined busybox grep Seccomp: /proc/self/status");
    assert_eq!(free, "Seccomp:\t0");
    let bound =
        engine.ok("run --rm --security-opt no-new-privileges busybox grep NoNewPrivs /proc/self/status");
    assert_eq!(bound, "NoNewPrivs:\t1");
    let bad = engine.fails(125, "run --rm --security-opt nosuch=1 busybox true");
    assert!(bad.contains("nosuch"), "{bad}");
}

#[test]
fn a_privileged_container_is() {
    let engine = TestEngine::with_busybox();
    if TestEngine::is_dockerd() && engine.run("run --rm --privileged busybox true").code != 0 {
        return;
    }
    engine.ok("run --rm --privileged busybox mount -t tmpfs none /tmp");
    let text = engine.ok("run --rm --privileged busybox grep Seccomp: /proc/self/status");
    assert_eq!(text, "Seccomp:\t0");
}
