//! YAML as GitLab reads it: Ruby's Psych, which is YAML 1.1 with habits of its own.
//!
//! The events come from a YAML 1.2 parser; what a plain scalar *means* is decided here ([`scalar`]), because `yes`, `010`
//! and `1:30` differ between the two versions. The result is a tree in which every node knows its file, line and column,
//! aliases are shared rather than copied, and every node knows how large it would be if written out ([`Node::weight`]).
//!
//! Input is untrusted: text, depth and expanded size are bounded, and a file that passes the bounds can be walked without
//! fear of a bomb.

mod node;
mod parse;
mod scalar;

pub(crate) use node::{Entry, Mapping, Node, Scalar, Value};
pub(crate) use parse::{YamlError, parse};
pub(crate) use scalar::{Resolved, resolve};
