//! Runs the `nft` program: bounded in time and in what is read of its answers. Knows nothing of policies.

use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use loopback_agent_core::firewall::ruleset::TABLE;
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};

use super::NftError;

/// One run; a table of 50,000 rules takes about 5 s.
const RUN_TIMEOUT_S: u64 = 60;
/// A listing; a table of 50,000 rules has about 30 MB.
const OUTPUT_MAX_BYTES: usize = 128 * 1024 * 1024;
/// So much of a message goes into an error.
const MESSAGE_MAX_CHARS: usize = 1_024;
/// Where `nft` is when a service's PATH does not lead to it.
const SYSTEM_DIRECTORIES: [&str; 2] = ["/usr/sbin", "/sbin"];

/// Runs a transaction.
pub(super) async fn load(transaction: &impl Serialize) -> Result<(), NftError> {
    feed(&["-j", "-f", "-"], transaction).await
}

/// Has a transaction checked by the kernel without running it.
pub(super) async fn rehearse(transaction: &impl Serialize) -> Result<(), NftError> {
    feed(&["-c", "-j", "-f", "-"], transaction).await
}

async fn feed(arguments: &[&str], transaction: &impl Serialize) -> Result<(), NftError> {
    let input = serde_json::to_vec(transaction).map_err(NftError::Json)?;
    let answer = run(arguments, &input).await?;
    if answer.success { Ok(()) } else { Err(NftError::Refused(answer.message)) }
}

/// Our table as numeric JSON; `None` if there is none.
pub(super) async fn listing() -> Result<Option<String>, NftError> {
    let answer = run(&["-j", "-n", "list", "table", "inet", TABLE], &[]).await?;
    match answer.success {
        true => Ok(Some(answer.output)),
        false if answer.message.contains("No such file or directory") => Ok(None),
        false => Err(NftError::Refused(answer.message)),
    }
}

struct Answer {
    success: bool,
    output: String,
    message: String,
}

async fn run(arguments: &[&str], input: &[u8]) -> Result<Answer, NftError> {
    let program = find().ok_or(NftError::Missing)?;
    let failed = |source| NftError::Run { program: program.clone(), source };
    let mut command = Command::new(&program);
    // Its words for "no such table" are the C library's; they are looked for in English.
    command.args(arguments).env("LC_ALL", "C").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let child = command.spawn().map_err(failed)?;
    let limit = Duration::from_secs(RUN_TIMEOUT_S);
    match tokio::time::timeout(limit, converse(child, input)).await {
        Err(_) => Err(NftError::TimedOut(RUN_TIMEOUT_S)),
        Ok(Err(error)) if error.kind() == io::ErrorKind::FileTooLarge => Err(NftError::TooLong(OUTPUT_MAX_BYTES)),
        Ok(answer) => answer.map_err(failed),
    }
}

fn find() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = std::env::split_paths(&path).chain(SYSTEM_DIRECTORIES.map(PathBuf::from));
    directories.map(|directory| directory.join("nft")).find(|program| program.is_file())
}

async fn converse(mut child: Child, input: &[u8]) -> io::Result<Answer> {
    let mut stdin = child.stdin.take();
    let write = async {
        if let Some(mut stdin) = stdin.take() {
            match stdin.write_all(input).await {
                // It gave up early; why is in its message.
                Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error),
                _ => drop(stdin),
            }
        }
        Ok(())
    };
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let ((), output, message) = tokio::try_join!(write, read(stdout), read(stderr))?;
    let success = child.wait().await?.success();
    Ok(Answer { success, output, message: message.trim().chars().take(MESSAGE_MAX_CHARS).collect() })
}

async fn read(pipe: Option<impl AsyncRead + Unpin>) -> io::Result<String> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        pipe.take(OUTPUT_MAX_BYTES as u64 + 1).read_to_end(&mut bytes).await?;
    }
    if bytes.len() > OUTPUT_MAX_BYTES {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
