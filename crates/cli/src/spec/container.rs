//! The flags of `run` and `create` as the body of `POST /containers/create`.

use std::env;

use serde_json::{Map, Value, json};

use super::{SpecError, environment, health, host as below, limits, mounts, network, ports, trust};
use crate::args::container::container_flags::ContainerFlags;
use crate::error::CliError;
use crate::values::Size;

/// What is not among the shared flags.
#[derive(Debug, Default)]
pub(crate) struct Extra<'a> {
    /// Image as typed.
    pub(crate) image: &'a str,
    /// Command and arguments behind the image.
    pub(crate) command: &'a [String],
    /// `--rm`.
    pub(crate) remove: bool,
    /// `-d`: nothing is attached.
    pub(crate) detach: bool,
}

/// Which streams are attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attached {
    pub(crate) stdin: bool,
    pub(crate) stdout: bool,
    pub(crate) stderr: bool,
}

impl Attached {
    /// `-a`, or all streams (standard input only with `-i`) when in the foreground.
    pub(crate) fn of(flags: &ContainerFlags, detach: bool) -> Result<Self, SpecError> {
        if flags.attach.is_empty() {
            return Ok(Self {
                stdin: !detach && flags.interactive,
                stdout: !detach,
                stderr: !detach,
            });
        }
        let mut attached = Self {
            stdin: false,
            stdout: false,
            stderr: false,
        };
        for stream in &flags.attach {
            match stream.to_ascii_lowercase().as_str() {
                "stdin" => attached.stdin = true,
                "stdout" => attached.stdout = true,
                "stderr" => attached.stderr = true,
                _ => {
                    return Err(SpecError::flag(
                        "-a, --attach",
                        stream,
                        "valid streams are STDIN, STDOUT and STDERR",
                    ));
                }
            }
        }
        Ok(attached)
    }
}

/// Object under construction that leaves out what was not given.
#[derive(Default)]
struct Fields(Map<String, Value>);

impl Fields {
    fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.0.insert(name.to_owned(), value.into());
    }

    fn text(&mut self, name: &str, value: Option<&String>) {
        if let Some(value) = value {
            self.set(name, value.clone());
        }
    }

    fn list(&mut self, name: &str, values: &[String]) {
        if !values.is_empty() {
            self.set(name, values.to_vec());
        }
    }

    fn size(&mut self, name: &str, value: Option<Size>) {
        if let Some(Size(bytes)) = value {
            self.set(name, bytes);
        }
    }

    fn int(&mut self, name: &str, value: Option<i64>) {
        if let Some(value) = value {
            self.set(name, value);
        }
    }

    fn truth(&mut self, name: &str, value: bool) {
        if value {
            self.set(name, true);
        }
    }
}

/// The body of the request.
pub(crate) fn body(flags: &ContainerFlags, extra: &Extra<'_>) -> Result<Value, CliError> {
    trust::check(&flags.trust)?;
    let directory = env::current_dir()?;
    let attached = Attached::of(flags, extra.detach)?;
    let mut config = Fields::default();
    config.set("Image", extra.image);
    if !extra.command.is_empty() {
        config.set("Cmd", extra.command.to_vec());
    }
    config.text("Hostname", flags.hostname.as_ref());
    config.text("Domainname", flags.domainname.as_ref());
    config.text("User", flags.user.as_ref());
    config.text("WorkingDir", flags.workdir.as_ref());
    config.text("StopSignal", flags.stop_signal.as_ref());
    config.int("StopTimeout", flags.stop_timeout);
    config.set("Tty", flags.tty);
    config.set("OpenStdin", flags.interactive);
    config.set("StdinOnce", flags.interactive && attached.stdin);
    config.set("AttachStdin", attached.stdin);
    config.set("AttachStdout", attached.stdout);
    config.set("AttachStderr", attached.stderr);
    if let Some(entrypoint) = &flags.entrypoint {
        config.set("Entrypoint", vec![entrypoint.clone()]);
    }
    if let Some(check) = health::check(flags)? {
        config.set("Healthcheck", check);
    }
    let lookup = |name: &str| env::var(name).ok();
    let environment = environment::environment(&flags.env_file, &flags.env, lookup)?;
    config.list("Env", &environment);
    let labels = environment::labels(&flags.label_file, &flags.label)?;
    if !labels.is_empty() {
        config.set("Labels", json!(labels));
    }

    let mut published = ports::PortMap::new();
    for spec in &flags.publish {
        ports::publish(spec, &mut published)?;
    }
    let mut exposed = published.clone();
    for spec in &flags.expose {
        ports::expose(spec, &mut exposed)?;
    }
    if !exposed.is_empty() {
        let names: Map<String, Value> = exposed.keys().map(|port| (port.clone(), json!({}))).collect();
        config.set("ExposedPorts", names);
    }

    let mut binds = Vec::new();
    let mut anonymous = Map::new();
    for spec in &flags.volume {
        match mounts::volume(spec, &directory)? {
            mounts::Volume::Bind(bind) => binds.push(bind),
            mounts::Volume::Anonymous(target) => {
                anonymous.insert(target, json!({}));
            }
        }
    }
    if !anonymous.is_empty() {
        config.set("Volumes", anonymous);
    }

    let networks = memberships(flags)?;
    let mut host = host_config(flags, &directory, &networks)?;
    host.list("Binds", &binds);
    if !published.is_empty() {
        host.set("PortBindings", json!(published));
    }
    host.truth("AutoRemove", extra.remove);
    config.set("HostConfig", host.0);
    let mut endpoints = Map::new();
    for (name, endpoint) in &networks {
        // Nothing is asked of the only one: its name is the network mode.
        if networks.len() > 1 || *endpoint != network::Endpoint::default() {
            endpoints.insert(name.clone(), endpoint.body()?);
        }
    }
    let networking = match endpoints.is_empty() {
        true => json!({}),
        false => json!({ "EndpointsConfig": endpoints }),
    };
    config.set("NetworkingConfig", networking);
    Ok(config.0.into())
}

