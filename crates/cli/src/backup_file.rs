//! Where a backup goes: into a new file, or to standard output.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use serde::Serialize;

use crate::failure::Failure;
use crate::output::rendered;
use crate::screen::Screen;

/// A backup that was written to a file.
#[derive(Serialize)]
struct Written {
    file: String,
    bytes: usize,
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "backup written to {}; it holds no keys: copy the hierarchy's directory too", self.file)
    }
}

/// A backup that goes to standard output.
#[derive(Serialize)]
struct Text {
    backup: String,
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.backup.trim_end())
    }
}

/// Writes a backup where it is wanted, whole or not at all.
pub(crate) fn deliver(screen: &Screen, backup: String, to: Option<&Path>) -> Result<(), Failure> {
    match to {
        Some(file) => {
            write_new(file, backup.as_bytes())?;
            let written = Written { file: file.display().to_string(), bytes: backup.len() };
            match screen.print(rendered(screen.form(), &written)?.as_bytes()) {
                Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::Stdout(error)),
                _ => Ok(()),
            }
        }
        None => screen.print(rendered(screen.form(), &Text { backup })?.as_bytes()).map_err(Failure::HalfBackup),
    }
}

/// Writes a file that does not exist yet, durably and for its owner alone. One that could not be written whole is removed.
fn write_new(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let failed = |source| Failure::File { action: "write", path: path.to_owned(), source };
    let created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = match created {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(Failure::FileExists { path: path.to_owned() });
        }
        created => created.map_err(failed)?,
    };
    let written = file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| sync_dir_of(path));
    if written.is_err()
        && let Err(error) = fs::remove_file(path)
    {
        tracing::error!(%error, path = %path.display(), "an unfinished backup could not be removed");
    }
    written.map_err(failed)
}

fn sync_dir_of(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}
