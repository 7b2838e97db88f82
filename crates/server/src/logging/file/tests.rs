//! Rotation, with a time that is given.

use std::io::Read as _;
use std::time::UNIX_EPOCH;

use flate2::read::GzDecoder;

use super::*;

/// 2026-11-20 23:59:50, and so many seconds later.
fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_795_219_190 + seconds)
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("x.log")
    }

    fn open(&self, rotation: &Rotation) -> RotatingFile {
        RotatingFile::open(&self.path(), rotation, at(0)).unwrap()
    }

    /// All files with what is in them, in the order of their names.
    fn files(&self) -> Vec<(String, String)> {
        let entries = fs::read_dir(self.0.path()).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<_> = entries
            .map(|path| {
                let mut text = String::new();
                let file = File::open(&path).unwrap();
                if path.extension().unwrap() == "gz" {
                    GzDecoder::new(file).read_to_string(&mut text).unwrap();
                } else {
                    let mut file = file;
                    file.read_to_string(&mut text).unwrap();
                }
                (path.file_name().unwrap().to_str().unwrap().to_owned(), text)
            })
            .collect();
        files.sort();
        files
    }
}

fn names_and_texts(files: &[(&str, &str)]) -> Vec<(String, String)> {
    files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}

#[test]
fn a_full_file_becomes_the_first_archive() {
    let folder = Folder::new();
    let mut file = folder.open(&Rotation { size: Some(4), count: Some(2), ..Rotation::default() });
    for text in ["one\n", "two\n", "three\n", "4\n", "4b\n", "five\n"] {
        file.write(text.as_bytes(), at(0)).unwrap();
    }
    let expected = [("x.log", "five\n"), ("x.log.0", "4\n4b\n"), ("x.log.1", "three\n")];
    assert_eq!(folder.files(), names_and_texts(&expected));
}

#[test]
fn a_file_is_rotated_when_its_time_has_come() {
    let folder = Folder::new();
    let rotation = Rotation { date: Some(RotationDate::Day { hour: 0 }), ..Rotation::default() };
    let mut file = folder.open(&rotation);
    for (seconds, text) in [(0, "a\n"), (9, "b\n"), (10, "c\n"), (86_409, "d\n"), (86_410, "e\n"), (3 * 86_400, "f\n")]
    {
        file.write(text.as_bytes(), at(seconds)).unwrap();
    }
    let expected = [("x.log", "f\n"), ("x.log.0", "e\n"), ("x.log.1", "c\nd\n"), ("x.log.2", "a\nb\n")];
    assert_eq!(folder.files(), names_and_texts(&expected));
}

#[test]
fn archives_may_be_none_or_compressed() {
    let folder = Folder::new();
    let mut file = folder.open(&Rotation { size: Some(1), count: Some(0), ..Rotation::default() });
    file.write(b"one\n", at(0)).unwrap();
    file.write(b"two\n", at(0)).unwrap();
    assert_eq!(folder.files(), names_and_texts(&[("x.log", "two\n")]));
    drop(file);
    let mut file = folder.open(&Rotation { count: Some(3), compress: true, ..Rotation::default() });
    file.rotate(at(0)).unwrap();
    file.write(b"three\n", at(0)).unwrap();
    file.rotate(at(0)).unwrap();
    let expected = [("x.log", ""), ("x.log.0.gz", "three\n"), ("x.log.1.gz", "two\n")];
    assert_eq!(folder.files(), names_and_texts(&expected));
}

#[test]
fn a_file_is_gone_on_with_and_an_empty_one_is_no_archive() {
    let folder = Folder::new();
    fs::write(folder.path(), "before\n").unwrap();
    let mut file = folder.open(&Rotation { size: Some(10), ..Rotation::default() });
    file.write(b"after\n", at(0)).unwrap();
    assert_eq!(file.room(), 0);
    file.write(b"next\n", at(0)).unwrap();
    file.rotate(at(0)).unwrap();
    file.rotate(at(0)).unwrap();
    let expected = [("x.log", ""), ("x.log.0", "next\n"), ("x.log.1", "before\nafter\n")];
    assert_eq!(folder.files(), names_and_texts(&expected));
}

#[test]
fn a_file_that_somebody_moved_away_is_begun_anew() {
    let folder = Folder::new();
    let mut file = folder.open(&Rotation::default());
    file.write(b"one\n", at(0)).unwrap();
    fs::rename(folder.path(), folder.0.path().join("y.old")).unwrap();
    file.write(b"two\n", at(0)).unwrap();
    file.write(b"three\n", at(1)).unwrap();
    assert_eq!(folder.files(), names_and_texts(&[("x.log", "three\n"), ("y.old", "one\ntwo\n")]));
}

#[test]
fn the_last_lines_are_those_at_the_end() {
    let folder = Folder::new();
    fs::write(folder.path(), "one\ntwo\nthree\n").unwrap();
    for (lines, expected) in [(0, &[][..]), (2, &["two", "three"]), (9, &["one", "two", "three"])] {
        assert_eq!(tail(&folder.path(), lines).unwrap(), expected);
    }
}
