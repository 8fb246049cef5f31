//! A streamed answer into a file (whole or not at all) or to standard output.

use std::io::Write;
use std::path::Path;

use fs_err as fs;
use fs_err::os::unix::fs::OpenOptionsExt;
use havre_sys::handed::Handed;
use http_body_util::BodyExt;

use crate::client::{Body, Call};
use crate::error::CliError;
use crate::session::Session;

/// Refuses an archive on a terminal, and an output that cannot be a file, before anything is asked of the engine.
pub(crate) fn check(session: &Session, output: Option<&str>) -> Result<(), CliError> {
    let Some(output) = output.filter(|output| !output.is_empty()) else {
        if session.printer.out_is_terminal() {
            return Err(CliError::Invalid(
                "cowardly refusing to save to a terminal. Use the -o flag or redirect".to_owned(),
            ));
        }
        return Ok(());
    };
    let path = Path::new(output);
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    if !parent.is_dir() {
        return Err(CliError::Invalid(format!(
            "invalid output path: directory {:?} does not exist",
            parent.display().to_string()
        )));
    }
    if path.is_dir() {
        return Err(CliError::Invalid(format!(
            "invalid output path: {output:?} is a directory"
        )));
    }
    Ok(())
}

/// With this the engine is told which file it may write by itself, and tells that it did.
const HANDED: &str = "x-havre-output";

/// Asks, and writes the answer. A file appears under its name only when it is complete. An engine on this machine may write it
/// by itself, if it can.
pub(crate) async fn write_answer(
    session: &Session,
    call: Call<'_>,
    output: Option<&str>,
) -> Result<(), CliError> {
    let Some(output) = output.filter(|output| !output.is_empty()) else {
        return print_body(session, call.send().await?.into_body()).await;
    };
    let path = Path::new(output);
    if fs::metadata(path).is_ok_and(|meta| !meta.is_file()) {
        // A device or a pipe cannot be replaced: written as it is.
        let mut body = call.send().await?.into_body();
        let mut file = fs::OpenOptions::new().write(true).open(path)?;
        return copy(&mut body, &mut file).await;
    }
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let aside = path.with_file_name(format!(".{name}.{}", std::process::id()));
    // As Docker's client: an archive may hold secrets, so it is its owner's alone.
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&aside)?;
    let result = tokio::select! {
        result = fill(call, &mut file) => result,
        _ = tokio::signal::ctrl_c() => Err(CliError::Interrupted),
    };
    let result = result.and_then(|()| Ok(fs::rename(&aside, path)?));
    if result.is_err() {
        let _ = fs::remove_file(&aside);
    }
    result
}

async fn fill(call: Call<'_>, file: &mut fs::File) -> Result<(), CliError> {
    let call = match Handed::new(file.file()) {
        Ok(handed) => call.header(HANDED, handed.to_string()),
        Err(_) => call,
    };
    let response = call.send().await?;
    if response.headers().contains_key(HANDED) {
        return Ok(());
    }
    copy(&mut response.into_body(), file).await
}

/// Writes the body to standard output.
pub(crate) async fn print_body(session: &Session, mut body: Body) -> Result<(), CliError> {
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame
            .map_err(|error| CliError::Broken(error.to_string()))?
            .into_data()
        {
            session.printer.out_bytes(&data);
        }
    }
    Ok(())
}

async fn copy(body: &mut Body, file: &mut impl Write) -> Result<(), CliError> {
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame
            .map_err(|error| CliError::Broken(error.to_string()))?
            .into_data()
        {
            file.write_all(&data)?;
        }
    }
    Ok(())
}
