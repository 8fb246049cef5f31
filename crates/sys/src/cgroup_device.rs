//! Device access on cgroup v2: an eBPF program per cgroup.
