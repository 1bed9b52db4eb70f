//! Services to routes, routes to backends.
