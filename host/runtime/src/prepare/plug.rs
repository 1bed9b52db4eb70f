//! Components plugged together: one container made of several images.

use super::error::PrepareError;

/// Plugs the exports of `plugs` into the imports of `socket`.
pub(crate) fn plug(_socket: &[u8], _plugs: &[Vec<u8>]) -> Result<Vec<u8>, PrepareError> {
    Err(PrepareError::Plug { message: "this host is built without composition".to_owned() })
}