fn host_config(
    flags: &ContainerFlags,
    directory: &std::path::Path,
    networks: &[(String, network::Endpoint)],
) -> Result<Fields, CliError> {
    let mut host = Fields::default();
    host.set("NetworkMode", networks[0].0.clone());
    host.truth("Privileged", flags.privileged);
    host.truth("PublishAllPorts", flags.publish_all);
    host.truth("ReadonlyRootfs", flags.read_only);
    host.truth("Init", flags.init);
    host.list("Dns", &flags.dns);
    host.list("DnsOptions", &flags.dns_option);
    host.list("DnsSearch", &flags.dns_search);
    host.list("CapAdd", &flags.cap_add);
    host.list("CapDrop", &flags.cap_drop);
    host.list("GroupAdd", &flags.group_add);
    host.text("IpcMode", flags.ipc.as_ref());
    host.text("PidMode", flags.pid.as_ref());
    host.text("UTSMode", flags.uts.as_ref());
    host.text("CgroupParent", flags.cgroup_parent.as_ref());
    host.text("ContainerIDFile", flags.cidfile.as_ref());
    match flags.cgroupns.as_deref() {
        None | Some("") => {}
        Some(mode @ ("host" | "private")) => host.set("CgroupnsMode", mode),
        Some(_) => return Err(SpecError::value("--cgroupns: invalid CGROUP mode".to_owned()).into()),
    }
    if let Some(policy) = &flags.restart {
        host.set("RestartPolicy", limits::restart(policy)?);
    }
    let mut hosts = Vec::new();
    for spec in &flags.add_host {
        hosts.push(limits::extra_host(spec)?);
    }
    host.list("ExtraHosts", &hosts);

    let mut security = Vec::new();
    for option in &flags.security_opt {
        if option == "systempaths=unconfined" {
            host.set("MaskedPaths", Vec::<Value>::new());
            host.set("ReadonlyPaths", Vec::<Value>::new());
        } else {
            security.push(limits::security(option)?);
        }
    }
    host.list("SecurityOpt", &security);

    let log_options = environment::options(&flags.log_opt)?;
    if flags.log_driver.as_deref() == Some("none") && !log_options.is_empty() {
        return Err(CliError::Invalid(
            "invalid logging opts for driver none".to_owned(),
        ));
    }
    if flags.log_driver.is_some() || !log_options.is_empty() {
        host.set(
            "LogConfig",
            json!({"Type": flags.log_driver.clone().unwrap_or_default(), "Config": log_options}),
        );
    }
    let mut mounted = Vec::new();
    for spec in &flags.mount {
        mounted.push(mounts::mount(spec, directory)?);
    }
    if !mounted.is_empty() {
        host.set("Mounts", mounted);
    }
    let mut tmpfs = Map::new();
    for spec in &flags.tmpfs {
        let (path, options) = mounts::tmpfs(spec);
        tmpfs.insert(path, options.into());
    }
    if !tmpfs.is_empty() {
        host.set("Tmpfs", tmpfs);
    }
    let sysctls = environment::options(&flags.sysctl)?;
    if !sysctls.is_empty() {
        host.set("Sysctls", json!(sysctls));
    }
    resources(flags, &mut host)?;
    below::fill(&flags.below, &mut host.0)?;
    Ok(host)
}

