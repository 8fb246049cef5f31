//! `network create`.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::args::network::create::Create;
use crate::commands::Done;
use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::session::Session;
use crate::spec::environment::{labels, options};
use crate::spec::network::pieces;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Created {
    id: String,
    #[serde(default)]
    warning: String,
}

/// `docker network create`.
pub(crate) async fn create(session: &Session, args: Create) -> Done {
    let mut body = json!({
        "Name": args.operands[0],
        "Driver": args.driver.as_deref().unwrap_or("bridge"),
        "Scope": args.scope.as_deref().unwrap_or_default(),
        "Internal": args.internal,
        "Attachable": args.attachable,
        "Ingress": args.ingress,
        "ConfigOnly": args.config_only,
        "IPAM": {
            "Driver": args.ipam_driver.as_deref().unwrap_or("default"),
            "Options": options(&args.ipam_opt)?,
            "Config": pools(&args)?,
        },
        "Options": options(&args.opt)?,
        "Labels": labels(&[], &args.label)?,
    });
    // Said only when it isn't the usual: older engines know no EnableIPv4.
    if !args.ipv4 {
        body["EnableIPv4"] = false.into();
    }
    if args.ipv6 {
        body["EnableIPv6"] = true.into();
    }
    if let Some(from) = &args.config_from {
        body["ConfigFrom"] = json!({ "Network": from });
    }
    let client = session.client()?;
    let created: Created = client.post("/networks/create").json(&body).answer().await?;
    for warning in created.warning.lines() {
        session.printer.warn(&format!("WARNING: {warning}"));
    }
    session.printer.line(&created.id);
    Ok(ExitStatus::SUCCESS)
}

/// A pool for each subnet; ranges, gateways and auxiliary addresses belong to the first.
fn pools(args: &Create) -> Result<Vec<Value>, CliError> {
    let (ranges, gateways) = (pieces(&args.ip_range), pieces(&args.gateway));
    let subnets = pieces(&args.subnet);
    if subnets.len() < ranges.len() || subnets.len() < gateways.len() {
        return Err(CliError::Invalid(
            "every ip-range or gateway must have a corresponding subnet".to_owned(),
        ));
    }
    let auxiliary = options(&args.aux_address)?;
    if subnets.is_empty() && !auxiliary.is_empty() {
        return Err(CliError::Invalid(
            "every auxiliary address must have a corresponding subnet".to_owned(),
        ));
    }
    let mut pools: Vec<_> = subnets.iter().map(|subnet| json!({ "Subnet": subnet })).collect();
    if let Some(first) = pools.first_mut() {
        first["AuxiliaryAddresses"] = json!(auxiliary);
    }
    for (field, values) in [("IPRange", &ranges), ("Gateway", &gateways)] {
        for (pool, value) in pools.iter_mut().zip(values) {
            pool[field] = json!(value);
        }
    }
    Ok(pools)
}
