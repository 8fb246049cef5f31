//! The image service as the engine offers it: events, and protection of images that containers use.
