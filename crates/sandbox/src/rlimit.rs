//! Limits of one process and of those that it starts, as `ulimit` sets them.
//!
//! Beside [`crate::limits`], which keeps pods from the machine: these are what somebody asks for a program. The kernel lets nobody
//! in a pod raise a limit above the one that the pod's keeper has, so a wish that goes beyond it is granted as far as that.

use std::fmt;
use std::str::FromStr;

use rustix::process::{Resource, Rlimit};
use serde::{Deserialize, Serialize};

use crate::error::{Doing as _, Result};
use crate::limits::for_containers;

/// What is limited, by Docker's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LimitedResource {
    /// Bytes of a core file.
    Core,
    /// Seconds of processor time.
    Cpu,
    /// Bytes of data.
    Data,
    /// Bytes of a file that is written.
    Fsize,
    /// Locks.
    Locks,
    /// Bytes that are kept in memory.
    Memlock,
    /// Bytes in message queues.
    Msgqueue,
    /// Niceness, as 20 less its value.
    Nice,
    /// Open files.
    Nofile,
    /// Processes of the user.
    Nproc,
    /// Bytes in memory; without an effect in Linux.
    Rss,
    /// Realtime priority.
    Rtprio,
    /// Microseconds of realtime scheduling.
    Rttime,
    /// Signals that wait.
    Sigpending,
    /// Bytes of the stack.
    Stack,
}

impl LimitedResource {
    const ALL: [(&'static str, Self, Resource); 15] = [
        ("core", Self::Core, Resource::Core),
        ("cpu", Self::Cpu, Resource::Cpu),
        ("data", Self::Data, Resource::Data),
        ("fsize", Self::Fsize, Resource::Fsize),
        ("locks", Self::Locks, Resource::Locks),
        ("memlock", Self::Memlock, Resource::Memlock),
        ("msgqueue", Self::Msgqueue, Resource::Msgqueue),
        ("nice", Self::Nice, Resource::Nice),
        ("nofile", Self::Nofile, Resource::Nofile),
        ("nproc", Self::Nproc, Resource::Nproc),
        ("rss", Self::Rss, Resource::Rss),
        ("rtprio", Self::Rtprio, Resource::Rtprio),
        ("rttime", Self::Rttime, Resource::Rttime),
        ("sigpending", Self::Sigpending, Resource::Sigpending),
        ("stack", Self::Stack, Resource::Stack),
    ];

    fn named(name: &str) -> Option<Self> {
        let mut all = Self::ALL.iter();
        all.find(|(known, ..)| *known == name)
            .map(|(_, resource, _)| *resource)
    }

    /// Its name and the kernel's number; the table has all.
    fn entry(self) -> (&'static str, Resource) {
        let mut all = Self::ALL.iter();
        let found = all.find(|(_, resource, _)| *resource == self);
        found.map_or(("core", Resource::Core), |(name, _, resource)| (*name, *resource))
    }
}

/// A limit: `nofile=1024:2048`, in the unit of its resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceLimit {
    /// What is limited.
    pub resource: LimitedResource,
    /// What counts; the program may raise it up to the other one. Nothing is no limit.
    pub soft: Option<u64>,
    /// What the soft one may be at most. Nothing is no limit.
    pub hard: Option<u64>,
}

/// A text is no limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResourceLimitError {
    /// It is not written as one.
    #[error("`{0}` is no limit: write NAME=SOFT[:HARD], -1 for none")]
    Form(String),
    /// There is no such resource.
    #[error("there is no limit `{0}`; there are {names}", names = LimitedResource::ALL.map(|(name, ..)| name).join(", "))]
    Name(String),
    /// The soft limit is the higher one.
    #[error("`{0}`: the soft limit is above the hard one")]
    Order(String),
}

impl FromStr for ResourceLimit {
    type Err = ResourceLimitError;

