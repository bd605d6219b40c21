//! What a `config.toml` comes to, with the places of its findings; the real files beside the workspace where they are there.

use super::{Configuration, ConfigurationError, EXECUTORS, Executor, KnownRunners, Severity, VolumeSetting};
use shipway_container::{Network, PullPolicy};
use std::path::Path;

fn read(text: &str) -> Configuration {
    Configuration::read(Path::new("config.toml"), text).unwrap()
}

fn said(configuration: &Configuration) -> Vec<String> {
    configuration.findings.iter().map(ToString::to_string).collect()
}

#[test]
fn a_socket_of_the_machine_is_recognised() {
    let text = r#"
concurrent = 4
[[runners]]
  name = "one"
  executor = "docker"
  environment = ["DOCKER_DRIVER=overlay2"]
  [runners.docker]
    tls_verify = false
    image = "docker:24.0.5"
    privileged = true
    volumes = ["/var/run/docker.sock:/var/run/docker.sock", "/cache", "/opt/a:/a:ro"]
    pull_policy = ["if-not-present", "always"]
    extra_hosts = ["db:192.0.2.1"]
  [runners.cache]
    Insecure = false
    [runners.cache.s3]
"#;
    let configuration = read(text);
    let runner = configuration.choose(None).unwrap();
    let docker = &runner.settings.docker;
    assert_eq!(configuration.concurrent, 4);
    assert_eq!(runner.settings.environment[0].value, "overlay2");
    assert_eq!(
        docker.volumes,
        [
            VolumeSetting::usual_socket(),
            VolumeSetting::Shared {
                target: "/cache".into(),
                kept: true
            },
            VolumeSetting::Bind {
                source: "/opt/a".into(),
                target: "/a".into(),
                read_only: true
            },
        ]
    );
    assert_eq!(docker.pull_policies, [PullPolicy::IfMissing, PullPolicy::Always]);
    assert_eq!(docker.extra_hosts[0].0, "db");
    let said = said(&configuration);
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(
        said[0].starts_with("config.toml:10:5: `privileged` is not needed"),
        "{said:?}"
    );
}

#[test]
fn what_is_unknown_is_a_warning_with_its_place() {
    let configuration = read(
        "consurrent = 2\n[[runners]]\nexecutor = \"docker\"\n[runners.docker]\nimagge = \"a\"\nmemory = \"1g\"\n",
    );
    let said = said(&configuration);
    assert_eq!(said.len(), 3, "{said:?}");
    assert!(said[0].starts_with("config.toml:1:1: `consurrent` is not known outside of [[runners]]"));
    assert!(said[1].starts_with("config.toml:5:1: `imagge` is not known in [runners.docker]"));
    assert!(said[2].starts_with("config.toml:6:1: `memory` has no effect"));
    assert!(
        configuration
            .findings
            .iter()
            .all(|finding| finding.severity == Severity::Warning)
    );
}

