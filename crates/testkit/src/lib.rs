//! Dev-only: images made on the spot, hermetic homes, bounded waiting, real-peer probes.
