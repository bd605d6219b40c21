//! The words of a build, step by step, as docker writes them.

use http_body_util::BodyExt as _;

use super::*;
use crate::reply;

async fn written(quiet: bool, tell: impl FnOnce(&Transcript)) -> Vec<String> {
    let (writer, answer) = reply::channel(reply::JSON);
    let transcript = Transcript::new(writer, quiet, "0123456789abcdef");
    tell(&transcript);
    transcript.end(Some(&Digest::sha256(b"image")));
    drop(transcript);
    let text = answer.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(text.to_vec())
        .unwrap()
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["stream"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect()
}

fn step(text: &str) -> Step<'_> {
    Step {
        index: 1,
        total: 3,
        text,
        stage: "0",
        line: 2,
        last_line: 2,
        trigger: 0,
        position: None,
        stages: 1,
        base: None,
        platform: None,
    }
}

fn tell(transcript: &Transcript) {
    let (step, id) = (step("RUN make"), Digest::sha256(b""));
    transcript.step_started(&step);
    transcript.output(&step, OutputStream::Stdout, &"ä".as_bytes()[..1]);
    transcript.output(&step, OutputStream::Stdout, &"ä\n".as_bytes()[1..]);
    transcript.output(&step, OutputStream::Stderr, b"\xff");
    transcript.step_finished(&step, &id);
    transcript.step_started(&step);
    transcript.cached(&step);
}

#[tokio::test]
async fn the_words_are_docker_s_and_characters_stay_whole() {
    assert_eq!(
        written(false, tell).await,
        [
            "Step 1/3 : RUN make\n",
            " ---> Running in 0123456789ab\n",
            "ä\n",
            "\u{fffd}",
            " ---> e3b0c44298fc\n",
            "Step 1/3 : RUN make\n",
            " ---> Using cache\n",
        ]
    );
}

#[tokio::test]
async fn steps_of_other_stages_wait_for_their_turn() {
    let of = |index, text| Step { index, ..step(text) };
    let (first, second, third) = (of(1, "FROM a"), of(2, "FROM b"), of(3, "RUN c"));
    let id = Digest::sha256(b"");
    let told = written(false, |transcript| {
        transcript.step_started(&second);
        transcript.step_started(&first);
        transcript.step_finished(&second, &id);
        transcript.step_started(&third);
        transcript.output(&third, OutputStream::Stdout, b"early\n");
        transcript.step_finished(&first, &id);
        transcript.output(&third, OutputStream::Stdout, b"late\n");
    });
    assert_eq!(
        told.await,
        [
            "Step 1/3 : FROM a\n",
            " ---> e3b0c44298fc\n",
            "Step 2/3 : FROM b\n",
            " ---> e3b0c44298fc\n",
            "Step 3/3 : RUN c\n",
            " ---> Running in 0123456789ab\n",
            "early\n",
            "late\n",
        ]
    );
}

#[tokio::test]
async fn the_last_step_makes_the_image() {
    let last = Step {
        index: 3,
        ..step("FROM base")
    };
    let trigger = Step {
        text: "RUN trigger",
        ..last
    };
    let told = written(false, |transcript| {
        transcript.step_started(&last);
        transcript.step_finished(&last, &Digest::sha256(b""));
        transcript.step_started(&trigger);
        transcript.cached(&trigger);
        transcript.step_finished(&trigger, &Digest::sha256(b""));
    });
    assert_eq!(
        told.await,
        [
            "Step 3/3 : FROM base\n",
            " ---> e3b0c44298fc\n",
            "Step 3/3 : RUN trigger\n",
            " ---> Using cache\n",
            &format!(" ---> {}\n", Digest::sha256(b"image").short()),
        ]
    );
}

#[tokio::test]
async fn what_waits_is_told_at_the_end() {
    let second = Step {
        index: 2,
        ..step("FROM b")
    };
    let told = written(false, |transcript| transcript.step_started(&second));
    assert_eq!(told.await, ["Step 2/3 : FROM b\n"]);
}

#[tokio::test]
async fn a_quiet_build_says_nothing() {
    assert!(written(true, tell).await.is_empty());
}
