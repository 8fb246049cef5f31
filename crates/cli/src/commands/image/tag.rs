//! `tag`.

use havre_oci::Reference;

use crate::args::image::tag::Tag;
use crate::commands::Done;
use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::session::Session;

/// A reference, or Docker's words about why it is none.
pub(crate) fn reference(name: &str) -> Result<Reference, CliError> {
    Reference::parse(name).map_err(|error| CliError::Invalid(error.to_string()))
}

/// Repository (with its registry) and tag of a name; `latest` without a tag.
pub(crate) fn repository_and_tag(name: &str) -> Result<(String, String), CliError> {
    let reference = reference(name)?;
    if reference.digest().is_some() {
        return Err(CliError::Invalid(
            "cannot tag with a digest: give a name and a tag".to_owned(),
        ));
    }
    let reference = reference.with_default_tag();
    Ok((
        reference.familiar_name(),
        reference.tag().unwrap_or("latest").to_owned(),
    ))
}

/// `docker tag`.
pub(crate) async fn tag(session: &Session, args: Tag) -> Done {
    let [source, target] = args.operands.as_slice() else {
        return Ok(ExitStatus::FAILURE);
    };
    let (repository, tag) = repository_and_tag(target).map_err(|error| {
        CliError::Invalid(format!(
            "Error parsing reference: {target:?} is not a valid repository/tag: {error}"
        ))
    })?;
    session
        .client()?
        .post(format!("/images/{source}/tag"))
        .query("repo", repository)
        .query("tag", tag)
        .status()
        .await?;
    Ok(ExitStatus::SUCCESS)
}
