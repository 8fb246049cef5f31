//! `docker login`: what may be typed.

use clap::Args;

use super::{Declaration, Operands, Shape};

#[derive(Args, Debug)]
pub(crate) struct Login {
    #[arg(
        short = 'p',
        long,
        value_name = "string",
        help = "Password or Personal Access Token (PAT)"
    )]
    pub(crate) password: Option<String>,
    #[arg(long, help = "Take the Password or Personal Access Token (PAT) from stdin")]
    pub(crate) password_stdin: bool,
    #[arg(short = 'u', long, value_name = "string", help = "Username")]
    pub(crate) username: Option<String>,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Login {
    const SHAPE: Shape = Shape {
        operands: Operands::AtMost(1),
        usage: "[OPTIONS] [SERVER]",
        about: "Authenticate to a registry.\nDefaults to Docker Hub if no server is specified.\n\nWith a part of its repositories (registry.example/team) the account counts for those alone. Without a credential helper, credentials are kept encrypted: by a key in the kernel's keyring, or by a passphrase (HAVRE_CREDENTIALS_PASSPHRASE).",
        aliases: &[],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
