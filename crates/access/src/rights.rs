//! The table of rights. All of it.
//!
//! | Who | Pull | Push, delete | List repositories |
//! |---|---|---|---|
//! | administrator | everywhere | everywhere | yes |
//! | user | everywhere | in `NAME/…` | yes |
//! | job | its project and below | its project and below | no |
//! | nobody known | everywhere if the installation allows it, else nowhere | nowhere | as pull |

use shipway_oci::RepositoryName;

use crate::{Action, Principal};

/// What an installation lets people do who have not logged in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strangers {
    /// Nothing.
    Refused,
    /// Pull from everywhere.
    MayPull,
}

pub(crate) fn allows(
    strangers: Strangers,
    principal: &Principal,
    repository: &RepositoryName,
    action: Action,
) -> bool {
    match (principal, action) {
        (
            Principal::User {
                administrator: true, ..
            },
            _,
        ) => true,
        (Principal::User { .. }, Action::Pull) => true,
        (Principal::User { name, .. }, Action::Push | Action::Delete) => repository
            .as_str()
            .strip_prefix(name.as_str())
            .is_some_and(|rest| rest.starts_with('/')),
        (Principal::Job { project, .. }, _) => repository.is_within(project),
        (Principal::Anonymous, Action::Pull) => strangers == Strangers::MayPull,
        (Principal::Anonymous, Action::Push | Action::Delete) => false,
    }
}

pub(crate) fn may_list(strangers: Strangers, principal: &Principal) -> bool {
    match principal {
        Principal::User { .. } => true,
        Principal::Job { .. } => false,
        Principal::Anonymous => strangers == Strangers::MayPull,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Action::{Delete, Pull, Push};

    fn user(name: &str, administrator: bool) -> Principal {
        Principal::User {
            name: name.parse().unwrap(),
            administrator,
        }
    }

    fn job(project: &str) -> Principal {
        Principal::Job {
            project: project.parse().unwrap(),
            job: 7,
        }
    }

    /// Principal, repository, what is allowed there if strangers are refused.
    #[test]
    fn row_by_row() {
        let all = &Action::ALL[..];
        let rows: &[(Principal, &str, &[Action])] = &[
            (user("root", true), "ann/app", all),
            (user("root", true), "x", all),
            (user("ann", false), "ann/app", all),
            (user("ann", false), "ann/app/deep", all),
            (user("ann", false), "ann", &[Pull]),
            (user("ann", false), "anna/app", &[Pull]),
            (user("ann", false), "bob/app", &[Pull]),
            (user("ann", false), "bob/ann/app", &[Pull]),
            (job("group/app"), "group/app", all),
            (job("group/app"), "group/app/cache", all),
            (job("group/app"), "group/application", &[]),
            (job("group/app"), "group", &[]),
            (job("group/app"), "group/other", &[]),
            (job("group/app"), "other/group/app", &[]),
            (Principal::Anonymous, "ann/app", &[]),
        ];
        for (principal, repository, allowed) in rows {
            for action in Action::ALL {
                let answer = allows(
                    Strangers::Refused,
                    principal,
                    &repository.parse().unwrap(),
                    action,
                );
                assert_eq!(
                    answer,
                    allowed.contains(&action),
                    "{principal} {action} {repository}"
                );
            }
        }
    }

    #[test]
    fn strangers_may_pull_where_that_is_allowed_and_no_more() {
        let repository = "ann/app".parse().unwrap();
        let may = |action| allows(Strangers::MayPull, &Principal::Anonymous, &repository, action);
        assert!(may(Pull) && !may(Push) && !may(Delete));
        // It gives nobody else anything.
        assert!(!allows(Strangers::MayPull, &job("group/app"), &repository, Pull));
    }

    #[test]
    fn listing() {
        for (principal, refused, open) in [
            (user("root", true), true, true),
            (user("ann", false), true, true),
            (job("a/b"), false, false),
            (Principal::Anonymous, false, true),
        ] {
            assert_eq!(may_list(Strangers::Refused, &principal), refused, "{principal}");
            assert_eq!(may_list(Strangers::MayPull, &principal), open, "{principal}");
        }
    }
}
