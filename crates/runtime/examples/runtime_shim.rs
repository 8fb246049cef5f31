//! Plays the `havre` binary in its shim role for the tests of this crate, which find it beside themselves.

fn main() {
    havre_runtime::shim::main(std::env::args_os().skip(1))
}
