//! `image cat`.

use crate::args::image::cat::Cat;
use crate::commands::image::files::layer_number;
use crate::commands::{Done, Failures};
use crate::error::CliError;
use crate::image_files;
use crate::output_file::print_body;
use crate::session::Session;

/// `havre image cat`: what cannot be printed doesn't keep the rest from it.
pub(crate) async fn cat(session: &Session, args: Cat) -> Done {
    let layer = layer_number(args.layer)?;
    let (image, paths) = image_files::operands(&args.operands, &args.at)?;
    if paths.is_empty() {
        return Err(CliError::Invalid(format!(
            "no file is named: as {} PATH, or {}:/PATH",
            args.operands[0], args.operands[0]
        )));
    }
    let mut failures = Failures::default();
    for path in paths {
        let call = image.call(session, "file", layer)?.query("path", path);
        let printed = match call.send().await {
            Ok(answer) => print_body(session, answer.into_body()).await,
            Err(error) => Err(image_files::explained(error)),
        };
        match printed {
            Ok(()) => {}
            Err(error @ CliError::Daemon { .. }) => failures.add(&error),
            Err(error) => return Err(error),
        }
    }
    Ok(failures.finish(session))
}
