//! Variables nobody writes: of the pipeline (usable in rules) and of a job by its name (usable in its rules). What exists
//! only while a job runs is added with the payload (`job::build`).

use super::{Variable, environment_slug, environment_tier, slug};
use crate::pipeline::Environment;
use crate::situation::{MergeRequestFacts, RefKind, Situation};

const NO_COMMIT: &str = "0000000000000000000000000000000000000000";

/// What the dependency proxy stands in front of.
const DOCKER_HUB: &str = "docker.io";

/// Collects variables in order.
#[derive(Default)]
pub(crate) struct List(pub(crate) Vec<Variable>);

impl List {
    pub(crate) fn add(&mut self, key: &str, value: impl Into<String>) {
        self.0.push(Variable::public(key, value));
    }

    /// Text that people wrote: a commit message must not be searched for references.
    pub(crate) fn add_raw(&mut self, key: &str, value: impl Into<String>) {
        self.0.push(Variable {
            raw: true,
            ..Variable::public(key, value)
        });
    }

    fn add_some(&mut self, key: &str, value: &str) {
        if !value.is_empty() {
            self.add_raw(key, value);
        }
    }
}

/// The URL of the project.
pub(crate) fn project_url(situation: &Situation) -> String {
    format!("{}/{}", situation.server.url, situation.project.path)
}

/// `CI_REGISTRY_IMAGE`: repository names have no capitals.
pub(crate) fn registry_image(registry: &str, project_path: &str) -> String {
    format!("{registry}/{}", project_path.to_lowercase())
}

/// What exists before there is a job.
pub(crate) fn pipeline(situation: &Situation, config_path: &str) -> Vec<Variable> {
    let mut list = List::default();
    list.add("CI", "true");
    list.add("GITLAB_CI", "true");
    commit(&mut list, situation);
    list.add("CI_PIPELINE_SOURCE", situation.source.as_str());
    list.add("CI_PIPELINE_IID", situation.pipeline.iid.to_string());
    list.add_some("CI_PIPELINE_CREATED_AT", &situation.pipeline.created_at);
    if situation.source == crate::situation::PipelineSource::Trigger {
        list.add("CI_PIPELINE_TRIGGERED", "true");
    }
    list.add_some(
        "CI_PIPELINE_SCHEDULE_DESCRIPTION",
        &situation.schedule_description,
    );
    if let Some(request) = &situation.merge_request {
        merge_request(&mut list, situation, request);
    }
    list.add("CI_CONFIG_PATH", config_path);
    project(&mut list, situation);
    server(&mut list, &situation.server);
    if let Some(registry) = &situation.registry {
        list.add("CI_REGISTRY", registry);
        list.add(
            "CI_REGISTRY_IMAGE",
            registry_image(registry, &situation.project.path),
        );
    }
    let proxy = situation.dependency_proxy.as_deref().unwrap_or(DOCKER_HUB);
    list.add(
        "CI_DEPENDENCY_PROXY_SERVER",
        proxy.split('/').next().unwrap_or(proxy),
    );
    list.add("CI_DEPENDENCY_PROXY_GROUP_IMAGE_PREFIX", proxy);
    list.add("CI_DEPENDENCY_PROXY_DIRECT_GROUP_IMAGE_PREFIX", proxy);
    list.add("GITLAB_USER_ID", situation.user.id.to_string());
    list.add_raw("GITLAB_USER_LOGIN", &situation.user.login);
    list.add_raw("GITLAB_USER_NAME", &situation.user.name);
    list.add_raw("GITLAB_USER_EMAIL", &situation.user.email);
    list.0
}

/// GitLab's bound on what of a commit's message gets into a variable, in bytes: the kernel gives no program more than 128 KiB
/// in one.
const LONGEST_MESSAGE: usize = 100_000;

fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(LONGEST_MESSAGE))
        .unwrap_or(text)
}

