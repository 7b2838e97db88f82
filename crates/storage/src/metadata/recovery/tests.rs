//! One case for each kind of damage.

use super::super::format::encode_header;
use super::*;

/// A file with snapshot entries `s1`, `s2` for changes up to 10, `c11` and `c12` committed together, then `c13`, then
/// `c14` and `c15`, a mark, and `c16` and `c17`, the last write.
fn file() -> (Vec<u8>, Vec<Range<usize>>) {
    let change = |sequence: u64, durable: u64, payload| Entry::Change {
        sequence: Sequence(sequence),
        durable: Sequence(durable),
        payload,
    };
    let entries = [
        Entry::Snapshot { number: 1, payload: b"s1" },
        Entry::Snapshot { number: 2, payload: b"s2" },
        Entry::SnapshotEnd { entries: 2, sequence: Sequence(10) },
        change(11, 10, b"c11"),
        change(12, 10, b"c12"),
        change(13, 12, b"c13"),
        change(14, 13, b"c14"),
        change(15, 13, b"c15"),
        Entry::Mark { durable: Sequence(15) },
        change(16, 15, b"c16"),
        change(17, 15, b"c17"),
    ];
    let mut bytes = Vec::new();
    encode_header(Sequence(10), &mut bytes);
    let mut ranges = Vec::new();
    for entry in entries {
        let start = bytes.len();
        entry.encode(&mut bytes).unwrap();
        ranges.push(start..bytes.len());
    }
    (bytes, ranges)
}

/// Places in the list of entries of [`file`].
const S1: usize = 0;
const S2: usize = 1;
const END: usize = 2;
const C11: usize = 3;
const C12: usize = 4;
const C13: usize = 5;
const C14: usize = 6;
const C15: usize = 7;
const MARK: usize = 8;
const C16: usize = 9;
const C17: usize = 10;

const WHOLE: &str = "s1 s2 c11 c12 c13 c14 c15 c16 c17";

fn payloads(content: &Content<'_>) -> String {
    let text: Vec<&str> = content.payloads.iter().map(|payload| std::str::from_utf8(payload).unwrap()).collect();
    text.join(" ")
}

#[test]
fn a_whole_file_is_read_to_its_end() {
    let (bytes, ranges) = file();
    let content = read(&bytes).unwrap();
    assert_eq!(payloads(&content), WHOLE);
    assert_eq!((content.last, content.proven), (Sequence(17), Sequence(15)));
    assert_eq!((content.unproven, content.end), (ranges[C16].start, bytes.len()));
    assert_eq!(content.snapshot_bytes, ranges[END].end);
    assert!(content.has_changes && content.damage.is_empty() && content.tail.is_none());

    let marked = read(&bytes[..ranges[MARK].end]).unwrap();
    assert_eq!((marked.last, marked.proven), (Sequence(15), Sequence(15)));
    assert_eq!(marked.unproven, ranges[MARK].start, "nothing vouches for the mark");
}

