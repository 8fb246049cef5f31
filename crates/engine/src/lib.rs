//! The engine: containers, volumes, events, system; composition root and boot recovery.
