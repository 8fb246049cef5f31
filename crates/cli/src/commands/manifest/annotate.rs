//! `manifest annotate`.

use havre_oci::Platform;

use super::{lists, no_such, reference};
use crate::args::manifest::annotate::Annotate;
use crate::commands::Done;
use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::session::Session;

/// What an entry of a list may be for: what Go programs run on.
const RUNS_ON: [(&str, &[&str]); 9] = [
    ("darwin", &["386", "amd64", "arm", "arm64"]),
    ("dragonfly", &["amd64"]),
    ("freebsd", &["386", "amd64", "arm", "arm64"]),
    (
        "linux",
        &[
            "386", "amd64", "arm", "arm64", "loong64", "mips64", "mips64le", "ppc64le", "riscv64", "s390x",
        ],
    ),
    ("netbsd", &["386", "amd64", "arm"]),
    ("openbsd", &["386", "amd64", "arm"]),
    ("plan9", &["386", "amd64"]),
    ("solaris", &["amd64"]),
    ("windows", &["386", "amd64", "arm", "arm64"]),
];

/// `docker manifest annotate`: says what a manifest of a list is for.
pub(crate) async fn annotate(session: &Session, args: Annotate) -> Done {
    let [list, name] = args.operands.as_slice() else {
        return Ok(ExitStatus::FAILURE);
    };
    let (list, name) = (reference(list)?, reference(name)?);
    let lists = lists(session);
    if lists.get(&list)?.is_none() {
        return Err(no_such(&list));
    }
    let Some(mut listed) = lists.manifest(&list, &name)? else {
        return Err(CliError::Invalid(format!(
            "manifest for image {} does not exist in {}",
            name.canonical(),
            list.canonical()
        )));
    };
    let platform = listed
        .descriptor
        .platform
        .get_or_insert_with(|| Platform::new("", ""));
    let set = |field: &mut String, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            *field = value;
        }
    };
    set(&mut platform.os, args.os);
    set(&mut platform.architecture, args.arch);
    set(&mut platform.variant, args.variant);
    set(&mut platform.os_version, args.os_version);
    for feature in args.os_features {
        if !platform.os_features.contains(&feature) {
            platform.os_features.push(feature);
        }
    }
    let (os, architecture) = (platform.os.as_str(), platform.architecture.as_str());
    let is_known = RUNS_ON
        .iter()
        .any(|(known, architectures)| *known == os && architectures.contains(&architecture));
    if !is_known {
        return Err(CliError::Invalid(format!(
            "manifest entry for image has unsupported os/arch combination: {os}/{architecture}"
        )));
    }
    lists.put(&list, &name, &listed)?;
    Ok(ExitStatus::SUCCESS)
}
