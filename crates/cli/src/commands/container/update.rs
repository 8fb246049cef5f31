//! `update`.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::args::container::update::Update;
use crate::commands::{Done, Failures};
use crate::error::CliError;
use crate::session::Session;
use crate::spec::limits;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Updated {
    #[serde(default)]
    warnings: Option<Vec<String>>,
}

/// `docker update`.
pub(crate) async fn update(session: &Session, args: Update) -> Done {
    let body = body(&args)?;
    if body.is_empty() {
        return Err(CliError::Invalid(
            "you must provide one or more flags when using this command".to_owned(),
        ));
    }
    let client = session.client()?;
    let mut failures = Failures::default();
    for name in &args.operands {
        let answer = client
            .post(format!("/containers/{}/update", name.trim_start_matches('/')))
            .json(&body)
            .answer::<Updated>()
            .await;
        match answer {
            Ok(updated) => {
                session.printer.line(name);
                for warning in updated.warnings.iter().flatten() {
                    session.printer.warn(&format!("WARNING: {warning}"));
                }
            }
            Err(error @ CliError::Unreachable { .. }) => return Err(error),
            Err(error) => failures.add(&error),
        }
    }
    Ok(failures.finish(session))
}

/// What was given, and nothing else.
fn body(args: &Update) -> Result<Map<String, Value>, CliError> {
    let mut body = Map::new();
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            body.insert(name.to_owned(), value);
        }
    };
    set("BlkioWeight", args.blkio_weight.map(Value::from));
    set("CpuPeriod", args.cpu_period.map(Value::from));
    set("CpuQuota", args.cpu_quota.map(Value::from));
    set("CpuRealtimePeriod", args.cpu_rt_period.map(Value::from));
    set("CpuRealtimeRuntime", args.cpu_rt_runtime.map(Value::from));
    set("CpuShares", args.cpu_shares.map(Value::from));
    set("NanoCpus", args.cpus.map(|cpus| cpus.0.into()));
    set("CpusetCpus", args.cpuset_cpus.clone().map(Value::from));
    set("CpusetMems", args.cpuset_mems.clone().map(Value::from));
    set("Memory", args.memory.map(|size| size.0.into()));
    set(
        "MemoryReservation",
        args.memory_reservation.map(|size| size.0.into()),
    );
    set("MemorySwap", args.memory_swap.map(|size| size.0.into()));
    set("PidsLimit", args.pids_limit.map(Value::from));
    let restart = args.restart.as_deref().filter(|policy| !policy.is_empty());
    set("RestartPolicy", restart.map(limits::restart).transpose()?);
    Ok(body)
}
