//! `claviger account`.

use std::fmt;

use claviger::{OpenEngineError, SecretBytes, StoreKind};
use claviger_ontap::Role;
use claviger_server::{Account, Accounts};
use jiff::Timestamp;
use serde::Serialize;

use crate::args::{AccountCommand, NewPassword};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::secret::{Secret, Source, ask, somebody_watches};
use crate::session::{Directory, STORE_DIR, Session};

/// An account, as it is printed.
#[derive(Serialize)]
struct AccountView {
    name: String,
    role: &'static str,
    created: Timestamp,
}

impl AccountView {
    fn of(account: &Account) -> Self {
        let Account { name, role, created, .. } = account;
        let role = match role {
            Role::Admin => "admin",
            Role::ReadOnly => "readonly",
        };
        Self { name: name.to_string(), role, created: *created }
    }
}

impl fmt::Display for AccountView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.role)
    }
}

#[derive(Serialize)]
struct AccountList {
    accounts: Vec<AccountView>,
}

impl fmt::Display for AccountList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = self.accounts.iter().map(ToString::to_string).collect();
        match lines.is_empty() {
            true => f.write_str("no accounts; make one with `claviger account create`"),
            false => f.write_str(&lines.join("\n")),
        }
    }
}

/// `given` is what `--password-file` or `--password-fd` name.
pub(crate) fn run(
    session: &Session<'_>,
    directory: &Directory,
    command: AccountCommand,
    given: Source,
) -> Result<Exit, Failure> {
    // Before anything is opened: a descriptor that was not given must not name a file of the process's own.
    let password = match &command {
        AccountCommand::Create { password, .. } | AccountCommand::SetPassword { password, .. } => {
            let NewPassword { new_password_file, new_password_fd } = password;
            let new = Source::new(Secret::NewPassword, new_password_file.clone(), *new_password_fd)?;
            one_of(new, given)?
        }
        AccountCommand::List | AccountCommand::Delete { .. } => Source::Prompt,
    };
    let dir = directory.path()?;
    // A directory with accounts and no hierarchy would keep `claviger init` from making one there.
    StoreKind::of(&dir.join(STORE_DIR)).map_err(OpenEngineError::Store)?;
    // Asked for before the accounts are locked for others.
    let changed = match command {
        AccountCommand::Create { name, role, password: _ } => {
            let password = new_password(session, &password)?;
            let mut accounts = Accounts::load(dir)?;
            accounts.create(name, role.into(), &password)?;
            accounts
        }
        AccountCommand::SetPassword { name, password: _ } => {
            let password = new_password(session, &password)?;
            let mut accounts = Accounts::load(dir)?;
            accounts.set_password(&name, &password)?;
            accounts
        }
        AccountCommand::Delete { name } => {
            let mut accounts = Accounts::load(dir)?;
            accounts.delete(&name)?;
            accounts
        }
        AccountCommand::List => Accounts::load(dir)?,
    };
    let accounts = changed.list().iter().map(AccountView::of).collect();
    session.output.result(&AccountList { accounts })?;
    Ok(Exit::Done)
}

fn one_of(new: Source, given: Source) -> Result<Source, Failure> {
    match (new, given) {
        (one, Source::Prompt) | (Source::Prompt, one) => Ok(one),
        (Source::File(_) | Source::Descriptor { .. }, Source::File(_) | Source::Descriptor { .. }) => {
            let message =
                "the new password is given twice: by --new-password-file or -fd, and by --password-file or -fd";
            Err(Failure::Usage { message: message.to_owned() })
        }
    }
}

/// Typed, it is typed twice.
fn new_password(session: &Session<'_>, source: &Source) -> Result<SecretBytes, Failure> {
    let arena = session.arena();
    if let Some(given) = source.given(arena, Secret::NewPassword)? {
        return Ok(given);
    }
    if !somebody_watches() {
        return Err(Failure::NotGiven(Secret::NewPassword));
    }
    let first = ask(arena, Secret::NewPassword, "New password: ")?;
    let second = ask(arena, Secret::NewPassword, "The same again: ")?;
    match first.ct_eq(second.expose()) {
        true => Ok(first),
        false => Err(Failure::PasswordsDiffer),
    }
}
