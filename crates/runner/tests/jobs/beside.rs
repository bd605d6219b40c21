//! What stands beside a job: services, the registry, the engine.

use crate::place::{Place, block_on, job, local};
use shipway_pipeline::job::JobService;
use shipway_pipeline::variables::Variable;
use shipway_runner::configuration::Configuration;
use shipway_runner::{FailureReason, JobStatus, Substitution};
use shipway_testkit::harness::BlockingTest;

pub(crate) const TESTS: &[BlockingTest] = &[
    (
        "a_service_is_up_before_the_job_and_found_by_its_names",
        a_service_is_up_before_the_job_and_found_by_its_names,
    ),
    (
        "a_service_that_ends_is_a_warning_with_its_log",
        a_service_that_ends_is_a_warning_with_its_log,
    ),
    (
        "the_registry_is_reached_by_its_name",
        the_registry_is_reached_by_its_name,
    ),
    (
        "a_docker_service_is_replaced_with_its_certificates",
        a_docker_service_is_replaced_with_its_certificates,
    ),
    (
        "a_docker_service_may_speak_plainly",
        a_docker_service_may_speak_plainly,
    ),
    (
        "who_speaks_plainly_to_a_port_with_tls_is_told_what_to_set",
        who_speaks_plainly_to_a_port_with_tls_is_told_what_to_set,
    ),
    (
        "docker_is_told_how_to_build_only_where_there_is_an_engine",
        docker_is_told_how_to_build_only_where_there_is_an_engine,
    ),
    (
        "without_a_service_the_socket_is_there",
        without_a_service_the_socket_is_there,
    ),
    ("a_docker_service_may_be_refused", a_docker_service_may_be_refused),
    (
        "a_runner_configuration_may_leave_jobs_without_a_network",
        a_runner_configuration_may_leave_jobs_without_a_network,
    ),
    (
        "a_runner_configuration_decides_about_sockets_and_volumes",
        a_runner_configuration_decides_about_sockets_and_volumes,
    ),
    (
        "a_runner_configuration_decides_about_containers_and_services",
        a_runner_configuration_decides_about_containers_and_services,
    ),
];

fn service(name: &str) -> JobService {
    JobService {
        name: name.into(),
        pull_policy: local(),
        ..Default::default()
    }
}

fn a_runner_configuration_may_leave_jobs_without_a_network() {
    block_on(async {
        let mut place = Place::new().await;
        let text = "[[runners]]\n[runners.docker]\nnetwork_mode = \"none\"\nuser = \"12:34\"\n\
                    allowed_pull_policies = [\"never\"]\n";
        let configuration = Configuration::read(std::path::Path::new("config.toml"), text).unwrap();
        place.context.settings = configuration.choose(None).unwrap().settings.clone();
        let lines = [
            "sed -n 's/^ *\\([a-z0-9]*\\):.*/interface \\1./p' /proc/net/dev",
            "id -u",
        ];
        let mut payload = job(1, &lines);
        payload.image.executor_opts.docker.user = Some("0".to_owned());
        let ended = place.run(&payload).await;
        assert_eq!(ended.outcome.status, JobStatus::Success, "{}", ended.trace);
        assert_eq!(ended.trace.matches("\ninterface ").count(), 1, "{}", ended.trace);
        assert!(ended.trace.contains("\ninterface lo.\n"), "{}", ended.trace);
        assert!(
            ended.trace.contains("\n12\n"),
            "the runner's user: {}",
            ended.trace
        );
    });
}

