//! Opens files for a worker.

use std::sync::Arc;

use super::process::Process;
use crate::mounts::{Lent, Reply};
use crate::worker::link::{PACKET_BYTES_MAX, Packet, Packets, file_with};
use crate::worker::wire::FileCall;

/// What says that the answer is in the file.
const IN_FILE: u8 = b'F';

/// Carries out calls on files, one after the other, to the end of the worker.
pub(super) async fn serve(process: Arc<Process>, packets: Packets) {
    let mut buffer = vec![0; PACKET_BYTES_MAX];
    loop {
        let received = tokio::select! {
            () = process.link.ended() => return,
            received = packets.receive(&mut buffer) => received,
        };
        let length = received.map_or(0, |(length, _files)| length);
        let text = buffer.get(..length).unwrap_or_default();
        let Ok(call) = serde_json::from_slice::<FileCall>(text) else { break };
        let Some(lent) = process.lent(call.container) else { break };
        let answer = tokio::task::spawn_blocking(move || answer(&lent, &call)).await;
        let Ok(Ok(packet)) = answer else { break };
        if packets.send(&packet).await.is_err() {
            break;
        }
    }
    // A worker that cannot be answered waits for ever, and one that asks nonsense is no worker.
    process.link.end();
}

fn answer(lent: &Lent, call: &FileCall) -> std::io::Result<Packet> {
    let Reply { answer, file, bytes } = lent.answer(call.mount, &call.ask);
    let mut files = Vec::new();
    if let Some(file) = file {
        files.push(file.try_clone()?.into());
    }
    if let Some(bytes) = bytes {
        files.push(file_with(&bytes)?.into());
    }
    let bytes = serde_json::to_vec(&answer)?;
    if bytes.len() <= PACKET_BYTES_MAX {
        return Ok(Packet { bytes, files });
    }
    Ok(Packet { bytes: vec![IN_FILE], files: vec![file_with(&bytes)?.into()] })
}
