//! `volume create`.

use serde::Deserialize;
use serde_json::json;

use crate::args::volume::create::Create;
use crate::commands::Done;
use crate::exit_status::ExitStatus;
use crate::session::Session;
use crate::spec::environment::{labels, options};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Created {
    name: String,
}

/// `docker volume create`.
pub(crate) async fn create(session: &Session, args: Create) -> Done {
    let body = json!({
        "Name": args.operands.first().map(String::as_str).unwrap_or_default(),
        "Driver": args.driver.as_deref().unwrap_or("local"),
        "DriverOpts": options(&args.opt)?,
        "Labels": labels(&[], &args.label)?,
    });
    let created: Created = session
        .client()?
        .post("/volumes/create")
        .json(&body)
        .answer()
        .await?;
    session.printer.line(&created.name);
    Ok(ExitStatus::SUCCESS)
}
