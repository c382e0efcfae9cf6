//! Where a secret comes from: a file, a file descriptor, or a prompt; never an argument. It goes from there straight into key
//! memory.

use std::fmt;
use std::fs::File;
use std::io::{self, IsTerminal as _, Read};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

use claviger::{Arena, SecretBytes};

use crate::event::Wanted;
use crate::failure::Failure;
use crate::prompt::{self, Line};

/// A kind of secret that commands take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Secret {
    /// The onboard keystore's.
    Passphrase,
    /// What an application credential of Keystone's is proved with.
    Credential,
    /// What a proxy's user is proved with.
    ProxyPassword,
    /// What an account of the service is proved with.
    Password,
    /// What one is to be proved with.
    NewPassword,
}

impl Secret {
    /// The most bytes of one, without the end of its line.
    pub(crate) const fn max_len(self) -> usize {
        match self {
            Self::Passphrase => 256,
            // With the end of its line it has room in one slot of key memory.
            Self::Credential | Self::ProxyPassword | Self::Password | Self::NewPassword => 1_000,
        }
    }

    const fn reading(self) -> &'static str {
        match self {
            Self::Passphrase => "read the passphrase from",
            Self::Credential => "read the application credential's secret from",
            Self::ProxyPassword => "read the proxy's password from",
            Self::Password | Self::NewPassword => "read the password from",
        }
    }

    const fn prompt(self) -> &'static str {
        match self {
            Self::Passphrase => "Passphrase: ",
            Self::Credential => "Secret of the application credential: ",
            Self::ProxyPassword => "Password of the proxy's user: ",
            Self::Password => "Password of the service's account: ",
            Self::NewPassword => "New password: ",
        }
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Passphrase => "passphrase",
            Self::Credential => "secret of the application credential",
            Self::ProxyPassword => "password of the proxy's user",
            Self::Password | Self::NewPassword => "password of the service's account",
        })
    }
}

/// Has the secrets that commands want.
pub(crate) trait Secrets {
    /// The secret; `None` where none was given and nobody can be asked.
    fn secret(&self, arena: &Arena, wanted: Wanted) -> Result<Option<SecretBytes>, Failure>;
}

/// Where the secrets of one command come from. On a terminal, those are asked for that nothing names a source of.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    pub(crate) passphrase: Source,
    pub(crate) new_passphrase: Source,
    pub(crate) credential: Source,
    pub(crate) proxy_password: Source,
}

impl Secrets for Sources {
    fn secret(&self, arena: &Arena, wanted: Wanted) -> Result<Option<SecretBytes>, Failure> {
        match wanted {
            Wanted::Passphrase => self.passphrase.get(arena, Secret::Passphrase),
            Wanted::NewPassphrase => self.new_passphrase.new_passphrase(arena),
            Wanted::Credential => self.credential.get(arena, Secret::Credential),
            Wanted::ProxyPassword => self.proxy_password.get(arena, Secret::ProxyPassword),
        }
    }
}

/// Where a secret comes from, as the arguments say.
#[derive(Debug, Default)]
pub(crate) enum Source {
    /// A file, which may be a named pipe.
    File(PathBuf),
    /// What the process was given as an open file descriptor.
    Descriptor { name: PathBuf, file: File },
    /// The terminal, where there is one.
    #[default]
    Prompt,
}

impl Source {
    /// To be called before the process opens anything: a descriptor that it was not given must not name a file of its own.
    pub(crate) fn new(secret: Secret, file: Option<PathBuf>, descriptor: Option<u32>) -> Result<Self, Failure> {
        Ok(match (file, descriptor) {
            (Some(file), _) => Self::File(file),
            (None, Some(descriptor)) => {
                let name = PathBuf::from(format!("/dev/fd/{descriptor}"));
                let file = File::open(&name).map_err(unread(secret, &name))?;
                Self::Descriptor { name, file }
            }
            (None, None) => Self::Prompt,
        })
    }

    /// The secret; `None` where none was given and nobody can be asked.
    pub(crate) fn get(&self, arena: &Arena, secret: Secret) -> Result<Option<SecretBytes>, Failure> {
        match self.given(arena, secret)? {
            Some(given) => Ok(Some(given)),
            None if somebody_watches() => ask(arena, secret, secret.prompt()).map(Some),
            None => Ok(None),
        }
    }

    /// The secret of a file or descriptor; `None` where it is to be asked for.
    pub(crate) fn given(&self, arena: &Arena, secret: Secret) -> Result<Option<SecretBytes>, Failure> {
        match self {
            Self::File(path) => {
                let mut file = File::open(path).map_err(unread(secret, path))?;
                read(arena, secret, &mut file).map_err(unread(secret, path))?.map(Some)
            }
            Self::Descriptor { name, file } => {
                // A file is read from its beginning each time, a pipe from where it stands.
                let again = File::open(format!("/dev/fd/{}", file.as_raw_fd()));
                let mut again = again.map_err(unread(secret, name))?;
                read(arena, secret, &mut again).map_err(unread(secret, name))?.map(Some)
            }
            Self::Prompt => Ok(None),
        }
    }
}

