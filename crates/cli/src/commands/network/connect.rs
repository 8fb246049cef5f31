//! `network connect`.

use serde_json::json;

use crate::args::network::connect::Connect;
use crate::commands::Done;
use crate::exit_status::ExitStatus;
use crate::session::Session;
use crate::spec::network::Endpoint;
use crate::spec::network::pieces;

/// `docker network connect`.
pub(crate) async fn connect(session: &Session, args: Connect) -> Done {
    let endpoint = Endpoint {
        aliases: pieces(&args.alias),
        driver_opts: pieces(&args.driver_opt),
        gw_priority: args.gw_priority,
        ip: args.ip,
        ip6: args.ip6,
        links: args.link,
        link_local: pieces(&args.link_local_ip),
        mac_address: None,
    };
    let body = json!({ "Container": args.operands[1], "EndpointConfig": endpoint.body()? });
    let client = session.client()?;
    let network = &args.operands[0];
    client
        .post(format!("/networks/{network}/connect"))
        .json(&body)
        .status()
        .await?;
    Ok(ExitStatus::SUCCESS)
}
