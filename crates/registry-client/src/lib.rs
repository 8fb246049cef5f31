//! Client of the OCI distribution API: resolve, authenticate, fetch, push.
