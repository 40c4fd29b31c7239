//! The first contact of a host with its coordinator, and the way back for one that was away too long.

use std::net::IpAddr;

use prost::Message as _;

use crate::error::{Malformed, bounded, text};
use crate::id::HostId;
use crate::limits::{CERTIFICATE_MAX_BYTES, FACT_ADDRESSES_MAX, NAME_MAX_BYTES, TEXT_MAX_BYTES};
use crate::wire;

/// What a host without a valid certificate asks for.
#[derive(Debug)]
pub enum FirstContact {
    /// To become a host.
    Enroll(EnrollRequest),
    /// To have its expired certificate renewed.
    Renew(RenewExpiredRequest),
}

/// A host asks to be admitted. The token is checked by who reads it.
pub struct EnrollRequest {
    /// The agent token as it was typed.
    pub token: String,
    /// A certificate signing request; its subject is ignored.
    pub csr_der: Vec<u8>,
    /// What the host says of itself.
    pub facts: HostFacts,
    /// The agent's semantic version.
    pub agent_version: String,
}

impl std::fmt::Debug for EnrollRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EnrollRequest").field("facts", &self.facts).field("agent_version", &self.agent_version).finish_non_exhaustive()
    }
}

/// A host proves that it holds the key of its expired certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenewExpiredRequest {
    /// The expired certificate.
    pub certificate_der: Vec<u8>,
    /// A signing request for the next one.
    pub csr_der: Vec<u8>,
    /// By the expired certificate's key, over this connection's exported keying material and the CSR.
    pub signature: Vec<u8>,
}

/// The label under which both sides export keying material for [`RenewExpiredRequest::signature`].
pub const RENEW_EXPORTER_LABEL: &[u8] = b"EXPORTER-loopback-renew";

/// What the coordinator answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FirstAnswer {
    /// Come in.
    Enrolled(Enrolled),
    /// No, and why.
    Refused(Refusal),
}

/// A host's identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolled {
    /// Its id, which is also the certificate's subject.
    pub host: HostId,
    /// `organization/project/workspace/host`, for people.
    pub path: String,
    /// The client certificate.
    pub certificate_der: Vec<u8>,
}

/// Why a host is not let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// A stable word: `expired`, `spent`, `revoked`, `malformed`, `limit-reached`, ….
    pub reason: String,
    /// A sentence that says what to do.
    pub message: String,
}

/// What a host says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HostFacts {
    /// `uname -n`.
    pub hostname: String,
    /// `/etc/machine-id`.
    pub machine_id: String,
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
    /// `PRETTY_NAME` of `/etc/os-release`.
    pub os: String,
    /// `uname -r`.
    pub kernel: String,
    /// `uname -m`.
    pub architecture: String,
    /// Global addresses of its interfaces.
    pub addresses: Vec<IpAddr>,
}

impl FirstContact {
    /// The payload of the one frame that carries it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        use wire::first_contact::Request;
        let request = match self {
            Self::Enroll(request) => Request::Enroll(wire::EnrollRequest {
                token: request.token.clone(),
                csr_der: request.csr_der.clone(),
                facts: Some(request.facts.to_wire()),
                agent_version: request.agent_version.clone(),
            }),
            Self::Renew(request) => Request::Renew(wire::RenewExpiredRequest {
                certificate_der: request.certificate_der.clone(),
                csr_der: request.csr_der.clone(),
                signature: request.signature.clone(),
            }),
        };
        wire::FirstContact { request: Some(request) }.encode_to_vec()
    }

    /// Reads a frame's payload.
    ///
    /// # Errors
    /// What the peer got wrong.
    pub fn decode(payload: &[u8]) -> Result<Self, Malformed> {
        use wire::first_contact::Request;
        let message = wire::FirstContact::decode(payload).map_err(|_| Malformed::Message("first contact"))?;
        match message.request.ok_or(Malformed::Missing("first_contact.request"))? {
            Request::Enroll(request) => {
                bounded("enroll.csr_der", request.csr_der.len(), CERTIFICATE_MAX_BYTES)?;
                Ok(Self::Enroll(EnrollRequest {
                    token: text("enroll.token", request.token, NAME_MAX_BYTES)?,
                    csr_der: request.csr_der,
                    facts: request.facts.ok_or(Malformed::Missing("enroll.facts"))?.try_into()?,
                    agent_version: text("enroll.agent_version", request.agent_version, NAME_MAX_BYTES)?,
                }))
            }
            Request::Renew(request) => {
                bounded("renew.certificate_der", request.certificate_der.len(), CERTIFICATE_MAX_BYTES)?;
                bounded("renew.csr_der", request.csr_der.len(), CERTIFICATE_MAX_BYTES)?;
                bounded("renew.signature", request.signature.len(), CERTIFICATE_MAX_BYTES)?;
                Ok(Self::Renew(RenewExpiredRequest { certificate_der: request.certificate_der, csr_der: request.csr_der, signature: request.signature }))
            }
        }
    }
}

