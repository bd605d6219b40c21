//! How much memory the processes of a pod use.
//!
//! Counted is what the kernel cannot get back by forgetting it: anonymous memory, mapped shared memory, and what of both was
//! swapped out. Files that are mapped are not, nor are a tmpfs, memory files that nobody has mapped, and the kernel's own: who
//! means to hide memory can. The quick sum counts memory that several processes share once for each; so what seems too much
//! is counted again by shares, which costs a walk over the page tables.

use super::processes::{self, family, read, sum};

/// The bytes that a process and its descendants use: at most so many where that is no more than `limit`, else just so many.
pub(super) fn used(launcher: u32, limit: u64) -> u64 {
    let pod = family(launcher);
    let at_most = pod.values().map(|process| process.memory).sum();
    if at_most <= limit {
        return at_most;
    }
    let exact = pod
        .iter()
        .map(|(id, process)| share(*id).unwrap_or(process.memory));
    exact.sum()
}

/// Whether this place tells what is needed, asked about the calling process.
pub(super) fn is_known() -> bool {
    let id = std::process::id();
    processes::status(id).is_some_and(|process| process.memory > 0) && share(id).is_some()
}

/// What a process uses, with its share of what it shares.
fn share(id: u32) -> Option<u64> {
    let text = read(id, "smaps_rollup")?;
    sum(&text, &["Pss_Anon", "Pss_Shmem", "SwapPss"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_known_with_what_it_holds() {
        let id = std::process::id();
        let ballast = vec![1_u8; 64 << 20];
        let (exact, at_most) = (used(id, 0), used(id, u64::MAX));
        assert!(exact >= ballast.len() as u64, "{exact}");
        assert!(at_most >= ballast.len() as u64, "{at_most}");
        assert!(is_known());
    }
}
