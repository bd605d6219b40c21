//! From an image to a running process: resolve, pull, unpack, pod, lifecycle, logs, exec.
