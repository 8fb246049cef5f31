//! Everything persistent: content store, snapshotters, metadata, leases, garbage collection.
