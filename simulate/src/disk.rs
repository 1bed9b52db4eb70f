//! A disk in memory: what was synced survives a crash, of the rest some sectors may.
//!
//! It is the file under a redb database. It fails when it is told to: full, broken, or gone with its process after so
//! many operations. After a crash the operations of the dead process have no effect any more.

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use rand::Rng;
use rand::rngs::StdRng;
use redb::StorageBackend;

/// What a disk writes at once or not at all.
const SECTOR_BYTES: usize = 512;

/// A change that was not synced yet.
#[derive(Debug)]
enum Change {
    Length(usize),
    Write { offset: usize, data: Vec<u8> },
}

/// What happens to operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// They succeed.
    Good,
    /// Nothing can be written that makes the file longer, and nothing synced.
    Full,
    /// Every write and sync fails.
    Broken,
    /// One write or sync fails after so many that succeed; a sync that fails has done its work all the same.
    Hiccup(u64),
    /// The same, and from then on the disk is broken: whether the last sync has done its work is not known for a while.
    Collapse(u64),
}

#[derive(Debug)]
struct State {
    /// What is there after a crash, whatever happens.
    durable: Vec<u8>,
    /// What the process sees.
    seen: Vec<u8>,
    pending: Vec<Change>,
    health: Health,
    /// The process that may use the disk; handles of others fail.
    owner: u64,
    /// The owner dies with this many further writes and syncs.
    dies_after: Option<u64>,
    /// The operation that fails now does its work first, if it is a sync.
    fails_late: bool,
    /// It says that it has synced and has not.
    lies: bool,
}

/// The disk of a server; clones are the same disk.
#[derive(Debug, Clone)]
pub struct Disk(Arc<Mutex<State>>);

impl Default for Disk {
    fn default() -> Disk {
        Disk(Arc::new(Mutex::new(State {
            durable: Vec::new(),
            seen: Vec::new(),
            pending: Vec::new(),
            health: Health::Good,
            owner: 0,
            dies_after: None,
            fails_late: false,
            lies: false,
        })))
    }
}

impl Disk {
    /// Gives the disk to a new process.
    pub fn attach(&self) -> Handle {
        Handle { disk: self.clone(), process: self.0.lock().owner }
    }

    /// Sets how operations fare from now on.
    pub fn set_health(&self, health: Health) {
        self.0.lock().health = health;
    }

    /// Lets syncs do nothing, for tests of the oracle.
    pub fn lie(&self) {
        self.0.lock().lies = true;
    }

    /// Lets the owner die with so many further writes and syncs, in the middle of whatever it does.
    pub fn die_after(&self, operations: u64) {
        self.0.lock().dies_after = Some(operations);
    }

    /// Takes [`Disk::die_after`] back, unless the owner is dead already.
    pub fn live_on(&self) {
        let mut state = self.0.lock();
        state.dies_after = state.dies_after.filter(|left| *left == 0);
    }

    /// Says whether nothing goes wrong with it.
    pub fn is_well(&self) -> bool {
        let state = self.0.lock();
        state.health == Health::Good && state.dies_after != Some(0)
    }

    /// Says whether the owner died by [`Disk::die_after`].
    pub fn is_dead(&self) -> bool {
        self.0.lock().dies_after == Some(0)
    }

    /// Ends the process: what was not synced is written in part, as the dice say, and its handles are dead.
    pub fn crash(&self, dice: &mut StdRng) {
        let mut state = self.0.lock();
        let mut file = std::mem::take(&mut state.durable);
        for change in std::mem::take(&mut state.pending) {
            match change {
                Change::Length(length) => {
                    if dice.random() {
                        file.resize(length, 0);
                    }
                }
                Change::Write { offset, data } => tear(&mut file, offset, &data, dice),
            }
        }
        state.seen = file.clone();
        state.durable = file;
        state.owner += 1;
        state.dies_after = None;
    }
}

/// Writes some of the sectors of an unsynced write.
fn tear(file: &mut [u8], offset: usize, data: &[u8], dice: &mut StdRng) {
    let share = [0.0, 0.5, 1.0][dice.random_range(0..3)];
    for (index, sector) in data.chunks(SECTOR_BYTES).enumerate() {
        let at = offset + index * SECTOR_BYTES;
        let Some(place) = file.get_mut(at..at + sector.len()) else { continue };
        if dice.random_bool(share) {
            place.copy_from_slice(sector);
        }
    }
}

/// The disk as one process has it.
#[derive(Debug)]
pub struct Handle {
    disk: Disk,
    process: u64,
}

impl Handle {
    /// Another handle of the same process.
    pub fn again(&self) -> Handle {
        Handle { disk: self.disk.clone(), process: self.process }
    }

    fn state(&self) -> io::Result<parking_lot::MutexGuard<'_, State>> {
        let state = self.disk.0.lock();
        if state.owner != self.process || state.dies_after == Some(0) {
            return Err(io::Error::other("the process is dead"));
        }
        Ok(state)
    }

    fn changing(&self, longer: bool) -> io::Result<parking_lot::MutexGuard<'_, State>> {
        let mut state = self.state()?;
        if let Some(left) = &mut state.dies_after {
            *left -= 1;
            if *left == 0 {
                return Err(io::Error::other("the process dies here"));
            }
        }
        match state.health {
            Health::Good => Ok(state),
            Health::Full if !longer => Ok(state),
            Health::Full => Err(io::ErrorKind::StorageFull.into()),
            Health::Hiccup(0) | Health::Collapse(0) => {
                let is_over = matches!(state.health, Health::Hiccup(_));
                state.health = if is_over { Health::Good } else { Health::Broken };
                state.fails_late = true;
                Err(io::Error::other("input/output error, once"))
            }
            Health::Hiccup(left) => {
                state.health = Health::Hiccup(left - 1);
                Ok(state)
            }
            Health::Collapse(left) => {
                state.health = Health::Collapse(left - 1);
                Ok(state)
            }
            Health::Broken => Err(io::Error::other("input/output error")),
        }
    }
}

impl StorageBackend for Handle {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state()?.seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.state()?;
        let from = place(offset)?;
        let found = state.seen.get(from..from + out.len());
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let length = place(length)?;
        let longer = length > self.state()?.seen.len();
        let mut state = self.changing(longer)?;
        state.seen.resize(length, 0);
        state.pending.push(Change::Length(length));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let (mut state, outcome) = match self.changing(true) {
            Ok(state) => (state, Ok(())),
            Err(error) => {
                let mut state = self.state()?;
                if !std::mem::take(&mut state.fails_late) {
                    return Err(error);
                }
                (state, Err(error))
            }
        };
        if state.lies {
            return outcome;
        }
        let State { durable, pending, .. } = &mut *state;
        for change in pending.drain(..) {
            match change {
                Change::Length(length) => durable.resize(length, 0),
                Change::Write { offset, data } => {
                    durable[offset..offset + data.len()].copy_from_slice(&data);
                }
            }
        }
        outcome
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.changing(false)?;
        let offset = place(offset)?;
        let place = state.seen.get_mut(offset..offset + data.len());
        place.ok_or(io::ErrorKind::UnexpectedEof)?.copy_from_slice(data);
        state.pending.push(Change::Write { offset, data: data.to_vec() });
        Ok(())
    }
}

fn place(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(io::Error::other)
}
