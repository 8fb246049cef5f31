//! Making processes, with libcontainer or by a runtime of the host: the container's init and those that join it later.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use fs_err as fs;
use havre_sys::tty;
use havre_sys::userns::IdMap;
use libcontainer::container::Container;
use libcontainer::container::builder::ContainerBuilder;
use libcontainer::syscall::syscall::SyscallType;
use oci_spec::runtime::Spec;
use rustix::fs::{Mode, OFlags};
use serde_json::{Value, json};

use super::executor::{Entry, Program, Report, Restrictions, chain};
use super::external::External;
use super::log::LogWriter;
use super::stage::Furnished;
use super::stdio::{ProgramEnds, Streams};
use crate::cgroup::Cgroup;
use crate::protocol::{self, Failure, Setup};
use crate::shim_client::AttachRequest;
use crate::spec::{ExecSpec, SpecError, all_capabilities, capability_sets, resolve_user};

/// The shim's own chance of being chosen by the OOM killer, whatever the container's is.
const SHIM_OOM_SCORE: &str = "-999";

fn setup(what: &str) -> impl FnOnce(io::Error) -> Failure + '_ {
    move |error| Failure::Setup {
        message: format!("{what}: {error}"),
    }
}

/// A container that was made.
pub(super) enum Made {
    /// By libcontainer, here.
    Here(Box<Container>),
    /// By a runtime of the host.
    There(External),
}

/// Whether what makes the processes gives the standard streams to the container's root, the null device too: crun does.
fn gives_away(setup_request: &Setup) -> bool {
    setup_request.runtime.is_some() && setup_request.stage.is_some()
}

/// Makes the container, up to the moment where its init waits for [`start`].
pub(super) fn create(setup_request: &Setup) -> Result<(Made, i32, Streams), Failure> {
    let directory = &setup_request.directory;
    let log = LogWriter::open(&setup_request.log).map_err(setup("open the log"))?;
    let console = Console::new(setup_request.tty, directory.join("console.sock"))?;
    let want = AttachRequest {
        stdin: setup_request.stdin,
        stdout: true,
        stderr: true,
    };
    let (streams, ends) = match console {
        Some(_) => (Err(log), None),
        None => {
            let own_null = gives_away(setup_request);
            let made = Streams::pipes(want, setup_request.stdin_once, setup_request.uid, log, own_null);
            let (streams, ends) = made.map_err(setup("make the standard streams"))?;
            (Ok(streams), Some(ends))
        }
    };
    let socket = console.as_ref().map(|console| console.path.clone());
    let stage = setup_request.stage.as_ref();
    let furnished = stage.map(|stage| Furnished::new(stage, directory)).transpose()?;
    let made = match &setup_request.runtime {
        None => create_here(setup_request, ends, socket),
        Some(runtime) => {
            let config = read_config(directory)?;
            let program = config["process"]["args"][0].as_str().unwrap_or_default();
            let container = External::new(setup_request, runtime);
            let pid = container.create(program, ends, socket.as_deref());
            pid.map(|pid| (Made::There(container), pid))
        }
    };
    drop(furnished);
    let _ = fs::write("/proc/self/oom_score_adj", SHIM_OOM_SCORE);
    let (container, pid) = made?;
    let streams = match (streams, console) {
        (Err(log), Some(console)) => {
            let master = console.receive(setup_request.uid, setup_request.tty_size)?;
            Streams::terminal(master, setup_request.stdin, setup_request.stdin_once, log)
                .map_err(setup("use the terminal"))?
        }
        (Ok(streams), _) => streams,
        (Err(_), None) => {
            return Err(Failure::Setup {
                message: "no terminal".into(),
            });
        }
    };
    Ok((container, pid, streams))
}

