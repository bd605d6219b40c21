//! Processes in root file systems with no privilege: namespaces, id maps, mounts, init, the keeper.
