//! Cases to processes of the suite: several at a time, serial cases alone and at the end.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use anyhow::Result;

use crate::case::Case;
use crate::report::Outcome;
use crate::suite::{Call, Suite};

/// Cases of one process of the suite: its start takes some seconds, and what a case leaves undone when the
/// process ends too early is lost with the rest of the batch.
const BATCH_CASES_MAX: usize = 6;

/// What all batches of a run share.
#[derive(Debug)]
pub(crate) struct Run {
    /// The program.
    pub(crate) suite: Suite,
    /// How the cluster is reached.
    pub(crate) kubeconfig: PathBuf,
    /// Where logs and reports go.
    pub(crate) logs: PathBuf,
    /// Seconds of a batch for each of its cases.
    pub(crate) patience: u64,
}

impl Run {
    /// Runs all cases and tells each outcome as soon as its batch has ended.
    pub(crate) fn all(
        &self,
        cases: &[Case],
        jobs: usize,
        mut tell: impl FnMut(Outcome),
    ) -> Result<()> {
        let (alone, together): (Vec<Case>, Vec<Case>) =
            cases.iter().cloned().partition(Case::serial);
        let number = AtomicUsize::new(0);
        self.some(&batches(&together), jobs, &number, &mut tell)?;
        self.some(&batches(&alone), 1, &number, &mut tell)
    }

    fn some(
        &self,
        batches: &[Vec<Case>],
        jobs: usize,
        number: &AtomicUsize,
        tell: &mut impl FnMut(Outcome),
    ) -> Result<()> {
        let queue = Mutex::new(batches.iter());
        let (sender, outcomes) = mpsc::channel();
        thread::scope(|scope| {
            for _ in 0..jobs {
                let (queue, sender) = (&queue, sender.clone());
                scope.spawn(move || {
                    let next = || queue.lock().ok().and_then(|mut queue| queue.next());
                    while let Some(batch) = next() {
                        let number = number.fetch_add(1, Ordering::Relaxed);
                        if sender.send(self.batch(batch, number)).is_err() {
                            return;
                        }
                    }
                });
            }
            drop(sender);
            for batch in outcomes {
                batch?.into_iter().for_each(&mut *tell);
            }
            Ok(())
        })
    }

    fn batch(&self, cases: &[Case], number: usize) -> Result<Vec<Outcome>> {
        self.suite.run(&Call {
            kubeconfig: &self.kubeconfig,
            cases,
            stem: &self.logs.join(format!("batch-{number:03}")),
            seconds: self.patience * cases.len() as u64,
        })
    }
}

fn batches(cases: &[Case]) -> Vec<Vec<Case>> {
    cases.chunks(BATCH_CASES_MAX).map(<[Case]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_bounded() {
        let case = Case::of("a".to_owned());
        let sizes: Vec<usize> =
            batches(&vec![case; BATCH_CASES_MAX + 1]).iter().map(Vec::len).collect();
        assert_eq!(sizes, [BATCH_CASES_MAX, 1]);
    }
}