fn create_here(
    setup_request: &Setup,
    ends: Option<ProgramEnds>,
    console: Option<PathBuf>,
) -> Result<(Made, i32), Failure> {
    let directory = &setup_request.directory;
    let report = Report::new().map_err(setup("make a pipe"))?;
    let builder = builder(&setup_request.id, directory)?.with_executor(Program::new(
        &report,
        setup_request.init,
        restrictions(setup_request, &setup_request.capabilities, None)?,
    ));
    let result = with_streams(builder, ends, console)
        .as_init(directory.join("bundle"))
        .with_systemd(false)
        .with_detach(true)
        .build();
    let cwd = || {
        Spec::load(directory.join("bundle/config.json"))
            .ok()
            .and_then(|spec| Some(spec.process().as_ref()?.cwd().display().to_string()))
            .unwrap_or_default()
    };
    let container = result.map_err(|error| report.failure(&error, &cwd()))?;
    let pid = container
        .pid()
        .ok_or_else(|| Failure::Setup {
            message: "the container has no process".into(),
        })?
        .as_raw();
    Cgroup::new(&*setup_request.cgroup)
        .restrict_devices(&setup_request.device_rules)
        .map_err(setup("restrict devices"))?;
    Ok((Made::Here(Box::new(container)), pid))
}

/// Lets the created container run its program.
pub(super) fn start(container: &mut Made) -> Result<(), Failure> {
    match container {
        Made::Here(container) => container.start().map_err(|error| Failure::Setup {
            message: chain(&error),
        }),
        Made::There(container) => container.start(),
    }
}

/// Runs another process in the container whose init is `init`. Returns its process id and streams.
pub(super) fn exec(
    setup_request: &Setup,
    container: &Made,
    init: i32,
    serial: u64,
    exec: &ExecSpec,
) -> Result<(i32, Streams), Failure> {
    let directory = &setup_request.directory;
    let config = read_config(directory)?;
    if exec.args.is_empty() || exec.args[0].is_empty() {
        return Err(Failure::Setup {
            message: "no exec command specified".into(),
        });
    }
    let strings = exec.args.iter().chain(&exec.env).chain([&exec.cwd]);
    if strings.into_iter().any(|string| string.contains('\0')) {
        return Err(Failure::Setup {
            message: "an argument contains a NUL byte".into(),
        });
    }
    let (user, home) = exec_user(&config, init, &exec.user)?;
    let uid = user["uid"]
        .as_u64()
        .and_then(|uid| u32::try_from(uid).ok())
        .unwrap_or(0);
    let uid = match &setup_request.stage {
        None => uid,
        Some(stage) => stage.map.uid_outside(uid).ok_or_else(|| not_mapped("uid", uid))?,
    };
    let all = exec.privileged.then(all_capabilities);
    let capabilities = all.as_ref().unwrap_or(&setup_request.capabilities);
    let cwd = if exec.cwd.is_empty() {
        config["process"]["cwd"].clone()
    } else {
        json!(exec.cwd)
    };
    let mut process = json!({
        "terminal": exec.tty,
        "user": user,
        "args": exec.args,
        "env": exec_environment(exec, &config, home.as_deref()),
        "cwd": cwd,
        "rlimits": config["process"]["rlimits"],
    });
    if setup_request.no_new_privileges {
        process["noNewPrivileges"] = true.into();
    }
    if !config["process"]["oomScoreAdj"].is_null() {
        process["oomScoreAdj"] = config["process"]["oomScoreAdj"].clone();
    }
    if let Made::There(_) = container {
        process["capabilities"] = capability_sets(capabilities);
        // Some hand ours on, whatever they are told.
        let score = config["process"]["oomScoreAdj"].to_string();
        let _ = fs::write("/proc/self/oom_score_adj", score);
    }
    let process_path = directory.join(format!("exec-{serial}.json"));
    fs::write(&process_path, process.to_string()).map_err(setup("write the process"))?;
    let result = run_exec(
        setup_request,
        container,
        init,
        exec,
        uid,
        capabilities,
        &process_path,
    );
    let _ = fs::remove_file(&process_path);
    let _ = fs::write("/proc/self/oom_score_adj", SHIM_OOM_SCORE);
    result
}

