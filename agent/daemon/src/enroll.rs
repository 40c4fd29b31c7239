//! How a machine becomes a host, and how a host that was away past the expiry of its certificate comes back. The token goes only to a coordinator whose CA
//! it names; an identity is never replaced by another.

use std::sync::Arc;

use loopback_agent_core::renewal::Validity;
use loopback_protocol::enroll::{EnrollRequest, Enrolled, FirstAnswer, FirstContact, HostFacts, RENEW_EXPORTER_LABEL, Refusal, RenewExpiredRequest};
use loopback_protocol::error::Malformed;
use loopback_protocol::frame;
use loopback_protocol::limits::ENROLL_FRAME_MAX_BYTES;
use loopback_protocol::secret::{Fingerprint, JoinString};
use quinn::{Connection, ConnectionError, WriteError};
use rustls_pki_types::CertificateDer;

use crate::frames::{FrameError, FrameReader};
use crate::hostkey::{HostKey, HostKeyError};
use crate::keystore::{Credentials, Identity, Keystore, KeystoreError};
use crate::limits::FIRST_ANSWER_TIMEOUT;
use crate::pinned_ca::{Judgement, PinnedCa};
use crate::quic::{self, Coordinator, DialError, SERVER_NAME};

const EXPORTED_BYTES: usize = 32;

/// What `join` did.
#[derive(Debug, PartialEq, Eq)]
pub enum Joined {
    /// The machine is a host now.
    New(Identity),
    /// It already was.
    Kept(Identity),
}

