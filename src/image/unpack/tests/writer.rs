//! Writes tar archives, wrong ones too.

use std::os::fd::AsFd;

/// One header with its content.
#[derive(Clone)]
pub struct Item {
    pub name: Vec<u8>,
    pub kind: u8,
    pub mode: u32,
    pub uid: u64,
    pub gid: u64,
    pub mtime: i64,
    pub size: Option<u64>,
    pub link: Vec<u8>,
    pub device: (u32, u32),
    pub content: Vec<u8>,
    pub pax: Vec<(Vec<u8>, Vec<u8>)>,
}

pub fn item(name: impl AsRef<[u8]>, kind: u8) -> Item {
    let name = name.as_ref().to_vec();
    // Who runs the tests may own what they make.
    let (uid, gid) = (rustix::process::geteuid().as_raw().into(), rustix::process::getegid().as_raw().into());
    let (size, link, device, content, pax) = (None, Vec::new(), (0, 0), Vec::new(), Vec::new());
    let mode = if kind == b'5' { 0o755 } else { 0o644 };
    Item { name, kind, mode, uid, gid, mtime: 1_000_000_000, size, link, device, content, pax }
}

pub fn file(name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Item {
    Item { content: content.as_ref().to_vec(), ..item(name, b'0') }
}

pub fn directory(name: impl AsRef<[u8]>) -> Item {
    item(name, b'5')
}

pub fn symlink(name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Item {
    Item { link: target.as_ref().to_vec(), ..item(name, b'2') }
}

pub fn hard_link(name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Item {
    Item { link: target.as_ref().to_vec(), ..item(name, b'1') }
}

pub fn device(name: impl AsRef<[u8]>, kind: u8, major: u32, minor: u32) -> Item {
    Item { device: (major, minor), ..item(name, kind) }
}

impl Item {
    pub fn mode(self, mode: u32) -> Self {
        Self { mode, ..self }
    }

    pub fn owner(self, uid: u64, gid: u64) -> Self {
        Self { uid, gid, ..self }
    }

    pub fn pax(mut self, key: &str, value: impl AsRef<[u8]>) -> Self {
        self.pax.push((key.as_bytes().to_vec(), value.as_ref().to_vec()));
        self
    }

    pub fn xattr(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.pax(&format!("SCHILY.xattr.{name}"), value)
    }

    /// Its blocks, after those of what does not fit into its header.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut pax = self.pax.clone();
        if self.name.len() > 100 {
            pax.push((b"path".to_vec(), self.name.clone()));
        }
        if self.link.len() > 100 {
            pax.push((b"linkpath".to_vec(), self.link.clone()));
        }
        if !pax.is_empty() {
            let records: Vec<u8> = pax.iter().flat_map(|(key, value)| record(key, value)).collect();
            bytes.extend(Item { content: records, ..item("pax", b'x') }.block_and_content());
        }
        bytes.extend(self.block_and_content());
        bytes
    }

    fn block_and_content(&self) -> Vec<u8> {
        let mut block = [0; 512];
        put(&mut block, 0, 100, &self.name);
        number(&mut block, 100, 8, i128::from(self.mode));
        number(&mut block, 108, 8, i128::from(self.uid));
        number(&mut block, 116, 8, i128::from(self.gid));
        number(&mut block, 124, 12, i128::from(self.size.unwrap_or(self.content.len() as u64)));
        number(&mut block, 136, 12, i128::from(self.mtime));
        block[156] = self.kind;
        put(&mut block, 157, 100, &self.link);
        put(&mut block, 257, 8, b"ustar\x0000");
        number(&mut block, 329, 8, i128::from(self.device.0));
        number(&mut block, 337, 8, i128::from(self.device.1));
        seal(&mut block);
        let mut bytes = block.to_vec();
        bytes.extend_from_slice(&self.content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        bytes
    }
}

/// Computes the checksum.
pub fn seal(block: &mut [u8; 512]) {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    put(block, 148, 8, format!("{sum:06o}\0 ").as_bytes());
}

fn put(block: &mut [u8; 512], at: usize, room: usize, bytes: &[u8]) {
    let length = bytes.len().min(room);
    block[at..at + length].copy_from_slice(&bytes[..length]);
}

fn number(block: &mut [u8; 512], at: usize, room: usize, value: i128) {
    let digits = format!("{value:o}");
    if value >= 0 && digits.len() < room {
        return put(block, at, room, format!("{value:0>width$o}", width = room - 1).as_bytes());
    }
    let bytes = value.to_be_bytes();
    block[at..at + room].copy_from_slice(&bytes[16 - room..]);
    block[at] |= 0x80;
}

pub fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let length = (1..).map(|digits| rest + digits).find(|length| rest + length.to_string().len() == *length);
    [format!("{} ", length.unwrap()).as_bytes(), key, b"=", value, b"\n"].concat()
}

/// An archive with its end.
pub fn archive(items: &[Item]) -> Vec<u8> {
    let mut bytes: Vec<u8> = items.iter().flat_map(Item::bytes).collect();
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

/// Does the directory's file system keep user attributes?
pub fn keeps_user_attributes(directory: &std::path::Path) -> bool {
    let directory = std::fs::File::open(directory).unwrap();
    rustix::fs::fsetxattr(directory.as_fd(), "user.test", b"1", rustix::fs::XattrFlags::empty()).is_ok()
        && rustix::fs::fremovexattr(directory.as_fd(), "user.test").is_ok()
}
