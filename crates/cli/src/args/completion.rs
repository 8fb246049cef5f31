//! `docker completion`: what may be typed.

use clap::Args;

use super::{Declaration, Operands, Shape};

#[derive(Args, Debug)]
pub(crate) struct Completion {
    #[arg(long, help = "disable completion descriptions")]
    pub(crate) no_descriptions: bool,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Completion {
    const SHAPE: Shape = Shape {
        operands: Operands::Exactly(1),
        usage: "bash|zsh|fish",
        about: "Generate the autocompletion script for the specified shell\n\nFor the current shell:\n\n\
                \tsource <({program} completion bash)\n\
                \tsource <({program} completion zsh)\n\
                \t{program} completion fish | source\n\n\
                For every new one, as root:\n\n\
                \t{program} completion bash > /etc/bash_completion.d/{program}\n\
                \t{program} completion zsh > /usr/share/zsh/vendor-completions/_{program}\n\
                \t{program} completion fish > /etc/fish/completions/{program}.fish",
        aliases: &[],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