fn run_exec(
    setup_request: &Setup,
    container: &Made,
    init: i32,
    exec: &ExecSpec,
    uid: u32,
    capabilities: &[String],
    process: &Path,
) -> Result<(i32, Streams), Failure> {
    let console = Console::new(exec.tty, process.with_extension("sock"))?;
    let (streams, ends) = match console {
        Some(_) => (None, None),
        None => {
            let made = Streams::pipes(exec.attach, true, uid, None, gives_away(setup_request));
            let (streams, ends) = made.map_err(setup("make the standard streams"))?;
            (Some(streams), Some(ends))
        }
    };
    let socket = console.as_ref().map(|console| console.path.clone());
    let pid = match container {
        Made::Here(_) => exec_here(setup_request, init, capabilities, process, ends, socket)?,
        Made::There(container) => container.exec(&exec.args[0], process, ends, socket.as_deref())?,
    };
    let streams = match (streams, console) {
        (Some(streams), _) => streams,
        (None, Some(console)) => {
            let master = console.receive(uid, exec.tty_size)?;
            Streams::terminal(master, exec.attach.stdin, true, None).map_err(setup("use the terminal"))?
        }
        (None, None) => {
            return Err(Failure::Setup {
                message: "no terminal".into(),
            });
        }
    };
    Ok((pid, streams))
}

fn exec_here(
    setup_request: &Setup,
    init: i32,
    capabilities: &[String],
    process: &Path,
    ends: Option<ProgramEnds>,
    console: Option<PathBuf>,
) -> Result<i32, Failure> {
    let directory = &setup_request.directory;
    let report = Report::new().map_err(setup("make a pipe"))?;
    let entry = match &setup_request.stage {
        Some(stage) => Some(entry(&stage.map, init, process)?),
        None => None,
    };
    let restrictions = restrictions(setup_request, capabilities, entry)?;
    let builder =
        builder(&setup_request.id, directory)?.with_executor(Program::new(&report, false, restrictions));
    let cwd = || {
        let text = fs::read(process).unwrap_or_default();
        let process: Value = serde_json::from_slice(&text).unwrap_or_default();
        process["cwd"].as_str().unwrap_or_default().to_owned()
    };
    let pid = with_streams(builder, ends, console)
        .as_tenant()
        .with_process(Some(process))
        .with_sub_cgroup(Cgroup::new(&*setup_request.cgroup).beneath(init))
        .with_detach(true)
        .build()
        .map_err(|error| report.failure(&error, &cwd()))?
        .as_raw();
    sweep_sockets(directory, &setup_request.id);
    Ok(pid)
}

fn read_config(directory: &Path) -> Result<Value, Failure> {
    fs::read(directory.join("bundle/config.json"))
        .and_then(|text| serde_json::from_slice(&text).map_err(io::Error::from))
        .map_err(setup("read the specification of the container"))
}

