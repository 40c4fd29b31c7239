//! What can be read of a database from outside: by who examines an installation, without a schema being made or brought up to date. It changes nothing.

use std::path::Path;
use std::time::Duration;

use sqlx::any::AnyPoolOptions;

use super::StorageError;
use super::audit::unsigned;

/// How long a database that is in use is waited for.
const TIMEOUT: Duration = Duration::from_secs(3);

/// The version of a database's schema; `None` if it has none.
///
/// # Errors
/// It is no database, or cannot be read.
pub(crate) async fn schema_version(file: &Path) -> Result<Option<i64>, StorageError> {
    number(file, "SELECT MAX(version) FROM schema_version").await
}

/// When the newest audit event of any trail was written, in milliseconds since 1970.
///
/// # Errors
/// It is no database, or cannot be read.
pub(crate) async fn newest_audit_event(file: &Path) -> Result<Option<u64>, StorageError> {
    Ok(number(file, "SELECT MAX(time_ms) FROM audit_event").await?.map(unsigned))
}

async fn number(file: &Path, sql: &'static str) -> Result<Option<i64>, StorageError> {
    sqlx::any::install_default_drivers();
    let options = AnyPoolOptions::new().max_connections(1).acquire_timeout(TIMEOUT);
    let pool = options.connect(&format!("sqlite://{}?mode=ro", file.display())).await?;
    let number = sqlx::query_scalar(sql).fetch_one(&pool).await;
    pool.close().await;
    Ok(number?)
}
