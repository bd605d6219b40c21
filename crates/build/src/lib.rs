//! Dockerfile to image: parse, plan, solve, export.
