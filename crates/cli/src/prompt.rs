//! Asking for a secret on the terminal, without echo.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};

/// What a hidden line ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// So many bytes, without the end of the line.
    Typed(usize),
    /// The interrupt character, usually Ctrl-C.
    Interrupted,
}

/// The terminal that the process is controlled from, wherever its input and output go.
pub(crate) fn terminal() -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open("/dev/tty")
}

/// Reads a line into `buffer` while the terminal shows nothing of it. What does not fit is thrown away.
pub(crate) fn hidden_line(mut terminal: &File, prompt: &str, buffer: &mut [u8]) -> io::Result<Line> {
    let hidden = Hidden::begin(terminal)?;
    terminal.write_all(prompt.as_bytes())?;
    let read = terminal.read(buffer)?;
    let ended_with = buffer.get(..read).and_then(|line| line.last().copied());
    let line = match ended_with {
        Some(last) if last == hidden.interrupt => Line::Interrupted,
        Some(b'\n') => Line::Typed(read - 1),
        _ => Line::Typed(read),
    };
    drop(hidden);
    terminal.write_all(b"\n")?;
    Ok(line)
}

/// While it lives, the terminal shows nothing of what is typed.
///
/// The interrupt character kills nobody meanwhile, who would leave the terminal so, but ends the line.
struct Hidden<'a> {
    terminal: &'a File,
    before: Termios,
    interrupt: u8,
}

impl<'a> Hidden<'a> {
    fn begin(terminal: &'a File) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let interrupt = before.special_codes[SpecialCodeIndex::VINTR];
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ISIG);
        quiet.local_modes.insert(LocalModes::ICANON);
        quiet.special_codes[SpecialCodeIndex::VEOL] = interrupt;
        tcsetattr(terminal, OptionalActions::Flush, &quiet)?;
        Ok(Self { terminal, before, interrupt })
    }
}

impl Drop for Hidden<'_> {
    fn drop(&mut self) {
        // With what is left of a line that was too long.
        if let Err(error) = tcsetattr(self.terminal, OptionalActions::Flush, &self.before) {
            tracing::error!(%error, "the terminal's echo could not be turned on again; `stty sane` does it");
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::fs::{Mode, OFlags};
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

    use super::*;

    /// A terminal: the side of its keyboard and screen, and that of the program.
    struct Pty {
        keyboard: File,
        terminal: File,
    }

    impl Pty {
        fn new() -> Self {
            let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
            grantpt(&keyboard).unwrap();
            unlockpt(&keyboard).unwrap();
            let name = ptsname(&keyboard, Vec::new()).unwrap();
            let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
            let terminal = rustix::fs::open(name, flags, Mode::empty()).unwrap();
            Self { keyboard: keyboard.into(), terminal: terminal.into() }
        }

        /// Types `typed` as soon as the prompt is on the screen; returns what was read and all that the screen showed.
        fn type_at_prompt(&self, typed: &[u8], buffer: &mut [u8]) -> (Line, String) {
            let mut screen = String::new();
            let line = std::thread::scope(|scope| {
                let reader = scope.spawn(|| hidden_line(&self.terminal, "Passphrase: ", buffer).unwrap());
                self.watch(&mut screen, "Passphrase: ");
                (&self.keyboard).write_all(typed).unwrap();
                reader.join().unwrap()
            });
            self.watch(&mut screen, "\n");
            (line, screen)
        }

        /// Adds to `screen` what is shown until it ends with `end`.
        fn watch(&self, screen: &mut String, end: &str) {
            let mut bytes = [0; 256];
            while !screen.ends_with(end) {
                let read = (&self.keyboard).read(&mut bytes).unwrap();
                screen.push_str(std::str::from_utf8(&bytes[..read]).unwrap());
            }
        }

        fn echoes(&self) -> bool {
            tcgetattr(&self.terminal).unwrap().local_modes.contains(LocalModes::ECHO | LocalModes::ISIG)
        }
    }

    #[test]
    fn a_line_is_read_and_not_shown() {
        let pty = Pty::new();
        let mut buffer = [0; 32];
        let typed = pty.type_at_prompt(b"secret wordX\x7f\n", &mut buffer);
        assert_eq!(typed, (Line::Typed(11), "Passphrase: \r\n".to_owned()));
        assert_eq!(&buffer[..11], b"secret word");
        assert!(pty.echoes());
    }

    #[test]
    fn the_interrupt_character_ends_the_line_and_the_echo_comes_back() {
        let pty = Pty::new();
        // What is typed behind it is thrown away.
        let typed = pty.type_at_prompt(b"sec\x03more\n", &mut [0; 32]);
        assert_eq!(typed, (Line::Interrupted, "Passphrase: \r\n".to_owned()));
        assert!(pty.echoes());
    }

    #[test]
    fn a_line_that_is_too_long_fills_the_buffer_and_leaves_nothing_behind() {
        let pty = Pty::new();
        let mut buffer = [0; 4];
        let (line, _) = pty.type_at_prompt(b"0123456789\n", &mut buffer);
        assert_eq!((line, &buffer), (Line::Typed(4), b"0123"));
        assert_eq!(rustix::io::ioctl_fionread(&pty.terminal).unwrap(), 0);
    }

    #[test]
    fn the_echo_comes_back_where_reading_fails() {
        let pty = Pty::new();
        // A terminal that can be written to only.
        let name = ptsname(&pty.keyboard, Vec::new()).unwrap();
        let deaf = rustix::fs::open(name, OFlags::WRONLY | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).unwrap();
        assert!(hidden_line(&deaf.into(), "Passphrase: ", &mut [0; 32]).is_err());
        assert!(pty.echoes());
    }

    #[test]
    fn what_is_no_terminal_is_refused() {
        let file = tempfile::tempfile().unwrap();
        assert!(hidden_line(&file, "Passphrase: ", &mut [0; 32]).is_err());
    }
}
