//! RUN in a container: the step's root file system, the default bridge (or what `--network` says), no record.

use std::collections::BTreeSet;
use std::io::Read;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use fs_err as fs;
use havre_build::{ExecError, Executor, RunMountSource, RunRequest, Stream};
use havre_network::{EndpointRequest, Network, files};
use havre_runtime::spec::{
    ContainerSpec, Mount, MountKind, NamespaceMode, NetworkNamespace, Propagation, Resources, Rlimit,
};
use havre_runtime::{AttachRequest, Runtime, RuntimeError, StartError};
use havre_store::{Shift, Store};
use havre_sys::userns::Owner;

use crate::containers::spec::confine;
use crate::containers::{gateway_of, mountpoints, name_port, validate};
use crate::error::start_failure;
use crate::networks::{Found, Registry};
use crate::remap::Remap;
use crate::{Containers, EngineError};

/// Largest piece of output a shim may announce.
const LARGEST_FRAME: usize = 16 << 20;

const KILL: i32 = 9;

/// Carries out RUN steps.
pub(crate) struct RunExecutor {
    store: Arc<Store>,
    runtime: Arc<Runtime>,
    network: Arc<Network>,
    networks: Arc<Registry>,
    containers: Containers,
    /// Killed, perhaps before they existed.
    killed: Mutex<BTreeSet<String>>,
}

/// The network of a step.
struct Joined {
    namespace: NetworkNamespace,
    /// Its own addresses.
    own: Vec<IpAddr>,
    /// The host's, as the step sees it.
    gateway: Option<IpAddr>,
    names: Option<NameServer>,
}

/// Where a step's names are to be answered.
struct NameServer {
    port: u16,
    namespace: PathBuf,
    /// What `resolv.conf` says then.
    resolv_conf: String,
}

impl Joined {
    fn alone(namespace: NetworkNamespace) -> Self {
        Self {
            namespace,
            own: Vec::new(),
            gateway: None,
            names: None,
        }
    }
}

/// What a step has made and loses at its end, however that comes.
struct Step<'a> {
    executor: &'a RunExecutor,
    id: &'a str,
    files: PathBuf,
    rootfs: &'a Path,
    /// Mount points the runtime makes in the root file system: no part of the layer.
    made: Vec<String>,
}

impl Drop for Step<'_> {
    fn drop(&mut self) {
        let RunExecutor {
            runtime,
            network,
            networks,
            ..
        } = self.executor;
        if let Err(error) = runtime.delete(self.id) {
            tracing::warn!(step = self.id, %error, "cannot remove the container of a build step");
        }
        if let Err(error) = mountpoints::remove(self.rootfs, &self.made) {
            tracing::warn!(step = self.id, %error, "mount points stay in the layer of a build step");
        }
        if let Err(error) = network.sandbox_remove(self.id) {
            tracing::warn!(step = self.id, %error, "cannot remove the network of a build step");
        }
        networks.leave_all(self.id);
        if let Err(error) = self.executor.store.discard(&self.files) {
            tracing::debug!(step = self.id, %error, "cannot remove the files of a build step");
        }
        self.executor.killed().remove(self.id);
    }
}

impl RunExecutor {
    pub(crate) fn new(
        store: Arc<Store>,
        runtime: Arc<Runtime>,
        network: Arc<Network>,
        networks: Arc<Registry>,
        containers: Containers,
    ) -> Self {
        RunExecutor {
            store,
            runtime,
            network,
            networks,
            containers,
            killed: Mutex::default(),
        }
    }

