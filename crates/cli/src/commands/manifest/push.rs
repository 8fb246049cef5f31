//! `manifest push`.

use havre_oci::{Descriptor, Index, media_type};

use super::{lists, no_such, put, reference};
use crate::args::manifest::push::Push;
use crate::commands::Done;
use crate::commands::image::tag;
use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::manifest_lists::Listed;
use crate::session::Session;

/// The index of a list's manifests: Docker's kind, or OCI's when the first is of OCI's.
pub(super) fn index_of(listed: &[Listed]) -> Result<Index, CliError> {
    for one in listed {
        let platform = one.descriptor.platform.as_ref();
        if platform.is_none_or(|platform| platform.os.is_empty() || platform.architecture.is_empty()) {
            return Err(CliError::Invalid(format!(
                "manifest {} must have an OS and Architecture to be pushed to a registry; say them with 'manifest annotate'",
                one.reference
            )));
        }
    }
    let descriptors: Vec<Descriptor> = listed.iter().map(|one| one.descriptor.clone()).collect();
    let is_oci = descriptors
        .first()
        .is_some_and(|first| first.media_type == media_type::OCI_MANIFEST);
    let mut index = Index::oci(descriptors);
    if !is_oci {
        media_type::DOCKER_MANIFEST_LIST.clone_into(&mut index.media_type);
    }
    Ok(index)
}

/// `docker manifest push`: a list, after what it names that its repository lacks.
pub(crate) async fn push(session: &Session, args: Push) -> Done {
    let list = reference(&args.operands[0])?;
    let lists = lists(session);
    let Some(listed) = lists.get(&list)? else {
        return Err(no_such(&list));
    };
    let index = index_of(&listed)?;
    let sources: Vec<String> = listed.iter().map(|one| one.reference.clone()).collect();
    let pushed = put(
        session,
        &list,
        &index.media_type,
        &index.to_bytes(),
        &sources,
        args.insecure,
    )
    .await?;
    for one in &listed {
        // Those of the list's own repository were there.
        if tag::reference(&one.reference)?.repository() != list.repository() {
            let digest = &one.descriptor.digest;
            let name = list.without_tag().with_digest(digest.clone());
            session
                .printer
                .line(&format!("Pushed ref {} with digest: {digest}", name.canonical()));
        }
    }
    session.printer.line(pushed.digest.as_str());
    if args.purge {
        lists.remove(&list)?;
    }
    Ok(ExitStatus::SUCCESS)
}
