//! One process at a time.

use claviger::{Engine, Options};

use crate::support::Place;

#[test]
fn while_another_process_has_the_store_open_every_command_says_so() {
    let place = Place::with_svm();
    let engine = Engine::open(&place.dir(), Options::default()).unwrap();
    for command in ["show", "verify", "rekey", "svm create vs1", "job list", "backup create"] {
        let said = place.refused(command, 7);
        assert!(said.contains("is open elsewhere by process"), "{command}: {said}");
    }
    drop(engine);
    place.done("show");
}
