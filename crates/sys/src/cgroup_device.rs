//! Device access on cgroup v2: an eBPF program per cgroup.
//!
//! Cgroup v1 has the files `devices.allow` and `devices.deny`; version 2 asks a program of type
//! `BPF_PROG_TYPE_CGROUP_DEVICE`, which sees device type, numbers and the access wanted and answers yes or no. The
//! program made here goes through the rules from the last to the first; the first that matches decides, and nothing
//! matching means no.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

/// What kind of device a rule is about; values as the kernel passes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceKind {
    All,
    Block,
    Char,
}

/// One line of a device cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceRule {
    pub allow: bool,
    pub kind: DeviceKind,
    /// `None` is any.
    pub major: Option<u32>,
    pub minor: Option<u32>,
    pub read: bool,
    pub write: bool,
    pub mknod: bool,
}

/// More rules than any container has; keeps the program below the verifier's limit for old kernels.
const MAX_RULES: usize = 400;

const PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_CGROUP_DEVICE: u32 = 6;
const CMD_PROG_LOAD: i32 = 5;
const CMD_PROG_ATTACH: i32 = 8;

/// `struct bpf_insn`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Instruction {
    code: u8,
    /// Destination register in the low, source in the high half.
    registers: u8,
    offset: i16,
    immediate: i32,
}

const fn instruction(code: u8, destination: u8, source: u8, offset: i16, immediate: i32) -> Instruction {
    Instruction {
        code,
        registers: source << 4 | destination,
        offset,
        immediate,
    }
}

const LOAD_WORD: u8 = 0x61;
const AND_IMMEDIATE: u8 = 0x54;
const SHIFT_RIGHT_IMMEDIATE: u8 = 0x74;
const MOVE_REGISTER: u8 = 0xbc;
const MOVE_IMMEDIATE: u8 = 0xb4;
const JUMP_NOT_EQUAL_IMMEDIATE: u8 = 0x55;
const JUMP_NOT_EQUAL_REGISTER: u8 = 0x5d;
const EXIT: u8 = 0x95;

fn program(rules: &[DeviceRule]) -> Vec<Instruction> {
    // r1 = context; r2 = device type, r3 = access wanted, r4 = major, r5 = minor.
    let mut program = vec![
        instruction(LOAD_WORD, 2, 1, 0, 0),
        instruction(AND_IMMEDIATE, 2, 0, 0, 0xffff),
        instruction(LOAD_WORD, 3, 1, 0, 0),
        instruction(SHIFT_RIGHT_IMMEDIATE, 3, 0, 0, 16),
        instruction(LOAD_WORD, 4, 1, 4, 0),
        instruction(LOAD_WORD, 5, 1, 8, 0),
    ];
    for rule in rules.iter().rev() {
        let start = program.len();
        let mut jumps = Vec::new();
        if rule.kind != DeviceKind::All {
            jumps.push(program.len());
            let kind = if rule.kind == DeviceKind::Block { 1 } else { 2 };
            program.push(instruction(JUMP_NOT_EQUAL_IMMEDIATE, 2, 0, 0, kind));
        }
        let access = i32::from(rule.mknod) | i32::from(rule.read) << 1 | i32::from(rule.write) << 2;
        if access != 0b111 {
            program.push(instruction(MOVE_REGISTER, 1, 3, 0, 0));
            program.push(instruction(AND_IMMEDIATE, 1, 0, 0, access));
            jumps.push(program.len());
            program.push(instruction(JUMP_NOT_EQUAL_REGISTER, 1, 3, 0, 0));
        }
        for (register, number) in [(4, rule.major), (5, rule.minor)] {
            if let Some(number) = number {
                jumps.push(program.len());
                program.push(instruction(
                    JUMP_NOT_EQUAL_IMMEDIATE,
                    register,
                    0,
                    0,
                    number as i32,
                ));
            }
        }
        program.push(instruction(MOVE_IMMEDIATE, 0, 0, 0, i32::from(rule.allow)));
        program.push(instruction(EXIT, 0, 0, 0, 0));
        let end = program.len();
        for jump in &jumps {
            program[*jump].offset = (end - jump - 1) as i16;
        }
        if jumps.is_empty() && start > 0 {
            // Matches everything: what would follow is never reached, and the verifier refuses dead code.
            return program;
        }
    }
    program.push(instruction(MOVE_IMMEDIATE, 0, 0, 0, 0));
    program.push(instruction(EXIT, 0, 0, 0, 0));
    program
}

