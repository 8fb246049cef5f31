//! Exceptions in somebody else's firewall. dockerd and ufw make iptables drop whatever is forwarded and not theirs; an
//! accept in our own table doesn't change that, so two rules for our bridge go where they are asked first.

use std::process::{Command, Output, Stdio};

use super::elements;
use crate::endpoint::Families;

/// The programs that manage such firewalls, one for each family.
const IPV4: &str = "iptables";
const IPV6: &str = "ip6tables";

/// Where dockerd leaves room for rules of others.
const DOCKER_USER: &str = "DOCKER-USER";

/// The exceptions for one bridge.
pub(crate) struct Foreign<'a> {
    pub(crate) bridge: &'a str,
    /// What it carries.
    pub(crate) families: Families,
}

impl Foreign<'_> {
    /// Whether somebody drops what this bridge forwards. Looks, and changes nothing.
    pub(crate) fn is_in_the_way(&self) -> bool {
        self.programs().any(|program| chain_in_the_way(program).is_some())
    }

    /// Whether a dockerd is there: known at once, without asking a program.
    pub(crate) fn meets_docker(&self) -> bool {
        self.families.ipv4 && elements::foreign_chain_exists(false, DOCKER_USER)
            || self.families.ipv6 && elements::foreign_chain_exists(true, DOCKER_USER)
    }

    /// Adds the exceptions where they are needed. What fails is only logged: without iptables nobody drops anything.
    pub(crate) fn admit(&self) {
        for program in self.programs() {
            let Some(chain) = chain_in_the_way(program) else {
                continue;
            };
            for direction in ["-i", "-o"] {
                let is_there = self.rule(program, "-C", chain, direction);
                if is_there.is_some_and(|output| output.status.success()) {
                    continue;
                }
                match self.rule(program, "-I", chain, direction) {
                    Some(output) if output.status.success() => {
                        tracing::info!(
                            "{program} chain {chain} drops forwarded packets: made an exception for {}",
                            self.bridge
                        );
                    }
                    Some(output) => {
                        let reason = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                        tracing::warn!(
                            reason,
                            "{program} chain {chain} may drop packets of {}",
                            self.bridge
                        );
                    }
                    None => {}
                }
            }
        }
    }

    /// Takes the exceptions away, wherever they are, of both families.
    pub(crate) fn withdraw(&self) {
        for program in [IPV4, IPV6] {
            for chain in [DOCKER_USER, "FORWARD"] {
                for direction in ["-i", "-o"] {
                    // A second try finds a second copy; more of them nobody makes.
                    for _ in 0..2 {
                        let deleted = self.rule(program, "-D", chain, direction);
                        if !deleted.is_some_and(|output| output.status.success()) {
                            break;
                        }
                    }
                }
            }
        }
    }

    fn programs(&self) -> impl Iterator<Item = &'static str> {
        let ipv4 = self.families.ipv4.then_some(IPV4);
        ipv4.into_iter().chain(self.families.ipv6.then_some(IPV6))
    }

    fn rule(&self, program: &str, action: &str, chain: &str, direction: &str) -> Option<Output> {
        run(program, &[action, chain, direction, self.bridge, "-j", "ACCEPT"])
    }
}

/// The chain that has to let our bridges through, when there is one. Looks, and creates nothing.
fn chain_in_the_way(program: &str) -> Option<&'static str> {
    let docker = run(program, &["-S", DOCKER_USER])?;
    if docker.status.success() {
        return Some(DOCKER_USER);
    }
    let forward = run(program, &["-S", "FORWARD"])?;
    let drops = String::from_utf8_lossy(&forward.stdout)
        .lines()
        .any(|line| line == "-P FORWARD DROP");
    drops.then_some("FORWARD")
}

/// Runs the program, waiting for its lock; `None` when it isn't there.
fn run(program: &str, arguments: &[&str]) -> Option<Output> {
    Command::new(program)
        .args(["-w", "5"])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .ok()
}
