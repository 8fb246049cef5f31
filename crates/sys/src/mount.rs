//! Mounts through the new mount API, with mount(2) where the kernel lacks it.
