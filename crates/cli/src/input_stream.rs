//! Files and standard input as request bodies.

use std::io::{self, Write};
use std::pin::Pin;

use bytes::Bytes;
use futures_util::Stream;
use tokio_util::io::ReaderStream;

use crate::error::CliError;

/// Size of the pieces sent.
const PIECE: usize = 256 << 10;

/// A body in the making.
pub(crate) type Input = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

/// A file's contents.
pub(crate) async fn file(path: &str) -> Result<Input, CliError> {
    let file = tokio::fs::File::open(path)
        .await
        .map_err(|error| io::Error::new(error.kind(), format!("open {path}: {}", plain(&error))))?;
    Ok(Box::pin(ReaderStream::with_capacity(file, PIECE)))
}

/// What standard input gives.
pub(crate) fn stdin() -> Input {
    crate::archive::stream(|mut writer| {
        io::copy(&mut io::stdin().lock(), &mut writer)?;
        writer.flush()
    })
}

/// The system's words in lower case, without its number.
pub(crate) fn plain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}
