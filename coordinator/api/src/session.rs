//! Shell sessions and their recordings.

use loopback_core::access::{Key, Verb};
use loopback_protocol::id::{HostId, SessionId};
use loopback_protocol::shell::WindowSize;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::operation::{Access, Nothing, operations};
use crate::page::{Page, PageQuery};
use crate::time::Time;

operations! {
    /// Opens a shell: a WebSocket that carries terminal bytes as binary and [`ClientMessage`] and [`ServerMessage`] as text.
    OpenShell "open_shell" Get "/v1/organizations/{organization}/projects/{project}/workspaces/{workspace}/hosts/{host}/shell", Access::Holds(Key::ProjectWorkspaceHostShellSession.may(Verb::Execute)), "shell_session.open", Nothing, Nothing => Nothing;
    /// Lists the shell sessions one may see.
    ListSessions "list_sessions" Get "/v1/organizations/{organization}/sessions", Access::Reaches(Key::ProjectWorkspaceHostShellSession.may(Verb::Read)), "shell_session.list", SessionQuery, Nothing => Page<Session>;
    /// Shows a shell session.
    GetSession "get_session" Get "/v1/organizations/{organization}/sessions/{session}", Access::Reaches(Key::ProjectWorkspaceHostShellSession.may(Verb::Read)), "shell_session.read", Nothing, Nothing => Session;
    /// Ends a shell session and every process in it.
    TerminateSession "terminate_session" Delete "/v1/organizations/{organization}/sessions/{session}", Access::Reaches(Key::ProjectWorkspaceHostShellSession.may(Verb::Delete)), "shell_session.terminate", Nothing, Nothing => Nothing;
    /// Fetches a session's recording as asciicast.
    GetRecording "get_recording" Get "/v1/organizations/{organization}/sessions/{session}/recording", Access::Reaches(Key::ProjectWorkspaceHostShellSessionRecording.may(Verb::Read)), "shell_session.recording.read", Nothing, Nothing => String;
}

/// Where a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SessionState {
    /// The host has been asked.
    Opening,
    /// The shell runs.
    Active,
    /// It is over; `ended` says why.
    Ended,
}

/// A shell session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Session {
    /// Its id.
    #[schemars(with = "String")]
    pub id: SessionId,
    /// On which host.
    #[schemars(with = "String")]
    pub host: HostId,
    /// The host's path.
    pub host_path: String,
    /// Whose.
    pub email: String,
    /// As which user of the host.
    pub run_as: String,
    /// Why, in the operator's words.
    pub reason: String,
    /// Where it stands.
    pub state: SessionState,
    /// Why it ended: `exit(0)`, `signal(9)`, `operator closed`, `terminated by …`, `permission revoked`, `time limit`, `idle limit`, `host lost`, `recording failed`, ….
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// When it was asked for.
    pub started_at: Time,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Time>,
    /// Whether a recording can be fetched.
    pub recorded: bool,
}

/// Which sessions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SessionQuery {
    /// Only those that are not over.
    #[serde(default)]
    pub open: bool,
    /// At most this many items.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

impl SessionQuery {
    /// The page it asks for.
    #[must_use]
    pub fn page(&self) -> PageQuery {
        PageQuery { limit: self.limit, cursor: self.cursor.clone() }
    }
}

/// From the operator's terminal, as WebSocket text; binary messages are input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum ClientMessage {
    /// The first message, once.
    Open(OpenRequest),
    /// The window has another size.
    Resize(WindowSize),
    /// A signal for the foreground process group.
    Signal {
        /// Its number.
        number: u8,
    },
    /// The operator is done.
    Close,
}

/// What to open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenRequest {
    /// The window's size.
    pub size: WindowSize,
    /// The terminal's type.
    pub term: String,
    /// The operator's `LANG`, or empty.
    #[serde(default)]
    pub lang: String,
    /// As which user; the host's login user when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_as: Option<String>,
    /// A command instead of an interactive shell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// End after this many seconds; the policy's limit when left out, and never more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_seconds: Option<u64>,
}

/// To the operator's terminal, as WebSocket text; binary messages are output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerMessage {
    /// The shell runs.
    Opened {
        /// The session's id.
        session: SessionId,
    },
    /// It is over; the last message.
    Ended {
        /// Why, as in [`Session::ended`].
        reason: String,
        /// The exit code to leave with: the shell's own, or 128 + signal, or 1.
        exit_code: u8,
    },
}
