//! `system dial-stdio`: the far end of `ssh://`. Standard input and output are a connection to the engine.

use tokio::io::{AsyncReadExt, AsyncWriteExt, split};

use crate::args::system::dial_stdio::DialStdio;
use crate::commands::Done;
use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::session::Session;
use crate::shuttle::read_stdin;

/// `docker system dial-stdio`.
pub(crate) async fn dial_stdio(session: &Session, _args: DialStdio) -> Done {
    let (mut from_engine, mut to_engine) = split(session.client()?.wire().await?);
    let say = async {
        let mut typed = read_stdin();
        while let Some(bytes) = typed.recv().await {
            to_engine.write_all(&bytes).await?;
            to_engine.flush().await?;
        }
        // Only this direction ends: what the engine still says is wanted.
        to_engine.shutdown().await
    };
    let hear = async {
        let mut buffer = vec![0; 64 << 10];
        loop {
            match from_engine.read(&mut buffer).await? {
                0 => return Ok::<_, CliError>(()),
                count => session.printer.out_bytes(&buffer[..count]),
            }
        }
    };
    tokio::pin!(hear);
    tokio::select! {
        heard = &mut hear => heard?,
        said = say => {
            said?;
            hear.await?;
        }
    }
    Ok(ExitStatus::SUCCESS)
}
