//! Columns as the types they stand for. What cannot be read was not written by this program.

use std::str::FromStr;

use loopback_core::access::ScopePath;
use loopback_protocol::id::{Id, Kind};
use loopback_protocol::secret::SecretHash;
use sqlx::Row;
use sqlx::any::AnyRow;

use super::StorageError;
use super::audit::unsigned;

pub(crate) fn text(row: &AnyRow, column: &'static str) -> Result<String, StorageError> {
    Ok(row.try_get(column)?)
}

pub(crate) fn optional_text(row: &AnyRow, column: &'static str) -> Result<Option<String>, StorageError> {
    Ok(row.try_get(column)?)
}

pub(crate) fn id<K: Kind>(row: &AnyRow, column: &'static str) -> Result<Id<K>, StorageError> {
    parsed(row, column)
}

pub(crate) fn optional_id<K: Kind>(row: &AnyRow, column: &'static str) -> Result<Option<Id<K>>, StorageError> {
    optional_text(row, column)?.map(|text| text.parse().map_err(|_| StorageError::Corrupt(column))).transpose()
}

pub(crate) fn number(row: &AnyRow, column: &'static str) -> Result<u64, StorageError> {
    Ok(unsigned(row.try_get(column)?))
}

pub(crate) fn optional_number(row: &AnyRow, column: &'static str) -> Result<Option<u64>, StorageError> {
    Ok(row.try_get::<Option<i64>, _>(column)?.map(unsigned))
}

pub(crate) fn parsed<T: FromStr>(row: &AnyRow, column: &'static str) -> Result<T, StorageError> {
    text(row, column)?.parse().map_err(|_| StorageError::Corrupt(column))
}

pub(crate) fn json<T: serde::de::DeserializeOwned>(row: &AnyRow, column: &'static str) -> Result<T, StorageError> {
    serde_json::from_str(&text(row, column)?).map_err(|_| StorageError::Corrupt(column))
}

pub(crate) fn hash(row: &AnyRow, column: &'static str) -> Result<SecretHash, StorageError> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text(row, column)?, &mut bytes).map_err(|_| StorageError::Corrupt(column))?;
    Ok(SecretHash(bytes))
}

/// The scope of the columns `organization`, `project`, `workspace` and `host`.
pub(crate) fn scope(row: &AnyRow) -> Result<ScopePath, StorageError> {
    let organization = id(row, "organization")?;
    match (optional_id(row, "project")?, optional_id(row, "workspace")?, optional_id(row, "host")?) {
        (None, None, None) => Ok(ScopePath::Organization(organization)),
        (Some(project), None, None) => Ok(ScopePath::Project(organization, project)),
        (Some(project), Some(workspace), None) => Ok(ScopePath::Workspace(organization, project, workspace)),
        (Some(project), Some(workspace), Some(host)) => Ok(ScopePath::Host(organization, project, workspace, host)),
        _ => Err(StorageError::Corrupt("scope")),
    }
}
