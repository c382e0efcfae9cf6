use super::*;

const FILE: u64 = 7;
const DIR: u64 = 5;

fn empty() -> Disk {
    let dir = tempfile::tempdir().unwrap();
    Disk::read(dir.path()).unwrap()
}

fn root(disk: &Disk) -> u64 {
    *disk.inodes.iter().find(|(_, node)| **node == ROOT).unwrap().0
}

fn play(disk: &mut Disk, records: impl IntoIterator<Item = Record>) {
    records.into_iter().for_each(|record| disk.apply(&record).unwrap());
}

fn created(path: &str) -> Record {
    Record::Opened { inode: FILE, path: path.into(), mode: 0o600, created: true }
}

fn wrote(offset: usize, bytes: &[u8]) -> Record {
    Record::Wrote { inode: FILE, offset, bytes: bytes.to_vec() }
}

fn synced(inode: u64) -> [Record; 2] {
    [Record::SyncBegan { inode, ticket: 1 }, Record::SyncEnded { ticket: 1 }]
}

fn after(disk: &Disk, loss: Loss) -> BTreeMap<PathBuf, Vec<u8>> {
    after_by(disk, loss, &mut Rng::with_seed(1))
}

fn after_by(disk: &Disk, loss: Loss, rng: &mut Rng) -> BTreeMap<PathBuf, Vec<u8>> {
    let (content, _) = disk.after(loss, rng);
    content.into_iter().filter_map(|(path, (_, bytes))| Some((path, bytes?))).collect()
}

fn files<const N: usize>(files: [(&str, &[u8]); N]) -> BTreeMap<PathBuf, Vec<u8>> {
    files.into_iter().map(|(path, bytes)| (path.into(), bytes.to_vec())).collect()
}

#[test]
fn what_is_synced_stays_and_the_rest_may_go() {
    let mut disk = empty();
    play(&mut disk, [created("a"), wrote(0, b"one")]);
    play(&mut disk, synced(FILE));
    play(&mut disk, [wrote(3, b"two")]);
    assert_eq!(after(&disk, Loss::All), files([]));
    assert_eq!(after(&disk, Loss::Data), files([("a", b"one")]));
    assert_eq!(after(&disk, Loss::None), files([("a", b"onetwo")]));
    let directory = root(&disk);
    play(&mut disk, synced(directory));
    assert_eq!(after(&disk, Loss::All), files([("a", b"one")]));
    assert_eq!(after(&disk, Loss::Names), files([("a", b"onetwo")]));
}

#[test]
fn a_sync_covers_what_was_written_before_it_began() {
    let mut disk = empty();
    let [began, ended] = synced(FILE);
    play(&mut disk, [created("a"), wrote(0, b"one"), began, wrote(3, b"two")]);
    assert_eq!(after(&disk, Loss::Data), files([("a", b"")]));
    play(&mut disk, [ended]);
    assert_eq!(after(&disk, Loss::Data), files([("a", b"one")]));
}

#[test]
fn a_file_that_is_renamed_before_it_is_synced_may_be_empty() {
    let mut disk = empty();
    play(&mut disk, [created("a.new"), wrote(0, b"bytes")]);
    play(&mut disk, [Record::Renamed { from: "a.new".into(), to: "a".into() }]);
    assert_eq!(after(&disk, Loss::Data), files([("a", b"")]));
    assert_eq!(after(&disk, Loss::Names), files([]));
}

#[test]
fn a_name_below_a_directory_that_is_lost_is_lost() {
    let mut disk = empty();
    play(&mut disk, [Record::MadeDir { inode: DIR, path: "d".into(), mode: 0o700 }, created("d/a"), wrote(0, b"x")]);
    play(&mut disk, synced(FILE));
    play(&mut disk, synced(DIR));
    assert_eq!(disk.after(Loss::All, &mut Rng::with_seed(1)).0, Content::new());
    let directory = root(&disk);
    play(&mut disk, synced(directory));
    assert_eq!(after(&disk, Loss::All), files([("d/a", b"x")]));
}

#[test]
fn names_arrive_in_their_order() {
    let mut disk = empty();
    play(&mut disk, [created("a"), Record::Renamed { from: "a".into(), to: "b".into() }]);
    play(&mut disk, [Record::Unlinked { path: "b".into() }]);
    let mut rng = Rng::with_seed(3);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..100 {
        seen.insert(after_by(&disk, Loss::Some, &mut rng).into_keys().collect::<Vec<_>>());
    }
    assert_eq!(seen, [vec![], vec!["a".into()], vec!["b".into()]].into());
}

#[test]
fn a_block_has_any_of_its_states_and_no_other() {
    let mut disk = empty();
    play(&mut disk, [created("a"), wrote(0, &[1; 1024])]);
    play(&mut disk, synced(FILE));
    play(&mut disk, [wrote(0, &[2; 1024]), wrote(500, &[3; 20])]);
    let mut rng = Rng::with_seed(5);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..2_000 {
        let mut found = after_by(&disk, Loss::Some, &mut rng);
        let Some(bytes) = found.remove(Path::new("a")) else { continue };
        assert_eq!(bytes.len(), 1024);
        let states = (bytes[0], bytes[511], bytes[512], bytes[1023]);
        // The head of a sector never shows a write that its tail has not seen.
        assert!(matches!((states.0, states.1), (1, 1) | (2, 2 | 3)), "{states:?}");
        assert!(matches!((states.2, states.3), (1, 1) | (2 | 3, 2)), "{states:?}");
        seen.insert(states);
    }
    // The two sectors are independent.
    assert_eq!(seen.len(), 9);
}

#[test]
fn what_is_cut_off_is_gone_and_zero_when_the_file_grows_again() {
    let mut disk = empty();
    play(&mut disk, [created("a"), wrote(0, b"abcdef"), Record::Truncated { inode: FILE, len: 2 }, wrote(4, b"z")]);
    assert_eq!(after(&disk, Loss::None), files([("a", b"ab\0\0z")]));
    play(&mut disk, synced(FILE));
    assert_eq!(after(&disk, Loss::Data), files([("a", b"ab\0\0z")]));
    play(&mut disk, [Record::Truncated { inode: FILE, len: 0 }]);
    assert_eq!(after(&disk, Loss::Data), files([("a", b"ab\0\0z")]));
    assert_eq!(after(&disk, Loss::None), files([("a", b"")]));
}
