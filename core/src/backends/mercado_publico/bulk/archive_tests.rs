//! Archives: whole, cut anywhere, damaged anywhere, hostile.

use std::io::{Cursor, Read, Write};

use super::archive::{Archive, ArchiveLimits};
use crate::error::{Error, ErrorKind, Persistence};
use ayni_testkit::bulk::zip;

const TEXT: &[u8] = b"\"Codigo\";\"N\"\r\n\"1-1-SE26\";\"3,5\"\r\n";

fn opened(bytes: Vec<u8>) -> Result<Archive, Error> {
    Archive::of(Cursor::new(bytes), ArchiveLimits::default())
}

/// The name and contents of every file.
fn unpacked(bytes: Vec<u8>) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let archive = opened(bytes)?;
    let mut files = Vec::new();
    for file in archive.files() {
        let mut contents = Vec::new();
        archive.unpack(file)?.read_to_end(&mut contents).map_err(super::archive::read_failure)?;
        files.push((file.name.clone(), contents));
    }
    Ok(files)
}

fn two_files() -> Vec<u8> {
    zip(&[("COT1_2026-06.csv", TEXT), ("COT2_2026-06.csv", &TEXT.repeat(50))])
}

#[test]
fn every_file_comes_out_as_it_went_in() {
    let files = unpacked(two_files()).expect("unpacked");
    assert_eq!(files[0], ("COT1_2026-06.csv".to_owned(), TEXT.to_vec()));
    assert_eq!(files[1], ("COT2_2026-06.csv".to_owned(), TEXT.repeat(50)));
    assert!(unpacked(zip(&[])).expect("empty").is_empty());
}

#[test]
fn files_can_be_read_side_by_side() {
    let archive = opened(two_files()).expect("opened");
    let mut readers: Vec<_> =
        archive.files().iter().map(|file| archive.unpack(file).expect("unpacked")).collect();
    let mut contents = vec![Vec::new(); 2];
    loop {
        let mut is_over = true;
        for (reader, contents) in readers.iter_mut().zip(&mut contents) {
            let mut piece = [0; 7];
            let read = reader.read(&mut piece).expect("read");
            contents.extend_from_slice(&piece[..read]);
            is_over &= read == 0;
        }
        if is_over {
            break;
        }
    }
    assert_eq!(contents, [TEXT.to_vec(), TEXT.repeat(50)]);
}

#[test]
fn an_archive_behind_which_there_is_a_comment_is_read() {
    let mut bytes = two_files();
    let length = bytes.len();
    bytes[length - 2..].copy_from_slice(&9_u16.to_le_bytes());
    bytes.extend_from_slice(b"PK\x05\x06 nein");
    assert_eq!(unpacked(bytes).expect("unpacked").len(), 2);
}

#[test]
fn an_archive_that_is_cut_anywhere_is_told_as_one() {
    let whole = two_files();
    for end in 0..whole.len() {
        let error = unpacked(whole[..end].to_vec()).expect_err("cut");
        assert_eq!(error.kind(), ErrorKind::ResponseInvalid, "{end}");
        assert!(error.message().contains("truncated"), "{end}: {error}");
        assert_eq!(error.persistence(), Persistence::Temporary);
    }
}

#[test]
fn a_byte_that_is_damaged_anywhere_is_an_error_or_changes_nothing() {
    let whole = two_files();
    let expected = unpacked(whole.clone()).expect("unpacked");
    for at in 0..whole.len() {
        for flip in [0x01, 0x80, 0xFF] {
            let mut bytes = whole.clone();
            bytes[at] ^= flip;
            if let Ok(files) = unpacked(bytes) {
                let contents =
                    |files: &[(String, Vec<u8>)]| files.iter().map(|file| file.1.clone()).collect::<Vec<_>>();
                // Names and dates are not checked by anything.
                assert_eq!(contents(&files), contents(&expected), "{at}");
            }
        }
    }
}

#[test]
fn what_is_no_archive_is_told() {
    for bytes in [&b"<html><body>503</body></html>"[..], b"{\"error\":1}", &[0; 100]] {
        let error = opened(bytes.to_vec()).expect_err("no archive");
        assert!(error.message().contains("not a zip archive"), "{error}");
    }
    let error = Archive::open("/no/such/file.zip", ArchiveLimits::default()).expect_err("no file");
    assert_eq!(error.kind(), ErrorKind::InvalidRequest);
}

/// Where the entry of the only file begins in the list.
fn entry_at(bytes: &[u8]) -> usize {
    let length = bytes.len();
    u32::from_le_bytes(bytes[length - 6..length - 2].try_into().expect("four bytes")) as usize
}

fn changed(change: impl FnOnce(&mut [u8], usize)) -> Error {
    let mut bytes = zip(&[("2026-6.csv", TEXT)]);
    let entry = entry_at(&bytes);
    change(&mut bytes, entry);
    unpacked(bytes).expect_err("refused")
}

