//! Processes: pidfd, signals, re-execution.
//!
//! What the shim of a container needs from the kernel and rustix does not offer safely. The functions that fork are
//! for single-threaded processes only, which the shim is.

#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// Continues in a child process that has its own session; the calling process ends with status 0. The child is
/// adopted by init, so that whoever spawned us has nothing to reap later.
///
/// Fails with `EBUSY` if the process has more than one thread.
pub fn detach() -> io::Result<()> {
    single_threaded()?;
    // SAFETY: no other thread exists (checked above), so the child finds every lock free; the parent leaves by
    // _exit, which runs no destructors twice.
    let pid = unsafe { libc::fork() };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            // SAFETY: setsid takes nothing and touches no memory. It cannot fail in a fresh child.
            unsafe { libc::setsid() };
            Ok(())
        }
        // SAFETY: _exit never returns.
        _ => unsafe { libc::_exit(0) },
    }
}

/// Makes the program that `command` starts the leader of a session of its own: the signals of a terminal (Ctrl-C) do not
/// come to it.
pub fn in_own_session(command: &mut std::process::Command) {
    use std::os::unix::process::CommandExt as _;
    // SAFETY: between fork and exec only setsid is called, which is async-signal-safe and allocates nothing.
    unsafe {
        command.pre_exec(|| match libc::setsid() {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        });
    }
}

fn single_threaded() -> io::Result<()> {
    let mut threads = 0;
    for entry in fs_err::read_dir("/proc/self/task")? {
        entry?;
        threads += 1;
    }
    if threads == 1 {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(libc::EBUSY))
    }
}

/// Lets `work` run in a child process, which then ends, and gives a descriptor that becomes readable when it has. The child has
/// no descriptors but the standard ones, so that whatever waits for an end of ours does not wait for the child's.
///
/// Fails with `EBUSY` if the process has more than one thread.
pub fn fork_work(work: impl FnOnce()) -> io::Result<OwnedFd> {
    single_threaded()?;
    // SAFETY: no other thread exists (checked above), so the child finds every lock free; it leaves by _exit, which runs
    // no destructors twice.
    let pid = unsafe { libc::fork() };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            close_from(3);
            reset_signals();
            work();
            // SAFETY: _exit never returns.
            unsafe { libc::_exit(0) }
        }
        pid => {
            let pid = rustix::process::Pid::from_raw(pid).ok_or(io::ErrorKind::NotFound)?;
            // Only we reap, so the number is the child's.
            Ok(rustix::process::pidfd_open(
                pid,
                rustix::process::PidfdFlags::empty(),
            )?)
        }
    }
}

/// Makes orphaned descendants our children, so that their deaths are told to us.
pub fn become_subreaper() -> io::Result<()> {
    rustix::process::set_child_subreaper(rustix::process::Pid::from_raw(1)).map_err(Into::into)
}

/// Blocks SIGCHLD and returns a descriptor (non-blocking, close-on-exec) that is readable when a child has changed
/// state.
pub fn child_signals() -> io::Result<OwnedFd> {
    // SAFETY: the set is initialised by sigemptyset before it is used; the descriptor returned is fresh and ours.
    unsafe {
        let mut set = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, libc::SIGCHLD);
        if libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()) != 0 {
            return Err(io::Error::last_os_error());
        }
        let fd = libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        if fd < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(OwnedFd::from_raw_fd(fd))
        }
    }
}

/// Gives every signal its default action and unblocks all: what a program expects at its start. (Rust ignores SIGPIPE,
/// and an ignored signal stays ignored across exec.)
pub fn reset_signals() {
    // SAFETY: sigaction and sigprocmask with valid, initialised arguments; signals that cannot be changed only make
    // the call fail.
    unsafe {
        let mut action = std::mem::zeroed::<libc::sigaction>();
        action.sa_sigaction = libc::SIG_DFL;
        for signal in 1..=64 {
            libc::sigaction(signal, &action, std::ptr::null_mut());
        }
        let mut set = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&mut set);
        libc::sigprocmask(libc::SIG_SETMASK, &set, std::ptr::null_mut());
    }
}

/// Replaces the program of this process; returns only on failure. `args` and `env` are passed as they are.
pub fn exec(program: &CStr, args: &[CString], env: &[CString]) -> io::Error {
    let pointers = |strings: &[CString]| {
        let mut pointers: Vec<*const libc::c_char> = strings.iter().map(|s| s.as_ptr()).collect();
        pointers.push(std::ptr::null());
        pointers
    };
    let (args, env) = (pointers(args), pointers(env));
    // SAFETY: both arrays end with null and point to NUL-terminated strings that outlive the call.
    unsafe { libc::execve(program.as_ptr(), args.as_ptr(), env.as_ptr()) };
    io::Error::last_os_error()
}

