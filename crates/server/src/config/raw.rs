//! What was said, and where: keys by their dotted names, not yet understood.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::ConfigError;
use super::keys::key_of_variable;

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// A line of the file.
    File {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
    },
    /// A variable of the environment.
    Environment {
        /// Its name.
        variable: String,
    },
    /// An argument of the command.
    Argument {
        /// Its name.
        name: &'static str,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line } => write!(f, "{}, line {line}", path.display()),
            Self::Environment { variable } => f.write_str(variable),
            Self::Argument { name } => f.write_str(name),
        }
    }
}

/// What the command's arguments say; it wins over the file and the environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// In the place of `listen`.
    pub listen: Option<SocketAddr>,
    /// In the place of `data_dir`.
    pub data_dir: Option<PathBuf>,
}

/// A value as it was written.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// Of the file, or of a variable: that may stand for a number or a truth value too.
    Text(String),
    Number(String),
    Truth(bool),
    /// What no key takes; the name of its type.
    Other(&'static str),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Number(number) => f.write_str(number),
            Self::Truth(truth) => truth.fmt(f),
            Self::Other(kind) => write!(f, "a value of the type {kind}"),
        }
    }
}

#[derive(Default)]
pub(super) struct Raw {
    pub(super) values: BTreeMap<String, (Value, Origin)>,
    pub(super) errors: Vec<ConfigError>,
}

impl Raw {
    pub(super) fn read_file(&mut self, path: &Path) {
        match std::fs::read_to_string(path) {
            Ok(text) => self.read_text(path, &text),
            Err(error) => self.errors.push(ConfigError::Unread { path: path.to_owned(), why: error.to_string() }),
        }
    }

    fn read_text(&mut self, path: &Path, text: &str) {
        let at = |offset: usize| Origin::File { path: path.to_owned(), line: line_of(text, offset) };
        let (table, errors) = DeTable::parse_recoverable(text);
        self.errors.extend(errors.iter().map(|error| ConfigError::Syntax {
            origin: at(error.span().map_or(0, |span| span.start)),
            message: error.message().to_owned(),
        }));
        self.read_table("", table.get_ref(), &at);
    }

    fn read_table(&mut self, prefix: &str, table: &DeTable<'_>, at: &impl Fn(usize) -> Origin) {
        for (name, value) in table {
            let key = format!("{prefix}{}", name.get_ref());
            let value = match value.get_ref() {
                DeValue::Table(table) => {
                    self.read_table(&format!("{key}."), table, at);
                    continue;
                }
                DeValue::String(text) => Value::Text(text.clone().into_owned()),
                // Other radices and underscores have no place in a configuration.
                DeValue::Integer(number) if number.radix() == 10 => Value::Number(number.as_str().to_owned()),
                DeValue::Boolean(truth) => Value::Truth(*truth),
                other => Value::Other(other.type_str()),
            };
            self.values.insert(key, (value, at(name.span().start)));
        }
    }

    pub(super) fn read_environment(&mut self, environment: impl IntoIterator<Item = (OsString, OsString)>) {
        for (variable, value) in environment {
            let variable = variable.to_string_lossy().into_owned();
            if let Some(key) = key_of_variable(&variable) {
                let value = Value::Text(value.to_string_lossy().into_owned());
                self.values.insert(key, (value, Origin::Environment { variable }));
            }
        }
    }

    pub(super) fn read_overrides(&mut self, overrides: Overrides) {
        let Overrides { listen, data_dir } = overrides;
        let given = [
            ("listen", "--listen", listen.map(|listen| listen.to_string())),
            ("data_dir", "--dir", data_dir.map(|dir| dir.to_string_lossy().into_owned())),
        ];
        for (key, name, value) in given {
            if let Some(value) = value {
                self.values.insert(key.to_owned(), (Value::Text(value), Origin::Argument { name }));
            }
        }
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}
