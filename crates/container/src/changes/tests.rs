//! Each instruction of `--change` lands where docker puts it, or says what is wrong.

use super::*;

fn changed(changes: &[&str]) -> ExecutionConfig {
    let mut config = ExecutionConfig::default();
    for change in changes {
        change.parse::<Change>().unwrap().apply(&mut config);
    }
    config
}

#[test]
fn each_instruction_lands_where_docker_puts_it() {
    let config = changed(&[
        "ENTRYPOINT [\"docker-entrypoint.sh\", \"-x\"]",
        "cmd echo $HOME",
        "ENV A=1 B=\"two words\" C='x y' D=a\\ b",
        "ENV A second value",
        "EXPOSE 80 53/udp 8000-8001",
        "LABEL org.example.a=1 \"key with space\"=v",
        "USER app:app",
        "VOLUME [\"/data\", \"/var lib\"]",
        "VOLUME /a /b",
        "WORKDIR /srv",
        "WORKDIR app",
        "STOPSIGNAL SIGQUIT",
        "ONBUILD RUN true",
    ]);
    assert_eq!(config.entrypoint.unwrap(), ["docker-entrypoint.sh", "-x"]);
    assert_eq!(config.cmd.unwrap(), ["/bin/sh", "-c", "echo $HOME"]);
    assert_eq!(config.env, ["A=second value", "B=two words", "C=x y", "D=a b"]);
    assert_eq!(
        config.exposed_ports.into_iter().collect::<Vec<_>>(),
        ["53/udp", "80/tcp", "8000/tcp", "8001/tcp"]
    );
    assert_eq!(config.labels["org.example.a"], "1");
    assert_eq!(config.labels["key with space"], "v");
    assert_eq!(
        (config.user.as_str(), config.working_dir.as_str()),
        ("app:app", "/srv/app")
    );
    assert_eq!(
        config.volumes.into_iter().collect::<Vec<_>>(),
        ["/a", "/b", "/data", "/var lib"]
    );
    assert_eq!(config.stop_signal.as_deref(), Some("SIGQUIT"));
    assert_eq!(config.on_build, ["RUN true"]);
}

#[test]
fn wrong_changes_say_what_is_wrong() {
    for (text, expected) in [
        ("RUN rm -rf /", "`RUN` cannot change an image"),
        ("", "needs a value"),
        ("CMD", "CMD needs a value"),
        ("ENV lonely", "`lonely` in ENV"),
        ("ENV A=1 lonely", "`lonely` in ENV"),
        ("LABEL a=\"open", "never closed"),
        ("EXPOSE http", "`http` is no port"),
        ("EXPOSE 9-1", "`9-1` is no port"),
        ("EXPOSE 80/quic", "`80/quic` is no port"),
    ] {
        let error = text.parse::<Change>().unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
}