/// libcontainer leaves the sockets it made for each exec in its directory.
fn sweep_sockets(directory: &Path, id: &str) {
    let Ok(entries) = fs::read_dir(directory.join("state").join(id)) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("tenant-") && name.ends_with(".sock") {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn builder(id: &str, directory: &Path) -> Result<ContainerBuilder, Failure> {
    let state = directory.join("state");
    fs::create_dir_all(&state).map_err(setup("make the state directory"))?;
    ContainerBuilder::new(id.to_owned(), SyscallType::default())
        .with_root_path(state)
        .map_err(|error| Failure::Setup {
            message: chain(&error),
        })
}

fn with_streams(
    builder: ContainerBuilder,
    ends: Option<ProgramEnds>,
    console: Option<PathBuf>,
) -> ContainerBuilder {
    match ends {
        None => builder.with_console_socket(console),
        Some(ends) => builder
            .with_stdin(ends.stdin)
            .with_stdout(ends.stdout)
            .with_stderr(ends.stderr),
    }
}

/// What a process of the container has to give up to have only these capabilities.
fn restrictions(
    setup_request: &Setup,
    capabilities: &[String],
    entry: Option<Entry>,
) -> Result<Restrictions, Failure> {
    let capabilities =
        serde_json::from_value(capability_sets(capabilities)).map_err(|error| Failure::Setup {
            message: error.to_string(),
        })?;
    let seccomp = match setup_request.seccomp_flags {
        Some(flags) => {
            let program = fs::read(setup_request.directory.join("bundle/seccomp.bpf"))
                .map_err(setup("read the seccomp filter"))?;
            Some((program, flags))
        }
        None => None,
    };
    Ok(Restrictions {
        capabilities,
        seccomp,
        no_new_privileges: setup_request.no_new_privileges,
        entry,
    })
}

fn not_mapped(what: &'static str, id: u32) -> Failure {
    Failure::Setup {
        message: SpecError::NotMapped { what, id }.to_string(),
    }
}

/// Takes the user out of the description of a process, which then is root, until it enters the user namespace of `init`.
fn entry(map: &IdMap, init: i32, process: &Path) -> Result<Entry, Failure> {
    let failed = || setup("enter the user namespace of the container");
    let namespace = fs::File::open(format!("/proc/{init}/ns/user")).map_err(failed())?;
    let text = fs::read(process).map_err(failed())?;
    let mut described: Value = serde_json::from_slice(&text).map_err(|error| failed()(error.into()))?;
    let user = std::mem::replace(&mut described["user"], json!({"uid": 0, "gid": 0}));
    fs::write(process, described.to_string()).map_err(failed())?;
    let number = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
    let ids = number(&user["uid"]).zip(number(&user["gid"]));
    let (uid, gid) = ids.ok_or_else(|| failed()(io::ErrorKind::InvalidData.into()))?;
    let groups = user["additionalGids"].as_array().into_iter().flatten();
    let groups: Vec<u32> = groups.filter_map(number).collect();
    if let Some(id) = groups
        .iter()
        .chain([&gid])
        .find(|gid| map.gid_outside(**gid).is_none())
    {
        return Err(not_mapped("gid", *id));
    }
    let owner = map.uid_outside(uid).ok_or_else(|| not_mapped("uid", uid))?;
    Ok(Entry {
        namespace: namespace.into_file().into(),
        uid,
        gid,
        groups,
        terminal: (described["terminal"] == true).then_some(owner),
    })
}

/// The `user` of an exec and its home, looked up in the container as it is now.
fn exec_user(config: &Value, init: i32, user: &str) -> Result<(Value, Option<String>), Failure> {
    if user.is_empty() {
        return Ok((config["process"]["user"].clone(), None));
    }
    // The root of the init's own mount namespace: nothing outside the container can be reached through it.
    let root = rustix::fs::open(
        format!("/proc/{init}/root"),
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(|error| setup("open the root of the container")(error.into()))?;
    let user = resolve_user(root, user, &[]).map_err(|error| Failure::Setup {
        message: error.to_string(),
    })?;
    let value = json!({"uid": user.uid, "gid": user.gid, "additionalGids": user.additional_gids});
    Ok((value, Some(user.home)))
}

fn exec_environment(exec: &ExecSpec, config: &Value, home: Option<&str>) -> Vec<String> {
    let mut env = exec.env.clone();
    let has = |env: &[String], name: &str| env.iter().any(|variable| variable.starts_with(name));
    let container: Vec<&str> = config["process"]["env"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    for name in ["PATH=", "HOSTNAME=", "HOME="] {
        let inherited = match (name, home) {
            ("HOME=", Some(home)) => Some(format!("HOME={home}")),
            _ => container
                .iter()
                .find(|variable| variable.starts_with(name))
                .map(|v| (*v).to_owned()),
        };
        if !has(&env, name)
            && let Some(variable) = inherited
        {
            env.push(variable);
        }
    }
    if exec.tty && !has(&env, "TERM=") {
        env.push("TERM=xterm".into());
    }
    env
}

/// The socket over which a process hands out its terminal.
struct Console {
    listener: UnixListener,
    path: PathBuf,
}

impl Console {
    fn new(wanted: bool, path: PathBuf) -> Result<Option<Console>, Failure> {
        if !wanted {
            return Ok(None);
        }
        let listener = protocol::listen(&path).map_err(setup("make the console socket"))?;
        Ok(Some(Console { listener, path }))
    }

    /// The terminal, which the process has sent by now.
    fn receive(self, uid: u32, size: Option<(u16, u16)>) -> Result<OwnedFd, Failure> {
        self.listener
            .set_nonblocking(true)
            .map_err(setup("receive the terminal"))?;
        let (socket, _) = self.listener.accept().map_err(setup("receive the terminal"))?;
        socket
            .set_nonblocking(true)
            .map_err(setup("receive the terminal"))?;
        let master = tty::receive_fd(&socket).map_err(setup("receive the terminal"))?;
        if uid != 0 {
            // The program may then open its terminal by name; without, it still has the descriptors.
            let _ = tty::give_to(std::os::fd::AsFd::as_fd(&master), uid);
        }
        if let Some((width, height)) = size {
            tty::set_size(&master, width, height).map_err(setup("set the size of the terminal"))?;
        }
        Ok(master)
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}