#[test]
fn what_is_encrypted_or_packed_otherwise_is_told() {
    let encrypted = changed(|bytes, entry| {
        bytes[entry + 8] |= 1;
        bytes[6] |= 1;
    });
    assert!(encrypted.message().contains("is encrypted"), "{encrypted}");
    let strong = changed(|bytes, entry| bytes[entry + 10] = 99);
    assert!(strong.message().contains("is encrypted"), "{strong}");
    let packed = changed(|bytes, entry| bytes[entry + 10] = 12);
    assert!(packed.message().contains("compression method 12"), "{packed}");
    let two_words = changed(|bytes, _| bytes[8] = 0);
    assert!(two_words.message().contains("local header that does not match"), "{two_words}");
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    for name in
        ["../2026-6.csv", "a/../../b.csv", "/etc/passwd", "\\\\host\\x.csv", "C:\\x.csv", "a\n.csv", ""]
    {
        let error = opened(zip(&[(name, TEXT)])).expect_err(name);
        assert!(error.message().contains("unsafe file name"), "{name:?}: {error}");
    }
    assert!(opened(zip(&[("carpeta/2026-6.csv", TEXT)])).is_ok());
}

#[test]
fn bombs_are_refused_before_and_while_they_are_unpacked() {
    let bomb = zip(&[("2026-6.csv", &vec![b'x'; 64 << 20])]);
    let error = opened(bomb.clone()).expect_err("too dense");
    assert!(error.message().contains("limits"), "{error}");
    let limits = ArchiveLimits { ratio: 2000, bytes: 1 << 20, ..ArchiveLimits::default() };
    assert!(
        Archive::of(Cursor::new(bomb.clone()), limits).expect_err("too large").message().contains("limits")
    );
    // One that lies about its size ends as soon as it is past it.
    let mut liar = bomb;
    let entry = entry_at(&liar);
    liar[entry + 24..entry + 28].copy_from_slice(&1000_u32.to_le_bytes());
    let archive = opened(liar).expect("looks small");
    let mut unpacked = archive.unpack(&archive.files()[0]).expect("opened");
    let mut given = 0;
    let mut piece = vec![0; 4096];
    let error = loop {
        match unpacked.read(&mut piece) {
            Ok(read) => given += read,
            Err(error) => break error,
        }
    };
    assert!(given <= 4096 && error.to_string().contains("damaged"), "{given} {error}");
    let many: Vec<(&str, &[u8])> = vec![("a.csv", TEXT); 65];
    assert!(opened(zip(&many)).expect_err("many").message().contains("more than 64 files"));
}

#[test]
fn two_files_of_one_name_are_refused() {
    for names in [["a.csv", "a.csv"], ["a.csv", "A.CSV"]] {
        let bytes = zip(&names.map(|name| (name, TEXT)));
        assert!(opened(bytes).expect_err("twice").message().contains("two files of the same name"));
    }
}

#[test]
fn files_that_share_their_bytes_are_refused() {
    let mut bytes = zip(&[("a.csv", TEXT), ("b.csv", TEXT)]);
    let entry = entry_at(&bytes);
    let second = entry + 46 + 5;
    bytes[second + 42..second + 46].fill(0);
    assert!(opened(bytes).expect_err("shared").message().contains("overlapping files"));
}

/// The same archive with its numbers written as those of more than 4 GiB are.
fn large(bytes: &[u8]) -> Vec<u8> {
    let at = entry_at(bytes);
    let end = bytes.len() - 22;
    let mut entry = bytes[at..end].to_vec();
    let mut extra = vec![1, 0, 24, 0];
    for place in [24, 20, 42] {
        extra.extend_from_slice(
            &u64::from(u32::from_le_bytes(entry[place..place + 4].try_into().expect("4"))).to_le_bytes(),
        );
        entry[place..place + 4].fill(0xFF);
    }
    entry[30] = extra.len() as u8;
    let mut whole = bytes[..at].to_vec();
    whole.extend_from_slice(&entry);
    whole.extend_from_slice(&extra);
    let list = (entry.len() + extra.len()) as u64;
    let record_at = whole.len() as u64;
    let _ = whole.write_all(b"PK\x06\x06");
    whole.extend_from_slice(&44_u64.to_le_bytes());
    whole.extend_from_slice(&[45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    for number in [1, 1, list, at as u64] {
        whole.extend_from_slice(&number.to_le_bytes());
    }
    whole.extend_from_slice(b"PK\x06\x07\0\0\0\0");
    whole.extend_from_slice(&record_at.to_le_bytes());
    whole.extend_from_slice(&1_u32.to_le_bytes());
    whole.extend_from_slice(b"PK\x05\x06\0\0\0\0\x01\0\x01\0\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\0\0");
    whole
}

#[test]
fn archives_with_numbers_of_more_than_four_gigabytes_are_read() {
    let files = unpacked(large(&zip(&[("2026-6.csv", TEXT)]))).expect("unpacked");
    assert_eq!(files, [("2026-6.csv".to_owned(), TEXT.to_vec())]);
}