#[test]
fn every_kind_of_damage_has_its_answer() {
    let cut = |records| Some(records);
    // The entries that are hit, what is found, how many are lost where, and the records in a tail that is cut off.
    for (hit, expected, damage, tail) in [
        (vec![S1], "s2 c11 c12 c13 c14 c15 c16 c17", vec![Some(1)], None),
        (vec![S2], "s1 c11 c12 c13 c14 c15 c16 c17", vec![Some(1)], None),
        (vec![END], WHOLE, vec![None], None),
        (vec![S1, S2, END], "c11 c12 c13 c14 c15 c16 c17", vec![None], None),
        (vec![S2, END, C11], "s1 c12 c13 c14 c15 c16 c17", vec![None], None),
        (vec![C11], "s1 s2 c12 c13 c14 c15 c16 c17", vec![Some(1)], None),
        (vec![C12, C13], "s1 s2 c11 c14 c15 c16 c17", vec![Some(2)], None),
        (vec![C11, C13], "s1 s2 c12 c14 c15 c16 c17", vec![Some(1), Some(1)], None),
        (vec![MARK], WHOLE, vec![Some(0)], None),
        (vec![C15, MARK], "s1 s2 c11 c12 c13 c14 c16 c17", vec![Some(1)], None),
        // What is behind proves that 15 was durable, and says nothing about 16.
        (vec![C16], "s1 s2 c11 c12 c13 c14 c15", vec![], cut(1)),
        (vec![MARK, C16], "s1 s2 c11 c12 c13 c14 c15", vec![], cut(1)),
        (vec![C17], "s1 s2 c11 c12 c13 c14 c15 c16", vec![], cut(0)),
        (vec![C16, C17], "s1 s2 c11 c12 c13 c14 c15", vec![], cut(0)),
        (vec![C13, C16], "s1 s2 c11 c12 c14 c15", vec![Some(1)], cut(1)),
        (vec![C14, C15, MARK, C16, C17], "s1 s2 c11 c12 c13", vec![], cut(0)),
        (vec![END, C11, C12, C13, C14, C15, MARK, C16, C17], "s1 s2", vec![None], None),
    ] {
        let (bytes, ranges) = file();
        // A wrong checksum, a wrong length, zeros, and noise.
        for way in 0..4 {
            let mut bytes = bytes.clone();
            for index in &hit {
                let place = &mut bytes[ranges[*index].clone()];
                match way {
                    0 => place[5] ^= 1,
                    1 => place[1] ^= 1,
                    2 => place.fill(0),
                    _ => {
                        place
                            .iter_mut()
                            .zip([0x5A, 0x33, 0xF1].iter().cycle())
                            .for_each(|(byte, noise)| *byte ^= noise);
                    }
                }
            }
            let content = read(&bytes).unwrap();
            let case = format!("{hit:?} {way}");
            assert_eq!(payloads(&content), expected, "{case}");
            let lost: Vec<Option<u64>> = content.damage.iter().map(|damage| damage.records).collect();
            assert_eq!(lost, damage, "{case}");
            assert_eq!(content.tail.map(|tail| tail.records), tail, "{case}");
            if let Some(first) = content.damage.first() {
                assert_eq!(first.range.start, ranges[hit[0]].start, "{case}");
            }
            if content.damage.is_empty() {
                assert_eq!(content.tail.unwrap().offset, ranges[hit[0]].start as u64, "{case}");
            }
        }
    }
}

#[test]
fn a_cut_anywhere_leaves_what_is_before() {
    let (bytes, ranges) = file();
    for length in 0..bytes.len() {
        let expected: Vec<&str> = WHOLE.split(' ').collect();
        let is_whole = |index: &usize| ranges[*index].end <= length;
        let count = [S1, S2, C11, C12, C13, C14, C15, C16, C17].iter().filter(|index| is_whole(index)).count();
        match read(&bytes[..length]) {
            Ok(content) => {
                assert_eq!(payloads(&content), expected[..count].join(" "), "{length}");
                // The snapshot was complete before the file got its name.
                assert_eq!(!content.damage.is_empty(), length < ranges[END].end, "{length}");
                let is_between = ranges.iter().any(|range| range.end == length);
                assert_eq!(content.tail.is_some(), length > ranges[END].end && !is_between, "{length}");
            }
            Err(header) => {
                assert!(length < ranges[S1].end, "{length}");
                let is_blank = length <= HEADER_BYTES;
                assert_eq!(header, if is_blank { Header::Blank } else { Header::Unknown }, "{length}");
            }
        }
    }
}

#[test]
fn a_damaged_header_takes_no_records_along() {
    for byte in 0..HEADER_BYTES {
        let (mut bytes, _) = file();
        bytes[byte] ^= 0x10;
        let content = read(&bytes).unwrap();
        assert_eq!(payloads(&content), WHOLE);
        assert_eq!(content.damage, [Damage { range: 0..HEADER_BYTES, records: Some(0) }]);
        assert_eq!(content.last, Sequence(17));
    }
}

