//! Seccomp profiles compiled into the kernel's form.
//!
//! libcontainer could do it, in each container anew, which takes longer than everything else a container's start
//! takes; and it swaps mask and value of masked comparisons, so that `clone` with namespace flags would be allowed.
//! Here a profile is compiled once per daemon, and the program is handed to the shim as a file.

use std::collections::{HashMap, HashSet};
use std::io::{self, Read, Seek};
use std::sync::{Arc, Mutex, PoisonError};

use libseccomp::error::SeccompError;
use libseccomp::{ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall};

use super::SpecError;
use super::seccomp::{Argument, OciSeccomp};

/// Programs kept; there is one for each set of capabilities in use.
const MAX_CACHED: usize = 64;
/// `EPERM`, what a denied call fails with unless the profile says otherwise.
const DENIED: i32 = 1;

/// A seccomp filter: `struct sock_filter`s and the flags of seccomp(2).
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    pub(crate) program: Arc<[u8]>,
    pub(crate) flags: u32,
}

/// Compiled profiles by their JSON.
#[derive(Debug, Default)]
pub(crate) struct Filters {
    compiled: Mutex<HashMap<Vec<u8>, Filter>>,
}

impl Filters {
    pub(crate) fn get(&self, profile: &OciSeccomp) -> Result<Filter, SpecError> {
        let key = serde_json::to_vec(profile).map_err(|error| SpecError::SeccompProfile {
            detail: error.to_string(),
        })?;
        if let Some(filter) = self
            .compiled
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&key)
        {
            return Ok(filter.clone());
        }
        let filter = compile(profile)?;
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        if compiled.len() >= MAX_CACHED {
            compiled.clear();
        }
        compiled.insert(key, filter.clone());
        Ok(filter)
    }
}

fn invalid(detail: String) -> SpecError {
    SpecError::SeccompProfile { detail }
}

fn failed(what: &str) -> impl FnOnce(SeccompError) -> SpecError + '_ {
    move |error| invalid(format!("{what}: {error}"))
}

pub(super) fn compile(profile: &OciSeccomp) -> Result<Filter, SpecError> {
    let default = action(&profile.default_action, profile.default_errno_ret)?;
    let mut context = ScmpFilterContext::new(default).map_err(failed("make a filter"))?;
    for name in &profile.architectures {
        let architecture = match name.as_str() {
            "SCMP_ARCH_NATIVE" => ScmpArch::Native,
            "SCMP_ARCH_X86" => ScmpArch::X86,
            "SCMP_ARCH_X86_64" => ScmpArch::X8664,
            "SCMP_ARCH_X32" => ScmpArch::X32,
            "SCMP_ARCH_ARM" => ScmpArch::Arm,
            "SCMP_ARCH_AARCH64" => ScmpArch::Aarch64,
            "SCMP_ARCH_PPC64LE" => ScmpArch::Ppc64Le,
            "SCMP_ARCH_S390" => ScmpArch::S390,
            "SCMP_ARCH_S390X" => ScmpArch::S390X,
            "SCMP_ARCH_RISCV64" => ScmpArch::Riscv64,
            "SCMP_ARCH_LOONGARCH64" => ScmpArch::Loongarch64,
            other => return Err(invalid(format!("unknown architecture {other:?}"))),
        };
        context
            .add_arch(architecture)
            .map_err(failed("add an architecture"))?;
    }
    for rule in &profile.syscalls {
        let action = action(&rule.action, rule.errno_ret)?;
        // A rule that says what happens anyway; the library takes it for a mistake.
        if action == default {
            continue;
        }
        let comparisons = rule.args.iter().map(comparison).collect::<Result<Vec<_>, _>>()?;
        let mut indices = HashSet::new();
        let repeated = !rule.args.iter().all(|argument| indices.insert(argument.index));
        for name in &rule.names {
            // Calls this machine does not have need no rule.
            let Ok(call) = ScmpSyscall::from_name(name) else {
                continue;
            };
            if comparisons.is_empty() {
                context.add_rule(action, call)
            } else if repeated {
                // Several conditions on one argument are alternatives, as in runc.
                comparisons
                    .iter()
                    .try_for_each(|comparison| {
                        context
                            .add_rule_conditional(action, call, std::slice::from_ref(comparison))
                            .map(|_| ())
                    })
                    .map(|()| &mut context)
            } else {
                context.add_rule_conditional(action, call, &comparisons)
            }
            .map_err(failed(&format!("add a rule for {name}")))?;
        }
    }
    let program = export(&context)?;
    Ok(Filter {
        program: program.into(),
        flags: flags(&profile.flags)?,
    })
}

fn export(context: &ScmpFilterContext) -> Result<Vec<u8>, SpecError> {
    let unusable = |error: io::Error| invalid(format!("compile the filter: {error}"));
    let file = rustix::fs::memfd_create("filter", rustix::fs::MemfdFlags::CLOEXEC)
        .map_err(|error| unusable(error.into()))?;
    context.export_bpf(&file).map_err(failed("compile the filter"))?;
    let mut file = std::fs::File::from(file);
    let mut program = Vec::new();
    file.rewind()
        .and_then(|()| file.read_to_end(&mut program))
        .map_err(unusable)?;
    Ok(program)
}