/// Closes every descriptor from `first` on.
pub fn close_from(first: RawFd) {
    // SAFETY: the caller is about to exec, exit or loop without using any of them; close_range touches no memory.
    unsafe { libc::syscall(libc::SYS_close_range, first as libc::c_uint, libc::c_uint::MAX, 0) };
}

/// The status a shell would report: the exit code, or 128 + the signal's number.
pub fn exit_code(wait_status: i32) -> i32 {
    if libc::WIFEXITED(wait_status) {
        libc::WEXITSTATUS(wait_status)
    } else if libc::WIFSIGNALED(wait_status) {
        128 + libc::WTERMSIG(wait_status)
    } else {
        255
    }
}

/// Reaps one child that has ended: its process id and [`exit_code`]. `None` when none has.
pub fn reap() -> Option<(i32, i32)> {
    let mut status = 0;
    // SAFETY: status is a valid place for the result.
    let pid = unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG) };
    (pid > 0).then(|| (pid, exit_code(status)))
}

/// Is process 1 of a container: runs `program` as a child in its own foreground process group, passes every signal
/// on to it, reaps whatever is orphaned, and ends as the child ended. `failed` is told why the program could not be
/// executed, in the child. Never returns. For single-threaded processes.
pub fn run_as_init(program: &CStr, args: &[CString], env: &[CString], failed: impl FnOnce(io::Error)) -> ! {
    // SAFETY: single-threaded by contract, so fork leaves no lock held in the child. All sets are initialised
    // before use; every other call takes integers.
    unsafe {
        let mut all = std::mem::zeroed::<libc::sigset_t>();
        libc::sigfillset(&mut all);
        for fault in [
            libc::SIGSEGV,
            libc::SIGBUS,
            libc::SIGFPE,
            libc::SIGILL,
            libc::SIGABRT,
            libc::SIGTRAP,
        ] {
            libc::sigdelset(&mut all, fault);
        }
        libc::sigprocmask(libc::SIG_SETMASK, &all, std::ptr::null_mut());
        let child = libc::fork();
        if child < 0 {
            failed(io::Error::last_os_error());
            libc::_exit(255);
        }
        if child == 0 {
            // The terminal's foreground group must be the program's; SIGTTOU is blocked here, so this cannot stop us.
            libc::setpgid(0, 0);
            libc::tcsetpgrp(0, libc::getpgrp());
            reset_signals();
            failed(exec(program, args, env));
            libc::_exit(255);
        }
        close_from(3);
        loop {
            let mut info = std::mem::zeroed::<libc::siginfo_t>();
            let signal = libc::sigwaitinfo(&all, &mut info);
            match signal {
                libc::SIGCHLD => loop {
                    let mut status = 0;
                    let pid = libc::waitpid(-1, &mut status, libc::WNOHANG);
                    if pid <= 0 {
                        break;
                    }
                    if pid == child {
                        // The kernel kills what is left in the pid namespace when we end.
                        libc::_exit(exit_code(status));
                    }
                },
                signal if signal > 0 => {
                    libc::kill(child, signal);
                }
                _ => {}
            }
        }
    }
}

/// Bounds how many heaps the allocator keeps for threads that allocate at the same time; to be called before there are
/// any threads. The C library's own bound is eight for each processor, and memory that is free in one heap serves no
/// other: after a burst of work of many threads, most of what they used stays with the process for ever.
pub fn limit_heaps(count: u16) {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt only sets a parameter of the allocator.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, libc::c_int::from(count));
    }
    #[cfg(not(target_env = "gnu"))]
    let _ = count;
}

/// Memory a process can do without while it rests: pages of program and libraries that are mapped but not modified
/// (they are faulted in again from the page cache when they are needed).
#[derive(Debug)]
pub struct IdleMemory {
    ranges: Vec<(usize, usize)>,
}

impl IdleMemory {
    /// Gives free heap back to the kernel, and finds what [`IdleMemory::release`] will give back: pages of the program
    /// and its libraries. For processes of one thread.
    pub fn find() -> Self {
        Self::among(None)
    }

    /// The same for a process of several threads, one of which may just be loading a library: pages of the program
    /// alone.
    pub fn of_program() -> Self {
        use std::os::unix::fs::MetadataExt;
        match fs_err::metadata("/proc/self/exe") {
            Ok(program) => Self::among(Some(program.ino())),
            Err(_) => IdleMemory { ranges: Vec::new() },
        }
    }

    fn among(inode: Option<u64>) -> Self {
        let ranges = fs_err::read_to_string("/proc/self/smaps")
            .map_or_else(|_| Vec::new(), |text| clean_mappings(&text, inode));
        #[cfg(target_env = "gnu")]
        // SAFETY: malloc_trim only returns free memory.
        unsafe {
            libc::malloc_trim(0);
        }
        IdleMemory { ranges }
    }

