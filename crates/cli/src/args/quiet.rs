//! Arguments that may hold a password by mistake: what is wrong with one is told, and it is not repeated.

use std::ffi::OsStr;
use std::fmt::Display;
use std::marker::PhantomData;
use std::str::FromStr;

use clap::builder::TypedValueParser;
use clap::error::ErrorKind;
use clap::{Arg, Command};

/// Parses a value, and never quotes it.
pub(crate) fn quiet<T>() -> Quiet<T> {
    Quiet(PhantomData)
}

/// See [`quiet`].
pub(crate) struct Quiet<T>(PhantomData<fn() -> T>);

impl<T> Clone for Quiet<T> {
    fn clone(&self) -> Self {
        quiet()
    }
}

impl<T> TypedValueParser for Quiet<T>
where
    T: FromStr<Err: Display> + Clone + Send + Sync + 'static,
{
    type Value = T;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<T, clap::Error> {
        let refused = |why: &dyn Display| {
            let of = arg.map_or_else(String::new, |arg| format!(" for '{arg}'"));
            clap::Error::raw(ErrorKind::ValueValidation, format!("invalid value{of}: {why}\n")).with_cmd(command)
        };
        let text = value.to_str().ok_or_else(|| refused(&"it is not UTF-8"))?;
        text.parse().map_err(|why| refused(&why))
    }
}
