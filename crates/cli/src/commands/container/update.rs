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
    limits::fill(&args.limits, &mut body);
    if let Some(policy) = args.restart.as_deref().filter(|policy| !policy.is_empty()) {
        body.insert("RestartPolicy".to_owned(), limits::restart(policy)?);
    }
    Ok(body)
}
