//! Builds, with containers as the executor of RUN.