#[test]
fn bytes_that_come_or_go_are_noticed() {
    let (bytes, ranges) = file();
    let mut more = bytes.clone();
    more.splice(ranges[C13].start..ranges[C13].start, [7; 5]);
    let content = read(&more).unwrap();
    assert_eq!(payloads(&content), WHOLE);
    assert_eq!(content.damage, [Damage { range: ranges[C13].start..ranges[C13].start + 5, records: Some(0) }]);

    let mut less = bytes.clone();
    less.drain(ranges[C12].start..ranges[C13].end);
    let content = read(&less).unwrap();
    assert_eq!(payloads(&content), "s1 s2 c11 c14 c15 c16 c17");
    assert_eq!(content.damage, [Damage { range: ranges[C12].start..ranges[C12].start, records: Some(2) }]);

    let mut twice = bytes.clone();
    twice.splice(ranges[C13].start..ranges[C13].start, bytes[ranges[C11].start..ranges[C13].start].to_vec());
    let content = read(&twice).unwrap();
    assert_eq!(payloads(&content), WHOLE, "what was read is not read again");
    assert_eq!(content.damage.len(), 1);

    let mut zeros = bytes;
    let length = zeros.len();
    zeros.resize(length + 4096, 0);
    let content = read(&zeros).unwrap();
    assert_eq!(payloads(&content), WHOLE);
    assert_eq!(content.tail, Some(TornTail { offset: length as u64, bytes: 4096, records: 0 }));
}

#[test]
fn a_record_inside_a_payload_is_not_read() {
    // With the length intact the payload is stepped over; without it, the number has to be possible.
    for (forged, damaged) in [(2, 4), (1000, 0)] {
        let mut inner = Vec::new();
        Entry::Change { sequence: Sequence(forged), durable: Sequence(1), payload: b"forged" }
            .encode(&mut inner)
            .unwrap();
        let mut bytes = Vec::new();
        encode_header(Sequence(0), &mut bytes);
        Entry::SnapshotEnd { entries: 0, sequence: Sequence(0) }.encode(&mut bytes).unwrap();
        let outer = bytes.len();
        Entry::Change { sequence: Sequence(1), durable: Sequence(0), payload: &inner }.encode(&mut bytes).unwrap();
        Entry::Change { sequence: Sequence(2), durable: Sequence(1), payload: b"true" }.encode(&mut bytes).unwrap();
        bytes[outer + damaged] ^= 1;
        assert_eq!(payloads(&read(&bytes).unwrap()), "true", "{forged}");
    }
}

#[test]
fn what_is_no_log_says_what_it_is() {
    let (bytes, ranges) = file();
    let mut newer = bytes[..HEADER_BYTES].to_vec();
    newer[8] = 2;
    let crc = record::checksum(&newer[..20]).to_le_bytes();
    newer[20..].copy_from_slice(&crc);
    newer.extend_from_slice(&bytes[HEADER_BYTES..]);
    let header_and_noise = [&bytes[..HEADER_BYTES], &[7; 100]].concat();
    let header_and_zeros = [&bytes[..HEADER_BYTES], &[0; 100]].concat();
    for (file, expected) in [
        (vec![], Header::Blank),
        (vec![0; 5000], Header::Blank),
        (bytes[..5].to_vec(), Header::Blank),
        (header_and_zeros, Header::Blank),
        (header_and_noise, Header::Unknown),
        (newer, Header::Version(2)),
        (b"[rabbitmq_management].".to_vec(), Header::Unknown),
        (vec![0xFF; 5000], Header::Unknown),
        (bytes[HEADER_BYTES + 1..ranges[S1].end].to_vec(), Header::Unknown),
    ] {
        assert_eq!(read(&file).err(), Some(expected), "{}", file.escape_ascii());
    }
}