fn a_service_is_up_before_the_job_and_found_by_its_names() {
    block_on(async {
        let mut place = Place::new().await;
        // Longer than any clock counts.
        place.context.settings.docker.wait_for_services = Some(std::time::Duration::MAX);
        let command = "CMD [\"sh\", \"-c\", \"nc -ll -p 8080 -e echo hello from $OPEN$CLOSED$OWN\"]";
        place.import("busybox.test/web:1", &["ENV PATH=/bin", "EXPOSE 8080", command]);
        let mut payload = job(
            1,
            &["nc busybox.test-web 8080 < /dev/null", "nc web 8080 < /dev/null"],
        );
        payload.variables.push(Variable::public("OPEN", "open"));
        payload
            .variables
            .push(Variable::secret("CLOSED", "closed-secret"));
        let own = vec![Variable::public("OWN", "-own")];
        payload.services = vec![JobService {
            alias: "web".into(),
            variables: own,
            ..service("busybox.test/web:1")
        }];
        let ended = place.run(&payload).await;
        assert_eq!(ended.outcome.status, JobStatus::Success, "{}", ended.trace);
        assert_eq!(
            ended.trace.matches("hello from open-own\n").count(),
            2,
            "{}",
            ended.trace
        );
        assert!(!ended.trace.contains("the job goes on"), "{}", ended.trace);
    });
}

fn a_service_that_ends_is_a_warning_with_its_log() {
    block_on(async {
        let place = Place::new().await;
        place.import(
            "busybox.test/broken:1",
            &[
                "ENV PATH=/bin",
                "EXPOSE 5432",
                "CMD [\"sh\", \"-c\", \"echo no disk; exit 1\"]",
            ],
        );
        let mut payload = job(1, &["echo went on"]);
        payload.services = vec![service("busybox.test/broken:1")];
        let ended = place.run(&payload).await;
        assert_eq!(ended.outcome.status, JobStatus::Success, "{}", ended.trace);
        assert!(
            ended.trace.contains("ended before it accepted a connection"),
            "{}",
            ended.trace
        );
        assert!(
            ended.trace.contains("no disk") && ended.trace.contains("\nwent on\n"),
            "{}",
            ended.trace
        );
    });
}

fn the_registry_is_reached_by_its_name() {
    block_on(async {
        let place = Place::new().await;
        let name = place.context.registry_name.to_string();
        let lines = [
            &format!("nc -z {name} 443 || nc {name} 443 < /dev/null"),
            &format!("cat /etc/docker/certs.d/{name}/ca.crt /etc/containers/certs.d/{name}/ca.crt"),
            "cat \"$CI_SERVER_TLS_CA_FILE\"",
        ];
        let ended = place.run(&job(1, &lines)).await;
        assert_eq!(ended.outcome.status, JobStatus::Success, "{}", ended.trace);
        assert_eq!(
            ended.trace.matches("-----BEGIN CERTIFICATE-----").count(),
            3,
            "{}",
            ended.trace
        );
    });
}

fn a_docker_service_is_replaced_with_its_certificates() {
    block_on(async {
        let place = Place::new().await;
        let entrypoint = "ENTRYPOINT [\"sh\", \"-c\", \"test -s /certs/client/key.pem && export FOUND=in-time; exec \\\"$@\\\"\", \"--\"]";
        place.import("busybox.test/entrypoint:1", &["ENV PATH=/bin", entrypoint]);
        let lines = [
            "echo \"certificates: $FOUND\"",
            "ls /certs/client",
            "nc docker 2376 < /dev/null",
            "echo \"buildkit: $DOCKER_BUILDKIT\"",
        ];
        let mut payload = job(1, &lines);
        payload.image.name = "busybox.test/entrypoint:1".into();
        payload.services = vec![service("docker:24.0.5-dind")];
        let ended = place.run(&payload).await;
        assert_eq!(ended.outcome.status, JobStatus::Success, "{}", ended.trace);
        assert!(
            ended.trace.contains("The service docker:24.0.5-dind is replaced"),
            "{}",
            ended.trace
        );
        assert!(ended.trace.contains("certificates: in-time\n"), "{}", ended.trace);
        assert!(
            ended.trace.contains("ca.pem\ncert.pem\nkey.pem\n"),
            "{}",
            ended.trace
        );
        let expected = if shipway_engine::OFFERS_BUILDKIT {
            "buildkit: \n"
        } else {
            "buildkit: 0\n"
        };
        assert!(ended.trace.contains(expected), "{}", ended.trace);
    });
}

