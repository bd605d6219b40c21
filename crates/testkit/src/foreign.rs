//! Foreign bytes for parsers: inputs near real ones, bounded in CI, for hours on demand.
//!
//! Random bytes end at a parser's first check. So inputs are made from seeds (golden cases, real files) by a few edits: parts
//! taken out, doubled, exchanged with another seed's, repeated up to a size that shows what is not linear, numbers driven to
//! their ends, and the words of the language put anywhere. A failing input is made smaller and printed; it then becomes a
//! test by its name, since inputs here follow the seeds.
//!
//! Without further words a target gets the same [`CASES`] inputs every time: CI fails for a change, not for luck.
//! `SHIPWAY_TEST_FUZZ=600` (`make fuzz TIME=600`) gives each target 600 seconds of new ones. Coverage does not guide the edits:
//! see decision 16.

#![allow(
    clippy::expect_used,
    reason = "what a test cannot do ends the test, with its reason"
)]
#![allow(
    clippy::print_stdout,
    reason = "a long run says what it tried, to whoever asks with --nocapture"
)]

use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::{Strategy, any};
use proptest::sample::Index;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use rustix::time::{ClockId, clock_gettime};

/// Inputs of a target in a run of all tests.
const CASES: u32 = 2000;
/// Inputs are no longer than this, unless a target asks for more.
const LONGEST: usize = 64 << 10;
/// What one input may cost, in seconds of processor time of a debug build: far above what is linear, far below what hurts.
const MOST_SECONDS: i64 = 10;
/// Seeds are no larger than this; what is larger shows nothing more.
const LARGEST_SEED: u64 = 64 << 10;

/// Where numbers end, and where those of other widths do.
const NUMBERS: &[&str] = &[
    "0",
    "1",
    "-1",
    "127",
    "255",
    "256",
    "511",
    "512",
    "513",
    "65535",
    "65536",
    "2147483647",
    "2147483648",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "99999999999999999999999",
    "1e309",
    "0x10",
    "+1",
    "007",
    "",
];

/// What damages any text that has structure.
const PIECES: &[&[u8]] = &[
    b"\0",
    b"\n",
    b"\r\n",
    b"\r",
    b"\t",
    b" ",
    b"\"",
    b"'",
    b"\\",
    b"/",
    b"../",
    b"//",
    b".",
    b",",
    b":",
    b";",
    b"=",
    b"@",
    b"#",
    b"$",
    b"${",
    b"}",
    b"{",
    b"[",
    b"]",
    b"(",
    b")",
    b"*",
    b"**",
    b"?",
    b"!",
    b"~",
    b"%",
    b"%00",
    b"%2f",
    b"&",
    b"|",
    b"<",
    b">",
    b"-",
    b"+",
    b"\x7f",
    b"\x80",
    b"\xff",
    b"\xc3",
    "é".as_bytes(),
    "\u{feff}".as_bytes(),
    "\u{2028}".as_bytes(),
    "🦀".as_bytes(),
];

/// A target's inputs.
pub struct Foreign {
    seeds: Vec<Vec<u8>>,
    words: &'static [&'static str],
    longest: usize,
    tars: bool,
}

/// One change of an input; the numbers are taken modulo what there is.
#[derive(Debug, Clone)]
struct Edit {
    kind: u8,
    place: Index,
    other: Index,
    length: usize,
    times: usize,
    byte: u8,
}

/// An input, shown as a byte string.
#[derive(Clone, PartialEq, Eq)]
struct Input(Vec<u8>);

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.0.escape_ascii())
    }
}

impl Foreign {
    /// Inputs near these; the empty one is always among them.
    #[must_use]
    pub fn near(seeds: impl IntoIterator<Item = impl Into<Vec<u8>>>) -> Self {
        let seeds = std::iter::once(Vec::new()).chain(seeds.into_iter().map(Into::into));
        Self {
            seeds: seeds.collect(),
            words: &[],
            longest: LONGEST,
            tars: false,
        }
    }

    /// With every file below a folder as a seed; without one, with no more.
    ///
    /// # Panics
    /// When there is a folder that cannot be read.
    #[must_use]
    pub fn and_files(mut self, folder: Option<&Path>) -> Self {
        if let Some(folder) = folder {
            let mut found = Vec::new();
            files(folder, &mut found);
            found.sort();
            self.seeds.extend(found);
        }
        self
    }

