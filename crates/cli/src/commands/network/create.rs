//! `network create`.

use std::net::IpAddr;

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

/// A pool for each subnet, with the range, the gateway and the auxiliary addresses that lie in it.
fn pools(args: &Create) -> Result<Vec<Value>, CliError> {
    let (subnets, ranges, gateways) = (
        pieces(&args.subnet),
        pieces(&args.ip_range),
        pieces(&args.gateway),
    );
    let invalid = |text: String| Err(CliError::Invalid(text));
    if subnets.len() < ranges.len() || subnets.len() < gateways.len() {
        return invalid("every ip-range or gateway must have a corresponding subnet".to_owned());
    }
    let mut pools: Vec<(String, Value)> = Vec::new();
    for subnet in subnets {
        for (other, _) in &pools {
            if contains(other, &subnet)? || contains(&subnet, other)? {
                return invalid("multiple overlapping subnet configuration is not supported".to_owned());
            }
        }
        let pool = json!({ "Subnet": subnet });
        pools.push((subnet, pool));
    }
    for (field, plural, says, place, values) in [
        ("IPRange", "ranges", "range", "on", ranges),
        ("Gateway", "gateways", "gateway", "for", gateways),
    ] {
        for value in values {
            let (subnet, pool) = of(&mut pools, &value, says)?;
            if let Some(other) = pool[field].as_str() {
                return invalid(format!(
                    "cannot configure multiple {plural} ({value}, {other}) {place} the same subnet ({subnet})"
                ));
            }
            pool[field] = json!(value);
        }
    }
    for (name, address) in options(&args.aux_address)? {
        let (_, pool) = of(&mut pools, &address, "aux-address")?;
        pool["AuxiliaryAddresses"][name] = json!(address);
    }
    Ok(pools.into_iter().map(|(_, pool)| pool).collect())
}

/// The pool whose subnet a range or an address lies in.
fn of<'a>(
    pools: &'a mut [(String, Value)],
    value: &str,
    what: &str,
) -> Result<&'a mut (String, Value), CliError> {
    for pool in pools {
        if contains(&pool.0, value)? {
            return Ok(pool);
        }
    }
    Err(CliError::Invalid(format!(
        "no matching subnet for {what} {value}"
    )))
}

/// Whether an address, or the first one of a network, lies in a subnet. What is no address at all lies nowhere.
fn contains(subnet: &str, value: &str) -> Result<bool, CliError> {
    let wrong = || CliError::Invalid(format!("invalid subnet: invalid CIDR address: {subnet}"));
    let (network, bits) = subnet.split_once('/').ok_or_else(wrong)?;
    let network: IpAddr = network.parse().map_err(|_| wrong())?;
    let width = if network.is_ipv4() { 32 } else { 128 };
    let bits: u32 = bits
        .parse()
        .ok()
        .filter(|bits| *bits <= width)
        .ok_or_else(wrong)?;
    let address = value.split('/').next().unwrap_or_default();
    let Ok(address) = address.parse::<IpAddr>() else {
        return Ok(false);
    };
    let number = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => u128::from(ip.to_bits()),
        IpAddr::V6(ip) => ip.to_bits(),
    };
    let prefix = |ip: IpAddr| number(ip).checked_shr(width - bits).unwrap_or(0);
    Ok(address.is_ipv4() == network.is_ipv4() && prefix(address) == prefix(network))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::{Parsed, parse};

    fn planned(line: &str) -> Result<Value, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let Ok(Parsed::Arguments(create)) = parse::<Create>("docker network create", &words) else {
            panic!("{line}")
        };
        pools(&create).map(Value::from).map_err(|error| error.to_string())
    }

    #[test]
    fn what_belongs_to_which_subnet() {
        let line = "--subnet 10.60.0.0/24 --subnet fd99:5::/64 --gateway fd99:5::99 --ip-range fd99:5::8000/113 \
                    --aux-address x=fd99:5::8001 --aux-address y=10.60.0.9 net";
        assert_eq!(
            planned(line).expect("good"),
            json!([
                {"Subnet": "10.60.0.0/24", "AuxiliaryAddresses": {"y": "10.60.0.9"}},
                {"Subnet": "fd99:5::/64", "Gateway": "fd99:5::99", "IPRange": "fd99:5::8000/113",
                 "AuxiliaryAddresses": {"x": "fd99:5::8001"}},
            ])
        );
        assert_eq!(planned("net").expect("nothing said"), json!([]));
        for (line, says) in [
            (
                "--gateway 10.0.0.1 net",
                "every ip-range or gateway must have a corresponding subnet",
            ),
            (
                "--ip-range 10.0.0.0/24 net",
                "every ip-range or gateway must have a corresponding subnet",
            ),
            (
                "--subnet 10.51.0.0/24 --gateway 10.52.0.1 net",
                "no matching subnet for gateway 10.52.0.1",
            ),
            (
                "--subnet 10.51.0.0/24 --ip-range 10.52.0.0/25 net",
                "no matching subnet for range 10.52.0.0/25",
            ),
            (
                "--subnet 10.53.0.0/24 --aux-address a=10.54.0.1 net",
                "no matching subnet for aux-address 10.54.0.1",
            ),
            (
                "--aux-address a=10.54.0.1 net",
                "no matching subnet for aux-address 10.54.0.1",
            ),
            (
                "--subnet 10.5.0.0/16 --subnet 10.5.1.0/24 net",
                "multiple overlapping subnet",
            ),
            (
                "--subnet 10.5.0.0 --subnet 10.6.0.0/16 net",
                "invalid subnet: invalid CIDR address: 10.5.0.0",
            ),
            (
                "--subnet 10.5.0.0/16 --subnet 10.6.0.0/16 --gateway 10.5.0.1 --gateway 10.5.0.2 net",
                "cannot configure multiple gateways (10.5.0.2, 10.5.0.1) for the same subnet (10.5.0.0/16)",
            ),
        ] {
            let error = planned(line).expect_err(line);
            assert!(error.contains(says), "{line}: {error}");
        }
    }
}
