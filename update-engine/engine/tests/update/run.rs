//! Runs the real installer on a modelled disk.

use std::io::{self, Cursor, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ferrite_update_engine::install::{InstallError, Installer, Manner, Outcome};
use ferrite_update_engine::machine::Machine;
use ferrite_update_engine::source::{Opened, Retry, Source, SourceError};

use crate::model::ModelDisk;
use crate::release::role;

/// A payload in memory; counts what is read of it.
pub struct Memory {
    pub bytes: Vec<u8>,
    pub told_length: Option<u64>,
    pub read: std::rc::Rc<std::cell::Cell<u64>>,
    /// The connection breaks after so many bytes, each time.
    pub breaks_after: Option<u64>,
    /// Nothing is given from this byte on.
    pub dead_from: Option<u64>,
}

impl Memory {
    pub fn new(bytes: &[u8]) -> Memory {
        let told_length = Some(bytes.len() as u64);
        Memory { bytes: bytes.to_vec(), told_length, read: std::rc::Rc::default(), breaks_after: None, dead_from: None }
    }
}

struct Counted {
    inner: Cursor<Vec<u8>>,
    read: std::rc::Rc<std::cell::Cell<u64>>,
    left: u64,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let length = buffer.len().min(self.left as usize);
        let read = self.inner.read(&mut buffer[..length])?;
        self.left -= read as u64;
        self.read.set(self.read.get() + read as u64);
        Ok(read)
    }
}

impl Source for Memory {
    fn name(&self) -> String {
        "memory".to_string()
    }

    fn open_at(&mut self, offset: u64) -> Result<Opened, SourceError> {
        let mut inner = Cursor::new(self.bytes.clone());
        inner.set_position(offset);
        let alive = self.dead_from.map_or(u64::MAX, |dead| dead.saturating_sub(offset));
        let left = self.breaks_after.unwrap_or(u64::MAX).min(alive);
        let reader = Box::new(Counted { inner, read: self.read.clone(), left });
        Ok(Opened { reader, total: self.told_length })
    }
}

/// Installs; stops before the operation with this number, if one is given.
pub fn install(
    disk: &ModelDisk,
    machine: &Machine,
    source: &mut Memory,
    stop_after: Option<usize>,
) -> Result<Outcome, InstallError> {
    let cancel = AtomicBool::new(stop_after == Some(0));
    let mut count = 0;
    let mut watch = |_: u64, _: u64| {
        count += 1;
        if Some(count) == stop_after {
            cancel.store(true, Ordering::Relaxed);
        }
    };
    let manner = Manner {
        retry: Retry { attempts: 3, wait: Duration::ZERO },
        note_bytes: 64 << 10,
        note_time: Duration::from_secs(3600),
    };
    let release = role();
    let (mut slots, mut notes, mut flags) = (disk.clone(), disk.clone(), disk.bootctl());
    let mut installer = Installer {
        machine,
        release: &release,
        disk: &mut slots,
        flags: &mut flags,
        notes: &mut notes,
        manner,
        cancel: &cancel,
        watch: &mut watch,
    };
    installer.install(source, None)
}
