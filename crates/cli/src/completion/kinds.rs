//! What can stand where: the operands of commands and the values of flags.

/// Which of something a name may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Names {
    Containers(States),
    /// `NAME:` of containers, for `cp`.
    ContainerPaths,
    /// `container:NAME` and other modes.
    Namespaces(&'static [&'static str]),
    Images,
    Volumes,
    /// `NAME:` of volumes, for `-v`.
    VolumePaths,
    Networks,
    Contexts,
    /// Whatever can be inspected.
    Objects,
}

/// Containers by what can be done with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum States {
    All,
    Running,
    /// Running and paused ones.
    Alive,
    Paused,
    Stopped,
}

/// The kind of a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Files,
    Directories,
    Nothing,
    Words(&'static [&'static str]),
    Environment,
    Live(Names),
}

const ALL: Kind = Kind::Live(Names::Containers(States::All));
const RUNNING: Kind = Kind::Live(Names::Containers(States::Running));
const ALIVE: Kind = Kind::Live(Names::Containers(States::Alive));
const IMAGES: Kind = Kind::Live(Names::Images);
const NETWORKS: Kind = Kind::Live(Names::Networks);
const VOLUMES: Kind = Kind::Live(Names::Volumes);
const CONTEXTS: Kind = Kind::Live(Names::Contexts);

const SIGNALS: &[&str] = &[
    "ABRT", "ALRM", "BUS", "CHLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "KILL", "PIPE", "PROF", "PWR",
    "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP", "TTIN", "TTOU", "URG", "USR1", "USR2",
    "VTALRM", "WINCH", "XCPU", "XFSZ",
];
const CAPABILITIES: &[&str] = &[
    "ALL",
    "CAP_AUDIT_CONTROL",
    "CAP_AUDIT_READ",
    "CAP_AUDIT_WRITE",
    "CAP_BLOCK_SUSPEND",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_KILL",
    "CAP_LEASE",
    "CAP_LINUX_IMMUTABLE",
    "CAP_MAC_ADMIN",
    "CAP_MAC_OVERRIDE",
    "CAP_MKNOD",
    "CAP_NET_ADMIN",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_RAW",
    "CAP_PERFMON",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYSLOG",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_CHROOT",
    "CAP_SYS_MODULE",
    "CAP_SYS_NICE",
    "CAP_SYS_PACCT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_WAKE_ALARM",
];
const ULIMITS: &[&str] = &[
    "as=",
    "core=",
    "cpu=",
    "data=",
    "fsize=",
    "locks=",
    "memlock=",
    "msgqueue=",
    "nice=",
    "nofile=",
    "nproc=",
    "rss=",
    "rtprio=",
    "rttime=",
    "sigpending=",
    "stack=",
];
const PLATFORMS: &[&str] = &[
    "linux",
    "linux/386",
    "linux/amd64",
    "linux/arm",
    "linux/arm/v5",
    "linux/arm/v6",
    "linux/arm/v7",
    "linux/arm64",
    "linux/arm64/v8",
    "linux/ppc64le",
    "linux/riscv64",
    "linux/s390x",
];
const EVENT_FILTERS: &[&str] = &[
    "container=",
    "daemon=",
    "event=",
    "image=",
    "label=",
    "network=",
    "scope=",
    "type=",
    "volume=",
];
const IMAGE_FILTERS: &[&str] = &[
    "before=",
    "dangling=",
    "keep=",
    "label!=",
    "label=",
    "last-used=",
    "platform=",
    "reference=",
    "since=",
    "size<",
    "size>",
    "until=",
    "unused=",
];
const CONTAINER_FILTERS: &[&str] = &[
    "ancestor=",
    "before=",
    "exited=",
    "expose=",
    "health=",
    "id=",
    "label=",
    "name=",
    "network=",
    "publish=",
    "since=",
    "status=",
    "volume=",
];

impl Kind {
    /// An operand of a command by its place; `given` are the flags before it.
    pub(super) fn of_operand(command: &str, place: usize, given: &[String]) -> Self {
        let flag = |name: &str| given.iter().any(|given| given == name);
        match (command, place) {
            ("run" | "create", 0) => IMAGES,
            ("run" | "create", _) => Self::Files,
            ("exec", 0) => RUNNING,
            ("exec", _) => Self::Files,
            ("top", 0) | ("attach", 0) => RUNNING,
            ("start", _) => Self::Live(Names::Containers(States::Stopped)),
            ("pause", _) => RUNNING,
            ("unpause", _) => Self::Live(Names::Containers(States::Paused)),
            ("stop" | "kill" | "stats", _) => ALIVE,
            ("port", 0) => ALIVE,
            ("rm", _) if !flag("force") => Self::Live(Names::Containers(States::Stopped)),
            ("rm" | "restart" | "wait" | "update" | "container inspect", _) => ALL,
            ("logs" | "rename" | "export" | "diff" | "commit", 0) => ALL,
            ("cp", _) => Self::Live(Names::ContainerPaths),
            ("commit", 1) | ("import", 1) => IMAGES,
            ("rmi" | "save" | "image inspect", _) => IMAGES,
            ("tag" | "push" | "pull" | "history" | "image log" | "image restore", 0) => IMAGES,
            ("image cat" | "image extract" | "image files" | "image squash" | "explore", 0)
            | ("image diff" | "lint", _) => IMAGES,
            ("tag", 1) => IMAGES,
            ("inspect", _) => Self::Live(Names::Objects),
            ("volume rm" | "volume inspect", _) => VOLUMES,
            ("network rm" | "network inspect", _) => NETWORKS,
            ("network connect" | "network disconnect", 0) => NETWORKS,
            ("network connect" | "network disconnect", 1) => ALL,
            ("context use" | "context export" | "context update", 0) => CONTEXTS,
            ("context rm" | "context inspect", _) => CONTEXTS,
            ("build", 0) => Self::Directories,
            ("import", 0) | ("context import" | "context export", 1) => Self::Files,
            ("completion", 0) => Self::Words(&["bash", "fish", "zsh"]),
            _ => Self::Nothing,
        }
    }