#[test]
fn a_wrong_type_and_a_broken_file_are_errors_with_their_places() {
    let table = [
        (
            "concurrent = \"two\"\n",
            "config.toml:1:14: `concurrent` is a whole number, not string",
        ),
        ("[[runners]\n", "config.toml:1:11: not TOML"),
        (
            "runners = 1\n",
            "config.toml:1:11: `runners` is a list of sections",
        ),
    ];
    for (text, expected) in table {
        let error = Configuration::read(Path::new("config.toml"), text)
            .unwrap_err()
            .to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn what_is_wrong_in_a_section_disables_that_runner_only() {
    let table = [
        (
            "limit = \"two\"",
            "config.toml:5:9: `limit` is a whole number, not string",
        ),
        (
            "executor = \"shell\"\nbuilds_dir = \"b\"",
            "config.toml:6:14: `builds_dir` has to be an absolute path",
        ),
        (
            "executor = \"shell\"\nshell = \"zsh\"",
            "config.toml:6:9: the shell zsh is not known",
        ),
        (
            "[runners.docker]\npull_policy = \"sometimes\"",
            "config.toml:6:15: `sometimes` is no pull policy",
        ),
        (
            "[[runners.docker.services]]\nalias = \"a\"",
            "config.toml:5:1: a service in [[runners.docker.services]] has no `name`",
        ),
    ];
    for (wrong, expected) in table {
        let configuration = read(&format!(
            "[[runners]]\nname = \"good\"\n[[runners]]\nname = \"bad\"\n{wrong}\n"
        ));
        configuration.choose(Some("good")).unwrap();
        let said = configuration.choose(Some("bad")).unwrap_err().to_string();
        assert!(said.starts_with(expected), "{said}");
        assert_eq!(configuration.findings[0].severity, Severity::Error);
    }
}

#[test]
fn numbers_below_zero_are_taken_as_gitlab_runner_takes_them() {
    let text = "concurrent = -1\ncheck_interval = -1\n[[runners]]\nlimit = -1\n[runners.docker]\nshm_size = -1\n\
                wait_for_services_timeout = -1\n";
    let configuration = read(text);
    let runner = configuration.choose(None).unwrap();
    let docker = &runner.settings.docker;
    assert_eq!((configuration.concurrent, runner.limit), (1, 0));
    assert_eq!(
        (docker.shm_size, docker.wait_for_services),
        (None, Some(std::time::Duration::ZERO))
    );
    assert!(configuration.findings.is_empty(), "{:?}", said(&configuration));
}

#[test]
fn what_a_file_does_not_say_about_containers_is_as_there() {
    let docker = |text: &str| read(text).choose(None).unwrap().settings.docker.clone();
    for silent in ["[[runners]]\n", "[[runners]]\n[runners.docker]\n"] {
        let docker = docker(silent);
        assert_eq!(docker.allowed_pull_policies, [PullPolicy::Always]);
        assert!(docker.volumes.is_empty() && docker.pull_policies.is_empty());
    }
    let text = "[[runners]]\n[runners.docker]\npull_policy = \"never\"\nnetwork_mode = \"none\"\nallowed_users = [\"a\"]\n";
    let docker = docker(text);
    assert_eq!(docker.allowed_pull_policies, [PullPolicy::Never]);
    assert_eq!(docker.network, Network::None);
    assert_eq!(docker.allowed_users, ["a"]);
}

#[test]
fn every_executor_by_its_name_is_known() {
    let not_known = |name: &str| {
        let read = read(&format!("[[runners]]\nname = \"a\"\nexecutor = \"{name}\"\n"));
        let refusal = read.choose(Some("a")).err();
        refusal.is_some_and(|error| error.to_string().contains("is not known"))
    };
    assert!(not_known("dokcer"));
    for name in EXECUTORS {
        assert!(!not_known(name), "{name}");
    }
}

#[test]
fn what_cannot_be_had_refuses_its_section_only() {
    let text = "[[runners]]\nname = \"w\"\nexecutor = \"docker\"\n[runners.docker]\nvolumes = [\"//./pipe/other\"]\n\
                [[runners]]\nname = \"m\"\nexecutor = \"instance\"\n[[runners]]\nname = \"h\"\nexecutor = \"docker\"\n[runners.docker]\nnetwork_mode = \"host\"\n\
                [[runners]]\nname = \"s\"\nexecutor = \"shell\"\nshell = \"sh\"\nbuilds_dir = \"/b\"\n";
    let configuration = read(text);
    let table = [
        (
            "w",
            "config.toml:5:12: the volume `//./pipe/other` is a Windows pipe",
        ),
        ("m", "config.toml:8:12: the executor \"instance\" makes machines"),
        ("h", "config.toml:13:16: network_mode = \"host\""),
    ];
    for (name, expected) in table {
        let error = configuration.choose(Some(name)).unwrap_err();
        assert!(matches!(error, ConfigurationError::Refused(_)), "{error}");
        let text = error.to_string();
        assert!(text.starts_with(expected) && !text.contains('\n'), "{text}");
    }
    let shell = &configuration.choose(Some("s")).unwrap().settings;
    assert_eq!(
        (shell.executor, shell.shell.as_deref()),
        (Executor::Shell, Some("sh"))
    );
    assert_eq!(shell.builds_directory.as_deref(), Some(Path::new("/b")));
    let several = configuration.choose(None).unwrap_err().to_string();
    assert!(
        several.contains("4 [[runners]]") && several.contains("`s`"),
        "{several}"
    );
    let none = configuration.choose(Some("x")).unwrap_err().to_string();
    assert!(none.contains("with the name `x`"), "{none}");
}

/// The files of GitLab's documentation: which can be worked by, and the one line of the others. They are not part of
/// the project: where they are not at hand, nothing is read.
#[test]
fn files_of_the_documentation_are_read_as_they_are_where_they_are_at_hand() {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    if !shared.is_dir() {
        return;
    }
    let table = [
        ("pipelines/09-dind-tls/config.toml", None),
        ("pipelines/10-dind-unix-socket/config.toml", None),
        ("pipelines/11-dind-plain/config.toml", None),
        ("pipelines/15-socket-binding/config.toml", None),
        ("pipelines/12-kubernetes-dind-tls/values.yml", None),
        ("pipelines/13-kubernetes-dind-plain/values.yml", None),
        ("pipelines/16-socket-binding-kubernetes/values.yml", None),
        ("pipelines/18-windows-pipe/config.toml", None),
        ("pipelines/19-windows-pipe-kubernetes/values.yml", None),
        ("runner-configs/docker-daemon-json-mount.toml", None),
        ("runner-configs/docker-services-mirror.toml", None),
        ("runner-configs/kubernetes-config-map.toml", None),
        ("runner-configs/kubernetes-services-mirror.toml", None),
        (
            "runner-configs/environment-driver.toml",
            Some("has no [[runners]] section"),
        ),
    ];
    for (file, expected) in table {
        let file = shared.join(file);
        let configuration = Configuration::load(&file).unwrap();
        match (configuration.choose(None), expected) {
            (Ok(_), None) => {}
            (Err(error), Some(expected)) => {
                let text = error.to_string();
                assert!(text.contains(expected) && !text.contains('\n'), "{text}");
            }
            (chosen, _) => panic!("{}: {chosen:?}", file.display()),
        }
    }
    let mounted = Configuration::load(&shared.join("runner-configs/docker-daemon-json-mount.toml")).unwrap();
    let volumes = &mounted.choose(None).unwrap().settings.docker.volumes;
    let expected = VolumeSetting::Bind {
        source: "/opt/docker/daemon.json".into(),
        target: "/etc/docker/daemon.json".into(),
        read_only: true,
    };
    assert_eq!(volumes.as_slice(), [expected]);
    let mirror = Configuration::load(&shared.join("runner-configs/docker-services-mirror.toml")).unwrap();
    let service = &mirror.choose(None).unwrap().settings.docker.services[0];
    assert_eq!(service.command.as_ref().unwrap()[0], "--registry-mirror");
}

#[test]
fn volumes_without_a_source_are_kept_unless_that_is_switched_off() {
    let read = |more: &str| {
        let text = format!(
            "[[runners]]\nexecutor = \"docker\"\n[runners.docker]\nvolumes = [\"/cache\", \"named:/data\", \"/opt:/opt\"]\n{more}"
        );
        let configuration = read(&text);
        let volumes = configuration
            .choose(None)
            .unwrap()
            .settings
            .docker
            .volumes
            .clone();
        let kept = |volume: &VolumeSetting| matches!(volume, VolumeSetting::Shared { kept: true, .. });
        (
            volumes.iter().filter(|volume| kept(volume)).count(),
            volumes.len(),
            said(&configuration),
        )
    };
    let (kept, all, _) = read("disable_cache = false");
    assert_eq!((kept, all), (1, 3));
    let (kept, all, said) = read("disable_cache = true\ncache_dir = \"/srv/cache\"");
    assert_eq!((kept, all), (0, 2), "as there, they are not made at all");
    assert!(said.iter().any(|line| line.contains("cache_dir")), "{said:?}");
}

#[test]
fn a_placeholder_is_text_whatever_it_begins_like() {
    let text = "[[runners]]\nname = TEAM\nexecutor = \"docker\"\nenvironment = [FLAGS_ONLY]\n[runners.docker]\nimage = TAG\ndisable_cache = true\n";
    let configuration = read(text);
    let runner = configuration.choose(Some("TEAM")).unwrap();
    assert_eq!(runner.settings.docker.image.as_deref(), Some("TAG"));
}

const FOREIGN: &str = r#"
concurrent = 4
[[runners]]
  name = "one"
  url = "https://me:word@gitlab.example.com/"
  token = TOKEN
  executor = "docker"
  environment = ["DOCKER_DRIVER=overlay2"]
  [runners.docker]
    image = "docker:24.0.5"
    privileged = true
    volumes = ["/var/run/docker.sock:/var/run/docker.sock", "/cache", "/opt/a:/a:ro"]
    pull_policy = ["if-not-present", "always"]
    extra_hosts = ["db:192.0.2.1"]
    ...
  [runners.docker]
    shm_size = 0x10
[[runners.docker.services]]
  name = "mirror:1"
  command = ["--registry-mirror", "https://m.example"]
[[runners]]
  executor = "kubernetes"
  [runners.kubernetes]
    [[runners.kubernetes.volumes.empty_dir]]
      mount_path = "/certs/client"
"#;

/// Who runs and who lists read the same; what is said is one line with a place that is in the file.
fn check_foreign(file: &str, text: &str) {
    // A carriage return ends a line of YAML.
    let (file, lines) = (Path::new(file), text.split(['\n', '\r']).count());
    let (run, known) = (Configuration::read(file, text), KnownRunners::read(file, text));
    let findings = match (&run, &known) {
        (Ok(run), Ok(known)) => {
            assert_eq!(run.runners.len(), known.runners.len());
            assert!(run.concurrent > 0);
            for runner in &run.runners {
                let _ = run.choose(Some(&runner.name));
            }
            assert!(known.runners.iter().all(|runner| !runner.address().contains('@')));
            &run.findings
        }
        // Settings outside of [[runners]] matter to a run only.
        (Err(ConfigurationError::Wrong(run)), _) => run,
        (Ok(_), Err(error)) | (Err(error), _) => panic!("{error}"),
    };
    for finding in findings {
        // What is missing at the end is missing behind the last line.
        assert!(
            (1..=lines + 1).contains(&finding.place.line),
            "{finding}: {lines} lines"
        );
        assert!(finding.place.column >= 1);
    }
}

#[test]
fn foreign_configurations() {
    let shared = shipway_testkit::workspace().join("../shared/runner-configs");
    shipway_testkit::Foreign::near([FOREIGN])
        .and_files(Some(shared.as_path()).filter(|folder| folder.is_dir()))
        .with_words(&[
            "[[runners]]\n",
            "[runners.docker]\n",
            "...\n",
            "= TOKEN\n",
            "\"\"\"",
            "{",
            "[[",
            "image = ",
        ])
        .up_to(8 << 10)
        .check_text(|text| check_foreign("config.toml", text));
}

#[test]
fn foreign_values() {
    let indented = FOREIGN.replace('\n', "\n    ");
    let values = format!(
        "concurrent: 3\nrunners:\n  privileged: true\n  config: |{indented}\nrbac: {{create: true}}\n"
    );
    shipway_testkit::Foreign::near([values])
        .with_words(&[
            "config: |\n",
            "runners:\n",
            "- ",
            "&a ",
            "*a",
            "<<: ",
            "{",
            "|+2\n",
            "concurrent: ",
        ])
        .up_to(8 << 10)
        .check_text(|text| check_foreign("values.yaml", text));
}