fn a_docker_service_may_speak_plainly() {
    block_on(async {
        let place = Place::new().await;
        let mut payload = job(
            1,
            &[
                "wget -q -O - http://docker:2375/_ping",
                "wget -q -O - http://daemon:2375/_ping",
            ],
        );
        payload.variables.push(Variable::public("DOCKER_TLS_CERTDIR", ""));
        payload.services = vec![JobService {
            alias: "daemon".into(),
            ..service("docker:24-dind")
        }];
        let ended = place.run(&payload).await;
        assert_eq!(ended.outcome.status, JobStatus::Success, "{}", ended.trace);
        assert_eq!(ended.trace.matches("OK").count(), 2, "{}", ended.trace);
    });
}

fn who_speaks_plainly_to_a_port_with_tls_is_told_what_to_set() {
    block_on(async {
        let place = Place::new().await;
        let ask = "wget -q -O - http://docker:2376/_ping || true";
        let mut payload = job(
            1,
            &[ask, ask, "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc docker 2376"],
        );
        payload.services = vec![service("docker:24-dind")];
        let ended = place.run(&payload).await;
        assert_eq!(ended.outcome.status, JobStatus::Success, "{}", ended.trace);
        let told = "docker:2376: set DOCKER_TLS_VERIFY to 1 and DOCKER_CERT_PATH to /certs/client";
        assert_eq!(ended.trace.matches(told).count(), 1, "{}", ended.trace);
        let answered = "Client sent an HTTP request to an HTTPS server.\n";
        assert!(ended.trace.contains(answered), "{}", ended.trace);
    });
}

fn docker_is_told_how_to_build_only_where_there_is_an_engine() {
    block_on(async {
        let mut place = Place::new().await;
        let payload = |id| job(id, &["echo \"buildkit: ${DOCKER_BUILDKIT-unset}.\""]);
        let told = |trace: &str| {
            assert!(trace.contains("buildkit: "), "{trace}");
            !trace.contains("buildkit: unset.")
        };
        assert_eq!(
            told(&place.run(&payload(1)).await.trace),
            !shipway_engine::OFFERS_BUILDKIT
        );
        place.context.substitution = Substitution::Refuse;
        assert!(!told(&place.run(&payload(2)).await.trace));
        place.context.substitution = Substitution::Engine;
        place.context.settings.docker.volumes.clear();
        assert!(!told(&place.run(&payload(3)).await.trace));
    });
}

fn without_a_service_the_socket_is_there() {
    block_on(async {
        let place = Place::new().await;
        let ended = place
            .run(&job(
                1,
                &[
                    "test -S /var/run/docker.sock && echo \"a socket\"",
                    "stat -c 'mode %a' /var/run/docker.sock",
                ],
            ))
            .await;
        assert_eq!(ended.outcome.status, JobStatus::Success, "{}", ended.trace);
        assert!(
            ended.trace.contains("a socket\n") && ended.trace.contains("mode 666\n"),
            "{}",
            ended.trace
        );
        assert!(
            !ended.trace.contains("this job uses"),
            "it connected to nothing: {}",
            ended.trace
        );
    });
}

fn a_docker_service_may_be_refused() {
    block_on(async {
        let mut place = Place::new().await;
        place.context.substitution = Substitution::Refuse;
        let mut payload = job(1, &["true"]);
        payload.services = vec![service("docker:dind")];
        let ended = place.run(&payload).await;
        let JobStatus::Failed { reason, message, .. } = ended.outcome.status else {
            panic!("{}", ended.trace)
        };
        assert_eq!(reason, FailureReason::RunnerConfigurationError);
        assert!(
            message.contains("docker:dind") && message.contains("privileged"),
            "{message}"
        );
    });
}

