//! Which node for this pod, and why not the others.
