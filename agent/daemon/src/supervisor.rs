//! Owns every task of the agent by name. A task that panics ends the agent: it refuses to limp on without a part.

use std::collections::HashMap;
use std::time::Duration;

use tokio::task::{Id, JoinError, JoinSet};

/// The tasks beside the loop.
#[derive(Debug, Default)]
pub struct Supervisor {
    tasks: JoinSet<()>,
    names: HashMap<Id, &'static str>,
}

/// A task came to an end it must not have.
#[derive(Debug, thiserror::Error)]
#[error("the task `{name}` panicked; this is a defect of the agent")]
pub struct Panicked {
    name: &'static str,
}

impl Supervisor {
    /// Starts a task.
    pub fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let id = self.tasks.spawn(task).id();
        self.names.insert(id, name);
    }

    /// Starts a task that blocks its thread.
    pub fn spawn_blocking(&mut self, name: &'static str, task: impl FnOnce() + Send + 'static) {
        let id = self.tasks.spawn_blocking(task).id();
        self.names.insert(id, name);
    }

    /// Waits until a task ended; for ever while there is none. Cancel-safe.
    pub async fn ended(&mut self) -> Result<(), Panicked> {
        match self.tasks.join_next_with_id().await {
            Some(Ok((id, ()))) => {
                self.names.remove(&id);
                Ok(())
            }
            Some(Err(error)) => self.judge(&error),
            None => std::future::pending().await,
        }
    }

    /// Waits until all tasks ended, at most this long; then aborts what is left.
    pub async fn finish(mut self, timeout: Duration) -> Result<(), Panicked> {
        let all = async {
            while !self.tasks.is_empty() {
                self.ended().await?;
            }
            Ok(())
        };
        let finished = tokio::time::timeout(timeout, all).await;
        finished.unwrap_or_else(|_| {
            tracing::warn!(tasks = ?self.names.values().collect::<Vec<_>>(), "tasks did not end in time");
            self.tasks.abort_all();
            Ok(())
        })
    }

    fn judge(&mut self, error: &JoinError) -> Result<(), Panicked> {
        let name = self.names.remove(&error.id()).unwrap_or("unnamed");
        if error.is_panic() { Err(Panicked { name }) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Supervisor;

    #[tokio::test]
    async fn a_panic_is_reported_by_the_name_of_its_task() {
        let mut tasks = Supervisor::default();
        tasks.spawn("fine", async {});
        tasks.spawn("broken", async { panic!("as meant by the test") });
        let panicked = tasks.finish(Duration::from_secs(5)).await.unwrap_err();
        assert_eq!(panicked.name, "broken");
    }

    #[tokio::test]
    async fn what_does_not_end_is_aborted() {
        let mut tasks = Supervisor::default();
        tasks.spawn("endless", std::future::pending());
        assert!(tasks.finish(Duration::from_millis(1)).await.is_ok());
    }
}
