//! `top`.

use serde::Deserialize;

use crate::args::container::top::Top;
use crate::commands::Done;
use crate::exit_status::ExitStatus;
use crate::format::table::align_by;
use crate::session::Session;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Processes {
    titles: Vec<String>,
    processes: Option<Vec<Vec<String>>>,
}

/// `docker top`.
pub(crate) async fn top(session: &Session, args: Top) -> Done {
    let [container, options @ ..] = args.operands.as_slice() else {
        return Ok(ExitStatus::FAILURE);
    };
    let options = Some(options.join(" ")).filter(|options| !options.is_empty());
    let listed: Processes = session
        .client()?
        .get(format!("/containers/{container}/top"))
        .query_some("ps_args", options)
        .answer()
        .await?;
    let mut text = listed.titles.join("\t") + "\n";
    for process in listed.processes.unwrap_or_default() {
        text.push_str(&(process.join("\t") + "\n"));
    }
    session.printer.out(&align_by(&text, 20, 3));
    Ok(ExitStatus::SUCCESS)
}