    /// With words of the language, whose combinations reach further than single characters do.
    #[must_use]
    pub fn with_words(mut self, words: &'static [&'static str]) -> Self {
        self.words = words;
        self
    }

    /// With inputs up to so many bytes.
    #[must_use]
    pub fn up_to(mut self, longest: usize) -> Self {
        self.longest = longest;
        self
    }

    /// With the sums of most tar headers put right, so that an edit is not found out by them.
    #[must_use]
    pub fn as_tars(mut self) -> Self {
        self.tars = true;
        self
    }

    /// As [`check`](Self::check) for what takes text: bytes that are none are replaced.
    ///
    /// # Panics
    /// As there.
    pub fn check_text(self, target: impl Fn(&str)) {
        self.check(|bytes| target(&String::from_utf8_lossy(bytes)));
    }

    /// Gives the inputs to a target, which panics for a wrong answer.
    ///
    /// # Panics
    /// With the smallest input that was found, when the target panics or takes too long.
    pub fn check(self, target: impl Fn(&[u8])) {
        let judge = |bytes: &[u8]| {
            let before = processor_seconds();
            target(bytes);
            let taken = processor_seconds() - before;
            if taken > MOST_SECONDS {
                return Err(TestCaseError::fail(format!(
                    "{taken} s for {} bytes",
                    bytes.len()
                )));
            }
            Ok(())
        };
        for seed in &self.seeds {
            assert!(
                judge(seed).is_ok(),
                "a seed takes too long: {:?}",
                Input(seed.clone())
            );
        }
        let edits = (any::<Index>(), vec(edit(), 1..8));
        let inputs = edits.prop_map(|(seed, edits)| self.edited(seed, &edits));
        let run = |runner: &mut TestRunner| {
            let found = match runner.run(&inputs, |input| judge(&input.0)) {
                Err(TestError::Fail(reason, input)) => Some((reason, input)),
                _ => None,
            };
            assert!(
                found.is_none(),
                "{}",
                found.map_or(String::new(), |(reason, input)| format!(
                    "{reason}\nby {} bytes: {input:?}",
                    input.0.len()
                ))
            );
        };
        match long_run() {
            None => run(&mut TestRunner::new_with_rng(
                config(),
                TestRng::deterministic_rng(RngAlgorithm::ChaCha),
            )),
            Some(time) => {
                let (start, mut rounds) = (Instant::now(), 0);
                while start.elapsed() < time {
                    run(&mut TestRunner::new(config()));
                    rounds += 1;
                }
                let (name, seconds) = (std::thread::current(), start.elapsed().as_secs());
                let name = name.name().unwrap_or("a target");
                println!("{name}: {} inputs in {seconds} s, nothing found", rounds * CASES);
            }
        }
    }

    fn edited(&self, seed: Index, edits: &[Edit]) -> Input {
        let mut bytes = seed.get(&self.seeds).clone();
        for edit in edits {
            self.apply(edit, &mut bytes);
            bytes.truncate(self.longest);
        }
        if self.tars && edits.iter().all(|edit| edit.byte > 16) {
            put_sums_right(&mut bytes);
        }
        Input(bytes)
    }

    fn apply(&self, edit: &Edit, bytes: &mut Vec<u8>) {
        let start = edit.place.index(bytes.len() + 1);
        let end = (start + edit.length).min(bytes.len());
        match edit.kind % 10 {
            0 => drop(bytes.drain(start..end)),
            1 => {
                let room = self.longest.saturating_sub(bytes.len());
                let part = bytes[start..end].to_vec();
                let times = edit.times.min(room / part.len().max(1));
                drop(bytes.splice(start..start, part.repeat(times)));
            }
            2 => {
                let other = edit.other.get(&self.seeds);
                let from = edit.place.index(other.len() + 1);
                let to = (from + edit.length).min(other.len());
                drop(bytes.splice(start..end, other[from..to].iter().copied()));
            }
            3 => {
                let number = edit.other.get(NUMBERS);
                let (start, end) = digits(bytes, start);
                drop(bytes.splice(start..end, number.bytes()));
            }
            4 if !self.words.is_empty() => {
                let word = edit.other.get(self.words);
                drop(bytes.splice(start..start, word.bytes()));
            }
            5 => bytes.truncate(start),
            6 if start < bytes.len() => bytes[start] = edit.byte,
            7 if start < bytes.len() => bytes[start] ^= 1 << (edit.byte % 8),
            8 => {
                let piece = edit.other.get(PIECES);
                let room = self.longest.saturating_sub(bytes.len());
                let times = edit.times.min(room / piece.len());
                drop(bytes.splice(start..start, piece.repeat(times)));
            }
            _ => drop(bytes.splice(start..start, edit.other.get(PIECES).iter().copied())),
        }
    }
}

