//! The running binary as a sealed memory file (CVE-2019-5736).
