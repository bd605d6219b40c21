//! A peer that is not ours: skopeo, both ways.
