//! A full disk: writes say so, reads go on, and writes come back with the room.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use coracle_store::backend::{Journal, Sequencer};
use coracle_store::{Batch, Mvcc, Revision, Store};
use expect_test::expect;

use crate::harness::Session;

/// A journal in memory on a disk that is full when told so.
struct Disk {
    full: Arc<AtomicBool>,
    durable: Revision,
}

impl Journal for Disk {
    fn append(&mut self, batch: &Batch) -> io::Result<()> {
        if self.full.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if let Some(last) = batch.commits().last() {
            self.durable = last.revision;
        }
        Ok(())
    }

    fn recover(&mut self) -> io::Result<Revision> {
        Ok(self.durable)
    }
}

#[tokio::test]
async fn a_full_disk_refuses_writes_and_serves_reads() {
    let full = Arc::new(AtomicBool::new(false));
    let mvcc = Mvcc::default();
    let disk = Disk { full: Arc::clone(&full), durable: mvcc.revision() };
    let session = Session::over(Store::over(Sequencer::start(mvcc, disk))).await;
    let create = "POST /api/v1/namespaces/default/configmaps | /metadata/name\n{\"metadata\":{\"name\":\"NAME\"}}";
    let mut out = session.run(&create.replace("NAME", "before")).await;
    full.store(true, Ordering::SeqCst);
    out.push_str(&session.run(&create.replace("NAME", "refused")).await);
    let read = "GET /api/v1/namespaces/default/configmaps | /items/0/metadata/name /items/1";
    out.push_str(&session.run(read).await);
    full.store(false, Ordering::SeqCst);
    out.push_str(&session.run(&create.replace("NAME", "after")).await);
    expect![[r#"
        201
          /metadata/name "before"
        500 InternalError: Internal error occurred: nothing was written, because the server's disk is full; free some space where its data directory is
          {"causes":[{"message":"nothing was written, because the server's disk is full; free some space where its data directory is"}]}
        200
          /items/0/metadata/name "before"
          /items/1 -
        201
          /metadata/name "after"
    "#]]
    .assert_eq(&out);
}
