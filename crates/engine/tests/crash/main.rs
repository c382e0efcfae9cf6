//! Proof by enumeration: every operation is struck at each of its writes and at each call to its keeper, in every way that
//! their contracts allow, and after the restart nothing that was acknowledged is lost and nothing that was begun is stuck.
//! `docs/testing.md` says how an operation is put into the table below.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
// How much was tried is what such a test tells.
#![allow(clippy::print_stdout)]

#[path = "../common/mod.rs"]
mod common;
mod keystores;
mod life;
mod node;
mod setups;
mod steps;
mod view;

use claviger::OnboardMode;
use common::vault::CREDENTIALS;
use common::{LONG_PASSPHRASE, OTHER_PASSPHRASE, PASSPHRASE};
use keystores::Change::*;
use keystores::To::{Cluster, Own as Keystore};
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

    into_common_criteria_mode: long_passphrase, 4 Crashes, [SetMode(OnboardMode::CommonCriteria, LONG_PASSPHRASE)];
    out_of_common_criteria_mode_without_the_passphrase: common_criteria, 4 Crashes, [LeaveCommonCriteria];
    out_of_common_criteria_mode: common_criteria, 6 Crashes, [SetMode(OnboardMode::Unattended, LONG_PASSPHRASE)];

    delete_onboard: nothing_under_the_clusters, 19 Single, [DeleteOnboard];
    delete_onboard_and_make_another: deleted_keys, 12 Single, [DeleteOnboard, CreateKeystore(OnboardMode::Unattended, PASSPHRASE), CreateKey("a", 1)];

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

    create_first_volume: empty_svm, 5 All, [CreateVolume("a", "v", 0, true)];
    create_volume_without_keks: empty_svm, 3 All, [CreateVolume("a", "v", 0, false)];
    create_volumes: volumes, 4 All, [CreateVolume("a", "y", 20, true), CreateVolume("a", "z", 21, false)];
    rotate_volumes: volumes, 4 All, [FinishRotation("a", 10), BeginRotation("a", 11)];
    delete_volumes: volumes, 4 All, [DeleteVolume("a", "v"), DeleteVolume("a", "x")];
    rekey_with_volumes: volumes, 10 Single, [Rekey("a")];
    install_first_certificate: empty_svm, 3 All, [Install("a", "c"), DeleteCertificate("a", "c")];
    install_certificate: volumes, 3 All, [Install("a", "c"), Install("a", "d"), DeleteCertificate("a", "c")];
    backup_of_certificates: volumes, 4 Crashes, [Install("a", "c"), DeleteVolume("a", "x"), Backup];
    import_volumes: restored_volumes, 5 All, [ImportKeys];

    rekey: keys, 15 All, [Rekey("a")];
    rekey_twice: keys, 27 Single, [Rekey("a"), Rekey("a")];
    rekey_cancelled_and_asked_for_again: keys, 19 All, [CancelRekey("a"), Rekey("a")];
    rekey_between_other_things: keys, 21 Single, [CancelRekey("a"), CreateKey("a", 60), BeginRotation("a", 2), Rekey("a")];
    rekey_of_two_pages: two_pages, 15 Single, [Rekey("a")];
    rekey_of_many_pages: many_pages, 40 LastPages, [Rekey("a")];

    backup: keys, 15 Crashes, [Rekey("a"), Backup];
    restore: backup, 12 Single, [Restore];
    import_keys: restored, 6 All, [ImportKeys];

    create_keystore_of_an_svm: empty_svm, 5 All, [Own("a", Create("A", 1)), Own("a", Create("B", 2))];
    enable: not_enabled, 7 All, [Own("a", Enable("A"))];
    first_key_under_an_own_keystore: barbican, 7 All, [CreateKey("a", 0)];
    first_keys_in_bulk_under_an_own_keystore: barbican, 7 Single, [CreateKeys("a", 0, 12)];
    keys_under_an_own_keystore: barbican_keys, 11 Single, [CreateKey("a", 50), DeleteKey("a", 1), FinishRotation("a", 0)];
    rekey_under_an_own_keystore: barbican_keys, 18 All, [Rekey("a")];
    rekey_external: barbican_keys, 15 All, [Own("a", RekeyExternal("A", 4))];
    rekey_external_of_two_keks: barbican_two_keks, 19 All, [Own("a", RekeyExternal("A", 4))];
    switch_to_another: barbican_keys, 15 All, [Own("a", Switch(Keystore("B")))];
    switch_of_two_keks: barbican_two_keks, 19 All, [Own("a", Switch(Keystore("B")))];
    switch_without_keys: barbican, 9 All, [Own("a", Switch(Keystore("B")))];
    switch_to_the_cluster_and_back: barbican_keys, 24 Single, [Own("a", Switch(Cluster)), Own("a", Switch(Keystore("A")))];
    switch_from_the_cluster: not_enabled, 11 All, [Own("a", Switch(Keystore("A")))];
    migrate_to_an_own_keystore: mixed, 12 All, [Own("a", Migrate(Keystore("A")))];
    migrate_to_the_cluster: barbican_keys, 15 All, [Own("a", Migrate(Cluster))];
    migrate_there_and_back: barbican_two_keks, 31 Single, [Own("a", Migrate(Cluster)), Own("a", Migrate(Keystore("A")))];
    disable: mixed, 9 All, [Own("a", Disable("A"))];
    disable_with_keks: barbican_deleted_keys, 17 All, [Own("a", Disable("A"))];
    delete_keystore: barbican_keys, 8 All, [Own("a", Delete("B"))];
    update: barbican_keys, 10 All, [Own("a", Update("A", CREDENTIALS[1]))];
    restore_keks_of_one: barbican_two_keks, 11 All, [RestoreKeks(Some("a"))];
    restore_keks_of_all: two_barbicans, 9 Single, [RestoreKeks(None)];
    keks_that_come_by_themselves: barbican_automatic, 25 Crashes, [Rekey("a"), Own("a", Switch(Keystore("B"))), CreateKey("a", 50)];
    backup_of_own_keystores: barbican_two_keks, 19 Crashes, [Own("a", Switch(Keystore("B"))), Backup];
    restore_of_own_keystores: barbican_backup, 16 Single, [Restore];

    life_of_an_own_keystore: keystore, 93 Crashes, [
        CreateSvm("a"), Own("a", Create("A", 1)), Own("a", Enable("A")), CreateKeys("a", 0, 20), BeginRotation("a", 0),
        Rekey("a"), Own("a", RekeyExternal("A", 3)), Own("a", Create("B", 2)), Own("a", Switch(Keystore("B"))),
        Own("a", Delete("A")), CreateKey("a", 20), Rekey("a"), Own("a", Migrate(Cluster)), Own("a", Disable("B")),
        Own("a", Delete("B")), FinishRotation("a", 0), Rekey("a"),
    ];
    life_and_death_of_an_own_keystore: empty_svm, 52 Crashes, [
        CreateKey("a", 0), Own("a", Create("A", 1)), Own("a", Enable("A")), Own("a", Migrate(Keystore("A"))), Rekey("a"),
        Own("a", Update("A", CREDENTIALS[1])), DeleteKey("a", 0), Own("a", Disable("A")), Own("a", Delete("A")),
        DeleteSvm("a"),
    ];

    whole_life: keystore, 58 Crashes, [
        CreateSvm("a"), CreateKey("a", 0), CreateKey("a", 1), CreateKey("a", 2), CreateKeys("a", 100, 122),
        BeginRotation("a", 0), BeginRotation("a", 1), FinishRotation("a", 1), Rekey("a"), DeleteKey("a", 2),
        DeleteKey("a", 100), CreateKey("a", 2), FinishRotation("a", 0), RenameSvm("a", "b"), Rekey("b"),
        CreateSvm("a"), CreateKey("a", 0), DeleteKey("a", 0), DeleteSvm("a"), CreateKey("b", 50),
    ];
}
