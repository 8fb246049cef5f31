//! Network namespaces: made, kept by a bind mount, entered by a thread.
