//! Which coordinator is asked, what is trusted there, and as whom: from the environment when it names a coordinator, else from the profile. A key in the
//! environment without a coordinator is one for the profile's.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use reqwest::Url;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::limits::FILE_MAX_BYTES;
use crate::profile::{Profile, ProfileError, Profiles};

/// A coordinator and a credential for it.
pub(crate) struct Credential {
    /// Where the coordinator is.
    pub(crate) url: Url,
    /// The certificates of its CA: the only ones trusted.
    pub(crate) roots: Vec<CertificateDer<'static>>,
    /// The key to call with; none before signing in.
    pub(crate) key: Option<String>,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").field("url", &self.url.as_str()).finish_non_exhaustive()
    }
}

/// Why it is not known whom to ask, or as whom.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CredentialError {
    #[error(transparent)]
    Profile(#[from] ProfileError),
    #[error("not signed in: there is no profile `{0}`")]
    NoProfile(String),
    #[error("not signed in to {0} any more")]
    SignedOut(String),
    #[error("LOOPBACK_URL is set without {0}; set LOOPBACK_URL, LOOPBACK_KEY and LOOPBACK_CA together")]
    Incomplete(&'static str),
    #[error("`{0}` is not a coordinator's address; write it as https://HOST:8443")]
    Url(String),
    #[error("cannot read the CA's certificate from {path}: {reason}")]
    Certificate { path: PathBuf, reason: String },
}

impl CredentialError {
    /// What to do next.
    pub(crate) const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoProfile(_) | Self::SignedOut(_) => Some("sign in with `loopback login https://HOST:8443 --email YOU`"),
            _ => None,
        }
    }
}

/// What the environment says of the coordinator. An unset variable and an empty one are the same.
#[derive(Default)]
pub(crate) struct Environment {
    url: Option<String>,
    key: Option<String>,
    ca: Option<PathBuf>,
}

impl Environment {
    pub(crate) fn read() -> Self {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self { url: variable("LOOPBACK_URL"), key: variable("LOOPBACK_KEY"), ca: variable("LOOPBACK_CA").map(PathBuf::from) }
    }

    /// Whether it names a coordinator, so that the profile does not count.
    pub(crate) const fn names_coordinator(&self) -> bool {
        self.url.is_some()
    }
}

impl Credential {
    /// The environment's, or the profile's.
    pub(crate) fn find(environment: Environment, profiles: &Profiles, name: &str) -> Result<Self, CredentialError> {
        let Some(url) = environment.url else {
            let profile = profiles.get(name)?.ok_or_else(|| CredentialError::NoProfile(name.to_owned()))?;
            return Self::of_profile(&profile, profiles, environment.key);
        };
        let key = environment.key.ok_or(CredentialError::Incomplete("LOOPBACK_KEY"))?;
        let ca = environment.ca.ok_or(CredentialError::Incomplete("LOOPBACK_CA"))?;
        Ok(Self { url: url_of(&url)?, roots: certificates(&read_bounded(&ca), &ca)?, key: Some(key) })
    }

    fn of_profile(profile: &Profile, profiles: &Profiles, key: Option<String>) -> Result<Self, CredentialError> {
        let key = key.or_else(|| profile.key.clone()).ok_or_else(|| CredentialError::SignedOut(profile.url.clone()))?;
        Ok(Self { key: Some(key), ..Self::known(profile, profiles)? })
    }

    /// A profile's coordinator, without the key.
    pub(crate) fn known(profile: &Profile, profiles: &Profiles) -> Result<Self, CredentialError> {
        Ok(Self { url: url_of(&profile.url)?, roots: certificates(&Ok(profile.ca.clone().into_bytes()), &profiles.path())?, key: None })
    }
}

/// A coordinator's address: `https` is understood when no scheme is written, and nothing else is spoken.
pub(crate) fn url_of(text: &str) -> Result<Url, CredentialError> {
    let invalid = || CredentialError::Url(text.to_owned());
    let written = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    let url = Url::parse(&written).map_err(|_| invalid())?;
    let plain = url.username().is_empty() && url.password().is_none() && url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    if url.scheme() == "https" && url.has_host() && plain { Ok(url) } else { Err(invalid()) }
}

fn certificates(pem: &io::Result<Vec<u8>>, path: &Path) -> Result<Vec<CertificateDer<'static>>, CredentialError> {
    let fault = |reason: String| CredentialError::Certificate { path: path.to_owned(), reason };
    let pem = pem.as_ref().map_err(|error| fault(error.to_string()))?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|error| fault(error.to_string()))?;
    if certificates.is_empty() { Err(fault("it holds no certificate in PEM form".to_owned())) } else { Ok(certificates) }
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_MAX_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::{Credential, CredentialError, Environment, url_of};
    use crate::profile::Profiles;

    #[test]
    fn an_address_is_https_and_nothing_but_host_and_port() {
        assert_eq!(url_of("coordinator.example:8443").unwrap().as_str(), "https://coordinator.example:8443/");
        assert_eq!(url_of("https://[::1]:8443").unwrap().as_str(), "https://[::1]:8443/");
        for text in ["http://c:8443", "ftp://c", "https://", "https://a:b@c/", "https://c/v1", "https://c/?x", "a b"] {
            assert!(url_of(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_environment_names_all_or_nothing() {
        let home = tempfile::tempdir().unwrap();
        let profiles = Profiles::open(Some(home.path().to_owned())).unwrap();
        let find = |environment| Credential::find(environment, &profiles, "default").unwrap_err();
        let url = || Some("https://c:8443".to_owned());
        assert!(matches!(find(Environment::default()), CredentialError::NoProfile(_)));
        assert!(matches!(find(Environment { url: url(), ..Environment::default() }), CredentialError::Incomplete("LOOPBACK_KEY")));
        assert!(matches!(find(Environment { url: url(), key: url(), ca: None }), CredentialError::Incomplete("LOOPBACK_CA")));
        assert!(matches!(find(Environment { key: url(), ..Environment::default() }), CredentialError::NoProfile(_)));
        let absent = Some(home.path().join("absent.pem"));
        assert!(matches!(find(Environment { url: url(), key: url(), ca: absent }), CredentialError::Certificate { .. }));
    }
}
