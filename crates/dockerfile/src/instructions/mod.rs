//! Words → typed instructions. Still unexpanded: variables are known only when a stage runs.

mod flags;
mod healthcheck;
mod mount;
mod read;

use havre_oci::Healthcheck;

use crate::parser::{Heredoc, Span};

pub use mount::{Mount, MountKind};
pub use read::{InstructionError, LocatedError, read, read_node, read_trigger};

/// One instruction and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Instruction {
    pub kind: Kind,
    /// As written, continuation lines joined.
    pub original: String,
    pub lines: Span,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    From(From),
    Arg(Vec<Arg>),
    Run(Run),
    Copy(Copy),
    Env(Vec<(String, String)>),
    Label(Vec<(String, String)>),
    Cmd(CommandLine),
    Entrypoint(CommandLine),
    /// Split after expansion.
    Expose(String),
    Volume(Vec<String>),
    User(String),
    Workdir(String),
    Healthcheck(Healthcheck),
    Shell(Vec<String>),
    StopSignal(String),
    /// The trigger as written, checked already.
    Onbuild(String),
    Maintainer(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct From {
    pub base: String,
    pub platform: Option<String>,
    /// Lower case.
    pub name: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arg {
    pub name: String,
    pub default: Option<String>,
}

/// Shell form or exec form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandLine {
    Shell(String),
    Exec(Vec<String>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    pub command: CommandLine,
    pub heredocs: Vec<Heredoc>,
    pub mounts: Vec<Mount>,
    /// `--network`: `none` here or the build's own.
    pub network_none: bool,
}

/// `COPY` and `ADD`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    pub sources: Vec<Source>,
    pub destination: String,
    pub from: Option<String>,
    pub chown: Option<String>,
    pub chmod: Option<String>,
    pub link: bool,
    pub parents: bool,
    pub excludes: Vec<String>,
    /// `Some` for `ADD`.
    pub add: Option<AddOptions>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AddOptions {
    pub checksum: Option<String>,
    /// `--unpack`; by default archives of the context are unpacked and downloads are not.
    pub unpack: Option<bool>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    Path(String),
    Inline(Heredoc),
}

impl Copy {
    pub fn keyword(&self) -> &'static str {
        if self.add.is_some() { "ADD" } else { "COPY" }
    }
}
