//! Reaching the API, caches, and driving a pure reconcile.
