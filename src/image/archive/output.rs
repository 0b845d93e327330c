//! Where an archive goes: a file or a directory that has its name only when it is whole, or a pipe.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};

use super::Format;
use crate::image::digest::Hasher;
use crate::image::{Descriptor, Digest};

const BUFFER: usize = 256 << 10;

/// Where images are saved to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// A file, or with [`Format::OciDirectory`] a directory that is not there yet or empty.
    Path(PathBuf),
    /// Descriptor 1.
    Stdout,
}

/// An archive that cannot be written.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum OutputError {
    #[error("{operation} {}", path.display())]
    File { operation: &'static str, path: PathBuf, source: io::Error },
    #[error("{} is a directory: name a file, or choose --format oci-dir", .0.display())]
    IsDirectory(PathBuf),
    #[error("{} is not empty: name a directory that is not there yet", .0.display())]
    NotEmpty(PathBuf),
    #[error("an OCI layout is a directory: name it with -o DIR")]
    NoDirectory,
    #[error("write to stdout")]
    Stdout { source: io::Error },
    #[error("read {name}: {source}")]
    Read { name: String, source: io::Error },
}

/// An archive that is being written.
pub(super) enum Started {
    Stdout(tar::Builder<BufWriter<io::Stdout>>),
    File(tar::Builder<BufWriter<File>>, Unfinished),
    Directory(Unfinished),
}

impl Output {
    /// Opens it for `format`.
    pub(super) fn start(self, format: Format) -> Result<Started, OutputError> {
        match (self, format) {
            (Self::Stdout, Format::OciDirectory) => Err(OutputError::NoDirectory),
            (Self::Stdout, _) => Ok(Started::Stdout(builder(BufWriter::with_capacity(BUFFER, io::stdout())))),
            (Self::Path(path), Format::OciDirectory) => Unfinished::directory(path).map(Started::Directory),
            (Self::Path(path), _) => {
                let (file, unfinished) = Unfinished::file(path)?;
                Ok(Started::File(builder(BufWriter::with_capacity(BUFFER, file)), unfinished))
            }
        }
    }
}

fn builder<W: Write>(writer: W) -> tar::Builder<W> {
    tar::Builder::new(writer)
}

impl Started {
    /// Adds the file `name`, which has exactly `size` bytes.
    pub fn file(&mut self, name: &str, size: u64, content: &mut dyn Read) -> Result<(), OutputError> {
        let mut content = Reading { content, failed: None };
        let written = match self {
            Self::Stdout(archive) => {
                append(archive, name, size, &mut content).map_err(|source| OutputError::Stdout { source })
            }
            Self::File(archive, unfinished) => {
                append(archive, name, size, &mut content).map_err(|source| unfinished.failed("write", source))
            }
            Self::Directory(unfinished) => unfinished.write(name, &mut content),
        };
        match content.failed {
            Some(source) => Err(OutputError::Read { name: name.to_owned(), source }),
            None => written,
        }
    }

    /// Ends the archive and gives it its name.
    pub fn finish(self) -> Result<(), OutputError> {
        match self {
            Self::Stdout(archive) => {
                let ended = archive.into_inner().and_then(|mut stdout| stdout.flush());
                ended.map_err(|source| OutputError::Stdout { source })
            }
            Self::File(archive, unfinished) => {
                let ended = archive.into_inner().and_then(|file| Ok(file.into_inner()?));
                let file = ended.map_err(|source| unfinished.failed("write", source))?;
                unfinished.commit_file(&file)
            }
            Self::Directory(unfinished) => unfinished.commit_directory(),
        }
    }
}

/// Nobody's file, of no time: the same archive whoever saves it.
fn append(
    archive: &mut tar::Builder<impl Write>,
    name: &str,
    size: u64,
    content: &mut dyn Read,
) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(size);
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    archive.append_data(&mut header, name, content)
}

/// Tells errors of the source from those of the archive.
struct Reading<'a> {
    content: &'a mut dyn Read,
    failed: Option<io::Error>,
}

impl Read for Reading<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.content.read(buffer).map_err(|error| {
            let kind = error.kind();
            if kind != io::ErrorKind::Interrupted {
                self.failed = Some(error);
            }
            kind.into()
        })
    }
}

/// A blob's bytes: exactly as many as it has, and those of its digest, or an error at the end.
pub(super) struct Verified<R> {
    content: R,
    hasher: Option<Hasher>,
    digest: Digest,
    left: u64,
}

impl<R: Read> Verified<R> {
    pub fn new(content: R, expected: &Descriptor) -> Self {
        let digest = expected.digest.clone();
        let hasher = Some(Hasher::new(digest.algorithm()));
        Self { content, hasher, digest, left: expected.size }
    }

