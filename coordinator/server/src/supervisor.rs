//! Owns every task of the process by name. One that fails, panics or returns before it was asked to takes the process with it.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// The tasks, and the token that asks them to stop.
#[derive(Debug, Default)]
pub struct Supervisor {
    tasks: JoinSet<(&'static str, Result<(), String>)>,
    stop: CancellationToken,
}

/// A task that did not end as it should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name} ended: {reason}")]
pub struct TaskEnded {
    /// Which.
    pub name: String,
    /// Why.
    pub reason: String,
}

impl Supervisor {
    /// Asks the tasks to stop when it is cancelled.
    #[must_use]
    pub fn token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Starts a task.
    pub fn spawn<E: std::fmt::Display>(&mut self, name: &'static str, task: impl Future<Output = Result<(), E>> + Send + 'static) {
        self.tasks.spawn(async move { (name, task.await.map_err(|error| error.to_string())) });
    }

    /// Waits until a task ends although nobody asked it to. Never ends while all is well.
    pub async fn failed(&mut self) -> TaskEnded {
        match self.tasks.join_next().await {
            Some(Ok((name, Ok(())))) => TaskEnded { name: name.to_owned(), reason: "it returned".to_owned() },
            Some(Ok((name, Err(reason)))) => TaskEnded { name: name.to_owned(), reason },
            Some(Err(panic)) => TaskEnded { name: "a task".to_owned(), reason: panic.to_string() },
            None => std::future::pending().await,
        }
    }

    /// Asks all to stop and waits, at most so long; then they are dropped where they stand.
    ///
    /// # Errors
    /// The first that failed while stopping, or did not stop.
    pub async fn stop(mut self, grace: Duration) -> Result<(), TaskEnded> {
        self.stop.cancel();
        let all = async {
            let mut first = Ok(());
            while let Some(ended) = self.tasks.join_next().await {
                let ended = match ended {
                    Ok((_, Ok(()))) => Ok(()),
                    Ok((name, Err(reason))) => Err(TaskEnded { name: name.to_owned(), reason }),
                    Err(panic) => Err(TaskEnded { name: "a task".to_owned(), reason: panic.to_string() }),
                };
                first = first.and(ended);
            }
            first
        };
        let late = || TaskEnded { name: "a task".to_owned(), reason: "it did not stop in time".to_owned() };
        tokio::time::timeout(grace, all).await.unwrap_or_else(|_| Err(late()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Supervisor;

    #[tokio::test]
    async fn a_failure_a_return_and_a_panic_are_all_told() {
        let mut supervisor = Supervisor::default();
        supervisor.spawn("first", async { Err("no disk") });
        assert_eq!(supervisor.failed().await.to_string(), "first ended: no disk");
        supervisor.spawn("second", async { Ok::<_, String>(()) });
        assert_eq!(supervisor.failed().await.to_string(), "second ended: it returned");
        supervisor.spawn("third", async { if true { panic!("oh") } else { Ok::<_, String>(()) } });
        assert!(supervisor.failed().await.reason.contains("oh"));
    }

    #[tokio::test]
    async fn a_stop_waits_for_those_that_listen_and_names_one_that_does_not() {
        let mut supervisor = Supervisor::default();
        let token = supervisor.token();
        supervisor.spawn("good", async move {
            token.cancelled().await;
            Ok::<_, String>(())
        });
        supervisor.stop(Duration::from_secs(10)).await.unwrap();
        let mut supervisor = Supervisor::default();
        supervisor.spawn("deaf", std::future::pending::<Result<(), String>>());
        assert!(supervisor.stop(Duration::from_millis(1)).await.is_err());
    }
}
