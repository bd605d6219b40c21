//! How much of what a step writes is shown: a debug log in an endless loop must not fill the log of a CI job.
//!
//! As in BuildKit, for each of the two streams of a step: so many bytes in all, and so many for each second that the step has run.
//! What is beyond is left out, which is said once; where the step ends with something left out, the last of it follows, since
//! that is where errors are. What the limit does not show is read all the same: no step waits for it or ends by it.

use std::collections::VecDeque;
use std::time::Duration;

use shipway_container::{ByteSize, OutputStream};

/// Of what was left out, this much is shown at the end.
const REST: usize = 256 << 10;

/// A number of bytes; none is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::commands::build) struct LogLimit(Option<u64>);

impl LogLimit {
    /// What is shown in all, by default.
    pub(in crate::commands::build) const SIZE: &str = "2MiB";
    /// What is shown in a second, by default.
    pub(in crate::commands::build) const SPEED: &str = "200KiB";

    /// A size, or -1 as BuildKit's variables have it; nothing, as a CI variable may be set, is the default.
    pub(in crate::commands::build) fn parse(text: &str, default: &str) -> Result<Self, String> {
        let size = match text {
            "-1" => return Ok(Self(None)),
            "" => default,
            size => size,
        };
        size.parse::<ByteSize>()
            .map(|size| Self(Some(size.get())))
            .map_err(|error| format!("{error}, or -1 for no limit"))
    }
}

/// What a step may show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::commands::build) struct LogLimits {
    /// Of each stream.
    pub(in crate::commands::build) size: LogLimit,
    /// Of each stream in a second.
    pub(in crate::commands::build) speed: LogLimit,
}

/// One step under its limits.
#[derive(Debug)]
pub(super) struct Clip {
    limits: LogLimits,
    streams: [Clipped; 2],
}

#[derive(Debug, Default)]
struct Clipped {
    /// Bytes so far, shown or not.
    seen: u64,
    /// Whether the last of them were left out.
    clips: bool,
    /// The end of those.
    rest: VecDeque<u8>,
}

impl Clip {
    pub(super) fn new(limits: LogLimits) -> Self {
        Self {
            limits,
            streams: Default::default(),
        }
    }

    /// What is to be shown of some bytes of a step of this age.
    pub(super) fn take(&mut self, stream: OutputStream, bytes: Vec<u8>, age: Duration) -> Vec<u8> {
        let (most, reached) = self.limits.at(age);
        let stream = &mut self.streams[stream as usize];
        let length = bytes.len() as u64;
        if length == 0 {
            return bytes;
        }
        let free = most.map_or(length, |most| most.saturating_sub(stream.seen).min(length));
        stream.seen = stream.seen.saturating_add(length);
        if free == length {
            stream.clips = false;
            stream.rest.clear();
            return bytes;
        }
        let mut shown = bytes;
        let left_out = shown.split_off(usize::try_from(free).unwrap_or(shown.len()));
        stream.leave_out(&left_out);
        if !std::mem::replace(&mut stream.clips, true) {
            let said = format!("\n[output clipped, log limit {reached} reached]\n");
            shown.extend_from_slice(said.as_bytes());
        }
        shown
    }

    /// The step is over: the last of what was left out.
    pub(super) fn finish(&mut self, stream: OutputStream) -> Vec<u8> {
        let stream = &mut self.streams[stream as usize];
        std::mem::take(&mut stream.rest).into()
    }
}

impl Clipped {
    fn leave_out(&mut self, bytes: &[u8]) {
        self.rest.extend(&bytes[bytes.len().saturating_sub(REST)..]);
        self.rest.drain(..self.rest.len().saturating_sub(REST));
    }
}

