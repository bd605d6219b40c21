//! The plain lines of builds: numbers, times, what stages say side by side.

use super::plain::Plain;
use super::*;
use shipway_build::Position;

fn vertex(number: usize, name: &str) -> Vertex {
    Vertex {
        key: (number, 0),
        name: name.to_owned(),
        begun: Instant::now(),
        began: SystemTime::now(),
    }
}

fn step<'a>(stage: &'a str, stages: usize, number: usize, total: usize) -> Step<'a> {
    Step {
        index: number,
        total: 20,
        text: "RUN a\u{1b}[2J\tb",
        stage,
        line: 3,
        last_line: 3,
        trigger: 0,
        position: Some(Position { number, total }),
        stages,
        base: None,
        platform: None,
    }
}

#[test]
fn a_step_is_called_as_buildkit_calls_it() {
    for (step, expected) in [
        (step("0", 1, 2, 3), "[2/3] RUN a b"),
        (step("0", 2, 2, 12), "[stage-0  2/12] RUN a b"),
        (step("web", 2, 11, 12), "[web 11/12] RUN a b"),
    ] {
        assert_eq!(vertex_name(&step).as_deref(), Some(expected));
    }
    let platform = Some("linux/arm64");
    let of_several = Step {
        platform,
        ..step("web", 2, 1, 2)
    };
    assert_eq!(
        vertex_name(&of_several).as_deref(),
        Some("[linux/arm64 web 1/2] RUN a b")
    );
    let from = Step {
        text: "FROM --platform=$P $BASE AS x",
        base: Some("busybox:1.36"),
        ..step("web", 2, 1, 2)
    };
    assert_eq!(vertex_name(&from).as_deref(), Some("[web 1/2] FROM busybox:1.36"));
    let mut silent = step("0", 1, 2, 3);
    silent.position = None;
    assert_eq!(vertex_name(&silent), None);
}

/// What is told, with all times as `T`.
fn told(tell: impl FnOnce(&mut dyn Display)) -> String {
    let text = std::sync::Arc::new(Mutex::new(String::new()));
    let into = text.clone();
    let mut plain = Plain::new(move |piece: &str| into.lock().unwrap().push_str(piece));
    tell(&mut plain);
    let text = text.lock().unwrap().clone();
    let is_time = |word: &str| {
        let number = word.trim_end_matches('s');
        number.contains('.') && number.parse::<f64>().is_ok()
    };
    let line = |line: &str| {
        let words = line.split(' ').map(|word| if is_time(word) { "T" } else { word });
        words.collect::<Vec<_>>().join(" ")
    };
    text.lines().map(|text| line(text) + "\n").collect()
}

#[test]
fn plain_steps_one_after_the_other() {
    let told = told(|display| {
        let (from, run, copy) = (
            vertex(1, "[1/3] FROM a"),
            vertex(2, "[2/3] RUN b"),
            vertex(3, "[3/3] COPY c d"),
        );
        display.started(&from);
        display.ended(&from, End::Cached);
        display.started(&run);
        display.output(&run, OutputStream::Stdout, b"one\ntw");
        display.output(&run, OutputStream::Stderr, b"10%\r20%\r\n");
        display.output(&run, OutputStream::Stdout, b"o\nopen");
        display.ended(&run, End::Done);
        display.started(&copy);
        display.ended(&copy, End::Failed("no\nsuch file"));
    });
    assert_eq!(
        told,
        "#1 [1/3] FROM a\n#1 CACHED\n\n#2 [2/3] RUN b\n#2 T one\n#2 T 20%\n#2 T two\n#2 T open\n#2 DONE T\n\n\
         #3 [3/3] COPY c d\n#3 ERROR: no such file\n"
    );
}

#[test]
fn plain_steps_at_the_same_time_are_told_in_blocks() {
    let told = told(|display| {
        let (one, other) = (vertex(1, "[a 1/1] RUN a"), vertex(2, "[b 1/1] RUN b"));
        display.started(&one);
        display.started(&other);
        display.output(&one, OutputStream::Stdout, b"one\n");
        display.output(&other, OutputStream::Stdout, b"other\n");
        display.output(&one, OutputStream::Stdout, b"one more\n");
        display.ended(&other, End::Done);
        display.output(&one, OutputStream::Stdout, b"last\n");
        display.ended(&one, End::Canceled);
    });
    assert_eq!(
        told,
        "#1 [a 1/1] RUN a\n#1 T one\n#1 T one more\n#1 ...\n\n#2 [b 1/1] RUN b\n#2 T other\n#2 DONE T\n\n\
         #1 [a 1/1] RUN a\n#1 T last\n#1 CANCELED\n"
    );
}

#[test]
fn a_failure_shows_where_it_is() {
    let text = "FROM a\n\nRUN one \\\n  && two\n\nRUN three\nRUN four\n";
    let excerpt = Excerpt {
        name: "Dockerfile",
        text,
        lines: 3..=4,
    };
    assert_eq!(
        excerpt.to_string(),
        "Dockerfile:3\n--------------------\n   1 |     FROM a\n   2 |     \n   3 | >>> RUN one \\\n   4 | >>>   && two\n   \
         5 |     \n   6 |     RUN three\n--------------------\n"
    );
    let mut tail = Tail::new(&vertex(1, "x"));
    tail.write(OutputStream::Stdout, b"a\nb");
    let shown = tail.finish("[2/2] RUN x");
    assert!(shown.starts_with("------\n > [2/2] RUN x:\n0.0"), "{shown}");
    assert!(
        shown.contains(" a\n") && shown.ends_with(" b\n------\n"),
        "{shown}"
    );
    assert_eq!(Tail::new(&vertex(1, "x")).finish("x"), "");
}

#[test]
fn times_have_fewer_digits_when_they_grow() {
    let stamped = |millis| stamp(Duration::from_millis(millis));
    assert_eq!(
        (stamped(1234), stamped(12_345), stamped(123_456)),
        ("1.234".into(), "12.35".into(), "123.5".into())
    );
}
