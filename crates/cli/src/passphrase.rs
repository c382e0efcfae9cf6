//! Where a passphrase comes from: a file, a file descriptor, or a prompt; never an argument. It goes from there straight
//! into key memory.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

use claviger::{Arena, Passphrase, SecretBytes};

use crate::failure::Failure;
use crate::prompt::{self, Line};

/// The longest passphrase, and the end of its line.
const ROOM: usize = MAX_LEN + 2;
const MAX_LEN: usize = 256;

/// Where a passphrase comes from, as the arguments say.
#[derive(Debug)]
pub(crate) enum Source {
    /// A file, which may be a named pipe.
    File(PathBuf),
    /// What the process was given as an open file descriptor.
    Descriptor { name: PathBuf, file: File },
    /// The terminal, where there is one.
    Prompt,
}

impl Source {
    /// To be called before the process opens anything: a descriptor that it was not given must not name a file of its own.
    pub(crate) fn new(file: Option<PathBuf>, descriptor: Option<u32>) -> Result<Self, Failure> {
        Ok(match (file, descriptor) {
            (Some(file), _) => Self::File(file),
            (None, Some(descriptor)) => {
                let name = PathBuf::from(format!("/dev/fd/{descriptor}"));
                let file = File::open(&name).map_err(unread(&name))?;
                Self::Descriptor { name, file }
            }
            (None, None) => Self::Prompt,
        })
    }

    /// A passphrase that exists; `None` where none was given and nobody can be asked.
    pub(crate) fn existing(&self, arena: &Arena) -> Result<Option<Passphrase>, Failure> {
        match self.given(arena)? {
            Some(given) => Ok(Some(given)),
            None if somebody_watches() => ask(arena, "Passphrase: ").map(Some),
            None => Ok(None),
        }
    }

    /// A new passphrase. Typed, it is typed twice.
    pub(crate) fn new_one(&self, arena: &Arena) -> Result<Passphrase, Failure> {
        if let Some(given) = self.given(arena)? {
            return Ok(given);
        }
        if !somebody_watches() {
            return Err(Failure::NoPassphrase);
        }
        let first = ask(arena, "New passphrase: ")?;
        let second = ask(arena, "The same again: ")?;
        match first.ct_eq(&second) {
            true => Ok(first),
            false => Err(Failure::PassphrasesDiffer),
        }
    }

    /// The passphrase of a file or descriptor; `None` where it is to be asked for.
    pub(crate) fn given(&self, arena: &Arena) -> Result<Option<Passphrase>, Failure> {
        match self {
            Self::File(path) => {
                let mut file = File::open(path).map_err(unread(path))?;
                read(arena, &mut file).map_err(unread(path))?.map(Some)
            }
            Self::Descriptor { name, file } => {
                // A file is read from its beginning each time, a pipe from where it stands.
                let mut again = File::open(format!("/dev/fd/{}", file.as_raw_fd())).map_err(unread(name))?;
                read(arena, &mut again).map_err(unread(name))?.map(Some)
            }
            Self::Prompt => Ok(None),
        }
    }
}

fn unread(path: &Path) -> impl Fn(io::Error) -> Failure {
    move |source| Failure::File { action: "read the passphrase from", path: path.to_owned(), source }
}

/// The inner result is about the passphrase, the outer one about the file.
fn read(arena: &Arena, source: &mut impl Read) -> io::Result<Result<Passphrase, Failure>> {
    let mut slot = match arena.bytes(ROOM) {
        Ok(slot) => slot,
        Err(error) => return Ok(Err(error.into())),
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
    Ok(passphrase(arena, without_end_of_line(bytes)))
}

fn ask(arena: &Arena, prompt: &str) -> Result<Passphrase, Failure> {
    let mut slot = arena.bytes(ROOM)?;
    let terminal = prompt::terminal().map_err(Failure::Terminal)?;
    match prompt::hidden_line(&terminal, prompt, slot.expose_mut()).map_err(Failure::Terminal)? {
        Line::Typed(len) => passphrase(arena, slot.expose().get(..len).unwrap_or_default()),
        Line::Interrupted => Err(Failure::NoPassphrase),
    }
}

fn passphrase(arena: &Arena, bytes: &[u8]) -> Result<Passphrase, Failure> {
    match bytes.len() > MAX_LEN {
        true => Err(Failure::PassphraseTooLong),
        false => Ok(Passphrase::copy_from(arena, bytes)?),
    }
}

/// Editors and `echo` end a file with one.
fn without_end_of_line(bytes: &[u8]) -> &[u8] {
    match bytes {
        [line @ .., b'\r', b'\n'] | [line @ .., b'\n'] => line,
        line => line,
    }
}

/// A new passphrase of 48 random characters of base64url (RFC 4648, section 5): 288 bits.
pub(crate) fn generate(arena: &Arena) -> Result<SecretBytes, Failure> {
    const CHARACTERS: usize = 48;
    const BASE64URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut passphrase = arena.bytes(CHARACTERS)?;
    getrandom::fill(passphrase.expose_mut())?;
    for byte in passphrase.expose_mut() {
        // Six bits of a random byte are as random.
        *byte = BASE64URL.get(usize::from(*byte & 0x3f)).copied().unwrap_or(b'A');
    }
    Ok(passphrase)
}

fn somebody_watches() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

#[cfg(test)]
mod tests {
    use claviger::ArenaOptions;

    use super::*;

    fn arena() -> Arena {
        Arena::new(&ArenaOptions { keys: 16, states: 4, ..ArenaOptions::default() }).unwrap()
    }

    fn is_read_as(input: &[u8], expected: &[u8]) -> bool {
        let arena = arena();
        let read = read(&arena, &mut &input[..]).unwrap().unwrap();
        read.ct_eq(&Passphrase::copy_from(&arena, expected).unwrap())
    }

    #[test]
    fn one_end_of_line_is_taken_off_and_no_more() {
        for (input, expected) in [("word", "word"), ("word\n", "word"), ("word\r\n", "word"), (" word ", " word ")] {
            assert!(is_read_as(input.as_bytes(), expected.as_bytes()), "{input:?}");
        }
        for refused in ["word\n\n", "word\n\r\n", "word\r", "two\nlines"] {
            let read = read(&arena(), &mut refused.as_bytes()).unwrap();
            assert!(matches!(read, Err(Failure::Passphrase(_))), "{refused:?}");
        }
    }

    #[test]
    fn the_longest_passphrase_has_room_for_its_end_of_line() {
        let longest = [b'x'; MAX_LEN];
        assert!(is_read_as(&[&longest[..], b"\r\n"].concat(), &longest));
        for more in [&b"x"[..], b"x\n", b"xx\r\n", &[b'x'; 10_000]] {
            let read = read(&arena(), &mut &[&longest[..], more].concat()[..]).unwrap();
            assert!(matches!(read, Err(Failure::PassphraseTooLong)));
        }
    }

    #[test]
    fn a_generated_passphrase_is_one_and_no_two_are_alike() {
        let arena = arena();
        let (one, other) = (generate(&arena).unwrap(), generate(&arena).unwrap());
        assert!(!one.ct_eq(other.expose()));
        assert!(one.expose().iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte)));
        Passphrase::new(one).unwrap().check(claviger::PassphraseRules::Standard).unwrap();
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
        let arena = arena();
        let read = read(&arena, &mut Slow(b"slowly\n")).unwrap().unwrap();
        assert!(read.ct_eq(&Passphrase::copy_from(&arena, b"slowly").unwrap()));
    }
}
