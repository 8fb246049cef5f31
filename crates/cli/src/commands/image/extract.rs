//! `image extract`.

use std::path::Path;

use crate::archive;
use crate::args::image::extract::Extract;
use crate::commands::Done;
use crate::commands::container::cp::stat_of;
use crate::commands::image::files::layer_number;
use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::format::size;
use crate::session::Session;
use crate::{image_files, output_file};

/// `havre image extract`.
pub(crate) async fn extract(session: &Session, args: Extract) -> Done {
    let layer = layer_number(args.layer)?;
    let (image, paths) = image_files::operands(&args.operands, &args.at)?;
    let [path] = paths.as_slice() else {
        return Err(CliError::Invalid(format!(
            "one path is to be named: as {} PATH, or as IMAGE:/PATH",
            args.operands[0]
        )));
    };
    if args.output == "-" {
        output_file::check(session, None)?;
    }
    let call = image.call(session, "archive", layer)?.query("path", path);
    let answer = call.send().await.map_err(image_files::explained)?;
    let found = stat_of(answer.headers())?;
    let body = answer.into_body();
    if args.output == "-" {
        output_file::print_body(session, body).await?;
        return Ok(ExitStatus::SUCCESS);
    }
    let target = archive::target(
        Path::new(&args.output),
        &found.name,
        found.is_directory(),
        path.ends_with("/."),
    )?;
    let copied = archive::receive(body, found.name, target.clone(), args.archive).await?;
    if !args.quiet && session.printer.out_is_terminal() {
        session.printer.warn(&format!(
            "Successfully copied {} to {}",
            size::short(i64::try_from(copied).unwrap_or(i64::MAX)),
            target.display()
        ));
    }
    Ok(ExitStatus::SUCCESS)
}