    fn killed(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
        self.killed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn network(&self, request: &RunRequest) -> Result<Joined, EngineError> {
        let mode = match request.network.as_str() {
            "" | "default" => "bridge",
            mode => mode,
        };
        let remap = self.containers.remap();
        if mode == "host" {
            if remap.is_some() {
                return Err(EngineError::invalid(
                    "cannot share the host's network namespace when user namespaces are enabled",
                ));
            }
            return Ok(Joined::alone(NetworkNamespace::Host));
        }
        if let Some(other) = mode.strip_prefix("container:") {
            let pid = self.containers.running_pid(other)?;
            if remap.is_some() {
                self.containers.check_joined(other)?;
            }
            let path = format!("/proc/{pid}/ns/net").into();
            return Ok(Joined::alone(NetworkNamespace::Path(path)));
        }
        let found = self.networks.find(mode)?;
        let owner = remap.map(|remap| Owner::New(&remap.map));
        let sandbox = self.network.sandbox_create_in(&request.id, owner)?;
        if found == Found::Predefined("none") {
            return Ok(Joined::alone(NetworkNamespace::Path(sandbox)));
        }
        self.networks.enter(&found, &request.id, "build")?;
        let endpoint = self
            .network
            .connect(&EndpointRequest::new(found.key(), &request.id))?;
        let mut joined = Joined {
            own: endpoint.addresses(),
            gateway: gateway_of(&endpoint),
            ..Joined::alone(NetworkNamespace::Path(sandbox.clone()))
        };
        if let Found::User(_) = &found {
            let server = IpAddr::V4(havre_dns::ADDRESS);
            let options = files::DnsOptions::default();
            let (text, servers) = files::resolv_conf_of_server(&files::host_resolv_conf(), &options, server);
            let (networks, links) = (vec![found.id()], Vec::new());
            self.networks.set_resolver(
                &request.id,
                networks,
                links,
                &servers,
                self.networks.ways([&found]),
            )?;
            let port = name_port();
            self.network
                .redirect_names(&request.id, havre_dns::ADDRESS, port)?;
            joined.names = Some(NameServer {
                port,
                namespace: sandbox,
                resolv_conf: text,
            });
        }
        Ok(joined)
    }

    /// The step's container, and where its names are to be answered.
    fn spec(
        &self,
        request: &RunRequest,
        files: &Path,
    ) -> Result<(ContainerSpec, Option<NameServer>), EngineError> {
        let Joined {
            namespace: network,
            own,
            gateway,
            names: served,
        } = self.network(request)?;
        let host_network = matches!(network, NetworkNamespace::Host);
        let resolv_conf = match (host_network, &served) {
            (true, _) => files::host_resolv_conf(),
            (false, Some(server)) => server.resolv_conf.clone(),
            (false, None) => files::resolv_conf(&files::host_resolv_conf(), &files::DnsOptions::default()),
        };
        let mut spec = ContainerSpec::new(request.id.clone(), request.rootfs.clone(), request.args.clone());
        if host_network {
            spec.hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
        }
        let extra = crate::containers::extra_hosts(&request.extra_hosts, gateway)?;
        let name = spec.hostname.clone();
        let names = [name.as_str()];
        let hosts = files::hosts(&own, &names, &extra);
        fs::create_dir_all(files)?;
        for (name, text) in [
            ("resolv.conf", resolv_conf),
            ("hosts", hosts),
            ("hostname", files::hostname(&name)),
        ] {
            let path = files.join(name);
            fs::write(&path, text)?;
            spec.mounts.push(bind(format!("/etc/{name}"), path, false));
        }
        for mount in &request.mounts {
            spec.mounts.push(match &mount.source {
                RunMountSource::Bind(source) => bind(mount.target.clone(), source.clone(), mount.read_only),
                RunMountSource::Tmpfs { size } => Mount {
                    destination: mount.target.clone(),
                    kind: MountKind::Tmpfs {
                        options: size.iter().map(|size| format!("size={size}")).collect(),
                    },
                    readonly: mount.read_only,
                },
            });
        }
        spec.mounts
            .sort_by(|a, b| Path::new(&a.destination).cmp(Path::new(&b.destination)));
        spec.env.clone_from(&request.env);
        spec.cwd.clone_from(&request.cwd);
        spec.user.clone_from(&request.user);
        spec.network = network;
        spec.user_namespace = self.containers.remap().map(|remap| remap.map.clone());
        if !crate::system::is_cgroup_v2() {
            spec.cgroup_mode = NamespaceMode::Host;
        }
        limit(&mut spec, &request.resources)?;
        Ok((spec, served))
    }
}

fn bind(destination: String, source: PathBuf, readonly: bool) -> Mount {
    Mount {
        destination,
        kind: MountKind::Bind {
            source,
            propagation: Propagation::RPrivate,
            recursive: true,
            shifted: true,
        },
        readonly,
    }
}

fn limit(spec: &mut ContainerSpec, asked: &havre_build::Resources) -> Result<(), EngineError> {
    let positive = |value: i64| Some(value).filter(|value| *value > 0);
    let text = |value: &String| Some(value.clone()).filter(|value| !value.is_empty());
    spec.resources = Resources {
        memory: positive(asked.memory),
        memory_swap: Some(asked.memory_swap).filter(|swap| *swap != 0),
        cpu_shares: positive(asked.cpu_shares).map(i64::unsigned_abs),
        cpu_period: positive(asked.cpu_period).map(i64::unsigned_abs),
        cpu_quota: Some(asked.cpu_quota).filter(|quota| *quota != 0),
        cpuset_cpus: text(&asked.cpuset_cpus),
        cpuset_mems: text(&asked.cpuset_mems),
        ..Resources::default()
    };
    if let Some(size) = positive(asked.shm_size) {
        spec.shm_size = size.unsigned_abs();
    }
    let value = |value: i64| u64::try_from(value).unwrap_or(u64::MAX);
    spec.rlimits = asked
        .ulimits
        .iter()
        .map(|limit| Rlimit {
            name: limit.name.clone(),
            soft: value(limit.soft),
            hard: value(limit.hard),
        })
        .collect();
    validate::cgroup_parent(&asked.cgroup_parent)?;
    spec.cgroup_parent = text(&asked.cgroup_parent);
    confine(spec, validate::security_options(&asked.security_opt)?);
    Ok(())
}

impl Executor for RunExecutor {
    fn run(&self, request: RunRequest, output: &mut dyn FnMut(Stream, &[u8])) -> Result<i32, ExecError> {
        let files = self
            .store
            .layout()
            .root()
            .join("build")
            .join(format!("run-{}", request.id));
        let mut step = Step {
            executor: self,
            id: &request.id,
            files,
            rootfs: &request.rootfs,
            made: Vec::new(),
        };
        if self.killed().contains(&request.id) {
            return Err(ExecError::Cancelled);
        }
        let io = |context: &str| {
            let context = context.to_owned();
            |source| ExecError::Io { context, source }
        };
        step.made =
            mountpoints::missing(&request.rootfs).map_err(io("look into the step's root file system"))?;
        let (spec, names) = self
            .spec(&request, &step.files)
            .map_err(|error| ExecError::Start {
                message: error.to_string(),
            })?;
        let shim = self.runtime.create(&spec).map_err(start_error)?;
        if let Some(server) = names {
            shim.serve_names(self.networks.names().path(), &server.namespace, server.port)
                .map_err(|error| start_error(error.into()))?;
        }
        let attach = AttachRequest {
            stdin: false,
            stdout: true,
            stderr: true,
        };
        let mut stream = shim.attach(attach).map_err(|error| start_error(error.into()))?;
        if self.killed().contains(&request.id) {
            return Err(ExecError::Cancelled);
        }
        shim.start().map_err(start_error)?;
        let copied = copy_output(&mut stream, output);
        drop(stream);
        let status = shim.wait().map_err(|error| ExecError::Io {
            context: "wait for the container of the step".to_owned(),
            source: std::io::Error::other(error),
        })?;
        if self.killed().contains(&request.id) {
            return Err(ExecError::Cancelled);
        }
        copied.map_err(|source| ExecError::Io {
            context: "read the output of the step".to_owned(),
            source,
        })?;
        Ok(status.code)
    }

