//! The account a session runs as: what the host's user database says, and why it may be unfit. It does not change to it.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use nix::unistd::User;

/// What passwd(5) says of a shell that is left empty.
const DEFAULT_SHELL: &str = "/bin/sh";

/// Why an account cannot have a session.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    /// Nobody has this name.
    #[error("this host has no user {name:?}; name an existing one or create it")]
    Unknown {
        /// The name.
        name: String,
    },
    /// The user database does not answer.
    #[error("this host's user database does not answer for {name:?}: {reason}")]
    Unavailable {
        /// The name.
        name: String,
        /// What the system says.
        reason: String,
    },
    /// The login shell is missing or no program.
    #[error("the login shell {} of {name:?} is not an executable file; change it with `chsh`", shell.display())]
    Shell {
        /// The name.
        name: String,
        /// The shell.
        shell: PathBuf,
    },
}

/// Looks an account up. This may ask the network (LDAP), so it blocks.
pub(super) fn look_up(name: &str) -> Result<User, AccountError> {
    let mut user = match User::from_name(name) {
        Ok(user) => user.ok_or_else(|| AccountError::Unknown { name: name.to_owned() })?,
        Err(error) => return Err(AccountError::Unavailable { name: name.to_owned(), reason: error.desc().to_owned() }),
    };
    if user.shell.as_os_str().is_empty() {
        user.shell = DEFAULT_SHELL.into();
    }
    if !is_program(&user.shell) {
        return Err(AccountError::Shell { name: name.to_owned(), shell: user.shell });
    }
    Ok(user)
}

/// The name a login shell is called by: a dash, then its file name.
pub(super) fn login_name(shell: &Path) -> OsString {
    let mut name = OsString::from("-");
    name.push(shell.file_name().unwrap_or(shell.as_os_str()));
    name
}

fn is_program(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{AccountError, login_name, look_up};

    #[test]
    fn an_unknown_user_is_refused_by_name() {
        let name = "nobody-has-this-name".to_owned();
        assert_eq!(look_up(&name), Err(AccountError::Unknown { name }));
    }

    #[test]
    fn a_login_shell_is_called_with_a_dash() {
        assert_eq!(login_name(Path::new("/bin/bash")), "-bash");
    }
}