fn a_runner_configuration_decides_about_sockets_and_volumes() {
    block_on(async {
        let mut place = Place::new().await;
        let bound = place.directory.path().join("bound");
        std::fs::create_dir(&bound).unwrap();
        std::fs::write(bound.join("file"), "from the machine\n").unwrap();
        let text = format!(
            "[[runners]]\nexecutor = \"docker\"\nenvironment = [\"SET=by the runner\"]\npre_build_script = \"echo before\"\n\
             [runners.docker]\nallowed_pull_policies = [\"never\"]\nvolumes = [\"/shared\", \"/var/run/docker.sock:/sockets/docker.sock\", \"{}:/bound:ro\"]\n\
             extra_hosts = [\"somewhere:192.0.2.7\"]\nallowed_images = [\"busybox.test/*:*\"]\n",
            bound.display()
        );
        let configuration = Configuration::read("config.toml".as_ref(), &text).unwrap();
        place.context.settings = configuration.choose(None).unwrap().settings.clone();
        let lines = [
            "test -S /sockets/docker.sock && ! test -e /var/run/docker.sock && echo \"socket as bound\"",
            "touch_failed=no; echo x > /bound/file || touch_failed=yes; echo \"read only: $touch_failed\"",
            "cat /bound/file; echo \"$SET\"; cat /etc/hosts",
            "echo shared > /shared/file && cat /shared/file",
        ];
        let ended = place.run(&job(1, &lines)).await;
        assert_eq!(ended.outcome.status, JobStatus::Success, "{}", ended.trace);
        for expected in [
            "\nbefore\n",
            "socket as bound\n",
            "read only: yes\n",
            "from the machine\n",
            "\nby the runner\n",
            "192.0.2.7",
            "\nshared\n",
        ] {
            assert!(ended.trace.contains(expected), "{expected}: {}", ended.trace);
        }

        let mut other = job(2, &["true"]);
        other.image.name = "elsewhere.test/image:1".into();
        let JobStatus::Failed { reason, message, .. } = place.run(&other).await.outcome.status else {
            panic!("the image is not allowed")
        };
        assert_eq!(reason, FailureReason::RunnerConfigurationError);
        assert!(message.contains("allowed_images: busybox.test/*:*"), "{message}");
    });
}

fn a_runner_configuration_decides_about_containers_and_services() {
    block_on(async {
        let mut place = Place::new().await;
        let command =
            "CMD [\"sh\", \"-c\", \"echo $OWN > /shared/said; nc -ll -p 8080 -e echo hello from $OWN\"]";
        place.import("busybox.test/web:1", &["ENV PATH=/bin", "EXPOSE 8080", command]);
        let text = "[[runners]]\nexecutor = \"docker\"\n[runners.docker]\nimage = \"busybox.test/busybox:1\"\n\
                    user = \"ann\"\nhostname = \"our-host\"\nshm_size = 1048576\ndisable_entrypoint_overwrite = true\n\
                    pull_policy = \"never\"\nvolumes = [\"/shared\"]\nallowed_services = [\"none.test/*\"]\n\
                    [[runners.docker.services]]\nname = \"busybox.test/web:1\"\nalias = \"web\"\nenvironment = [\"OWN=its own\"]\n";
        let configuration = Configuration::read("config.toml".as_ref(), text).unwrap();
        assert!(configuration.findings.is_empty(), "{:?}", configuration.findings);
        place.context.settings = configuration.choose(None).unwrap().settings.clone();
        let lines = [
            "nc web 8080 < /dev/null",
            "cat /shared/said",
            "id -un; cat /proc/sys/kernel/hostname",
            "stat -f -c 'shm %s %b' /dev/shm",
        ];
        let mut payload = job(1, &lines);
        payload.image.entrypoint = Some(vec!["/bin/false".into()]);
        let ended = place.run(&payload).await;
        assert_eq!(ended.outcome.status, JobStatus::Success, "{}", ended.trace);
        for expected in [
            "hello from its own\n",
            "\nits own\n",
            "\nann\n",
            "\nour-host\n",
            "\nshm 4096 256\n",
        ] {
            assert!(ended.trace.contains(expected), "{expected}: {}", ended.trace);
        }

        let mut other = job(2, &["true"]);
        other.services = vec![service("busybox.test/broken:1")];
        let JobStatus::Failed { reason, message, .. } = place.run(&other).await.outcome.status else {
            panic!("the service is not allowed")
        };
        assert_eq!(reason, FailureReason::RunnerConfigurationError);
        assert!(message.contains("allowed_services: none.test/*"), "{message}");

        let mut always = job(3, &["true"]);
        always.image.pull_policy = vec!["always".into()];
        let JobStatus::Failed { message, .. } = place.run(&always).await.outcome.status else {
            panic!("the policy is not allowed")
        };
        assert!(message.contains("allowed_pull_policies (never)"), "{message}");
    });
}
