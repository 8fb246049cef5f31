//! `build`.

mod outputs;

use std::collections::BTreeMap;
use std::env;
use std::io::Write;

use fs_err as fs;
use futures_util::StreamExt;
use havre_oci::Platform;
use havre_oci::compression::{Compression, encoder};
use serde_json::{Value, json};

use self::outputs::Outputs;
use super::tag::reference;
use crate::archive;
use crate::args::image::build::Build;
use crate::client::Client;
use crate::commands::{Done, buildx, lint};
use crate::context::{self, Directory};
use crate::credentials;
use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::input_stream::Input;
use crate::progress::{self, Progress};
use crate::session::Session;
use crate::spec::environment::labels;
use crate::spec::mounts::csv;
use crate::spec::{limits, platform, trust};
use crate::values::Size;

/// The header that describes a context directory to an engine on the same machine.
const LOCAL_CONTEXT: &str = "x-havre-context";

/// `docker build`.
pub(crate) async fn build(session: &Session, args: Build) -> Done {
    let source = args.operands[0].as_str();
    for tag in &args.tag {
        reference(tag).map_err(|error| {
            CliError::Usage {
                text: format!(
                    "invalid argument {tag:?} for \"-t, --tag\" flag: {error}\n\nUsage:  {0} build [OPTIONS] PATH | URL | -\n\nRun '{0} build --help' for more information",
                    session.program
                ),
                status: ExitStatus::ENGINE,
            }
        })?;
    }
    let plain = match args.progress.as_deref() {
        None | Some("" | "auto" | "tty") => false,
        Some("plain") => true,
        Some(other) => {
            return Err(CliError::Invalid(format!(
                "invalid progress type {other:?}: use auto, plain or tty"
            )));
        }
    };
    trust::check(&args.trust)?;
    match args.call.as_deref() {
        None | Some("" | "build") if !args.check => {}
        None | Some("" | "check") => return lint::check(session, source, args.file.as_deref()),
        Some("build") => {
            return Err(CliError::Invalid(
                "conflicting options: --check means --call=check, not --call=build".to_owned(),
            ));
        }
        Some(other) => {
            return Err(CliError::Invalid(format!(
                "--call={other} is not supported: use build or check"
            )));
        }
    }
    if !args.rm && !args.force_rm {
        return Err(CliError::Invalid(
            "--rm=false is not supported: no step leaves a container behind that could be kept".to_owned(),
        ));
    }
    let step = StepFlags::read(&args)?;
    let mut outputs = Outputs::read(&args.outputs)?;
    let names = outputs.names(&args.tag)?;
    outputs.check(session)?;
    let platforms = platforms(args.platform.as_deref())?;
    if platforms.len() > 1 {
        if source == "-" {
            return Err(CliError::Invalid(
                "standard input can be read once: give a directory to build for several platforms".to_owned(),
            ));
        }
        outputs.check_several(&names)?;
    }
    let reaching = buildx::for_build(session, args.builder.as_deref(), platforms.first())?;
    let session: &Session = &reaching;
    let known = outputs.known(session).await?;
    let file = args.file.as_deref();
    let remote = ["http://", "https://", "git://", "github.com/", "git@"]
        .iter()
        .any(|start| source.starts_with(start));
    if remote {
        return Err(CliError::Invalid(format!(
            "a remote context ({source}) is not supported: fetch it, then build its directory"
        )));
    }
    if let Some(iidfile) = &args.iidfile {
        // An ID of an earlier build must not be taken for this one's.
        match fs::remove_file(iidfile) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    let arguments = build_arguments(&args.build_arg);
    let labels = labels(&[], &args.label)?;
    let credentials = credentials::all(&session.settings)?;
    let client = session.client()?;
    let call = |dockerfile: &str, platform: Option<&Platform>| {
        let mut call = client
            .post("/build")
            .query("dockerfile", dockerfile)
            .query_if("rm", args.rm)
            .query_if("forcerm", args.force_rm)
            .query_if("nocache", args.no_cache)
            .query_if("pull", args.pull)
            .query_if("squash", args.squash)
            .query_some("target", args.target.as_ref())
            .query_some("networkmode", args.network.as_ref())
            .query_some("platform", platform.map(ToString::to_string));
        // Of several platforms all are there before one is called so.
        for tag in names.iter().filter(|_| platforms.len() < 2) {
            call = call.query("t", tag);
        }
        for (name, value) in &step.0 {
            call = call.query(name, value);
        }
        if !arguments.is_empty() {
            call = call.query("buildargs", json!(arguments).to_string());
        }
        if !labels.is_empty() {
            call = call.query("labels", json!(labels).to_string());
        }
        match &credentials {
            Some(header) => call.header("x-registry-config", header),
            None => call,
        }
    };
    let send = async |context: context::Context, platform: Option<&Platform>| {
        let call = call(&context.dockerfile, platform);
        let input = match args.compress {
            true => gzip(context.input),
            false => context.input,
        };
        call.stream("application/x-tar", input).lines().await
    };
    let build = async |platform: Option<&Platform>| {
        let lines = if source == "-" {
            if file == Some("-") {
                return Err(CliError::Invalid(
                    "invalid argument: can't use stdin for both build context and dockerfile".to_owned(),
                ));
            }
            send(context::from_stdin(file)?, platform).await?
        } else {
            let directory = Directory::open(source, file)?;
            match by_name(client, &directory).await? {
                None => send(directory.pack()?, platform).await?,
                Some(claim) => {
                    let mut call = call(&directory.dockerfile, platform).header(LOCAL_CONTEXT, claim);
                    if let Some(text) = &directory.foreign {
                        call = call.text("text/x-dockerfile", text.clone());
                    }
                    match call.lines().await {
                        // The engine has found another directory by this name, or none.
                        Err(CliError::Daemon { status: 412, .. }) => {
                            send(directory.pack()?, platform).await?
                        }
                        other => other?,
                    }
                }
            }
        };
        let mut shown = if args.quiet {
            Progress::on_failure()
        } else {
            Progress::to_output(&session.printer)
        };
        if plain {
            shown = shown.plain();
        }
        let aux = progress::show(lines, shown, &session.printer).await?;
        let id = aux.iter().rev().find_map(|aux| aux["ID"].as_str());
        let id = id.ok_or_else(|| CliError::Stream("the engine told no image ID".to_owned()))?;
        Ok::<_, CliError>(id.to_owned())
    };
    let id = match platforms.as_slice() {
        [] => build(None).await?,
        [platform] => build(Some(platform)).await?,
        platforms => {
            let mut ids = Vec::with_capacity(platforms.len());
            for platform in platforms {
                if !args.quiet {
                    session.printer.line(&format!("Building for {platform}"));
                }
                ids.push(build(Some(platform)).await?);
            }
            join(client, &names, &ids).await?
        }
    };
    let id = id.as_str();
    if let Some(iidfile) = &args.iidfile {
        fs::write(iidfile, id)?;
    }
    outputs.deliver(session, &args, &names, id, &known).await?;
    if args.quiet {
        session.printer.line(id);
    }
    Ok(ExitStatus::SUCCESS)
}

/// The platforms that are asked for.
fn platforms(flag: Option<&str>) -> Result<Vec<Platform>, CliError> {
    let mut platforms: Vec<Platform> = Vec::new();
    for text in flag
        .filter(|text| !text.is_empty())
        .into_iter()
        .flat_map(|text| text.split(','))
    {
        let platform = platform::parse(text.trim())?;
        if !platforms.contains(&platform) {
            platforms.push(platform);
        }
    }
    Ok(platforms)
}

/// Lets names stand for images of different platforms. The ID of the one that is meant when nobody says which.
async fn join(client: &Client, names: &[String], images: &[String]) -> Result<String, CliError> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Joined {
        id: String,
    }
    let call = client.post("/havre/images/join");
    let joined: Joined = match call
        .json(&json!({"Names": names, "Images": images}))
        .answer()
        .await
    {
        Err(error) if error.is_not_found() => {
            return Err(CliError::Invalid(
                "this engine keeps one platform under a name: build one at a time, and join them at a registry with 'manifest create'"
                    .to_owned(),
            ));
        }
        joined => joined?,
    };
    Ok(joined.id)
}

