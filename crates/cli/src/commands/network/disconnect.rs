//! `network disconnect`.

use serde_json::json;

use crate::args::network::disconnect::Disconnect;
use crate::commands::Done;
use crate::exit_status::ExitStatus;
use crate::session::Session;

/// `docker network disconnect`.
pub(crate) async fn disconnect(session: &Session, args: Disconnect) -> Done {
    let body = json!({ "Container": args.operands[1], "Force": args.force });
    let client = session.client()?;
    let network = &args.operands[0];
    client
        .post(format!("/networks/{network}/disconnect"))
        .json(&body)
        .status()
        .await?;
    Ok(ExitStatus::SUCCESS)
}