/// Why a machine is not let in, or a host not back.
#[derive(Debug, thiserror::Error)]
pub enum EnrollError {
    /// The coordinator cannot be reached.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The coordinator is not the token's.
    #[error("the coordinator's CA is not the one this token was made for; the token was not sent. Mint one at this coordinator, or check the address")]
    WrongCa,
    /// The machine belongs elsewhere.
    #[error("this machine is host {0} of another coordinator; `loopback-agent leave --yes` ends that")]
    OtherIdentity(String),
    /// The coordinator says no.
    #[error("refused ({}): {}", .0.reason, .0.message)]
    Refused(Refusal),
    /// The state directory.
    #[error(transparent)]
    Keystore(#[from] KeystoreError),
    /// The certificate or the key.
    #[error(transparent)]
    Key(#[from] HostKeyError),
    /// The conversation.
    #[error(transparent)]
    Contact(#[from] ContactError),
}

/// A first contact that came to no answer.
#[derive(Debug, thiserror::Error)]
pub enum ContactError {
    /// The request does not fit into its frame.
    #[error("the request cannot be sent")]
    Request(#[from] Malformed),
    /// The connection was lost.
    #[error("the connection to the coordinator was lost before it answered")]
    Lost(#[from] ConnectionError),
    /// The request could not be sent.
    #[error("the coordinator did not take the request")]
    Write(#[from] WriteError),
    /// The answer cannot be read.
    #[error("the coordinator's answer cannot be read")]
    Answer(#[from] FrameError),
    /// No answer in time.
    #[error("the coordinator did not answer in time; try again")]
    Timeout,
    /// The connection gives no keying material.
    #[error("the connection cannot prove itself")]
    Exporter,
}

impl EnrollError {
    /// Whether another try later may do, because nobody was there.
    #[must_use]
    pub const fn is_unreachable(&self) -> bool {
        matches!(
            self,
            Self::Dial(DialError::Silent(_) | DialError::Unresolved { .. } | DialError::Handshake(_))
                | Self::Contact(ContactError::Lost(_) | ContactError::Timeout)
        )
    }
}

/// Makes this machine a host of the coordinator at `address` (HOST:PORT).
///
/// # Errors
/// It stays what it was.
pub async fn join(keystore: &Keystore, address: &str, join: &JoinString, facts: HostFacts) -> Result<Joined, EnrollError> {
    match keystore.identity() {
        Ok(identity) if Fingerprint::of(&keystore.credentials()?.ca_der) == join.ca => return Ok(Joined::Kept(identity)),
        Ok(identity) => return Err(EnrollError::OtherIdentity(identity.path)),
        Err(KeystoreError::NotJoined) => {}
        Err(error) => return Err(error.into()),
    }
    let _lock = keystore.lock()?;
    let coordinator = Coordinator::new(address.to_owned(), SERVER_NAME.to_owned(), Vec::new());
    coordinator.resolve().await?;
    let pinned = Arc::new(PinnedCa::new(join.ca, quic::provider()));
    let dialled = coordinator.dial(quic::enroll_config(Arc::clone(&pinned))?).await;
    let (dialled, ca_der) = match (dialled, pinned.judgement()) {
        (Ok(dialled), Some(Judgement::Trusted(ca_der))) => (dialled, ca_der.clone()),
        (_, Some(Judgement::OtherCa)) | (Ok(_), None) => return Err(EnrollError::WrongCa),
        (Err(error), _) => return Err(error.into()),
    };
    let key = HostKey::generate()?;
    let request = EnrollRequest { token: join.token.reveal(), csr_der: key.csr_der()?, facts, agent_version: env!("CARGO_PKG_VERSION").to_owned() };
    let answer = first_contact(&dialled.connection, &FirstContact::Enroll(request)).await;
    dialled.close("answered").await;
    let Enrolled { host, path, certificate_der } = admitted(answer?)?;
    key.validity_of(&certificate_der)?;
    let identity = Identity { host, path, coordinator: address.to_owned(), server_name: SERVER_NAME.to_owned() };
    keystore.store(&identity, &Credentials { key, certificate_der: CertificateDer::from(certificate_der), ca_der })?;
    Ok(Joined::New(identity))
}

/// Asks for a new certificate with the proof of the expired one's key, and stores it.
///
/// # Errors
/// The expired one stays.
pub async fn renew_expired(keystore: &Keystore, coordinator: &Coordinator) -> Result<Validity, EnrollError> {
    let credentials = keystore.credentials()?;
    coordinator.resolve().await?;
    let dialled = coordinator.dial(quic::renewal_config(&credentials)?).await?;
    let answer = match proof(&dialled.connection, &credentials) {
        Ok(request) => first_contact(&dialled.connection, &FirstContact::Renew(request)).await.map_err(EnrollError::from),
        Err(error) => Err(error),
    };
    dialled.close("answered").await;
    let enrolled = admitted(answer?)?;
    let validity = credentials.key.validity_of(&enrolled.certificate_der)?;
    keystore.store_certificate(&enrolled.certificate_der)?;
    Ok(validity)
}

/// The signature is bound to this connection: nobody who sees it can use it on another.
fn proof(connection: &Connection, credentials: &Credentials) -> Result<RenewExpiredRequest, EnrollError> {
    let mut signed = vec![0; EXPORTED_BYTES];
    connection.export_keying_material(&mut signed, RENEW_EXPORTER_LABEL, b"").map_err(|_| ContactError::Exporter)?;
    let csr_der = credentials.key.csr_der()?;
    signed.extend_from_slice(&csr_der);
    Ok(RenewExpiredRequest { certificate_der: credentials.certificate_der.to_vec(), csr_der, signature: credentials.key.sign(&signed)? })
}

async fn first_contact(connection: &Connection, contact: &FirstContact) -> Result<FirstAnswer, ContactError> {
    let conversation = async {
        let (mut send, recv) = connection.open_bi().await?;
        send.write_all(&frame::encode(&contact.encode(), ENROLL_FRAME_MAX_BYTES)?).await?;
        let answer = FrameReader::new(recv, ENROLL_FRAME_MAX_BYTES).next().await?;
        let answer = answer.ok_or(FrameError::Malformed(Malformed::Missing("first answer")))?;
        FirstAnswer::decode(&answer).map_err(|error| ContactError::Answer(error.into()))
    };
    tokio::time::timeout(FIRST_ANSWER_TIMEOUT, conversation).await.map_err(|_| ContactError::Timeout)?
}

fn admitted(answer: FirstAnswer) -> Result<Enrolled, EnrollError> {
    match answer {
        FirstAnswer::Enrolled(enrolled) => Ok(enrolled),
        FirstAnswer::Refused(refusal) => Err(EnrollError::Refused(refusal)),
    }
}
