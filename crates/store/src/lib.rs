//! Bytes and names at rest: content-addressed blobs, tags, uploads, leases, garbage collection.
