//! What goes wrong from outside: daemons and shims that are killed, clocks that jump, full disks, crowds, bombs, clients that
//! leave, dawdle or talk nonsense. Needs root, and an engine of its own for each test; nothing of it
//! is for somebody's dockerd.

mod clients;
mod clock;
mod crowd;
mod deaths;
mod disk;
mod images;
mod lines;
mod programs;
mod requests;
mod room;
mod traces;
