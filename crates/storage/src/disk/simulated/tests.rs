//! The simulated disk loses what a disk may lose, and nothing else.

use std::collections::BTreeSet;

use super::*;

/// The bytes of a file, if it is there.
type Outcome = Option<Vec<u8>>;

/// What all crashes leave of a file, each once.
fn outcomes(prepare: impl Fn(&SimulatedDisk)) -> BTreeSet<Outcome> {
    let after_crash = |seed| {
        let disk = SimulatedDisk::new(seed);
        prepare(&disk);
        disk.crash(seed);
        disk.bytes("a").ok()
    };
    (0..500).map(after_crash).collect()
}

fn some(bytes: impl Into<Vec<u8>>) -> Outcome {
    Outcome::from(bytes.into())
}

#[test]
fn what_is_synced_survives() {
    let found = outcomes(|disk| {
        let file = disk.create("a").unwrap();
        file.write_at(0, b"abc").unwrap();
        file.truncate(2).unwrap();
        file.sync_data().unwrap();
        disk.sync_folder().unwrap();
    });
    assert_eq!(found, [some(b"ab")].into());
}

#[test]
fn names_are_durable_with_the_folder_only() {
    let found = outcomes(|disk| {
        let file = disk.create("a").unwrap();
        file.write_at(0, b"abc").unwrap();
        file.sync_data().unwrap();
    });
    assert_eq!(found, [None, some(b"abc")].into());
    let found = outcomes(|disk| {
        disk.put("a", b"old".to_vec());
        disk.put("b", b"new".to_vec());
        disk.rename("b", "a").unwrap();
    });
    assert_eq!(found, [some(b"old"), some(b"new")].into());
    let found = outcomes(|disk| {
        disk.put("a", b"old".to_vec());
        disk.remove("a").unwrap();
    });
    assert_eq!(found, [None, some(b"old")].into());
}

#[test]
fn unsynced_writes_are_torn_and_reordered() {
    let sector = 512;
    let found = outcomes(|disk| {
        disk.put("a", Vec::new());
        let file = disk.open("a").unwrap();
        file.write_at(0, &vec![1; sector]).unwrap();
        file.write_at(512, &vec![2; sector]).unwrap();
    });
    assert!(found.contains(&some(b"")));
    assert!(found.contains(&some([vec![1; sector], vec![2; sector]].concat())));
    assert!(found.contains(&some([vec![0; sector], vec![2; sector]].concat())), "the second without the first");
    let is_cut_in_a_sector = |bytes: &Outcome| bytes.as_ref().is_some_and(|bytes| bytes.len() % sector != 0);
    assert!(found.iter().any(is_cut_in_a_sector));
}

#[test]
fn what_a_sync_failed_to_write_the_next_one_does_not() {
    let found = outcomes(|disk| {
        disk.put("a", b"old".to_vec());
        let file = disk.open("a").unwrap();
        file.write_at(0, b"new").unwrap();
        disk.fault(Fault::FailSyncsFrom(disk.operations()));
        file.sync_data().unwrap_err();
        disk.mend();
        file.sync_data().unwrap();
        assert_eq!(disk.bytes("a").unwrap(), b"new", "still visible");
    });
    assert!(found.contains(&some(b"old")));
    assert!(found.contains(&some(b"new")));
}

#[test]
fn operations_fail_as_told() {
    let disk = SimulatedDisk::new(0);
    let file = disk.create("a").unwrap();
    disk.fault(Fault::FailOperation(disk.operations() + 1));
    file.write_at(0, b"abc").unwrap();
    file.write_at(3, b"def").unwrap_err();
    assert!(b"abcdef".starts_with(&file.read_all().unwrap()));
    disk.fault(Fault::StopAt(disk.operations()));
    file.truncate(0).unwrap_err();
    disk.list().unwrap_err();
    disk.crash(0);
    disk.list().unwrap();
    assert!(file.length().is_err(), "the handle is from before the crash");
}

#[test]
fn a_full_disk_takes_what_fits() {
    let disk = SimulatedDisk::new(0);
    disk.put("b", vec![0; 6]);
    let file = disk.create("a").unwrap();
    disk.fault(Fault::Capacity(10));
    file.write_at(0, b"abc").unwrap();
    assert_eq!(file.allocate(0, 5).unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!(file.length().unwrap(), 3);
    assert_eq!(file.write_at(3, b"de").unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!(file.read_all().unwrap(), b"abcd");
    file.write_at(0, b"ABCD").unwrap();
    disk.remove("b").unwrap();
    file.allocate(4, 2).unwrap();
    assert_eq!(file.read_all().unwrap(), b"ABCD\0\0");
}

#[test]
fn a_flipped_bit_is_damage_that_lasts() {
    let disk = SimulatedDisk::new(0);
    disk.put("a", vec![0, 0]);
    assert!(disk.flip_bit("a", 9).unwrap());
    assert!(!disk.flip_bit("a", 16).unwrap());
    assert_eq!(disk.flip_bit("b", 0).unwrap_err().kind(), io::ErrorKind::NotFound);
    disk.crash(0);
    assert_eq!(disk.bytes("a").unwrap(), [0, 2]);
}

#[test]
fn the_same_seed_fails_the_same_way() {
    let run = || outcomes(|disk| disk.create("a").unwrap().write_at(0, &[7; 2000]).unwrap());
    assert_eq!(run(), run());
}