fn commit(list: &mut List, situation: &Situation) {
    let commit = &situation.commit;
    let before = if commit.before_sha.is_empty() {
        NO_COMMIT
    } else {
        &commit.before_sha
    };
    let short: String = commit.sha.chars().take(8).collect();
    let reference = slug(&situation.ref_name);
    list.add("CI_COMMIT_SHA", &commit.sha);
    list.add("CI_COMMIT_SHORT_SHA", short);
    list.add("CI_COMMIT_BEFORE_SHA", before);
    list.add_raw("CI_COMMIT_REF_NAME", &situation.ref_name);
    list.add("CI_COMMIT_REF_SLUG", &reference);
    list.add("CI_COMMIT_REF_PROTECTED", situation.ref_protected.to_string());
    let legacy_tag = match situation.ref_kind {
        RefKind::Branch => {
            // A merge request's pipeline belongs to no branch.
            if situation.merge_request.is_none() {
                list.add_raw("CI_COMMIT_BRANCH", &situation.ref_name);
            }
            None
        }
        RefKind::Tag => {
            list.add_raw("CI_COMMIT_TAG", &situation.ref_name);
            list.add_some("CI_COMMIT_TAG_MESSAGE", &situation.tag_message);
            Some(&situation.ref_name)
        }
    };
    let (title, description) = message_parts(&commit.message);
    list.add_raw("CI_COMMIT_MESSAGE", cut(&commit.message));
    let truncated = commit.message.len() > LONGEST_MESSAGE;
    list.add("CI_COMMIT_MESSAGE_IS_TRUNCATED", truncated.to_string());
    list.add_raw("CI_COMMIT_TITLE", cut(title));
    list.add_raw("CI_COMMIT_DESCRIPTION", cut(description));
    list.add_raw("CI_COMMIT_AUTHOR", &commit.author);
    list.add_some("CI_COMMIT_TIMESTAMP", &commit.timestamp);
    // The names of GitLab 8, which configurations of that age still use.
    list.add("CI_BUILD_REF", &commit.sha);
    list.add("CI_BUILD_BEFORE_SHA", before);
    list.add_raw("CI_BUILD_REF_NAME", &situation.ref_name);
    list.add("CI_BUILD_REF_SLUG", reference);
    if let Some(tag) = legacy_tag {
        list.add_raw("CI_BUILD_TAG", tag);
    }
}

/// Of a merge request whose branches are in one project.
fn merge_request(list: &mut List, situation: &Situation, request: &MergeRequestFacts) {
    let (path, url) = (&situation.project.path, project_url(situation));
    let (project, iid) = (situation.project.id.to_string(), request.iid);
    list.add("CI_MERGE_REQUEST_ID", request.id.to_string());
    list.add("CI_MERGE_REQUEST_IID", iid.to_string());
    list.add(
        "CI_MERGE_REQUEST_REF_PATH",
        format!("refs/merge-requests/{iid}/head"),
    );
    list.add("CI_MERGE_REQUEST_PROJECT_ID", &project);
    list.add("CI_MERGE_REQUEST_PROJECT_PATH", path);
    list.add("CI_MERGE_REQUEST_PROJECT_URL", &url);
    list.add("CI_MERGE_REQUEST_SOURCE_PROJECT_ID", project);
    list.add("CI_MERGE_REQUEST_SOURCE_PROJECT_PATH", path);
    list.add("CI_MERGE_REQUEST_SOURCE_PROJECT_URL", url);
    list.add_raw("CI_MERGE_REQUEST_SOURCE_BRANCH_NAME", &situation.ref_name);
    list.add(
        "CI_MERGE_REQUEST_SOURCE_BRANCH_PROTECTED",
        situation.ref_protected.to_string(),
    );
    list.add_raw("CI_MERGE_REQUEST_TARGET_BRANCH_NAME", &request.target_branch);
    list.add(
        "CI_MERGE_REQUEST_TARGET_BRANCH_PROTECTED",
        request.target_protected.to_string(),
    );
    // Shas of the branches belong to pipelines of merged results.
    list.add("CI_MERGE_REQUEST_SOURCE_BRANCH_SHA", "");
    list.add("CI_MERGE_REQUEST_TARGET_BRANCH_SHA", "");
    list.add_some("CI_MERGE_REQUEST_DIFF_BASE_SHA", &request.diff_base_sha);
    list.add_raw("CI_MERGE_REQUEST_TITLE", &request.title);
    let (description, truncated) = cut_description(&request.description);
    list.add_raw("CI_MERGE_REQUEST_DESCRIPTION", description);
    list.add("CI_MERGE_REQUEST_DESCRIPTION_IS_TRUNCATED", truncated.to_string());
    list.add(
        "CI_MERGE_REQUEST_DRAFT",
        request.title.starts_with("Draft:").to_string(),
    );
    list.add("CI_MERGE_REQUEST_EVENT_TYPE", "detached");
    list.add_raw("CI_OPEN_MERGE_REQUESTS", format!("{path}!{iid}"));
}