impl LogLimits {
    /// What may be shown of a step of this age, and the limit that says so, as BuildKit writes it.
    fn at(self, age: Duration) -> (Option<u64>, String) {
        let seconds = age.as_secs() + u64::from(age.subsec_nanos() > 0);
        let in_time = self.speed.0.map(|speed| (speed.saturating_mul(seconds), speed));
        match (self.size.0, in_time) {
            (Some(size), Some((most, speed))) if most <= size => (Some(most), format!("{}/s", units(speed))),
            (None, Some((most, speed))) => (Some(most), format!("{}/s", units(speed))),
            (size, _) => (size, units(size.unwrap_or_default())),
        }
    }
}

/// `2MiB`.
fn units(bytes: u64) -> String {
    ByteSize::new(bytes).to_string().replace(' ', "")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(10);

    fn clip(size: Option<u64>, speed: Option<u64>) -> Clip {
        Clip::new(LogLimits {
            size: LogLimit(size),
            speed: LogLimit(speed),
        })
    }

    fn shown(clip: &mut Clip, text: &str, age: Duration) -> String {
        String::from_utf8(clip.take(OutputStream::Stdout, text.into(), age)).unwrap()
    }

    #[test]
    fn what_is_beyond_the_size_is_left_out_but_for_its_end() {
        let mut clip = clip(Some(6), None);
        assert_eq!(shown(&mut clip, "abcd", SOON), "abcd");
        assert_eq!(
            shown(&mut clip, "efgh", SOON),
            "ef\n[output clipped, log limit 6bytes reached]\n"
        );
        assert_eq!(shown(&mut clip, "ijkl", Duration::from_secs(9)), "");
        assert_eq!(shown(&mut clip, "", SOON), "");
        // The streams count apart.
        assert_eq!(clip.take(OutputStream::Stderr, b"err".into(), SOON), b"err");
        assert_eq!(clip.finish(OutputStream::Stdout), b"ghijkl");
        assert_eq!(clip.finish(OutputStream::Stderr), b"");
    }

    #[test]
    fn what_comes_too_fast_is_left_out_until_time_has_caught_up() {
        let mut clip = clip(Some(100), Some(4));
        let said = "abcd\n[output clipped, log limit 4bytes/s reached]\n";
        assert_eq!(shown(&mut clip, "abcdefgh", SOON), said);
        assert_eq!(shown(&mut clip, "ij", Duration::from_secs(2)), "");
        assert_eq!(shown(&mut clip, "kl", Duration::from_secs(3)), "kl");
        assert_eq!(clip.finish(OutputStream::Stdout), b"");
        let much = "x".repeat(100);
        let last = shown(&mut clip, &much, Duration::from_secs(60));
        assert!(last.contains("log limit 100bytes reached"), "{last}");
    }

    #[test]
    fn the_end_of_what_is_left_out_is_bounded() {
        let mut clip = clip(Some(0), None);
        for letter in [b"a", b"b"] {
            clip.take(OutputStream::Stdout, letter.repeat(REST - 1), SOON);
        }
        let rest = clip.finish(OutputStream::Stdout);
        assert_eq!((rest.len(), rest[0], rest[1]), (REST, b'a', b'b'));
    }

    #[test]
    fn without_limits_all_is_shown() {
        let mut clip = clip(None, None);
        assert_eq!(shown(&mut clip, "abc", SOON), "abc");
    }

    #[test]
    fn limits_are_written_as_buildkit_writes_them() {
        assert_eq!(
            (units(2 << 20), units(200 << 10)),
            ("2MiB".into(), "200KiB".into())
        );
        let parsed = |text| LogLimit::parse(text, LogLimit::SPEED);
        assert_eq!(parsed("-1"), Ok(LogLimit(None)));
        assert_eq!(parsed("2097152"), Ok(LogLimit(Some(2 << 20))));
        assert_eq!(parsed("2m"), Ok(LogLimit(Some(2 << 20))));
        assert_eq!(parsed(""), Ok(LogLimit(Some(200 << 10))));
        assert!(parsed("some").is_err());
    }
}
