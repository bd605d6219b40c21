//! Who is known: people with the hashes of their passwords, and the hashes of jobs' tokens.
//!
//! Only rows; what they allow is decided in the crate `access`.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::database::{change, exists, row, rows, signed, size};
use crate::{Result, Store};

/// A person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserRecord {
    /// The name to log in with.
    pub name: String,
    /// The hash of the password, in the form that says how it was made.
    pub password_hash: String,
    /// Whether everything is allowed.
    pub administrator: bool,
}

/// What became of a person who was to be taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// They are gone.
    Removed,
    /// There is nobody of that name.
    Unknown,
    /// They stay: others are there, and none of them is an administrator.
    LastAdministrator,
}

/// What a job's token stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobTokenRecord {
    /// The job's project.
    pub project: String,
    /// The job.
    pub job: u64,
    /// When the token ends to be valid, in seconds since 1970.
    pub expires_unix: u64,
}

impl Store {
    /// Puts a person, in place of one with the same name.
    pub fn put_user(&self, user: &UserRecord) -> Result<()> {
        let sql = "INSERT INTO users (name, password_hash, administrator) VALUES (?1, ?2, ?3)
            ON CONFLICT (name) DO UPDATE SET password_hash = excluded.password_hash, administrator = excluded.administrator";
        self.database().write(|db| {
            change(db, sql, (&user.name, &user.password_hash, user.administrator))?;
            Ok(())
        })
    }

    /// Adds a person, as an administrator if there is nobody yet; gives what was added, or `None` if the name is taken.
    pub fn add_user(&self, user: &UserRecord) -> Result<Option<UserRecord>> {
        let sql = "INSERT INTO users (name, password_hash, administrator)
            SELECT ?1, ?2, ?3 OR NOT EXISTS (SELECT 1 FROM users) WHERE true
            ON CONFLICT (name) DO NOTHING RETURNING name, password_hash, administrator";
        let parameters = (&user.name, &user.password_hash, user.administrator);
        self.database()
            .write(|db| Ok(row(db, sql, parameters, user_record)?))
    }

    /// A person.
    pub fn user(&self, name: &str) -> Result<Option<UserRecord>> {
        let sql = "SELECT name, password_hash, administrator FROM users WHERE name = ?1";
        Ok(self.database().read(|db| row(db, sql, [name], user_record))?)
    }

    /// All people, sorted by name.
    pub fn users(&self) -> Result<Vec<UserRecord>> {
        let sql = "SELECT name, password_hash, administrator FROM users ORDER BY name";
        self.database().read(|db| rows(db, sql, [], user_record))
    }

    /// Takes a person away, unless that left others without an administrator.
    pub fn delete_user(&self, name: &str) -> Result<Removal> {
        let sql = "DELETE FROM users WHERE name = ?1 AND (NOT administrator
            OR EXISTS (SELECT 1 FROM users WHERE name <> ?1 AND administrator)
            OR NOT EXISTS (SELECT 1 FROM users WHERE name <> ?1))";
        self.database().write(|db| {
            if change(db, sql, [name])? == 1 {
                return Ok(Removal::Removed);
            }
            Ok(match exists(db, "SELECT 1 FROM users WHERE name = ?1", [name])? {
                true => Removal::LastAdministrator,
                false => Removal::Unknown,
            })
        })
    }

    /// Puts a job's token by its hash. The token itself is not to be kept anywhere.
    pub fn put_job_token(&self, hash: &[u8; 32], token: &JobTokenRecord) -> Result<()> {
        let sql = "INSERT INTO job_tokens (hash, project, job, expires) VALUES (?1, ?2, ?3, ?4)
            ON CONFLICT (hash) DO UPDATE SET project = excluded.project, job = excluded.job, expires = excluded.expires";
        self.database().write(|db| {
            change(
                db,
                sql,
                (
                    hash,
                    &token.project,
                    signed(token.job),
                    signed(token.expires_unix),
                ),
            )?;
            Ok(())
        })
    }

    /// What a job's token stands for, if it is valid now.
    pub fn job_token(&self, hash: &[u8; 32]) -> Result<Option<JobTokenRecord>> {
        let sql = "SELECT project, job, expires FROM job_tokens WHERE hash = ?1 AND expires > ?2";
        Ok(self.database().read(|db| {
            row(db, sql, (hash, unix_seconds()), |row| {
                Ok(JobTokenRecord {
                    project: row.get(0)?,
                    job: size(row, 1)?,
                    expires_unix: size(row, 2)?,
                })
            })
        })?)
    }

    /// Whether a job has a token that is valid now.
    pub fn job_has_token(&self, project: &str, job: u64) -> Result<bool> {
        let sql = "SELECT 1 FROM job_tokens WHERE project = ?1 AND job = ?2 AND expires > ?3";
        Ok(self
            .database()
            .read(|db| exists(db, sql, (project, signed(job), unix_seconds())))?)
    }

    /// Makes a job's token invalid.
    pub fn delete_job_token(&self, hash: &[u8; 32]) -> Result<bool> {
        self.database()
            .write(|db| Ok(change(db, "DELETE FROM job_tokens WHERE hash = ?1", [hash])? == 1))
    }

    /// Makes all tokens of a job invalid; says how many there were.
    pub fn delete_tokens_of_job(&self, job: u64) -> Result<usize> {
        self.database().write(|db| {
            Ok(change(
                db,
                "DELETE FROM job_tokens WHERE job = ?1",
                [signed(job)],
            )?)
        })
    }

    pub(crate) fn sweep_job_tokens(&self) -> Result<()> {
        let sql = "DELETE FROM job_tokens WHERE expires <= ?1";
        self.database().write(|db| change(db, sql, [unix_seconds()]))?;
        Ok(())
    }
}

fn user_record(row: &rusqlite::Row<'_>) -> rusqlite::Result<UserRecord> {
    Ok(UserRecord {
        name: row.get(0)?,
        password_hash: row.get(1)?,
        administrator: row.get(2)?,
    })
}

fn unix_seconds() -> i64 {
    signed(
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs(),
    )
}
