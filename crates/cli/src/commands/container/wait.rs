//! `wait`.

use serde::Deserialize;

use crate::args::container::wait::Wait;
use crate::commands::{Done, Failures};
use crate::session::Session;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Waited {
    status_code: i64,
}

/// `docker wait`.
pub(crate) async fn wait(session: &Session, args: Wait) -> Done {
    let client = session.client()?;
    let mut failures = Failures::default();
    for name in &args.operands {
        match client
            .post(format!("/containers/{name}/wait"))
            .answer::<Waited>()
            .await
        {
            Ok(waited) => session.printer.line(&waited.status_code.to_string()),
            Err(error) => failures.add(&error),
        }
    }
    Ok(failures.finish(session))
}
