//! The Dockerfile language, for the builder and for the linter. Text in, values out, no I/O.
//!
//! ```text
//! parser        text → instructions with line spans
//! instructions  words → typed instructions
//! expand        variables and quotes in words
//! ```

pub mod expand;
pub mod instructions;
pub mod parser;

/// Build arguments that need no `ARG`, are given to `RUN`, and take no part in cache keys and history.
pub const PROXY_ARGS: [&str; 10] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "FTP_PROXY",
    "ftp_proxy",
    "NO_PROXY",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
];
