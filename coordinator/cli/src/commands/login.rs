//! Signing in and out, and who one is.
//!
//! The password is sent only after the coordinator's CA has been confirmed: by the fingerprint, by the operator, or by having been confirmed before.

use std::io::{self, BufRead, IsTerminal, Read};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use loopback_api::account::{Identity, IdentityOrganization, Login as LoginOperation, LoginRequest, Logout, WhoAmI};
use loopback_api::{Nothing, ProblemKind};
use loopback_protocol::secret::Fingerprint;
use reqwest::Url;
use rustls_pki_types::CertificateDer;

use crate::client::{CallError, Client};
use crate::credential::{Credential, Environment, url_of};
use crate::failure::Failure;
use crate::limits::PASSWORD_MAX_BYTES;
use crate::output::{Field, Output, note};
use crate::profile::{Profile, Profiles};
use crate::{question, tls};

const EXAMPLES: &str = "\
Examples:
  loopback login https://coordinator.example:8443 --email ada@example.org
  loopback login https://10.0.0.1:8443 --email ada@example.org --ca-fingerprint 4f1c… \\
    --password-stdin < password
  loopback login https://staging.example:8443 --email ada@example.org --profile staging

At the first contact the fingerprint of the coordinator's CA is shown; compare it with what
`loopback-coordinator ca fingerprint` prints there. The password is sent only after that.";

/// Sign in to a coordinator and remember it
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Login {
    /// Where the coordinator is, such as https://coordinator.example:8443
    url: String,
    /// Your account's e-mail address
    #[arg(long)]
    email: String,
    /// Read the password from standard input instead of asking for it
    #[arg(long)]
    password_stdin: bool,
    /// The SHA-256 fingerprint the coordinator's CA must have, in 64 hexadecimal digits
    #[arg(long, value_name = "HEX64", value_parser = fingerprint)]
    ca_fingerprint: Option<Fingerprint>,
}

const IDENTITY: &[Field<Identity>] = &[
    Field::new("account", |identity, _| identity.email.clone()),
    Field::new("name", |identity, _| identity.name.clone()),
    Field::new("id", |identity, _| identity.account.to_string()),
];
const ORGANIZATIONS: &[Field<IdentityOrganization>] = &[
    Field::new("ORGANIZATION", |organization, _| organization.slug.clone()),
    Field::new("ROLES", |organization, _| organization.roles.join(", ")),
    Field::new("ID", |organization, _| organization.id.to_string()),
];

impl Login {
    pub(crate) async fn run(&self, profiles: &Profiles, profile: &str, output: &Output) -> Result<(), Failure> {
        let url = url_of(&self.url)?;
        let authority = self.authority(&url, profiles, profile).await?;
        let client = Client::new(&Credential { url: url.clone(), roots: vec![authority.clone()], key: None })?;
        let request = LoginRequest { email: self.email.clone(), password: self.password()? };
        let answer = client.call::<LoginOperation>(&[], None, &Nothing {}, &request).await.map_err(refused)?;
        let kept = Profile { url: url.into(), email: self.email.clone(), expires_at: Some(answer.expires_at), key: Some(answer.secret), ca: pem(&authority) };
        profiles.put(profile, kept)?;
        if output.is_table() {
            output.line(&format!("Signed in as {} until {}.", answer.identity.email, answer.expires_at))?;
            output.rows(&answer.identity.organizations, ORGANIZATIONS)
        } else {
            output.json(&answer.identity)
        }
    }

    /// The CA to trust: the one known from signing in before, or the one shown now if it is confirmed.
    async fn authority(&self, url: &Url, profiles: &Profiles, profile: &str) -> Result<CertificateDer<'static>, Failure> {
        let known = profiles.get(profile)?.filter(|known| known.url == url.as_str());
        if let (Some(known), None) = (known, self.ca_fingerprint)
            && let Some(authority) = Credential::known(&known, profiles)?.roots.pop()
        {
            return Ok(authority);
        }
        let authority = tls::presented_authority(url).await?;
        confirm(url, Fingerprint::of(&authority), self.ca_fingerprint, question::ask)?;
        Ok(authority)
    }

    fn password(&self) -> Result<String, Failure> {
        let unread = |error: io::Error| Failure::failed(format!("cannot read the password: {error}"));
        if self.password_stdin {
            let mut line = String::new();
            io::stdin().lock().take(PASSWORD_MAX_BYTES).read_line(&mut line).map_err(unread)?;
            return Ok(line.trim_end_matches(['\r', '\n']).to_owned());
        }
        if !io::stdin().is_terminal() {
            return Err(Failure::usage("there is no terminal to ask for the password on; pass --password-stdin"));
        }
        rpassword::prompt_password(format!("Password of {}: ", self.email)).map_err(unread)
    }
}

/// Who is just signing in needs no hint to sign in.
fn refused(error: CallError) -> Failure {
    match error {
        CallError::Problem(problem) if problem.kind == ProblemKind::Unauthenticated => Failure::failed(problem.detail),
        error => error.into(),
    }
}