fn unread(secret: Secret, path: &Path) -> impl Fn(io::Error) -> Failure {
    move |source| Failure::File { action: secret.reading(), path: path.to_owned(), source }
}

/// The inner result is about the secret, the outer one about the file.
fn read(arena: &Arena, secret: Secret, source: &mut impl Read) -> io::Result<Result<SecretBytes, Failure>> {
    let mut slot = match room(arena, secret) {
        Ok(slot) => slot,
        Err(error) => return Ok(Err(error)),
    };
    let mut len = 0;
    while let Some(rest @ [_, ..]) = slot.expose_mut().get_mut(len..) {
        match source.read(rest) {
            Ok(0) => break,
            Ok(read) => len += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let bytes = slot.expose().get(..len).unwrap_or_default();
    Ok(of_its_length(arena, secret, without_end_of_line(bytes)))
}

/// Asks on the terminal.
pub(crate) fn ask(arena: &Arena, secret: Secret, prompt: &str) -> Result<SecretBytes, Failure> {
    let mut slot = room(arena, secret)?;
    let unusable = |source| Failure::Terminal { secret, source };
    let terminal = prompt::terminal().map_err(unusable)?;
    match prompt::hidden_line(&terminal, prompt, slot.expose_mut()).map_err(unusable)? {
        Line::Typed(len) => of_its_length(arena, secret, slot.expose().get(..len).unwrap_or_default()),
        Line::Interrupted => Err(Failure::NotGiven(secret)),
    }
}

/// For the longest one, and the end of its line.
fn room(arena: &Arena, secret: Secret) -> Result<SecretBytes, Failure> {
    Ok(arena.bytes(secret.max_len() + 2)?)
}

fn of_its_length(arena: &Arena, secret: Secret, bytes: &[u8]) -> Result<SecretBytes, Failure> {
    if bytes.len() > secret.max_len() {
        return Err(Failure::TooLong(secret));
    }
    let mut slot = arena.bytes(bytes.len())?;
    slot.expose_mut().copy_from_slice(bytes);
    Ok(slot)
}

/// Editors and `echo` end a file with one.
fn without_end_of_line(bytes: &[u8]) -> &[u8] {
    match bytes {
        [line @ .., b'\r', b'\n'] | [line @ .., b'\n'] => line,
        line => line,
    }
}

pub(crate) fn somebody_watches() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

#[cfg(test)]
mod tests {
    use claviger::ArenaOptions;

    use super::*;

    const ALL: [Secret; 5] =
        [Secret::Passphrase, Secret::Credential, Secret::ProxyPassword, Secret::Password, Secret::NewPassword];

    fn arena() -> Arena {
        Arena::new(&ArenaOptions { keys: 16, states: 16, ..ArenaOptions::default() }).unwrap()
    }

    fn is_read_as(secret: Secret, input: &[u8], expected: &[u8]) -> bool {
        read(&arena(), secret, &mut &input[..]).unwrap().unwrap().ct_eq(expected)
    }

    #[test]
    fn one_end_of_line_is_taken_off_and_no_more() {
        for (input, expected) in [
            ("word", "word"),
            ("word\n", "word"),
            ("word\r\n", "word"),
            (" word ", " word "),
            ("word\n\n", "word\n"),
            ("word\r", "word\r"),
        ] {
            assert!(is_read_as(Secret::Credential, input.as_bytes(), expected.as_bytes()), "{input:?}");
        }
    }

    #[test]
    fn the_longest_secret_has_room_for_its_end_of_line() {
        for secret in ALL {
            let longest = vec![b'x'; secret.max_len()];
            assert!(is_read_as(secret, &[&longest[..], b"\r\n"].concat(), &longest));
            for more in [&b"x"[..], b"x\n", b"xx\r\n", &[b'x'; 10_000]] {
                let read = read(&arena(), secret, &mut &[&longest[..], more].concat()[..]).unwrap();
                assert!(matches!(read, Err(Failure::TooLong(told)) if told == secret));
            }
        }
    }

    /// Gives one byte at a time, as a slow pipe does.
    struct Slow<'a>(&'a [u8]);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let len = buffer.len().min(1);
            self.0.read(&mut buffer[..len])
        }
    }

    #[test]
    fn a_pipe_that_gives_little_at_a_time_is_read_to_its_end() {
        let read = read(&arena(), Secret::ProxyPassword, &mut Slow(b"slowly\n")).unwrap().unwrap();
        assert!(read.ct_eq(b"slowly"));
    }
}