    /// The value of a command's flag, named without hyphens; a letter is looked up by the caller.
    pub(super) fn of_flag(command: &str, flag: &str) -> Self {
        match (command, flag) {
            ("build", "network") => Self::Words(&["default", "host", "none"]),
            (_, "network" | "net") => NETWORKS,
            (_, "volumes-from" | "link") => ALL,
            (_, "volume" | "v") => Self::Live(Names::VolumePaths),
            (_, "ipc") => Self::Live(Names::Namespaces(&["host", "none", "private", "shareable"])),
            (_, "pid") => Self::Live(Names::Namespaces(&["host"])),
            (_, "uts" | "userns") => Self::Words(&["host"]),
            (_, "cgroupns") => Self::Words(&["host", "private"]),
            ("run" | "create", "pull") => Self::Words(&["always", "missing", "never"]),
            (_, "restart") => Self::Words(&["always", "no", "on-failure", "on-failure:", "unless-stopped"]),
            (_, "signal" | "stop-signal" | "s") => Self::Words(SIGNALS),
            (_, "cap-add" | "cap-drop") => Self::Words(CAPABILITIES),
            (_, "ulimit") => Self::Words(ULIMITS),
            (_, "platform") => Self::Words(PLATFORMS),
            ("build", "cache-from") => IMAGES,
            ("run" | "create" | "exec" | "build", "env" | "build-arg") => Self::Environment,
            (_, "security-opt") => Self::Words(&[
                "apparmor=",
                "label=",
                "no-new-privileges",
                "seccomp=",
                "systempaths=unconfined",
            ]),
            (_, "log-driver") => Self::Words(&["json-file", "local", "none"]),
            ("network create", "driver") => Self::Words(&["bridge", "ipvlan", "macvlan"]),
            ("volume create", "driver") | (_, "volume-driver") => Self::Words(&["local"]),
            ("run" | "create" | "attach", "attach") => Self::Words(&["stderr", "stdin", "stdout"]),
            ("inspect", "type") => Self::Words(&["container", "image", "network", "volume"]),
            ("context create", "from") => CONTEXTS,
            ("context create" | "context update", "docker") => {
                Self::Words(&["ca=", "cert=", "from=", "host=", "key=", "skip-tls-verify="])
            }
            ("events", "filter") => Self::Words(EVENT_FILTERS),
            ("ps", "filter") => Self::Words(CONTAINER_FILTERS),
            ("images" | "rmi" | "save" | "image prune", "filter") => Self::Words(IMAGE_FILTERS),
            ("images", "sort") => Self::Words(&["created", "last-used", "name", "size"]),
            ("rm" | "container prune", "filter") => Self::Words(CONTAINER_FILTERS),
            ("volume ls", "filter") => Self::Words(&["dangling=", "driver=", "label=", "name="]),
            ("network ls", "filter") => Self::Words(&[
                "dangling=",
                "driver=",
                "id=",
                "label=",
                "name=",
                "scope=",
                "type=",
            ]),
            ("search", "filter") => Self::Words(&["is-automated=", "is-official=", "stars="]),
            (_, "filter") => Self::Words(&["label=", "label!=", "until="]),
            ("info" | "version" | "inspect" | "container inspect" | "image inspect", "format")
            | ("volume inspect" | "network inspect" | "context inspect" | "events", "format") => {
                Self::Words(&["json"])
            }
            ("lint", "format") => Self::Words(&["json", "sarif", "text"]),
            ("lint", "fail-on") => Self::Words(&["error", "info", "never", "warning"]),
            ("build", "call") => Self::Words(&["build", "check"]),
            (_, "format") => Self::Words(&["json", "table"]),
            ("daemon", "root" | "state") => Self::Directories,
            (
                "registry" | "registry gc" | "registry check" | "registry account" | "registry webhook",
                "root",
            ) => Self::Directories,
            ("daemon" | "registry" | "registry gc" | "registry check", "log-level") => {
                Self::Words(&["debug", "error", "info", "trace", "warn"])
            }
            ("daemon", "host") => Self::Words(&["tcp://", "unix://"]),
            ("explore", "ci-config" | "html" | "json") => Self::Files,
            (_, "cidfile" | "iidfile" | "env-file" | "label-file" | "file" | "output" | "input") => {
                Self::Files
            }
            (_, "device" | "config" | "tlscacert" | "tlscert" | "tlskey") => Self::Files,
            _ => Self::Nothing,
        }
    }

    /// The value of a global flag.
    pub(super) fn of_global(flag: &str) -> Self {
        match flag.trim_start_matches('-') {
            "context" | "c" => CONTEXTS,
            "config" => Self::Directories,
            "log-level" | "l" => Self::Words(&["debug", "error", "fatal", "info", "warn"]),
            "host" | "H" => Self::Words(&["ssh://", "tcp://", "unix://"]),
            "tlscacert" | "tlscert" | "tlskey" => Self::Files,
            _ => Self::Nothing,
        }
    }

    /// Whether a path could stand there as well.
    pub(super) fn falls_back_to_files(self) -> bool {
        matches!(self, Self::Live(Names::ContainerPaths | Names::VolumePaths))
    }
}