    /// To be called right before resting: every function called afterwards brings its pages back.
    pub fn release(self) {
        for (start, end) in &self.ranges {
            // SAFETY: private mappings of files without a modified page, as the kernel has reported them; a program
            // that only maps and unmaps through its allocator does not replace them. Dropping their pages loses
            // nothing.
            unsafe { libc::madvise(*start as *mut libc::c_void, end - start, libc::MADV_DONTNEED) };
        }
    }
}

/// Mappings of files without a page of their own; of the file `inode` only, when given.
fn clean_mappings(smaps: &str, inode: Option<u64>) -> Vec<(usize, usize)> {
    let mut clean = Vec::new();
    let mut candidate = None;
    for line in smaps.lines() {
        let mut fields = line.split_ascii_whitespace();
        let (Some(first), Some(second)) = (fields.next(), fields.next()) else {
            continue;
        };
        if first == "Anonymous:" {
            // Nothing in it was ever written, relocations included: it is the file's own contents.
            if second == "0" {
                clean.extend(candidate.take());
            }
        } else if let Some((start, end)) = first.split_once('-') {
            let hexadecimal = |text: &str| usize::from_str_radix(text, 16);
            // Offset, device, inode: only mappings of files.
            let file = fields.nth(2).and_then(|field| field.parse::<u64>().ok());
            let file = file.is_some_and(|file| file != 0 && inode.is_none_or(|inode| file == inode));
            candidate = match (hexadecimal(start), hexadecimal(end)) {
                (Ok(start), Ok(end)) if file && matches!(second, "r-xp" | "r--p") => Some((start, end)),
                _ => None,
            };
        }
    }
    clean
}

/// The number of a descriptor, for `/proc/self/fd` paths.
pub fn fd_path(fd: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// Sends any signal by its number, real-time ones included.
pub fn send_signal(pid: rustix::process::Pid, signal: i32) -> io::Result<()> {
    // SAFETY: kill takes integers; a positive process id names one process.
    if unsafe { libc::kill(pid.as_raw_nonzero().get(), signal) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Restricts this process and what it becomes to the system calls a seccomp filter allows. `program` is an array of
/// `struct sock_filter`, `flags` as for seccomp(2). Needs CAP_SYS_ADMIN or no-new-privileges; takes effect at once and
/// for ever.
pub fn load_seccomp_filter(program: &[u8], flags: u32) -> io::Result<()> {
    let instructions: Vec<libc::sock_filter> = program
        .chunks_exact(8)
        .map(|bytes| libc::sock_filter {
            code: u16::from_ne_bytes([bytes[0], bytes[1]]),
            jt: bytes[2],
            jf: bytes[3],
            k: u32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
        })
        .collect();
    let length = u16::try_from(instructions.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let program = libc::sock_fprog {
        len: length,
        filter: instructions.as_ptr().cast_mut(),
    };
    // SAFETY: the structure points to as many instructions as it says, which the kernel only reads, and checks.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &program) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_mappings_that_are_the_file_itself_can_be_dropped() {
        let smaps = "\
            00400000-00500000 r-xp 00000000 08:01 17 /bin/program\nRss: 4 kB\nAnonymous: 0 kB\n\
            00500000-00600000 r--p 00100000 08:01 17 /bin/program\nAnonymous: 4 kB\n\
            00600000-00700000 rw-p 00200000 08:01 17 /bin/program\nAnonymous: 0 kB\n\
            7f0000000000-7f0000001000 r--p 00000000 08:01 18 /lib/library.so\nAnonymous: 0 kB\n\
            7f0000002000-7f0000003000 r-xp 00000000 00:00 0 [vdso]\nAnonymous: 0 kB\n\
            7f0000004000-7f0000005000 r--s 00000000 08:01 17 /bin/program\nAnonymous: 0 kB\n";
        let program = (0x40_0000, 0x50_0000);
        assert_eq!(
            clean_mappings(smaps, None),
            [program, (0x7f00_0000_0000, 0x7f00_0000_1000)]
        );
        assert_eq!(clean_mappings(smaps, Some(17)), [program]);
        assert_eq!(clean_mappings(smaps, Some(19)), []);
    }

    #[test]
    fn a_process_goes_on_after_its_idle_memory_was_released() {
        let threads: Vec<_> = (0..4)
            .map(|_| std::thread::spawn(|| (0..50_u32).map(|n| format!("{n}").len()).sum::<usize>()))
            .collect();
        IdleMemory::of_program().release();
        for thread in threads {
            assert_eq!(thread.join().unwrap(), 90);
        }
    }
}