fn action(name: &str, errno: Option<u32>) -> Result<ScmpAction, SpecError> {
    let errno = errno
        .and_then(|errno| i32::try_from(errno).ok())
        .unwrap_or(DENIED);
    Ok(match name {
        "SCMP_ACT_ALLOW" => ScmpAction::Allow,
        "SCMP_ACT_ERRNO" => ScmpAction::Errno(errno),
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => ScmpAction::KillThread,
        "SCMP_ACT_KILL_PROCESS" => ScmpAction::KillProcess,
        "SCMP_ACT_TRAP" => ScmpAction::Trap,
        "SCMP_ACT_LOG" => ScmpAction::Log,
        "SCMP_ACT_TRACE" => ScmpAction::Trace(u16::try_from(errno).unwrap_or_default()),
        "SCMP_ACT_NOTIFY" => return Err(invalid("SCMP_ACT_NOTIFY is not supported".into())),
        other => return Err(invalid(format!("unknown action {other:?}"))),
    })
}

fn comparison(argument: &Argument) -> Result<ScmpArgCompare, SpecError> {
    if argument.index > 5 {
        return Err(invalid(format!(
            "system calls have no argument {}",
            argument.index
        )));
    }
    let (operator, datum) = match argument.op.as_str() {
        "SCMP_CMP_NE" => (ScmpCompareOp::NotEqual, argument.value),
        "SCMP_CMP_LT" => (ScmpCompareOp::Less, argument.value),
        "SCMP_CMP_LE" => (ScmpCompareOp::LessOrEqual, argument.value),
        "SCMP_CMP_EQ" => (ScmpCompareOp::Equal, argument.value),
        "SCMP_CMP_GE" => (ScmpCompareOp::GreaterEqual, argument.value),
        "SCMP_CMP_GT" => (ScmpCompareOp::Greater, argument.value),
        // `argument & value == valueTwo`.
        "SCMP_CMP_MASKED_EQ" => (ScmpCompareOp::MaskedEqual(argument.value), argument.value_two),
        other => return Err(invalid(format!("unknown comparison {other:?}"))),
    };
    Ok(ScmpArgCompare::new(argument.index, operator, datum))
}

fn flags(names: &[String]) -> Result<u32, SpecError> {
    names.iter().try_fold(0, |flags, name| match name.as_str() {
        // One thread is all there is.
        "SECCOMP_FILTER_FLAG_TSYNC" => Ok(flags),
        "SECCOMP_FILTER_FLAG_LOG" => Ok(flags | 2),
        "SECCOMP_FILTER_FLAG_SPEC_ALLOW" => Ok(flags | 4),
        other => Err(invalid(format!("unknown flag {other:?}"))),
    })
}

#[cfg(test)]
mod tests {
    use super::super::seccomp::default_profile;
    use super::*;

    const ALLOW: u32 = 0x7fff_0000;
    const ERRNO: u32 = 0x0005_0000;

    /// Executes a filter for one system call on x86-64.
    fn run(program: &[u8], call: &str, arguments: &[u64]) -> u32 {
        let number = ScmpSyscall::from_name_by_arch(call, ScmpArch::X8664).unwrap();
        let mut data = vec![i32::from(number) as u32, 0xc000_003e, 0, 0];
        for index in 0..6 {
            let argument = arguments.get(index).copied().unwrap_or(0);
            data.extend([argument as u32, (argument >> 32) as u32]);
        }
        let (mut accumulator, mut at) = (0u32, 0);
        loop {
            let bytes = &program[at * 8..at * 8 + 8];
            let code = u16::from_ne_bytes([bytes[0], bytes[1]]);
            let constant = u32::from_ne_bytes(bytes[4..].try_into().unwrap());
            let (yes, no) = (usize::from(bytes[2]), usize::from(bytes[3]));
            at += 1;
            match code {
                0x20 => accumulator = data[constant as usize / 4],
                0x54 => accumulator &= constant,
                0x05 => at += constant as usize,
                0x15 => at += if accumulator == constant { yes } else { no },
                0x25 => at += if accumulator > constant { yes } else { no },
                0x35 => at += if accumulator >= constant { yes } else { no },
                0x45 => at += if accumulator & constant != 0 { yes } else { no },
                0x06 => return constant,
                code => panic!("unknown instruction {code:#x}"),
            }
        }
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn default_profile_decides_as_docker() {
        let plain = compile(&default_profile(&[]).unwrap()).unwrap();
        let decide = |call, arguments: &[u64]| run(&plain.program, call, arguments);
        assert_eq!(decide("read", &[]), ALLOW);
        assert_eq!(decide("mount", &[]), ERRNO | 1);
        assert_eq!(decide("clone3", &[]), ERRNO | 38);
        assert_eq!(decide("clone", &[0x11]), ALLOW, "a plain fork");
        assert_eq!(decide("clone", &[0x1000_0011]), ERRNO | 1, "a new user namespace");
        assert_eq!(
            decide("clone", &[0x0002_0011]),
            ERRNO | 1,
            "a new mount namespace"
        );
        assert_eq!(decide("unshare", &[0x1000_0000]), ERRNO | 1);
        assert_eq!(decide("personality", &[8]), ALLOW);
        assert_eq!(decide("personality", &[0x40000]), ERRNO | 1);
        assert_eq!(decide("socket", &[2]), ALLOW);
        assert_eq!(decide("socket", &[38]), ERRNO | 1, "AF_ALG");
        assert_eq!(decide("socket", &[40]), ERRNO | 1, "AF_VSOCK");
        let admin = compile(&default_profile(&["CAP_SYS_ADMIN".into()]).unwrap()).unwrap();
        assert_eq!(run(&admin.program, "mount", &[]), ALLOW);
        assert_eq!(run(&admin.program, "clone", &[0x1000_0011]), ALLOW);
    }

    #[test]
    fn compiled_once() {
        let filters = Filters::default();
        let profile = default_profile(&[]).unwrap();
        let first = filters.get(&profile).unwrap();
        assert!(Arc::ptr_eq(
            &first.program,
            &filters.get(&profile).unwrap().program
        ));
    }
}
