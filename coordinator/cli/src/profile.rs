//! The profiles file: which coordinators the operator has signed in to, what they trust there, and with which credential.
//!
//! It holds secrets: the file is the owner's alone (0600, in a directory of 0700), a file others can read is refused, and it is replaced whole or not at all.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use loopback_api::Time;
use serde::{Deserialize, Serialize};

const FILE: &str = "profiles.toml";

/// A coordinator the operator knows.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Profile {
    /// Where it is.
    pub(crate) url: String,
    /// Whom one signed in as.
    pub(crate) email: String,
    /// Until when the credential holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expires_at: Option<Time>,
    /// The credential; absent after signing out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<String>,
    /// The CA's certificate, as PEM.
    pub(crate) ca: String,
}

impl fmt::Debug for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Profile").field("url", &self.url).field("email", &self.email).finish_non_exhaustive()
    }
}

/// The directory the profiles live in.
#[derive(Debug, Clone)]
pub(crate) struct Profiles {
    directory: PathBuf,
}

/// Why the profiles cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProfileError {
    #[error("there is no home directory to keep profiles in; name one with --config DIR")]
    NoHome,
    #[error("others can read {path}, which holds secrets; run: chmod 600 {path}")]
    Exposed { path: PathBuf },
    #[error("cannot read {path}: {source}")]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{path} is not a profiles file: {reason}; mend it, or remove it and sign in again")]
    Malformed { path: PathBuf, reason: String },
    #[error("cannot write {path}: {source}")]
    Unwritable { path: PathBuf, source: io::Error },
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    #[serde(default)]
    profiles: BTreeMap<String, Profile>,
}

impl Profiles {
    /// In `directory`, or where the user's configuration lives.
    pub(crate) fn open(directory: Option<PathBuf>) -> Result<Self, ProfileError> {
        let from = |variable: &str| std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
        let configuration = || from("XDG_CONFIG_HOME").or_else(|| from("HOME").map(|home| home.join(".config")));
        let directory = directory.or_else(|| configuration().map(|base| base.join("loopback"))).ok_or(ProfileError::NoHome)?;
        Ok(Self { directory })
    }

    /// The profile of that name, if there is one.
    pub(crate) fn get(&self, name: &str) -> Result<Option<Profile>, ProfileError> {
        Ok(self.read()?.profiles.remove(name))
    }

    /// Puts a profile in the place of whatever had its name. Others who do the same at the same time wait.
    pub(crate) fn put(&self, name: &str, profile: Profile) -> Result<(), ProfileError> {
        self.write(name, profile).map_err(|source| ProfileError::Unwritable { path: self.path(), source })?
    }

    fn write(&self, name: &str, profile: Profile) -> io::Result<Result<(), ProfileError>> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.directory)?;
        let directory = File::open(&self.directory)?;
        directory.lock()?;
        let mut contents = match self.read() {
            Ok(contents) => contents,
            Err(error) => return Ok(Err(error)),
        };
        contents.profiles.insert(name.to_owned(), profile);
        let text = toml::to_string(&contents).map_err(io::Error::other)?;
        // Made with mode 0600 in the same directory, so that it can take the file's place at once.
        let mut file = tempfile::NamedTempFile::new_in(&self.directory)?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(self.path()).map_err(|error| error.error)?;
        directory.sync_all()?;
        Ok(Ok(()))
    }

    fn read(&self) -> Result<Contents, ProfileError> {
        let path = self.path();
        let text = match read_private(&path) {
            Ok(Some(text)) => text,
            Ok(None) => return Err(ProfileError::Exposed { path }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Contents::default()),
            Err(source) => return Err(ProfileError::Unreadable { path, source }),
        };
        // Only the message: the error's own text quotes the line, which may be a secret.
        toml::from_str(&text).map_err(|error| ProfileError::Malformed { path, reason: error.message().to_owned() })
    }

    /// The file.
    pub(crate) fn path(&self) -> PathBuf {
        self.directory.join(FILE)
    }
}

/// The text, or nothing when others may read it too.
fn read_private(path: &Path) -> io::Result<Option<String>> {
    let file = File::open(path)?;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        return Ok(None);
    }
    fs::read_to_string(path).map(Some)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;
    use std::thread;

    use super::{Profile, ProfileError, Profiles};

    fn profile(email: &str) -> Profile {
        Profile { url: "https://c:8443/".to_owned(), email: email.to_owned(), expires_at: None, key: Some("lbk_secret".to_owned()), ca: "PEM".to_owned() }
    }

    fn mode(path: &std::path::Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_profile_reads_back_and_is_the_owners_alone() {
        let home = tempfile::tempdir().unwrap();
        let profiles = Profiles::open(Some(home.path().join("a/loopback"))).unwrap();
        assert_eq!(profiles.get("default").unwrap(), None);
        profiles.put("default", profile("ada@example.org")).unwrap();
        assert_eq!(profiles.get("default").unwrap(), Some(profile("ada@example.org")));
        assert_eq!((mode(&profiles.path()), mode(&profiles.directory)), (0o600, 0o700));
        assert!(!format!("{:?}", profiles.get("default")).contains("lbk_"));
    }

    #[test]
    fn a_file_others_can_read_is_refused_with_the_remedy() {
        let home = tempfile::tempdir().unwrap();
        let profiles = Profiles::open(Some(home.path().to_owned())).unwrap();
        profiles.put("default", profile("ada@example.org")).unwrap();
        fs::set_permissions(profiles.path(), Permissions::from_mode(0o640)).unwrap();
        let refused = profiles.get("default").unwrap_err();
        assert!(matches!(refused, ProfileError::Exposed { .. }) && refused.to_string().contains("chmod 600"), "{refused}");
    }

    #[test]
    fn a_broken_file_is_neither_used_nor_overwritten_nor_quoted() {
        let home = tempfile::tempdir().unwrap();
        let profiles = Profiles::open(Some(home.path().to_owned())).unwrap();
        profiles.put("default", profile("ada@example.org")).unwrap();
        fs::write(profiles.path(), "[profiles.default]\nkey = \"lbk_secret\nurl = 1").unwrap();
        let refused = profiles.put("other", profile("bob@example.org")).unwrap_err();
        assert!(matches!(refused, ProfileError::Malformed { .. }) && !refused.to_string().contains("lbk_"), "{refused}");
        assert!(fs::read_to_string(profiles.path()).unwrap().ends_with("url = 1"));
    }

    #[test]
    fn profiles_written_at_the_same_time_are_all_kept_and_nothing_is_left_beside_them() {
        let home = tempfile::tempdir().unwrap();
        let profiles = Profiles::open(Some(home.path().to_owned())).unwrap();
        thread::scope(|scope| {
            for number in 0..8 {
                let profiles = &profiles;
                scope.spawn(move || profiles.put(&format!("p{number}"), profile("ada@example.org")).unwrap());
            }
        });
        assert!((0..8).all(|number| profiles.get(&format!("p{number}")).unwrap().is_some()));
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
    }
}
