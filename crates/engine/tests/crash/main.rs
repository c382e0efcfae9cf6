//! Proof by enumeration: every operation is struck at each of its writes and at each call to its keeper, in every way that
//! their contracts allow, and after the restart nothing that was acknowledged is lost and nothing that was begun is stuck.
//! `docs/testing.md` says how an operation is put into the table below.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
// How much was tried is what such a test tells.
#![allow(clippy::print_stdout)]

#[path = "../common/mod.rs"]
mod common;
mod life;
mod node;
mod setups;
mod steps;
mod view;

use claviger::OnboardMode;
use common::{LONG_PASSPHRASE, OTHER_PASSPHRASE, PASSPHRASE};
use steps::Step::*;

/// `name: what there is, the fewest events that it can have, how much of it is tried, what is done;`
macro_rules! scenarios {
    ($($name:ident: $setup:ident, $least:literal $mode:ident, [$($step:expr),* $(,)?];)*) => {$(
        #[test]
        fn $name() {
            life::enumerate(stringify!($name), &setups::$setup(), $least, life::Depth::$mode, &[$($step),*]);
        }
    )*};
}

scenarios! {
    create_hierarchy: nothing, 3 Single, [CreateHierarchy];
    create_keystore: hierarchy, 3 Single, [CreateKeystore(OnboardMode::Unattended, PASSPHRASE)];
    create_keystore_of_common_criteria: hierarchy, 3 Crashes, [CreateKeystore(OnboardMode::CommonCriteria, LONG_PASSPHRASE)];
    change_passphrase: keystore, 3 Single, [ChangePassphrase(PASSPHRASE, OTHER_PASSPHRASE)];
    change_passphrase_of_common_criteria: common_criteria, 8 Crashes, [ChangePassphrase(LONG_PASSPHRASE, OTHER_PASSPHRASE)];

    create_svm: keystore, 3 All, [CreateSvm("a")];
    rename_svm: keys, 5 All, [RenameSvm("a", "b")];
    delete_svm: empty_svm, 3 All, [DeleteSvm("a")];
    delete_svm_with_keks: deleted_keys, 9 All, [DeleteSvm("a")];

    create_first_key: empty_svm, 6 All, [CreateKey("a", 1)];
    create_keys: keys, 7 All, [CreateKey("a", 50), CreateKey("a", 51)];
    create_first_keys_in_bulk: empty_svm, 6 All, [CreateKeys("a", 0, 12)];
    create_keys_in_bulk: keys, 6 All, [CreateKeys("a", 4, 30)];
    create_more_keys_than_seals_are_reserved: keystore, 14 LastPages, [CreateSvm("a"), CreateKeys("a", 0, 4_200)];
    delete_key: keys, 7 All, [DeleteKey("a", 0), DeleteKey("a", 1)];
    rotate: keys, 8 All, [BeginRotation("a", 1), FinishRotation("a", 1), FinishRotation("a", 0)];

    rekey: keys, 15 All, [Rekey("a")];
    rekey_twice: keys, 27 Single, [Rekey("a"), Rekey("a")];
    rekey_cancelled_and_asked_for_again: keys, 19 All, [CancelRekey("a"), Rekey("a")];
    rekey_between_other_things: keys, 21 Single, [CancelRekey("a"), CreateKey("a", 60), BeginRotation("a", 2), Rekey("a")];
    rekey_of_two_pages: two_pages, 15 Single, [Rekey("a")];
    rekey_of_many_pages: many_pages, 40 LastPages, [Rekey("a")];

    backup: keys, 15 Crashes, [Rekey("a"), Backup];
    restore: backup, 12 Single, [Restore];
    import_keys: restored, 6 All, [ImportKeys];

    whole_life: keystore, 58 Crashes, [
        CreateSvm("a"), CreateKey("a", 0), CreateKey("a", 1), CreateKey("a", 2), CreateKeys("a", 100, 122),
        BeginRotation("a", 0), BeginRotation("a", 1), FinishRotation("a", 1), Rekey("a"), DeleteKey("a", 2),
        DeleteKey("a", 100), CreateKey("a", 2), FinishRotation("a", 0), RenameSvm("a", "b"), Rekey("b"),
        CreateSvm("a"), CreateKey("a", 0), DeleteKey("a", 0), DeleteSvm("a"), CreateKey("b", 50),
    ];
}