/// GitLab's bound on what of a merge request's description gets into a variable, in characters, with [`CUT`] at its end.
const LONGEST_DESCRIPTION: usize = 2700;

/// What stands for the rest.
const CUT: &str = "...";

fn cut_description(text: &str) -> (String, bool) {
    if text.chars().count() <= LONGEST_DESCRIPTION {
        return (text.to_owned(), false);
    }
    let kept = text.chars().take(LONGEST_DESCRIPTION - CUT.len());
    (kept.chain(CUT.chars()).collect(), true)
}

/// Title and description, as GitLab divides a message: the first line and the lines after it, the empty one between them
/// included; of a long first line the description is the whole message.
fn message_parts(message: &str) -> (&str, &str) {
    let title = message.split(['\r', '\n']).next().unwrap_or("");
    if title.chars().count() >= 100 {
        return (title, message);
    }
    let rest = message.split_once('\n').map_or("", |(_, rest)| rest);
    (title, chomp(rest))
}

/// Without the end of the last line.
fn chomp(text: &str) -> &str {
    let text = text.strip_suffix('\n').unwrap_or(text);
    text.strip_suffix('\r').unwrap_or(text)
}

fn project(list: &mut List, situation: &Situation) {
    let project = &situation.project;
    let (namespace, name) = project.path.rsplit_once('/').unwrap_or(("", &project.path));
    let root = namespace.split('/').next().unwrap_or("");
    list.add("CI_PROJECT_ID", project.id.to_string());
    list.add("CI_PROJECT_NAME", name);
    list.add_raw(
        "CI_PROJECT_TITLE",
        if project.title.is_empty() {
            name
        } else {
            &project.title
        },
    );
    list.add_raw("CI_PROJECT_DESCRIPTION", &project.description);
    list.add("CI_PROJECT_PATH", &project.path);
    list.add("CI_PROJECT_PATH_SLUG", slug(&project.path));
    list.add("CI_PROJECT_NAMESPACE", namespace);
    list.add("CI_PROJECT_NAMESPACE_SLUG", slug(namespace));
    list.add("CI_PROJECT_NAMESPACE_ID", project.namespace_id.to_string());
    list.add("CI_PROJECT_ROOT_NAMESPACE", root);
    list.add("CI_PROJECT_URL", project_url(situation));
    let visibility = if project.visibility.is_empty() {
        "private"
    } else {
        &project.visibility
    };
    list.add("CI_PROJECT_VISIBILITY", visibility);
    list.add_raw("CI_DEFAULT_BRANCH", &project.default_branch);
}