fn resources(flags: &ContainerFlags, host: &mut Fields) -> Result<(), CliError> {
    limits::fill(&flags.limits, &mut host.0);
    host.size("ShmSize", flags.shm_size);
    host.int("OomScoreAdj", flags.oom_score_adj);
    let mut ulimits = Vec::new();
    for spec in &flags.ulimit {
        ulimits.push(limits::ulimit(spec)?);
    }
    if !ulimits.is_empty() {
        host.set("Ulimits", ulimits);
    }
    let mut devices = Vec::new();
    for spec in &flags.device {
        devices.push(limits::device(spec)?);
    }
    if !devices.is_empty() {
        host.set("Devices", devices);
    }
    Ok(())
}

/// The networks of the container, in order.
fn memberships(flags: &ContainerFlags) -> Result<Vec<(String, network::Endpoint)>, SpecError> {
    let own = &flags.endpoint;
    let own = network::Endpoint {
        aliases: own.network_alias.clone(),
        ip: own.ip.clone(),
        ip6: own.ip6.clone(),
        link_local: own.link_local_ip.clone(),
        mac_address: own.mac_address.clone(),
        links: flags.below.link.clone(),
        ..network::Endpoint::default()
    };
    network::networks(&flags.network, own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::container::run::Run;
    use crate::parse::{Parsed, parse};

    fn body_of(line: &str) -> Value {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let Ok(Parsed::Arguments(run)) = parse::<Run>("docker run", &words) else {
            panic!("{line}")
        };
        let extra = Extra {
            image: &run.operands[0],
            command: &run.operands[1..],
            remove: run.rm,
            detach: run.detach,
        };
        body(&run.container, &extra).unwrap()
    }

    #[test]
    fn a_plain_run_asks_for_nothing_special() {
        assert_eq!(
            body_of("alpine echo hi"),
            json!({"Image":"alpine","Cmd":["echo","hi"],"Tty":false,"OpenStdin":false,"StdinOnce":false,
                "AttachStdin":false,"AttachStdout":true,"AttachStderr":true,
                "HostConfig":{"NetworkMode":"default"},"NetworkingConfig":{}})
        );
    }

    #[test]
    fn flags_reach_their_fields() {
        let body = body_of(
            "-dit --rm -p 80:80 --expose 9/udp -v data:/d -v /anon -m 64m --cpus 1.5 --pids-limit 10 --network none \
             --restart on-failure:2 --ulimit nofile=10 --tmpfs /t:size=1m --init --read-only --cap-add NET_ADMIN -l a=b alpine",
        );
        let host = &body["HostConfig"];
        assert_eq!(body["AttachStdout"], false);
        assert_eq!(body["StdinOnce"], false);
        assert_eq!(body["OpenStdin"], true);
        assert_eq!(body["ExposedPorts"], json!({"80/tcp":{},"9/udp":{}}));
        assert_eq!(
            host["PortBindings"],
            json!({"80/tcp":[{"HostIp":"","HostPort":"80"}]})
        );
        assert_eq!(host["Binds"], json!(["data:/d"]));
        assert_eq!(body["Volumes"], json!({"/anon":{}}));
        assert_eq!(host["Memory"], 64 << 20);
        assert_eq!(host["NanoCpus"], 1_500_000_000_i64);
        assert_eq!(host["PidsLimit"], 10);
        assert_eq!(host["NetworkMode"], "none");
        assert_eq!(
            host["RestartPolicy"],
            json!({"Name":"on-failure","MaximumRetryCount":2})
        );
        assert_eq!(host["Tmpfs"], json!({"/t":"size=1m"}));
        assert_eq!(host["AutoRemove"], true);
        assert_eq!(body["Labels"], json!({"a":"b"}));
    }

    #[test]
    fn interactive_runs_attach_standard_input() {
        let body = body_of("-i alpine");
        assert_eq!(
            (&body["AttachStdin"], &body["StdinOnce"]),
            (&json!(true), &json!(true))
        );
        let body = body_of("-a stderr alpine");
        assert_eq!(
            (&body["AttachStdout"], &body["AttachStderr"]),
            (&json!(false), &json!(true))
        );
    }
}
