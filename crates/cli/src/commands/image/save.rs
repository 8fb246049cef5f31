//! `save`.

use serde::Deserialize;

use crate::args::image::save::Save;
use crate::commands::Done;
use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::output_file::{check, write_answer};
use crate::session::Session;
use crate::spec::filters::filters;
use crate::spec::platform;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Image {
    id: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
}

/// The names of the images that filters mean; an image without names by its ID.
async fn meant(session: &Session, filter: &[String]) -> Result<Vec<String>, CliError> {
    let call = session.client()?.get("/images/json");
    let images: Vec<Image> = call.query_some("filters", filters(filter)?).answer().await?;
    let names = |image: Image| match image.repo_tags.unwrap_or_default() {
        tags if tags.is_empty() => vec![image.id],
        tags => tags,
    };
    let names: Vec<String> = images.into_iter().flat_map(names).collect();
    match names.is_empty() {
        true => Err(CliError::Invalid("no image is meant by these filters".to_owned())),
        false => Ok(names),
    }
}

/// `docker save`.
pub(crate) async fn save(session: &Session, args: Save) -> Done {
    check(session, args.output.as_deref())?;
    let client = session.client()?;
    let names = match args.filter.is_empty() {
        true => args.operands,
        false if args.operands.is_empty() => meant(session, &args.filter).await?,
        false => {
            return Err(CliError::Invalid(
                "images are saved by names or by filters, not by both".to_owned(),
            ));
        }
    };
    if let Some(other) = args
        .compress
        .as_deref()
        .filter(|format| !["gzip", "zstd"].contains(format))
    {
        return Err(CliError::Invalid(format!(
            "invalid compression {other:?}: use gzip or zstd"
        )));
    }
    let own = args.compress.is_some() || !args.since.is_empty();
    let call = match names.as_slice() {
        // An engine that does not know these flags does not know the endpoint either.
        names if own => names.iter().fold(client.get("/havre/images/get"), |call, name| {
            call.query("names", name)
        }),
        [one] => client.get(format!("/images/{one}/get")),
        many => many
            .iter()
            .fold(client.get("/images/get"), |call, name| call.query("names", name)),
    };
    let call = call.query_some("platform", platform::json_of(args.platform.as_deref())?);
    let call = args
        .since
        .iter()
        .fold(call, |call, image| call.query("since", image));
    let call = call.query_some("compress", args.compress.as_ref());
    match write_answer(session, call, args.output.as_deref()).await {
        Err(CliError::Daemon { status: 404, message }) if own && message == "page not found" => {
            return Err(CliError::Invalid(
                "this engine knows neither --compress nor --since".to_owned(),
            ));
        }
        written => written?,
    }
    Ok(ExitStatus::SUCCESS)
}