impl FirstAnswer {
    /// The payload of the one frame that carries it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        use wire::first_answer::Answer;
        let answer = match self {
            Self::Enrolled(enrolled) => Answer::Enrolled(wire::Enrolled {
                host: enrolled.host.to_string(),
                path: enrolled.path.clone(),
                certificate_der: enrolled.certificate_der.clone(),
            }),
            Self::Refused(refusal) => Answer::Refusal(wire::Refusal { reason: refusal.reason.clone(), message: refusal.message.clone() }),
        };
        wire::FirstAnswer { answer: Some(answer) }.encode_to_vec()
    }

    /// Reads a frame's payload.
    ///
    /// # Errors
    /// What the peer got wrong.
    pub fn decode(payload: &[u8]) -> Result<Self, Malformed> {
        use wire::first_answer::Answer;
        let message = wire::FirstAnswer::decode(payload).map_err(|_| Malformed::Message("first answer"))?;
        match message.answer.ok_or(Malformed::Missing("first_answer.answer"))? {
            Answer::Enrolled(enrolled) => {
                bounded("enrolled.certificate_der", enrolled.certificate_der.len(), CERTIFICATE_MAX_BYTES)?;
                Ok(Self::Enrolled(Enrolled {
                    host: enrolled.host.parse().map_err(|_| Malformed::Invalid("enrolled.host"))?,
                    path: text("enrolled.path", enrolled.path, TEXT_MAX_BYTES)?,
                    certificate_der: enrolled.certificate_der,
                }))
            }
            Answer::Refusal(refusal) => Ok(Self::Refused(Refusal {
                reason: text("refusal.reason", refusal.reason, NAME_MAX_BYTES)?,
                message: text("refusal.message", refusal.message, TEXT_MAX_BYTES)?,
            })),
        }
    }
}

impl HostFacts {
    pub(crate) fn to_wire(&self) -> wire::HostFacts {
        wire::HostFacts {
            hostname: self.hostname.clone(),
            machine_id: self.machine_id.clone(),
            boot_id: self.boot_id.clone(),
            os: self.os.clone(),
            kernel: self.kernel.clone(),
            architecture: self.architecture.clone(),
            addresses: self.addresses.iter().map(ToString::to_string).collect(),
        }
    }
}

impl TryFrom<wire::HostFacts> for HostFacts {
    type Error = Malformed;

    fn try_from(message: wire::HostFacts) -> Result<Self, Malformed> {
        bounded("facts.addresses", message.addresses.len(), FACT_ADDRESSES_MAX)?;
        Ok(Self {
            hostname: text("facts.hostname", message.hostname, NAME_MAX_BYTES)?,
            machine_id: text("facts.machine_id", message.machine_id, NAME_MAX_BYTES)?,
            boot_id: text("facts.boot_id", message.boot_id, NAME_MAX_BYTES)?,
            os: text("facts.os", message.os, NAME_MAX_BYTES)?,
            kernel: text("facts.kernel", message.kernel, NAME_MAX_BYTES)?,
            architecture: text("facts.architecture", message.architecture, NAME_MAX_BYTES)?,
            addresses: message.addresses.iter().map(|address| address.parse().map_err(|_| Malformed::Invalid("facts.addresses"))).collect::<Result<_, _>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{EnrollRequest, FirstAnswer, FirstContact, HostFacts, Refusal};
    use crate::error::Malformed;

    fn contact(hostname: &str) -> FirstContact {
        let facts = HostFacts { hostname: hostname.into(), addresses: vec!["::1".parse().unwrap()], ..HostFacts::default() };
        FirstContact::Enroll(EnrollRequest { token: "lbt_x".into(), csr_der: vec![1], facts, agent_version: "0.1.0".into() })
    }

    #[test]
    fn a_first_contact_reads_back() {
        let FirstContact::Enroll(read) = FirstContact::decode(&contact("web-1").encode()).unwrap() else { panic!("another request") };
        assert_eq!((read.token.as_str(), read.facts.hostname.as_str()), ("lbt_x", "web-1"));
    }

    #[test]
    fn terminal_escapes_and_overlong_names_are_refused() {
        assert_eq!(FirstContact::decode(&contact("\x1b[2J").encode()).unwrap_err(), Malformed::Invalid("facts.hostname"));
        assert!(matches!(FirstContact::decode(&contact(&"x".repeat(256)).encode()), Err(Malformed::TooLarge { .. })));
        assert!(FirstContact::decode(b"\xff\xff").is_err());
        assert!(FirstContact::decode(b"").is_err());
    }

    #[test]
    fn an_answer_reads_back() {
        let answer = FirstAnswer::Refused(Refusal { reason: "spent".into(), message: "mint another".into() });
        assert_eq!(FirstAnswer::decode(&answer.encode()), Ok(answer));
    }
}
