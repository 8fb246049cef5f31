//! Running containers: OCI runtime spec, shim, standard streams, exec, cgroups.
