//! The policy in force, on disk: one file, replaced as a whole, with a checksum in its first line.
//!
//! It holds what was applied, not what was rendered: a newer agent renders an older policy its own way.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use loopback_protocol::firewall::Policy;
use sha2::{Digest as _, Sha256};

use super::NftError;

const FILE: &str = "firewall.policy";
const HEADER: &str = "loopback firewall policy 1";
/// Twice the frame a policy comes in.
const FILE_MAX_BYTES: u64 = 8 * 1024 * 1024;

/// The policy that was applied last and the coordinators it was applied with, if any.
///
/// # Errors
/// The file cannot be read or is damaged.
pub fn stored(state_dir: &Path) -> Result<Option<(Policy, Vec<SocketAddr>)>, NftError> {
    let path = state_dir.join(FILE);
    let mut bytes = Vec::new();
    match File::open(&path).and_then(|file| file.take(FILE_MAX_BYTES + 1).read_to_end(&mut bytes)) {
        Ok(_) => decode(&bytes).map(Some).ok_or(NftError::Damaged(path)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(NftError::Store { path, source }),
    }
}

/// [`stored`], off the runtime's threads.
pub(super) async fn read(state_dir: &Path) -> Result<Option<(Policy, Vec<SocketAddr>)>, NftError> {
    let directory = state_dir.to_owned();
    let path = state_dir.join(FILE);
    tokio::task::spawn_blocking(move || stored(&directory)).await.unwrap_or_else(|failed| Err(NftError::Store { path, source: failed.into() }))
}

/// Replaces the file, durably.
pub(super) async fn write(state_dir: &Path, policy: &Policy, coordinators: &[SocketAddr]) -> Result<(), NftError> {
    let bytes = encode(policy, coordinators);
    let directory = state_dir.to_owned();
    let path = state_dir.join(FILE);
    let written = tokio::task::spawn_blocking(move || replace(&directory, &bytes)).await.unwrap_or_else(|failed| Err(failed.into()));
    written.map_err(|source| NftError::Store { path, source })
}

fn replace(directory: &Path, bytes: &[u8]) -> io::Result<()> {
    let path: PathBuf = directory.join(FILE);
    let temporary = path.with_extension("policy.new");
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, &path)?;
    File::open(directory)?.sync_all()
}

/// `HEADER <SHA-256 of all that follows>`, the coordinators, the policy as it crosses the link.
fn encode(policy: &Policy, coordinators: &[SocketAddr]) -> Vec<u8> {
    let coordinators: Vec<_> = coordinators.iter().map(ToString::to_string).collect();
    let body = [coordinators.join(" ").as_bytes(), b"\n", &policy.to_bytes()].concat();
    [format!("{HEADER} {}\n", checksum(&body)).as_bytes(), &body].concat()
}

fn decode(bytes: &[u8]) -> Option<(Policy, Vec<SocketAddr>)> {
    let (header, body) = split_line(bytes)?;
    if header != format!("{HEADER} {}", checksum(body)).as_bytes() {
        return None;
    }
    let (coordinators, policy) = split_line(body)?;
    let coordinators = std::str::from_utf8(coordinators).ok()?.split_whitespace().map(|address| address.parse().ok()).collect::<Option<_>>()?;
    Some((Policy::from_bytes(policy).ok()?, coordinators))
}

fn split_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    Some((bytes.get(..end)?, bytes.get(end + 1..)?))
}

fn checksum(body: &[u8]) -> String {
    hex::encode(Sha256::digest(body))
}

#[cfg(test)]
mod tests {
    use loopback_protocol::firewall::Policy;

    use super::{decode, encode};

    #[test]
    fn what_was_written_reads_back_and_any_damage_is_noticed() {
        let coordinators = ["192.0.2.1:8443".parse().unwrap(), "[2001:db8::1]:8443".parse().unwrap()];
        let bytes = encode(&Policy::unfiltered(7), &coordinators);
        assert_eq!(decode(&bytes), Some((Policy::unfiltered(7), coordinators.to_vec())));
        assert_eq!(decode(&encode(&Policy::unfiltered(7), &[])), Some((Policy::unfiltered(7), Vec::new())));
        for position in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[position] ^= 1;
            assert_eq!(decode(&damaged), None);
            assert_eq!(decode(&bytes[..position]), None);
        }
    }
}
