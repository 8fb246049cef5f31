//! The Docker Engine HTTP API over the engine.