fn edit() -> impl Strategy<Value = Edit> {
    // Mostly a few bytes, and once; now and then a large part, many times.
    let length = proptest::prop_oneof![8 => 0..16_usize, 2 => 0..600_usize, 1 => 0..20_000_usize];
    let times = proptest::prop_oneof![8 => 1..3_usize, 2 => 1..100_usize, 1 => 1..30_000_usize];
    (
        any::<u8>(),
        any::<Index>(),
        any::<Index>(),
        length,
        times,
        any::<u8>(),
    )
        .prop_map(|(kind, place, other, length, times, byte)| Edit {
            kind,
            place,
            other,
            length,
            times,
            byte,
        })
}

/// Blocks that have a tar header's mark are taken for one.
fn put_sums_right(bytes: &mut [u8]) {
    for block in bytes
        .chunks_exact_mut(512)
        .filter(|block| &block[257..262] == b"ustar")
    {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
}

/// The first number at or behind a place.
fn digits(bytes: &[u8], from: usize) -> (usize, usize) {
    let start = bytes[from..]
        .iter()
        .position(u8::is_ascii_digit)
        .map_or(bytes.len(), |found| from + found);
    let length = bytes[start..]
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    (start, start + length)
}

fn config() -> Config {
    Config {
        cases: CASES,
        failure_persistence: None,
        max_shrink_iters: 4096,
        ..Config::default()
    }
}

fn long_run() -> Option<Duration> {
    let seconds = std::env::var("SHIPWAY_TEST_FUZZ").ok()?;
    Some(Duration::from_secs(
        seconds.parse().expect("SHIPWAY_TEST_FUZZ is a number of seconds"),
    ))
}

/// Of this thread, so that a busy machine changes nothing.
fn processor_seconds() -> i64 {
    clock_gettime(ClockId::ThreadCPUTime).tv_sec
}

fn files(folder: &Path, found: &mut Vec<Vec<u8>>) {
    for entry in std::fs::read_dir(folder).expect("a folder of seeds") {
        let path = entry.expect("an entry").path();
        let Ok(status) = path.symlink_metadata() else {
            continue;
        };
        if status.is_dir() {
            files(&path, found);
        } else if status.is_file() && status.len() <= LARGEST_SEED {
            found.push(std::fs::read(path).expect("a seed"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Foreign, LONGEST};
    use std::cell::RefCell;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    /// The four letters are far from the seed and need three edits.
    #[test]
    fn what_is_wrong_is_found_and_made_small() {
        let wrong = |bytes: &[u8]| assert!(!bytes.windows(2).any(|pair| pair == b"=\xff"), "found");
        let caught = catch_unwind(AssertUnwindSafe(|| Foreign::near(["key=value 12"]).check(wrong)));
        let reason = *caught
            .expect_err("the target is wrong")
            .downcast::<String>()
            .expect("a message");
        assert!(reason.contains("found") && reason.contains("=\\xff"), "{reason}");
    }

    #[test]
    fn inputs_are_many_the_same_every_time_and_bounded() {
        let inputs = || {
            let seen = RefCell::new(Vec::new());
            Foreign::near(["key=value 12"])
                .with_words(&["word"])
                .check(|bytes| seen.borrow_mut().push(bytes.to_vec()));
            seen.into_inner()
        };
        let (first, second) = (inputs(), inputs());
        if std::env::var_os("SHIPWAY_TEST_FUZZ").is_none() {
            assert_eq!(first, second);
        }
        let longest = first.iter().map(Vec::len).max();
        assert!(
            longest.is_some_and(|longest| longest > 1000 && longest <= LONGEST),
            "{longest:?}"
        );
        let distinct: std::collections::BTreeSet<_> = first.iter().collect();
        assert!(distinct.len() > 1000, "{}", distinct.len());
    }
}