/// What is asked of the containers of `RUN`, and images that spare them, as parameters of the query.
struct StepFlags(Vec<(&'static str, String)>);

impl StepFlags {
    fn read(args: &Build) -> Result<Self, CliError> {
        let mut parameters = Vec::new();
        for host in &args.add_host {
            parameters.push(("extrahosts", limits::extra_host(host)?));
        }
        let mut set = |name, value: Option<String>| parameters.extend(value.map(|value| (name, value)));
        let number = |value: Option<i64>| value.map(|value| value.to_string());
        let bytes = |value: Option<Size>| number(value.map(|Size(bytes)| bytes));
        let limited = &args.limits;
        set("cpuperiod", number(limited.cpu_period));
        set("cpuquota", number(limited.cpu_quota));
        set("cpushares", number(limited.cpu_shares));
        set("cpusetcpus", limited.cpuset_cpus.clone());
        set("cpusetmems", limited.cpuset_mems.clone());
        set("memory", bytes(limited.memory));
        set("memswap", bytes(limited.memory_swap));
        set("shmsize", bytes(args.shm_size));
        set("cgroupparent", args.cgroup_parent.clone());
        set("isolation", args.isolation.clone());
        let list = |values: Vec<Value>| (!values.is_empty()).then(|| Value::from(values).to_string());
        let ulimits = args.ulimit.iter().map(|text| limits::ulimit(text));
        set("ulimits", list(ulimits.collect::<Result<_, _>>()?));
        for text in args.security_opt.iter().flat_map(|text| csv(text)) {
            set("securityopt", Some(limits::security(&text)?));
        }
        let images = args.cache_from.iter().flat_map(|text| csv(text));
        set("cachefrom", list(images.map(Value::from).collect()));
        Ok(Self(parameters))
    }
}

/// A body compressed on its way, for a network that is slower than this machine.
fn gzip(input: Input) -> Input {
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    tokio::spawn(async move {
        let mut input = input;
        while let Some(piece) = input.next().await {
            if sender.send(piece).await.is_err() {
                return;
            }
        }
    });
    archive::stream(move |writer| {
        let mut receiver = receiver;
        let mut encoder = encoder(writer, Compression::Gzip, None)?;
        while let Some(piece) = receiver.blocking_recv() {
            encoder.write_all(&piece?)?;
        }
        encoder.finish()?.flush()
    })
}

/// The description of the directory, if the engine can open it by itself: it is told so in the answer to a ping.
/// `HAVRE_BUILD_CONTEXT=tar` sends the files in any case.
async fn by_name(client: &Client, directory: &Directory) -> Result<Option<String>, CliError> {
    if !client.is_unix() || env::var_os("HAVRE_BUILD_CONTEXT").is_some_and(|value| value == "tar") {
        return Ok(None);
    }
    let headers = client.head("/_ping").headers().await?;
    if headers.get(LOCAL_CONTEXT).is_none_or(|version| version != "1") {
        return Ok(None);
    }
    Ok(directory.claim().ok())
}

/// A bare name takes its value from the environment; without one there it is not set at all.
fn build_arguments(flags: &[String]) -> BTreeMap<String, Option<String>> {
    flags
        .iter()
        .map(|flag| match flag.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (flag.clone(), env::var(flag).ok()),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn build_arguments_take_values_of_the_environment() {
        let flags = [
            "A=1=2".to_owned(),
            "HAVRE_TEST_UNSET_VARIABLE".to_owned(),
            "PATH".to_owned(),
        ];
        let arguments = build_arguments(&flags);
        assert_eq!(arguments["A"].as_deref(), Some("1=2"));
        assert_eq!(arguments["HAVRE_TEST_UNSET_VARIABLE"], None);
        assert_eq!(arguments["PATH"], env::var("PATH").ok());
    }
}
