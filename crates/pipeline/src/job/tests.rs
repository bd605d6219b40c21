//! The payload of a job, as GitLab sends it.

use super::*;

#[test]
fn a_payload_of_gitlab_is_read_with_its_nulls_and_extras() {
    let payload: JobPayload = serde_json::from_str(
        r#"{
          "id": 17, "token": "t", "allow_git_fetch": true, "inputs": [],
          "job_info": {"id": 17, "name": "build", "stage": "test", "project_id": 3, "project_name": "p", "new_field": {}},
          "git_info": {"repo_url": "https://x", "ref": "main", "sha": "abc", "before_sha": "000", "ref_type": "branch",
                       "refspecs": ["+refs/heads/main:refs/remotes/origin/main"], "depth": 20, "protected": null},
          "runner_info": {"timeout": 3600, "runner_session_url": null},
          "variables": [{"key": "A", "value": "1", "public": true, "masked": false}],
          "steps": [{"name": "script", "script": ["true"], "timeout": 3600, "when": "on_success", "allow_failure": false}],
          "image": null,
          "services": [{"name": "docker:dind", "alias": "docker, d2", "command": null, "entrypoint": null}],
          "artifacts": null, "cache": null, "credentials": [], "dependencies": [], "features": {"trace_sections": true}
        }"#,
    )
    .unwrap();
    assert_eq!(payload.git_info.reference, "main");
    assert_eq!(payload.image, JobImage::default());
    assert_eq!(payload.services[0].aliases(), ["docker", "d2"]);
    assert!(payload.artifacts.is_empty());
    let again: JobPayload = serde_json::from_str(&serde_json::to_string(&payload).unwrap()).unwrap();
    assert_eq!(again, payload);
}