    fn shift(&self) -> Option<Shift<'_>> {
        self.containers.remap().map(Remap::shift)
    }

    fn kill(&self, id: &str) {
        self.killed().insert(id.to_owned());
        match self.runtime.shim(id).kill_all(KILL) {
            Ok(()) | Err(RuntimeError::ShimGone { .. } | RuntimeError::NotRunning { .. }) => {}
            Err(error) => tracing::debug!(step = id, %error, "cannot kill a build step yet"),
        }
    }
}

fn start_error(error: StartError) -> ExecError {
    ExecError::Start {
        message: start_failure(error).to_string(),
    }
}

/// Frames of Docker's attach protocol until the container has closed its streams.
fn copy_output(stream: &mut impl Read, output: &mut dyn FnMut(Stream, &[u8])) -> std::io::Result<()> {
    let mut buffer = Vec::new();
    loop {
        let mut header = [0; 8];
        let mut filled = 0;
        while filled < header.len() {
            match stream.read(&mut header[filled..]) {
                Ok(0) if filled == 0 => return Ok(()),
                Ok(0) => return Err(std::io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => filled += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset && filled == 0 => {
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        let [kind, _, _, _, length @ ..] = header;
        let length = u32::from_be_bytes(length) as usize;
        if length > LARGEST_FRAME {
            return Err(std::io::Error::other(format!(
                "a frame of {length} bytes from the container's shim"
            )));
        }
        buffer.resize(length, 0);
        stream.read_exact(&mut buffer)?;
        output(if kind == 2 { Stream::Stderr } else { Stream::Stdout }, &buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_taken_apart() {
        let bytes = b"\x01\0\0\0\0\0\0\x02hi\x02\0\0\0\0\0\0\x01e";
        let mut seen = Vec::new();
        copy_output(&mut &bytes[..], &mut |stream, piece| {
            seen.push((stream, piece.to_vec()))
        })
        .unwrap();
        assert_eq!(
            seen,
            [(Stream::Stdout, b"hi".to_vec()), (Stream::Stderr, b"e".to_vec())]
        );
        assert!(
            copy_output(&mut &bytes[..5], &mut |_, _| ()).is_err(),
            "cut in a header"
        );
        assert!(
            copy_output(&mut &bytes[..9], &mut |_, _| ()).is_err(),
            "cut in a frame"
        );
        assert!(
            copy_output(&mut &[1, 0, 0, 0, 255, 255, 255, 255][..], &mut |_, _| ()).is_err(),
            "too large"
        );
    }
}
