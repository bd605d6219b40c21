//! What a hostile job tries against the machine, one script each, and what holds it.

/// How it is seen that an attack got out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    /// Its script succeeded.
    Success,
    /// A file of its name is in the directory of the machine where everybody may write.
    Dropped,
    /// Its listener on the machine was reached at an address that no job may reach, whatever the script heard.
    Caller,
    /// As [`Self::Caller`], at an address that only a machine of the test's own has.
    CallerFromTheWorld,
}

/// One attack.
#[derive(Debug)]
pub(super) struct Attack {
    pub(super) name: &'static str,
    /// What holds it. Each was seen to get out in a build without that, by the account named if not by both.
    pub(super) held_by: &'static str,
    pub(super) proof: Proof,
    /// A shell script. `$PORT` is the attack's own listener.
    pub(super) script: &'static str,
}

use Proof::{Caller, CallerFromTheWorld, Success};

/// None would do harm if it worked: what is written is what was there.
pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        name: "core-pattern",
        held_by: "host id 0 is in no pod's id map (as root)",
        proof: Success,
        script: r#"value=$(cat /proc/sys/kernel/core_pattern) && echo "$value" > /proc/sys/kernel/core_pattern"#,
    },
    Attack {
        name: "sysctl",
        held_by: "host id 0 is in no pod's id map (as root)",
        proof: Success,
        script: r#"value=$(cat /proc/sys/vm/swappiness) && echo "$value" > /proc/sys/vm/swappiness"#,
    },
    Attack {
        name: "privileged",
        held_by: "host id 0 is in no pod's id map (as root)",
        proof: Success,
        script: r#"docker run --rm --privileged busybox:1.36 sh -c \
            'v=$(cat /proc/sys/kernel/core_pattern) && echo "$v" > /proc/sys/kernel/core_pattern'"#,
    },
    Attack {
        name: "privileged-device",
        held_by: "a pod has a user namespace of its own (as root)",
        proof: Success,
        script: "docker run --rm --privileged busybox:1.36 mknod /tmp/null c 1 3",
    },
    Attack {
        name: "root-by-bind",
        held_by: "the engine finds the source of a bind in the job's container",
        proof: Success,
        script: r#"docker run --rm -v /:/h busybox:1.36 cat "/h$MARKER""#,
    },
    Attack {
        name: "directory-by-bind",
        held_by: "the engine finds the source of a bind in the job's container",
        proof: Success,
        script: r#"docker run --rm -v "$(dirname "$MARKER"):/h" busybox:1.36 cat "/h/$(basename "$MARKER")""#,
    },
    Attack {
        name: "pid-host",
        held_by: "the engine's refusal",
        proof: Success,
        script: "docker run --rm --pid=host busybox:1.36 true",
    },
    Attack {
        name: "network-host",
        held_by: "the engine's refusal",
        proof: Success,
        script: "docker run --rm --network=host busybox:1.36 true",
    },
    Attack {
        name: "device",
        held_by: "the engine's refusal",
        proof: Success,
        script: "docker run --rm --device /dev/kmsg busybox:1.36 true",
    },
    Attack {
        name: "environment",
        held_by: "a keeper is executed with an empty environment, and a process with what its container says",
        proof: Success,
        script: "cat /proc/*/environ 2>/dev/null | grep -q runner-only-word",
    },
    Attack {
        name: "descriptors",
        held_by: "what enters a container marks all but its streams to be closed by its program",
        proof: Success,
        // The directory that the shell reads is open while it reads.
        script: r#"for fd in /proc/self/fd/*; do
            case $fd in */[012]) continue ;; esac
            target=$(readlink "$fd") || continue
            case $target in /proc/*/fd | "$PWD"/*) ;; *) echo "$fd: $target"; found=yes ;; esac
          done; [ -n "$found" ]"#,
    },
    Attack {
        name: "socket-exchange",
        held_by: "the socket alone is mounted into a job, not its directory",
        proof: Success,
        script: r#"socket=$(ls /var/run/docker.sock /run/docker.sock 2>/dev/null | head -n 1)
            mv "$socket" "$socket.moved" && ln -s "$MARKER" "$socket""#,
    },
    Attack {
        name: "own-address",
        held_by: "the egress policy denies the addresses of the machine's interfaces",
        proof: Caller,
        script: r#"nc -w 3 "$HOST" "$PORT" </dev/null"#,
    },
    Attack {
        name: "gateway",
        held_by: "a network namespace for the pod and for each container, in a user namespace (as root)",
        proof: Caller,
        script: r#"for at in 127.0.0.1 localhost "$(ip route | sed -n 's/^default via \([^ ]*\).*/\1/p')"; do
            nc -w 3 "$at" "$PORT" </dev/null
          done
          docker run --rm --add-host machine:host-gateway busybox:1.36 nc -w 3 machine "$PORT" </dev/null"#,
    },
    Attack {
        name: "metadata",
        held_by: "the egress policy denies link-local addresses",
        proof: CallerFromTheWorld,
        script: r#"nc -w 3 "$METADATA" "$PORT" </dev/null"#,
    },
    Attack {
        name: "metadata-from-a-container",
        held_by: "the egress policy denies link-local addresses",
        proof: CallerFromTheWorld,
        script: r#"docker run --rm --add-host "metadata:$METADATA" busybox:1.36 nc -w 3 metadata "$PORT" </dev/null"#,
    },
    Attack {
        name: "rebound-name",
        held_by: "the relay judges the address that it is about to dial",
        proof: CallerFromTheWorld,
        script: r#"for i in 1 2 3 4; do nc -w 3 rebind-metadata.test "$PORT" </dev/null; done"#,
    },
    Attack {
        name: "add-loopback",
        held_by: "ADD asks the egress policy",
        proof: Caller,
        script: r#"printf 'FROM scratch\nADD http://127.0.0.1:%s/file /file\n' "$PORT" | docker build -"#,
    },
    Attack {
        name: "add-own-address",
        held_by: "ADD asks the egress policy",
        proof: Caller,
        script: r#"printf 'FROM scratch\nADD http://%s:%s/file /file\n' "$HOST" "$PORT" | docker build -"#,
    },
    Attack {
        name: "add-metadata",
        held_by: "ADD asks the egress policy",
        proof: CallerFromTheWorld,
        script: r#"printf 'FROM scratch\nADD http://%s:%s/file /file\n' "$METADATA" "$PORT" | docker build -"#,
    },
    Attack {
        name: "add-of-a-pod",
        held_by: "the egress policy denies the range of the pods",
        proof: CallerFromTheWorld,
        script: r#"printf 'FROM scratch\nADD http://%s:%s/file /file\n' "$OF_A_POD" "$PORT" | docker build -"#,
    },
    Attack {
        name: "add-redirected",
        held_by: "every hop of a fetch asks the egress policy",
        proof: CallerFromTheWorld,
        script: r#"printf 'FROM scratch\nADD http://%s:%s/to/127.0.0.1:%s /file\n' "$PUBLIC" "$PORT" "$PORT" | docker build -"#,
    },
    Attack {
        name: "add-rebound",
        held_by: "a fetch judges the addresses that it is about to dial",
        proof: CallerFromTheWorld,
        script: r#"for i in 1 2 3 4; do
            printf 'FROM scratch\nADD http://rebind-loopback.test:%s/file /file\n' "$PORT" | docker build --no-cache -
          done"#,
    },
    Attack {
        name: "pull-loopback",
        held_by: "pulls ask the egress policy",
        proof: Caller,
        script: r#"docker pull "127.0.0.1:$PORT/a/b:1""#,
    },
    Attack {
        name: "pull-own-address",
        held_by: "pulls ask the egress policy",
        proof: Caller,
        script: r#"docker pull "$HOST:$PORT/a/b:1""#,
    },
    Attack {
        name: "pull-rebound",
        held_by: "a pull judges the addresses that it is about to dial",
        proof: CallerFromTheWorld,
        script: r#"for i in 1 2 3 4; do docker pull "rebind-loopback.test:$PORT/a/b:1"; done"#,
    },
    Attack {
        name: "from-loopback",
        held_by: "base images are pulled as by `docker pull`",
        proof: Caller,
        script: r#"printf 'FROM 127.0.0.1:%s/a/b:1\n' "$PORT" | docker build -"#,
    },
    Attack {
        name: "push-loopback",
        held_by: "pushes ask the egress policy",
        proof: Caller,
        script: r#"docker pull busybox:1.36; docker tag busybox:1.36 "127.0.0.1:$PORT/a/b:1"; docker push "127.0.0.1:$PORT/a/b:1""#,
    },
    Attack {
        name: "login-loopback",
        held_by: "the engine's check of a login asks the egress policy",
        proof: Caller,
        script: r#"echo word | docker login --username somebody --password-stdin "127.0.0.1:$PORT""#,
    },
    Attack {
        name: "remote-context",
        held_by: "the engine fetches no context",
        proof: Caller,
        script: r#"wget -q -O - --post-data '' "http://docker:2375/build?remote=http%3A%2F%2F127.0.0.1%3A$PORT%2Fcontext.tar""#,
    },
];

/// What any job may do, in the words of the attacks: that these succeed shows that the others could.
pub(super) const CONTROLS: &[Attack] = &[
    Attack {
        name: "public",
        held_by: "",
        proof: CallerFromTheWorld,
        script: r#"nc -w 3 "$PUBLIC" "$PORT" </dev/null"#,
    },
    Attack {
        name: "add-public",
        held_by: "",
        proof: CallerFromTheWorld,
        script: r#"printf 'FROM scratch\nADD http://%s:%s/file /file\n' "$PUBLIC" "$PORT" | docker build -"#,
    },
    Attack {
        name: "pull-public",
        held_by: "",
        proof: CallerFromTheWorld,
        script: r#"docker pull "$PUBLIC:$PORT/a/b:1""#,
    },
];
