//! What a job does with its engine, told in its trace where a reader has to know: once each, when it happens.
//!
//! Apart from the notes of a plan, which are known before the job starts.

use crate::Trace;
use shipway_engine::{Observation, Observer};
use std::sync::{Arc, Mutex, PoisonError};

/// Warns of each notice at its first occasion.
pub(super) fn observer(notices: Vec<(Observation, String)>, trace: Trace) -> Observer {
    let waiting = Mutex::new(notices);
    Arc::new(move |seen| {
        let due: Vec<_> = waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extract_if(.., |(occasion, _)| *occasion == seen)
            .collect();
        for (_, notice) in due {
            trace.warn(notice);
        }
    })
}

#[cfg(test)]
mod tests {
    use super::{Observation, Trace, observer};

    #[test]
    fn a_notice_is_given_once_and_at_its_own_occasion() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let trace = Trace::new(file.reopen().unwrap(), Vec::new());
        let notices = vec![(Observation::SocketConnected, "the socket is used".to_owned())];
        let observer = observer(notices, trace.clone());
        let so_far = || {
            trace.finish().unwrap();
            std::fs::read_to_string(file.path()).unwrap()
        };
        observer(Observation::PlainToTls);
        assert_eq!(so_far(), "");
        observer(Observation::SocketConnected);
        observer(Observation::SocketConnected);
        assert_eq!(so_far().matches("the socket is used").count(), 1);
    }
}