    fn from_str(text: &str) -> std::result::Result<Self, ResourceLimitError> {
        let form = || ResourceLimitError::Form(text.to_owned());
        let number = |text: &str| match text {
            "-1" => Ok(None),
            text => text.parse().map(Some).map_err(|_| form()),
        };
        let (name, values) = text.split_once('=').ok_or_else(form)?;
        let (soft, hard) = values.split_once(':').unwrap_or((values, values));
        let limit = Self {
            resource: LimitedResource::named(name)
                .ok_or_else(|| ResourceLimitError::Name(name.to_owned()))?,
            soft: number(soft)?,
            hard: number(hard)?,
        };
        match at_most(limit.soft, limit.hard) == limit.soft {
            true => Ok(limit),
            false => Err(ResourceLimitError::Order(text.to_owned())),
        }
    }
}

impl fmt::Display for ResourceLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |limit: Option<u64>| limit.map_or("-1".to_owned(), |limit| limit.to_string());
        let (name, _) = self.resource.entry();
        write!(f, "{name}={}:{}", text(self.soft), text(self.hard))
    }
}

impl ResourceLimit {
    /// What a container of this process gets of it: less where this process may have less itself.
    pub fn granted_here(self) -> Self {
        let (_, resource) = self.resource.entry();
        let allowed = for_containers(resource, rustix::process::getrlimit(resource));
        self.within(allowed.maximum)
    }

    fn within(self, most: Option<u64>) -> Self {
        let hard = at_most(self.hard, most);
        Self {
            soft: at_most(self.soft, hard),
            hard,
            ..self
        }
    }
}

/// The lower of two limits.
fn at_most(limit: Option<u64>, most: Option<u64>) -> Option<u64> {
    match (limit, most) {
        (Some(limit), Some(most)) => Some(limit.min(most)),
        (limit, most) => limit.or(most),
    }
}

/// Bounds the calling process, as far as it may.
pub(crate) fn bound(limits: &[ResourceLimit]) -> Result<()> {
    for wanted in limits {
        let (name, resource) = wanted.resource.entry();
        let granted = wanted.within(rustix::process::getrlimit(resource).maximum);
        let both = Rlimit {
            current: granted.soft,
            maximum: granted.hard,
        };
        rustix::process::setrlimit(resource, both).doing(|| format!("set the limit {name}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_written_as_docker_has_them() {
        let parsed = |text: &str| text.parse::<ResourceLimit>();
        for (text, expected) in [
            ("nofile=1024", "nofile=1024:1024"),
            ("nofile=1024:2048", "nofile=1024:2048"),
            ("core=0:-1", "core=0:-1"),
            ("stack=-1", "stack=-1:-1"),
        ] {
            assert_eq!(parsed(text).unwrap().to_string(), expected, "{text}");
        }
        for (text, words) in [
            ("nofile", "NAME=SOFT"),
            ("nofile=many", "NAME=SOFT"),
            ("nofile=1:", "NAME=SOFT"),
            ("files=1", "no limit `files`; there are core, cpu"),
            ("nofile=2:1", "above the hard one"),
            ("nofile=-1:1", "above the hard one"),
        ] {
            let said = parsed(text).unwrap_err().to_string();
            assert!(said.contains(words), "{text}: {said}");
        }
    }

    #[test]
    fn nobody_gets_more_than_there_is() {
        let within = |text: &str, most| text.parse::<ResourceLimit>().unwrap().within(most).to_string();
        assert_eq!(within("nofile=10:20", Some(15)), "nofile=10:15");
        assert_eq!(within("nofile=-1", Some(15)), "nofile=15:15");
        assert_eq!(within("nofile=10:20", None), "nofile=10:20");
        let huge: ResourceLimit = "nofile=-1".parse().unwrap();
        let own = rustix::process::getrlimit(Resource::Nofile).maximum.unwrap();
        assert!(huge.granted_here().hard.unwrap() < own);
    }
}
