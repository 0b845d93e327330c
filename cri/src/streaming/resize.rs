//! Sizes of a terminal: JSON values in a row, `{"Width":80,"Height":24}`.

use std::time::Duration;

use rcrun::monitor::Monitor;
use serde::Deserialize;

use super::channel::Incoming;
use super::terminal::Terminal;

/// Bytes of a value that has not come to its end.
const LIMIT: usize = 4096;
/// How long a program's start waits for the first size.
const FIRST: Duration = Duration::from_millis(500);

/// In characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Size {
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
}

/// Whose size it is.
#[derive(Debug)]
pub enum Window {
    /// Nobody's.
    None,
    /// An exec's terminal.
    Terminal(Terminal),
    /// The container's, which its shim has.
    Container(Monitor),
}

impl Window {
    async fn set(&self, size: Size) {
        // A terminal that is gone has no size to be wrong.
        match self {
            Self::None => {}
            Self::Terminal(terminal) => drop(terminal.resize(size)),
            Self::Container(monitor) => {
                let monitor = monitor.clone();
                let set = move || monitor.resize(size.width, size.height);
                let _ = tokio::task::spawn_blocking(set).await;
            }
        }
    }
}

/// What a client says of the size.
#[derive(Debug)]
pub struct Sizes {
    from: Incoming,
    read: Pieces,
}

impl Sizes {
    /// Those that come from this stream.
    pub fn new(from: Incoming) -> Self {
        Self { from, read: Pieces::default() }
    }

    /// The next one; of several that have come meanwhile the last: clients send thousands. None: no more will come.
    pub async fn next(&mut self) -> Option<Size> {
        loop {
            let mut last = self.read.add(&self.from.next().await?);
            while let Some(bytes) = self.from.ready() {
                last = self.read.add(&bytes).or(last);
            }
            if last.is_some() {
                return last;
            }
        }
    }

    /// The first one. Clients send it at once, if at all, and a program wants to know it when it starts.
    pub async fn first(&mut self) -> Option<Size> {
        tokio::time::timeout(FIRST, self.next()).await.ok().flatten()
    }

    /// Sets all that come.
    pub async fn follow(mut self, window: Window) {
        while let Some(size) = self.next().await {
            window.set(size).await;
        }
    }
}

/// Reads sizes out of pieces.
#[derive(Debug, Default)]
struct Pieces(Vec<u8>);

impl Pieces {
    /// The last one that is whole now. What is no size is skipped.
    fn add(&mut self, bytes: &[u8]) -> Option<Size> {
        self.0.extend_from_slice(bytes);
        let mut values = serde_json::Deserializer::from_slice(&self.0).into_iter::<Size>();
        let mut last = None;
        let rest = loop {
            match values.next() {
                Some(Ok(size)) => last = Some(size),
                Some(Err(error)) if error.is_eof() => break values.byte_offset(),
                Some(Err(_)) | None => break self.0.len(),
            }
        };
        self.0.drain(..rest);
        if self.0.len() > LIMIT {
            self.0.clear();
        }
        last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_size_counts() {
        let mut sizes = Pieces::default();
        let last = sizes.add(b"{\"Width\":80,\"Height\":24}\n{\"Width\":81,\"Height\":25}\n");
        assert_eq!(last, Some(Size { width: 81, height: 25 }));
        assert!(sizes.0.len() <= 1);
    }

    #[test]
    fn sizes_come_in_pieces() {
        let mut sizes = Pieces::default();
        assert_eq!(sizes.add(b"{\"Width\":80,"), None);
        assert_eq!(sizes.add(b"\"Height\":24}{\"Wi"), Some(Size { width: 80, height: 24 }));
        assert_eq!(sizes.add(b"dth\":1,\"Height\":2}"), Some(Size { width: 1, height: 2 }));
    }

    #[test]
    fn what_is_no_size_is_skipped_and_not_kept() {
        let mut sizes = Pieces::default();
        for wrong in [&b"x"[..], b"{\"Width\":70000,\"Height\":1}", b"[1]", b"\xff\xfe"] {
            assert_eq!(sizes.add(wrong), None, "{wrong:?}");
        }
        sizes.0.clear();
        for _ in 0..1000 {
            sizes.add(b"{\"Width\": ");
            sizes.add(&[b' '; 100]);
            assert!(sizes.0.len() <= LIMIT);
        }
        sizes.0.clear();
        assert_eq!(sizes.add(b"{\"Width\":80,\"Height\":24}"), Some(Size { width: 80, height: 24 }));
    }
}
