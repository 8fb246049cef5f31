//! Declarations: what may be typed, one small file per command, nothing else.
//!
//! A declaration is a clap argument struct plus its [`Shape`]: the words Docker uses about the command.

pub(crate) mod artifact;
pub(crate) mod builder;
pub(crate) mod buildx;
pub(crate) mod completion;
pub(crate) mod container;
pub(crate) mod context;
pub(crate) mod daemon;
pub(crate) mod explore;
pub(crate) mod image;
pub(crate) mod inspect;
pub(crate) mod limits;
pub(crate) mod lint;
pub(crate) mod lock;
pub(crate) mod login;
pub(crate) mod logout;
pub(crate) mod manifest;
pub(crate) mod network;
pub(crate) mod plan;
pub(crate) mod registry;
pub(crate) mod search;
pub(crate) mod system;
pub(crate) mod trust;
pub(crate) mod undo;
pub(crate) mod version;
pub(crate) mod volume;

/// How many operands a command takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operands {
    /// None at all.
    None,
    /// Just so many.
    Exactly(usize),
    /// So many or more.
    AtLeast(usize),
    /// So many or more, or none with a flag.
    AtLeastUnless(usize, &'static str),
    /// Up to so many.
    AtMost(usize),
    /// From the first to the second number.
    Between(usize, usize),
    /// As many as one likes.
    Any,
}

/// The words about a command: usage, summary, other names, and what it refuses.
#[derive(Debug)]
pub(crate) struct Shape {
    /// Number of operands.
    pub(crate) operands: Operands,
    /// Usage after the command's name: `[OPTIONS] IMAGE [COMMAND] [ARG...]`.
    pub(crate) usage: &'static str,
    /// What the command does: a line, and where there is more to say, paragraphs below it. `{program}` stands for the
    /// name this program is called by.
    pub(crate) about: &'static str,
    /// All names of the command as printed under `Aliases:`; empty when there is one only.
    pub(crate) aliases: &'static [&'static str],
    /// Whether flags may follow operands. Not where operands are a command line of their own.
    pub(crate) interspersed: bool,
    /// Flags of Docker that have no effect here and are therefore refused.
    pub(crate) refused: &'static [&'static str],
}

/// A command's arguments with its [`Shape`].
pub(crate) trait Declaration: clap::Args {
    /// The words about the command.
    const SHAPE: Shape;

    /// The operands, in order.
    fn operands(&self) -> &[String];
}
