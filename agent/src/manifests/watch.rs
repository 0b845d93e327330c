//! Which files of a directory may have changed, by inotify.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use futures_util::StreamExt;
use inotify::{EventMask, EventStream, Inotify, WatchDescriptor, WatchMask};

use super::Names;
use super::files::is_manifest;

/// What may have changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Changed {
    /// Nothing.
    #[default]
    Nothing,
    /// These files.
    Names(Names),
    /// Any file.
    Everything,
}

impl Changed {
    /// Also what else changed.
    pub(super) fn and(&mut self, more: Self) {
        match (&mut *self, more) {
            (_, Self::Nothing) | (Self::Everything, _) => {}
            (Self::Names(names), Self::Names(more)) => names.extend(more),
            (_, more) => *self = more,
        }
    }
}

/// A directory that is watched, and the one above it: the directory may come later, or be a link that is swapped.
pub(super) struct Watch {
    path: PathBuf,
    stream: EventStream<Vec<u8>>,
    inside: Option<WatchDescriptor>,
}

impl Watch {
    /// Fails where nothing can be watched; a directory that is not there yet is no failure.
    pub(super) fn new(directory: &Path) -> io::Result<Self> {
        let path = std::path::absolute(directory)?;
        let stream = Inotify::init()?.into_event_stream(vec![0; 4096])?;
        let mut watch = Self { path, stream, inside: None };
        watch.above()?;
        watch.enter();
        Ok(watch)
    }

    /// Watches the nearest directory above that is there.
    fn above(&mut self) -> io::Result<()> {
        let mask = WatchMask::CREATE
            | WatchMask::MOVED_TO
            | WatchMask::MOVED_FROM
            | WatchMask::DELETE
            | WatchMask::ONLYDIR;
        let mut missing = io::Error::from(io::ErrorKind::NotFound);
        for above in self.path.ancestors().skip(1) {
            match self.stream.watches().add(above, mask) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => missing = error,
                Err(error) => return Err(error),
            }
        }
        Err(missing)
    }

    /// Watches what is at the path now. Whether that is another directory than before.
    fn enter(&mut self) -> bool {
        // Files count when they are whole: closed, or moved here.
        let mask = WatchMask::CLOSE_WRITE
            | WatchMask::CREATE
            | WatchMask::MOVED_TO
            | WatchMask::MOVED_FROM
            | WatchMask::DELETE
            | WatchMask::ONLYDIR;
        let now = self.stream.watches().add(&self.path, mask).ok();
        let other = now != self.inside;
        if other && let Some(before) = self.inside.take() {
            // The kernel has taken it away already where the directory is gone.
            let _ = self.stream.watches().remove(before);
        }
        self.inside = now;
        other
    }

    /// Waits until something may have changed.
    pub(super) async fn next(&mut self) -> Changed {
        loop {
            let Some(event) = self.stream.next().await else { return std::future::pending().await };
            let Ok(event) = event else { return Changed::Everything };
            if event.mask.contains(EventMask::Q_OVERFLOW) {
                self.enter();
                return Changed::Everything;
            }
            if Some(&event.wd) != self.inside.as_ref() {
                // Above: the directory may have come, gone or been swapped; a directory above it may have come.
                let _ = self.above();
                if self.enter() {
                    return Changed::Everything;
                }
                continue;
            }
            if event.mask.contains(EventMask::IGNORED) {
                self.inside = None;
                self.enter();
                return Changed::Everything;
            }
            match event.name.as_deref().map(OsStr::to_string_lossy) {
                Some(name) if is_manifest(&name) => return Changed::Names(Names::from([name.into_owned()])),
                // What the files link to, as in a volume of Kubernetes, is swapped.
                Some(name) if name.starts_with("..") => return Changed::Everything,
                _ => {}
            }
        }
    }
}