/// Restricts the processes of the cgroup whose directory is open as `cgroup` to the devices of `rules`. Stays until
/// the cgroup is removed.
pub fn restrict(cgroup: impl AsFd, rules: &[DeviceRule]) -> io::Result<()> {
    if rules.len() > MAX_RULES {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "too many device rules",
        ));
    }
    let program = load(&program(rules))?;
    #[repr(C)]
    struct Attach {
        target: u32,
        program: u32,
        kind: u32,
        flags: u32,
        replace: u32,
    }
    let attach = Attach {
        target: cgroup.as_fd().as_raw_fd() as u32,
        program: program.as_raw_fd() as u32,
        kind: ATTACH_CGROUP_DEVICE,
        // BPF_F_ALLOW_MULTI: cgroups beneath may restrict further, as systemd and nested engines do.
        flags: 2,
        replace: 0,
    };
    // SAFETY: the kernel reads size_of::<Attach>() bytes of a fully initialised structure without padding.
    let result = unsafe { libc::syscall(libc::SYS_bpf, CMD_PROG_ATTACH, &attach, size_of::<Attach>()) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

fn load(program: &[Instruction]) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Load {
        kind: u32,
        instruction_count: u32,
        instructions: u64,
        license: u64,
        log_level: u32,
        log_size: u32,
        log_buffer: u64,
    }
    let load = Load {
        kind: PROG_TYPE_CGROUP_DEVICE,
        instruction_count: program.len() as u32,
        instructions: program.as_ptr() as u64,
        license: c"Apache".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log_buffer: 0,
    };
    // SAFETY: the structure is fully initialised and without padding; its pointers and counts describe memory that
    // lives until the call returns.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, CMD_PROG_LOAD, &load, size_of::<Load>()) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a fresh descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(
        allow: bool,
        kind: DeviceKind,
        major: Option<u32>,
        minor: Option<u32>,
        access: &str,
    ) -> DeviceRule {
        DeviceRule {
            allow,
            kind,
            major,
            minor,
            read: access.contains('r'),
            write: access.contains('w'),
            mknod: access.contains('m'),
        }
    }

    /// Executes the few instructions the generator uses.
    fn run(program: &[Instruction], kind: i32, access: i32, major: i32, minor: i32) -> i32 {
        let context = [access << 16 | kind, major, minor];
        let mut registers = [0i32; 6];
        let mut at = 0;
        loop {
            let Instruction {
                code,
                registers: r,
                offset,
                immediate,
            } = program[at];
            let (to, from) = ((r & 15) as usize, (r >> 4) as usize);
            at += 1;
            match code {
                LOAD_WORD => registers[to] = context[offset as usize / 4],
                AND_IMMEDIATE => registers[to] &= immediate,
                SHIFT_RIGHT_IMMEDIATE => registers[to] = ((registers[to] as u32) >> immediate) as i32,
                MOVE_REGISTER => registers[to] = registers[from],
                MOVE_IMMEDIATE => registers[to] = immediate,
                JUMP_NOT_EQUAL_IMMEDIATE if registers[to] != immediate => at += offset as usize,
                JUMP_NOT_EQUAL_REGISTER if registers[to] != registers[from] => at += offset as usize,
                JUMP_NOT_EQUAL_IMMEDIATE | JUMP_NOT_EQUAL_REGISTER => {}
                EXIT => return registers[0],
                code => panic!("unknown instruction {code:#x}"),
            }
        }
    }

    #[test]
    fn last_matching_rule_decides() {
        const MKNOD: i32 = 1;
        const READ: i32 = 2;
        let program = program(&[
            rule(false, DeviceKind::All, None, None, "rwm"),
            rule(true, DeviceKind::Char, None, None, "m"),
            rule(true, DeviceKind::Char, Some(1), Some(3), "rwm"),
            rule(true, DeviceKind::Block, Some(8), None, "r"),
        ]);
        assert_eq!(run(&program, 2, READ, 1, 3), 1);
        assert_eq!(run(&program, 2, READ, 1, 4), 0);
        assert_eq!(run(&program, 2, MKNOD, 7, 7), 1);
        assert_eq!(run(&program, 2, MKNOD | READ, 7, 7), 0);
        assert_eq!(run(&program, 1, READ, 8, 99), 1);
        assert_eq!(run(&program, 1, READ | 4, 8, 99), 0);
    }

    #[test]
    fn kernel_accepts_the_program() {
        // Needs root and eBPF; the verifier is the oracle.
        let rules: Vec<_> = (0..30)
            .map(|n| rule(true, DeviceKind::Char, Some(n), (n % 2 == 0).then_some(n), "rw"))
            .chain([rule(false, DeviceKind::All, None, None, "rwm")])
            .chain([rule(true, DeviceKind::Char, Some(1), Some(3), "rwm")])
            .collect();
        load(&program(&rules)).unwrap();
        load(&program(&[])).unwrap();
        load(&program(&[rule(true, DeviceKind::All, None, None, "rwm")])).unwrap();
    }
}