fn server(list: &mut List, server: &crate::situation::ServerFacts) {
    let (protocol, rest) = server.url.split_once("://").unwrap_or(("https", &server.url));
    let authority = rest.split('/').next().unwrap_or("");
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (host, port),
        _ => (authority, if protocol == "http" { "80" } else { "443" }),
    };
    list.add("CI_SERVER_URL", &server.url);
    list.add("CI_SERVER_FQDN", authority);
    list.add("CI_SERVER_HOST", host);
    list.add("CI_SERVER_PORT", port);
    list.add("CI_SERVER_PROTOCOL", protocol);
    list.add(
        "CI_SERVER_NAME",
        if server.name.is_empty() {
            "GitLab"
        } else {
            &server.name
        },
    );
    let mut parts = server.version.splitn(3, '.');
    list.add("CI_SERVER_VERSION", &server.version);
    for key in [
        "CI_SERVER_VERSION_MAJOR",
        "CI_SERVER_VERSION_MINOR",
        "CI_SERVER_VERSION_PATCH",
    ] {
        list.add(key, parts.next().unwrap_or("0"));
    }
    list.add("CI_API_V4_URL", format!("{}/api/v4", server.url));
    list.add("CI_API_GRAPHQL_URL", format!("{}/api/graphql", server.url));
    list.add("CI_TEMPLATE_REGISTRY_HOST", "registry.gitlab.com");
}

/// What a job knows of itself before its rules are evaluated.
pub(crate) struct JobFacts<'a> {
    pub(crate) name: &'a str,
    pub(crate) group: &'a str,
    pub(crate) stage: &'a str,
    /// Position among its parallel copies, counted from 1, and their number.
    pub(crate) node: Option<(u32, u32)>,
    pub(crate) manual: bool,
}

/// `CI_JOB_NAME` and its relatives.
pub(crate) fn job(facts: &JobFacts<'_>) -> Vec<Variable> {
    let mut list = List::default();
    list.add_raw("CI_JOB_NAME", facts.name);
    list.add("CI_JOB_NAME_SLUG", slug(facts.name));
    list.add_raw("CI_JOB_GROUP_NAME", facts.group);
    list.add_raw("CI_JOB_STAGE", facts.stage);
    list.add_raw("CI_BUILD_NAME", facts.name);
    list.add_raw("CI_BUILD_STAGE", facts.stage);
    if facts.manual {
        list.add("CI_JOB_MANUAL", "true");
        list.add("CI_BUILD_MANUAL", "true");
    }
    if let Some((index, _)) = facts.node {
        list.add("CI_NODE_INDEX", index.to_string());
    }
    list.add(
        "CI_NODE_TOTAL",
        facts.node.map_or(1, |(_, total)| total).to_string(),
    );
    list.0
}

/// `CI_ENVIRONMENT_NAME` and its relatives but the address, which may be made of them; `name` is the environment's with its
/// variables filled in.
pub(crate) fn environment(environment: &Environment, name: &str) -> Vec<Variable> {
    let mut list = List::default();
    let action = environment.action.as_deref().unwrap_or("start");
    let tier = environment.deployment_tier.as_deref();
    list.add("CI_ENVIRONMENT_NAME", name);
    list.add("CI_ENVIRONMENT_SLUG", environment_slug(name));
    list.add("CI_ENVIRONMENT_ACTION", action);
    list.add(
        "CI_ENVIRONMENT_TIER",
        tier.unwrap_or_else(|| environment_tier(name)),
    );
    list.0
}

#[cfg(test)]
mod tests {
    use super::{cut_description, message_parts};

    #[test]
    fn a_message_is_divided_as_gitlab_divides_it() {
        let long = "x".repeat(100);
        let whole = format!("{long}\nmore\n");
        for (message, title, description) in [
            ("Add a thing", "Add a thing", ""),
            ("Add a thing\n", "Add a thing", ""),
            ("Add a thing\n\nBecause.\n", "Add a thing", "\nBecause."),
            ("Add a thing\r\nBecause.\r\n", "Add a thing", "Because."),
            ("one\ntwo\n\n", "one", "two\n"),
            (&whole, &long, &whole),
            ("", "", ""),
        ] {
            assert_eq!(message_parts(message), (title, description), "{message:?}");
        }
    }

    #[test]
    fn a_long_description_is_cut_in_characters_and_says_so() {
        let fits = "ä".repeat(2700);
        assert_eq!(cut_description(&fits), (fits.clone(), false));
        let (cut, truncated) = cut_description(&format!("{fits}ä"));
        assert_eq!(cut, format!("{}...", "ä".repeat(2697)));
        assert!(truncated);
    }
}
