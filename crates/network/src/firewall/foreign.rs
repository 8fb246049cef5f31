//! Exceptions in somebody else's firewall. dockerd and ufw make iptables drop whatever is forwarded and not theirs; an
//! accept in our own table doesn't change that, so two rules for our bridge go where they are asked first.

use std::process::{Command, Output, Stdio};

/// The exceptions for one bridge.
pub(crate) struct Foreign<'a> {
    pub(crate) bridge: &'a str,
}

impl Foreign<'_> {
    /// Adds the exceptions where they are needed. What fails is only logged: without iptables nobody drops anything.
    pub(crate) fn admit(&self) {
        let Some(chain) = self.chain_in_the_way() else {
            return;
        };
        for direction in ["-i", "-o"] {
            if self
                .rule("-C", chain, direction)
                .is_some_and(|output| output.status.success())
            {
                continue;
            }
            match self.rule("-I", chain, direction) {
                Some(output) if output.status.success() => {
                    tracing::info!(
                        "iptables chain {chain} drops forwarded packets: made an exception for {}",
                        self.bridge
                    );
                }
                Some(output) => {
                    let reason = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                    tracing::warn!(
                        reason,
                        "iptables chain {chain} may drop packets of {}",
                        self.bridge
                    );
                }
                None => {}
            }
        }
    }

    /// Takes the exceptions away, wherever they are.
    pub(crate) fn withdraw(&self) {
        for chain in ["DOCKER-USER", "FORWARD"] {
            for direction in ["-i", "-o"] {
                // A second try finds a second copy; more of them nobody makes.
                for _ in 0..2 {
                    if !self
                        .rule("-D", chain, direction)
                        .is_some_and(|output| output.status.success())
                    {
                        break;
                    }
                }
            }
        }
    }

    /// The chain that has to let our bridge through, when there is one. Looks, and creates nothing.
    fn chain_in_the_way(&self) -> Option<&'static str> {
        let docker = iptables(&["-S", "DOCKER-USER"])?;
        if docker.status.success() {
            return Some("DOCKER-USER");
        }
        let forward = iptables(&["-S", "FORWARD"])?;
        let drops = String::from_utf8_lossy(&forward.stdout)
            .lines()
            .any(|line| line == "-P FORWARD DROP");
        drops.then_some("FORWARD")
    }

    fn rule(&self, action: &str, chain: &str, direction: &str) -> Option<Output> {
        iptables(&[action, chain, direction, self.bridge, "-j", "ACCEPT"])
    }
}

/// Runs iptables, waiting for its lock; `None` when there is no iptables.
fn iptables(arguments: &[&str]) -> Option<Output> {
    Command::new("iptables")
        .args(["-w", "5"])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .ok()
}