    fn compare(&mut self) -> io::Result<usize> {
        // A second look at the end finds nothing new.
        let Some(found) = self.hasher.take().map(Hasher::finish) else { return Ok(0) };
        match found == self.digest && self.content.read(&mut [0])? == 0 {
            true => Ok(0),
            false => {
                Err(io::Error::other(format!("its content is not that of {}: it is damaged", self.digest)))
            }
        }
    }
}

impl<R: Read> Read for Verified<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return self.compare();
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let got = self.content.read(&mut buffer[..most])?;
        if got == 0 && most > 0 {
            let text = format!("it ends {} bytes before its size: it is damaged", self.left);
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&buffer[..got]);
        }
        self.left -= got as u64;
        Ok(got)
    }
}

/// What has not its name yet; dropped, it is gone.
pub(super) struct Unfinished {
    /// The name that it gets.
    target: PathBuf,
    /// Where it is now; None of a file without a name, and of what is written in its place.
    path: Option<PathBuf>,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A pipe or a device: nothing has to be renamed.
    InPlace,
    File,
    Directory,
}

impl Unfinished {
    /// A file that only its owner may read: images may hold what is nobody else's business, docker says.
    fn file(path: PathBuf) -> Result<(File, Self), OutputError> {
        // A link stays one.
        let target = fs::canonicalize(&path).unwrap_or(path);
        let failed = |source| OutputError::File { operation: "make", path: target.clone(), source };
        match fs::metadata(&target) {
            Ok(metadata) if metadata.is_dir() => return Err(OutputError::IsDirectory(target)),
            Ok(metadata) if !metadata.is_file() => {
                let file = OpenOptions::new().write(true).open(&target).map_err(failed)?;
                return Ok((file, Self { target, path: None, kind: Kind::InPlace }));
            }
            _ => {}
        }
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::TMPFILE;
        if let Ok(file) = rustix::fs::open(parent(&target), flags, Mode::RUSR | Mode::WUSR) {
            return Ok((file.into(), Self { target, path: None, kind: Kind::File }));
        }
        let path = beside(&target);
        let options = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        Ok((options.map_err(failed)?, Self { target, path: Some(path), kind: Kind::File }))
    }

    fn directory(target: PathBuf) -> Result<Self, OutputError> {
        // Before all the work, and again at its end.
        let there = fs::read_dir(&target);
        if there.is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(OutputError::NotEmpty(target));
        }
        let path = beside(&target);
        let made = DirBuilder::new().mode(0o755).create(&path);
        let unfinished = Self { target, path: Some(path), kind: Kind::Directory };
        made.map_err(|source| unfinished.failed("make", source))?;
        Ok(unfinished)
    }

    /// Writes a file of the directory.
    fn write(&self, name: &str, content: &mut dyn Read) -> Result<(), OutputError> {
        let path = self.path.as_deref().unwrap_or(&self.target).join(name);
        let made = DirBuilder::new().recursive(true).mode(0o755).create(parent(&path));
        let mut file =
            made.and_then(|()| File::create_new(&path)).map_err(|source| self.failed("make", source))?;
        io::copy(content, &mut file).map(drop).map_err(|source| self.failed("write", source))
    }

    fn commit_file(mut self, file: &File) -> Result<(), OutputError> {
        if self.kind == Kind::InPlace {
            return Ok(());
        }
        if self.path.is_none() {
            // linkat(2) does not replace, rename(2) does.
            let path = beside(&self.target);
            let link = format!("/proc/self/fd/{}", file.as_raw_fd());
            let linked = rustix::fs::linkat(CWD, link, CWD, &path, AtFlags::SYMLINK_FOLLOW);
            linked.map_err(|errno| self.failed("make", errno.into()))?;
            self.path = Some(path);
        }
        self.rename()
    }

    fn commit_directory(self) -> Result<(), OutputError> {
        match self.rename() {
            Err(OutputError::File { source, path, .. })
                if source.kind() == io::ErrorKind::DirectoryNotEmpty =>
            {
                Err(OutputError::NotEmpty(path))
            }
            result => result,
        }
    }

    fn rename(mut self) -> Result<(), OutputError> {
        let Some(path) = self.path.take() else { return Ok(()) };
        fs::rename(&path, &self.target).map_err(|source| {
            self.path = Some(path);
            self.failed("rename to", source)
        })
    }

    fn failed(&self, operation: &'static str, source: io::Error) -> OutputError {
        OutputError::File { operation, path: self.target.clone(), source }
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let _ = match (&self.path, self.kind) {
            (Some(path), Kind::Directory) => fs::remove_dir_all(path),
            (Some(path), _) => fs::remove_file(path),
            (None, _) => Ok(()),
        };
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// An unused name in the same directory.
fn beside(path: &Path) -> PathBuf {
    let mut digits = [0; 8];
    crate::sys::random(&mut digits);
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{:016x}", u64::from_ne_bytes(digits)));
    parent(path).join(name)
}