/// Ends the session there and forgets its credential here; the address and the CA stay known.
pub(crate) async fn logout(environment: &Environment, profiles: &Profiles, name: &str, output: &Output) -> Result<(), Failure> {
    if environment.names_coordinator() {
        return Err(Failure::usage("LOOPBACK_URL is set, so no profile is in use; revoke the key with `loopback key revoke KEY`"));
    }
    let Some(profile) = profiles.get(name)?.filter(|profile| profile.key.is_some()) else {
        return output.done(&Nothing {}, "Not signed in.");
    };
    let credential = Credential { key: profile.key.clone(), ..Credential::known(&profile, profiles)? };
    let told = Client::new(&credential)?.call::<Logout>(&[], None, &Nothing {}, &Nothing {}).await;
    let until = profile.expires_at;
    profiles.put(name, Profile { key: None, expires_at: None, ..profile })?;
    match told {
        Err(CallError::Problem(problem)) if problem.kind == ProblemKind::Unauthenticated => {}
        Err(error) => {
            let until = until.map(|time| format!(" until {time}")).unwrap_or_default();
            note(&format!("the credential is forgotten here, but the coordinator was not told: the session holds{until}"));
            return Err(error.into());
        }
        Ok(Nothing {}) => {}
    }
    output.done(&Nothing {}, "Signed out.")
}

pub(crate) async fn whoami(client: &Client, output: &Output) -> Result<(), Failure> {
    let identity = client.call::<WhoAmI>(&[], None, &Nothing {}, &Nothing {}).await?;
    if !output.is_table() {
        return output.json(&identity);
    }
    output.record(&identity, IDENTITY)?;
    if identity.organizations.is_empty() {
        note("you belong to no organization; ask somebody who may add members: `loopback member add ORG YOU`");
        return Ok(());
    }
    output.line("")?;
    output.rows(&identity.organizations, ORGANIZATIONS)
}

/// Whether a CA met for the first time is the right one. `ask` puts the question to a person, or tells that there is none.
fn confirm(url: &Url, shown: Fingerprint, expected: Option<Fingerprint>, ask: impl FnOnce(&str) -> Option<bool>) -> Result<(), Failure> {
    if let Some(expected) = expected {
        let mismatch = || {
            Failure::failed(format!(
                "the CA of {url} has the fingerprint {shown}, not {expected}: this is not the coordinator you mean; nothing was sent to it"
            ))
        };
        return if shown == expected { Ok(()) } else { Err(mismatch()) };
    }
    match ask(&format!("{url} shows a CA with this SHA-256 fingerprint:\n  {shown}\nIs it what `loopback-coordinator ca fingerprint` prints there?")) {
        Some(true) => Ok(()),
        Some(false) => Err(Failure::failed("the CA was not confirmed; nothing was sent")),
        None => Err(Failure::failed(format!(
            "the CA of {url} is not known yet (its fingerprint is {shown}) and there is no terminal to ask on; \
             pass --ca-fingerprint with what `loopback-coordinator ca fingerprint` prints there"
        ))),
    }
}

fn fingerprint(text: &str) -> Result<Fingerprint, &'static str> {
    // As openssl prints it, too.
    text.replace(':', "").parse().map_err(|_| "write all 64 hexadecimal digits that `loopback-coordinator ca fingerprint` prints")
}

fn pem(certificate: &CertificateDer<'_>) -> String {
    let base64 = STANDARD.encode(certificate);
    let lines: String = base64.as_bytes().chunks(64).map(|line| format!("{}\n", String::from_utf8_lossy(line))).collect();
    format!("-----BEGIN CERTIFICATE-----\n{lines}-----END CERTIFICATE-----\n")
}

#[cfg(test)]
mod tests {
    use loopback_protocol::secret::Fingerprint;
    use rustls_pki_types::CertificateDer;
    use rustls_pki_types::pem::PemObject;

    use super::{confirm, fingerprint, pem, url_of};

    fn confirmed(expected: Option<Fingerprint>, answer: Option<bool>) -> Result<(), String> {
        let url = url_of("https://c:8443").unwrap();
        confirm(&url, Fingerprint([1; 32]), expected, |_| answer).map_err(|failure| failure.to_string())
    }

    #[test]
    fn a_given_fingerprint_decides_without_asking() {
        assert_eq!(confirmed(Some(Fingerprint([1; 32])), Some(false)), Ok(()));
        assert!(confirmed(Some(Fingerprint([2; 32])), Some(true)).unwrap_err().contains("nothing was sent"));
    }

    #[test]
    fn without_a_fingerprint_a_person_decides_and_nobody_is_no() {
        assert_eq!(confirmed(None, Some(true)), Ok(()));
        assert!(confirmed(None, Some(false)).unwrap_err().contains("not confirmed"));
        assert!(confirmed(None, None).unwrap_err().contains("--ca-fingerprint"));
    }

    #[test]
    fn a_fingerprint_is_read_with_and_without_colons() {
        let hex = "ab".repeat(32);
        assert_eq!(fingerprint(&hex), Ok(Fingerprint([0xab; 32])));
        assert_eq!(fingerprint(&vec!["AB"; 32].join(":")), Ok(Fingerprint([0xab; 32])));
        assert!(fingerprint("abcd").is_err());
    }

    #[test]
    fn a_certificate_reads_back_from_pem() {
        let certificate = CertificateDer::from(vec![7; 700]);
        assert_eq!(CertificateDer::from_pem_slice(pem(&certificate).as_bytes()).unwrap(), certificate);
    }
}
