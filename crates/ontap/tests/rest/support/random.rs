//! A system whose random source fails.

use std::collections::BTreeMap;
use std::env::consts::ARCH;

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};

/// Runs `work` on a thread for which, and for the threads it makes, the system gives no random bytes.
///
/// The error is one on which the standard library reads a device instead, so that hash maps go on; the engine does not.
pub(crate) fn without_random<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    // Whether the call is there is found out once for the process, and from then on taken for granted.
    claviger_wrap::random_uuid(&mut claviger_wrap::SystemRandom).unwrap();
    let confined = || {
        let rules = BTreeMap::from([(libc::SYS_getrandom, Vec::new())]);
        let refuse = SeccompAction::Errno(libc::EPERM.unsigned_abs());
        let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, ARCH.try_into().unwrap()).unwrap();
        apply_filter(&BpfProgram::try_from(filter).unwrap()).unwrap();
        work()
    };
    std::thread::scope(|scope| scope.spawn(confined).join()).unwrap()
}
