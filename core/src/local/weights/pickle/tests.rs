//! Files that torch wrote, and files that somebody wrote to do harm.

use std::path::{Path, PathBuf};

use candle_core::{DType, Device};
use serde_json::Value;

use super::super::Weights;
use super::*;
use crate::error::{Error, ErrorKind};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/pickles").join(name)
}

fn bytes_of(name: &str) -> Vec<u8> {
    std::fs::read(golden(name)).unwrap()
}

fn open(bytes: &[u8]) -> Result<Weights> {
    Weights::of_bytes(bytes)
}

/// The error of a file, which is one of loading.
fn refused(bytes: &[u8]) -> Error {
    let error = open(bytes).expect_err("this is no state dict");
    assert_eq!(error.kind(), ErrorKind::ModelLoad, "{error}");
    error
}

#[test]
fn state_dicts_of_torch_have_the_numbers_that_torch_has() {
    let expected: Value = serde_json::from_slice(&bytes_of("expected.json")).unwrap();
    for file in ["views.bin", "legacy.bin", "checkpoint.bin"] {
        let weights = Weights::open_files(&[golden(file)]).unwrap();
        for (name, tensor) in expected.as_object().unwrap() {
            let shape: Vec<usize> = serde_json::from_value(tensor["shape"].clone()).unwrap();
            let numbers: Vec<f32> = serde_json::from_value(tensor["numbers"].clone()).unwrap();
            let stored = weights.tensor(name, &shape).unwrap();
            let found = stored.to_tensor(&Device::Cpu).unwrap().to_dtype(DType::F32).unwrap();
            assert_eq!(found.flatten_all().unwrap().to_vec1::<f32>().unwrap(), numbers, "{file}: {name}");
        }
        for (name, shape, says) in [("ids", 7, "Long"), ("flags", 2, "Bool")] {
            let error = weights.tensor(name, &[shape]).unwrap().to_tensor(&Device::Cpu).unwrap_err();
            assert!(error.message().contains(&format!("weights in {says} are not supported")), "{error}");
        }
        assert_eq!(weights.names().count(), 16, "{file}");
    }
}

#[test]
fn a_file_cut_off_or_changed_anywhere_is_an_error_or_other_numbers() {
    for file in ["views.bin", "legacy.bin"] {
        let whole = bytes_of(file);
        for length in 15..whole.len() {
            refused(&whole[..length]);
        }
        for position in 0..whole.len() {
            for value in [0, 0xff, whole[position] ^ 1, b'(', b'.'] {
                let mut bytes = whole.clone();
                bytes[position] = value;
                let Ok(weights) = open(&bytes) else { continue };
                for name in weights.names() {
                    let shape = weights.tensors[name].shape().to_vec();
                    let _ = weights.tensor(name, &shape).unwrap().to_tensor(&Device::Cpu);
                }
            }
        }
    }
}

/// A zip archive of stored entries.
#[derive(Default)]
struct Zip {
    bytes: Vec<u8>,
    directory: Vec<u8>,
    count: u16,
}

impl Zip {
    fn of(entries: &[(&str, &[u8])]) -> Self {
        let mut zip = Self::default();
        for (name, content) in entries {
            zip.add(name, content, 0);
        }
        zip
    }

    fn add(&mut self, name: &str, content: &[u8], method: u16) {
        let offset = self.bytes.len();
        self.bytes.extend(b"PK\x03\x04\x14\0\0\0");
        self.bytes.extend(method.to_le_bytes());
        self.bytes.extend([0; 16]);
        self.bytes.extend((name.len() as u16).to_le_bytes());
        self.bytes.extend([0; 2]);
        self.bytes.extend(name.as_bytes());
        self.bytes.extend(content);
        self.list(name, content.len() as u32, method, offset as u32);
    }

    /// An entry of the directory alone.
    fn list(&mut self, name: &str, size: u32, method: u16, offset: u32) {
        self.directory.extend(b"PK\x01\x02\x14\0\x14\0\0\0");
        self.directory.extend(method.to_le_bytes());
        self.directory.extend([0; 8]);
        self.directory.extend(size.to_le_bytes());
        self.directory.extend(size.to_le_bytes());
        self.directory.extend((name.len() as u16).to_le_bytes());
        self.directory.extend([0; 12]);
        self.directory.extend(offset.to_le_bytes());
        self.directory.extend(name.as_bytes());
        self.count += 1;
    }

    fn finish(self) -> Vec<u8> {
        let (count, start) = (self.count, self.bytes.len() as u32);
        self.finish_with(count, start)
    }

    fn finish_with(mut self, count: u16, start: u32) -> Vec<u8> {
        self.bytes.extend(&self.directory);
        self.bytes.extend(b"PK\x05\x06\0\0\0\0");
        self.bytes.extend(count.to_le_bytes());
        self.bytes.extend(count.to_le_bytes());
        self.bytes.extend((self.directory.len() as u32).to_le_bytes());
        self.bytes.extend(start.to_le_bytes());
        self.bytes.extend([0; 2]);
        self.bytes
    }
}

/// An archive with this pickle and storage 0.
fn archive(pickle: &[u8], storage: &[u8]) -> Vec<u8> {
    Zip::of(&[("m/data.pkl", pickle), ("m/data/0", storage), ("m/version", b"3\n")]).finish()
}

fn text(text: &str) -> Vec<u8> {
    [b"X", &(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat()
}

/// An integer as Python's LONG1 writes it: no more bytes than it needs.
fn long(number: i128) -> Vec<u8> {
    let bytes = number.to_le_bytes();
    let fits = |length: usize| {
        let shift = 128 - 8 * length as u32;
        number << shift >> shift == number
    };
    let length = (1..16).find(|length| fits(*length)).unwrap_or(16);
    [&[0x8a, length as u8][..], &bytes[..length]].concat()
}

fn tuple(items: &[Vec<u8>]) -> Vec<u8> {
    [&b"("[..], &items.concat(), b"t"].concat()
}

fn storage(kind: &str, key: &str, count: Vec<u8>) -> Vec<u8> {
    let class = format!("ctorch\n{kind}\n").into_bytes();
    [tuple(&[text("storage"), class, text(key), text("cpu"), count]), b"Q".to_vec()].concat()
}

fn tensor(storage: Vec<u8>, offset: Vec<u8>, shape: &[Vec<u8>], strides: &[Vec<u8>]) -> Vec<u8> {
    let hooks = b"ccollections\nOrderedDict\n)R".to_vec();
    let arguments = tuple(&[storage, offset, tuple(shape), tuple(strides), vec![0x89], hooks]);
    [b"ctorch._utils\n_rebuild_tensor_v2\n".to_vec(), arguments, b"R".to_vec()].concat()
}

/// A state dict of tensors `a`, `b` and so on.
fn state_dict(tensors: &[Vec<u8>]) -> Vec<u8> {
    let mut pickle = b"\x80\x02}(".to_vec();
    for (number, tensor) in tensors.iter().enumerate() {
        pickle.extend(text(&format!("t{number}")));
        pickle.extend(tensor);
    }
    [pickle, b"u.".to_vec()].concat()
}

fn numbers(numbers: &[i128]) -> Vec<Vec<u8>> {
    numbers.iter().map(|number| long(*number)).collect()
}

fn floats(count: i128) -> Vec<u8> {
    storage("FloatStorage", "0", long(count))
}

#[test]
fn what_these_tests_write_is_read_when_it_is_right() {
    let right = tensor(floats(4), long(0), &numbers(&[2, 2]), &numbers(&[2, 1]));
    let weights = open(&archive(&state_dict(&[right]), &[0; 16])).unwrap();
    assert!(weights.tensor("t0", &[2, 2]).is_ok());
}

#[test]
fn code_is_named_and_never_run() {
    let folder = tempfile::tempdir().unwrap();
    let proof = folder.path().join("ran");
    let command = text(&format!("touch {}", proof.display()));
    for (name, module, function) in [
        ("os.system", "os", "system"),
        ("posix.system", "posix", "system"),
        ("builtins.eval", "builtins", "eval"),
        ("__builtin__.exec", "__builtin__", "exec"),
        ("subprocess.Popen", "subprocess", "Popen"),
        ("torch.load", "torch", "load"),
        ("torch.Storage", "torch", "Storage"),
        ("torch._utils._rebuild_qtensor", "torch._utils", "_rebuild_qtensor"),
        ("torch.serialization.FloatStorage", "torch.serialization", "FloatStorage"),
    ] {
        let global = format!("c{module}\n{function}\n").into_bytes();
        let call =
            [b"\x80\x02".to_vec(), global, tuple(std::slice::from_ref(&command)), b"R.".to_vec()].concat();
        let error = refused(&archive(&call, &[]));
        assert!(error.message().contains(&format!("it names `{name}`")), "{error}");
        assert!(error.message().contains("weights_only=True"), "{error}");
        let mut legacy = LEGACY_MAGIC.to_vec();
        legacy.extend(call);
        assert!(refused(&legacy).message().contains(name));
    }
    assert!(!proof.exists());
}

#[test]
fn every_other_opcode_is_refused() {
    const KNOWN: &[u8] = b"\x80c(N\x88\x89JKM\x8aGXU)]}t\x85\x86\x87aesubR\x81Qqrhj.";
    for opcode in 0..=u8::MAX {
        // With enough on the stack, and enough behind it, for whatever it means.
        let pickle = [&b"\x80\x02}}}((NNN"[..], &[opcode], b"os\nsystem\n)))))))))."].concat();
        let error = refused(&archive(&pickle, &[]));
        let is_named = error.message().contains(&format!("opcode {opcode:#04x}"));
        assert_eq!(is_named, !KNOWN.contains(&opcode), "{opcode:#x}: {error}");
    }
}

#[test]
fn tensors_stay_inside_their_storages() {
    let nan = [b"G".to_vec(), f64::NAN.to_be_bytes().to_vec()].concat();
    let big = 1_i128 << 60;
    for (what, tensor) in [
        ("a negative offset", tensor(floats(4), long(-1), &numbers(&[1]), &numbers(&[1]))),
        ("an offset behind the end", tensor(floats(4), long(4), &numbers(&[1]), &numbers(&[1]))),
        (
            "an offset that overflows",
            tensor(floats(4), long(i64::MAX.into()), &numbers(&[1]), &numbers(&[1])),
        ),
        ("an offset of 128 bits", tensor(floats(4), long(1 << 100), &numbers(&[1]), &numbers(&[1]))),
        ("a shape that is too large", tensor(floats(4), long(0), &numbers(&[3, 2]), &numbers(&[2, 1]))),
        ("2^60 numbers", tensor(floats(4), long(0), &numbers(&[big]), &numbers(&[1]))),
        ("2^60 numbers in one place", tensor(floats(4), long(0), &numbers(&[big]), &numbers(&[0]))),
        ("2^120 numbers", tensor(floats(4), long(0), &numbers(&[big, big]), &numbers(&[1, 1]))),
        ("a negative size", tensor(floats(4), long(0), &numbers(&[-2, -2]), &numbers(&[2, 1]))),
        ("a negative stride", tensor(floats(4), long(3), &numbers(&[2]), &numbers(&[-1]))),
        ("a stride that overflows", tensor(floats(4), long(0), &numbers(&[2, 2]), &numbers(&[big * 7, 1]))),
        (
            "a stride that is no number",
            tensor(floats(4), long(0), &numbers(&[2]), std::slice::from_ref(&nan)),
        ),
        ("a size that is no number", tensor(floats(4), long(0), std::slice::from_ref(&nan), &numbers(&[1]))),
        ("overlapping rows", tensor(floats(4), long(0), &numbers(&[2, 2]), &numbers(&[1, 1]))),
        ("fewer strides than sizes", tensor(floats(4), long(0), &numbers(&[2, 2]), &numbers(&[1]))),
        ("nine dimensions", tensor(floats(4), long(0), &numbers(&[1; 9]), &numbers(&[1; 9]))),
        ("a storage of 2^60 numbers", tensor(floats(big), long(0), &numbers(&[1]), &numbers(&[1]))),
        ("a storage of -1 numbers", tensor(floats(-1), long(0), &numbers(&[1]), &numbers(&[1]))),
        ("a storage of 5 numbers", tensor(floats(5), long(0), &numbers(&[1]), &numbers(&[1]))),
        (
            "a storage of another type",
            tensor(storage("HalfStorage", "0", long(4)), long(0), &numbers(&[1]), &numbers(&[1])),
        ),
        (
            "a storage that is not there",
            tensor(storage("FloatStorage", "1", long(4)), long(0), &numbers(&[1]), &numbers(&[1])),
        ),
        (
            "a storage outside of the archive",
            tensor(storage("FloatStorage", "../../0", long(4)), long(0), &numbers(&[1]), &numbers(&[1])),
        ),
        ("a text for a storage", tensor(text("0"), long(0), &numbers(&[1]), &numbers(&[1]))),
        ("a call without arguments", b"ctorch._utils\n_rebuild_tensor_v2\n)R".to_vec()),
    ] {
        let outcome = std::panic::catch_unwind(|| refused(&archive(&state_dict(&[tensor]), &[0; 16])));
        assert!(outcome.is_ok(), "{what}");
    }
}

#[test]
fn a_small_file_cannot_stand_for_large_weights() {
    let one = tensor(floats(1000), long(0), &numbers(&[1000]), &numbers(&[1]));
    let storage = [0; 4000];
    open(&archive(&state_dict(&vec![one.clone(); 4]), &storage)).unwrap();
    // Each costs a few hundred bytes, and is 4,000.
    let error = refused(&archive(&state_dict(&vec![one; 40]), &storage));
    assert!(error.message().contains("more than 8 times the file"), "{error}");
}

#[test]
fn objects_that_contain_themselves_or_each_other_cost_what_they_are_written_in() {
    // A dict and a list that contain themselves.
    for pickle in [&b"\x80\x02}q\0X\x01\0\0\0ah\0s."[..], b"\x80\x02]q\0h\0a.", b"\x80\x02}q\0h\0h\0s."] {
        assert!(refused(&archive(pickle, &[])).message().contains("no state dict"));
    }
    // Each list contains the one before it ten times.
    let mut pickle = b"\x80\x02]q\0".to_vec();
    for level in 1..=200_u8 {
        pickle.extend(b"]q");
        pickle.push(level);
        pickle.push(b'(');
        pickle.extend([b'h', level - 1].repeat(10));
        pickle.push(b'e');
    }
    pickle.push(b'.');
    assert!(refused(&archive(&pickle, &[])).message().contains("no state dict"));
    // 100,000 tuples in one another.
    let deep = [&b"\x80\x02)"[..], &[0x85; 100_000], b"."].concat();
    assert!(refused(&archive(&deep, &[])).message().contains("no state dict"));
}

#[test]
fn counts_and_lengths_allocate_nothing() {
    for (pickle, says) in [
        (&b"\x80\x02X\xff\xff\xff\xffa."[..], "cut off"),
        (b"\x80\x02U\xffa.", "cut off"),
        (b"\x80\x02\x8a\xff\x01.", "cut off"),
        (b"\x80\x02X\x01\0\0\0\xff.", "UTF-8"),
        (b"\x80\x02cos", "cut off"),
        (b"\x80\x02j\xff\xff\xff\xff.", "memo 4294967295"),
        (b"\x80\x02h\x01.", "memo 1"),
        (b"\x80\x02q\0.", "stack is empty"),
        (b"\x80\x02t.", "stack is empty where a mark"),
        (b"\x80\x02R.", "stack is empty"),
        (b"\x80\x02.", "stack is empty"),
        (b"\x80\x02}(NN.", "cut off"),
        (b"", "cut off"),
        (b"\x80", "cut off"),
    ] {
        let outcome = refused(&archive(pickle, &[]));
        let is_said = outcome.message().contains(says) || says == "cut off" && pickle.ends_with(b"NN.");
        assert!(is_said, "{pickle:?}: {outcome}");
    }
    let marks = [&b"\x80\x02"[..], &[b'('; 2000], b"."].concat();
    assert!(refused(&archive(&marks, &[])).message().contains("more than 1000"));
    let objects = [&b"\x80\x02"[..], &vec![b']'; 3 << 20], b"."].concat();
    assert!(refused(&archive(&objects, &[])).message().contains("more than 2097152 objects"));
    let long = [&b"\x80\x02"[..], &vec![b'N'; 17 << 20], b"."].concat();
    assert!(refused(&archive(&long, &[])).message().contains("16777216 are supported"));
}

#[test]
fn archives_that_lie_are_refused() {
    let pickle = state_dict(&[tensor(floats(4), long(0), &numbers(&[2, 2]), &numbers(&[2, 1]))]);
    let parts: [(&str, &[u8]); 2] = [("m/data.pkl", &pickle), ("m/data/0", &[0; 16])];
    let mut packed = Zip::default();
    packed.add("m/data.pkl", &pickle, 8);
    assert!(refused(&packed.finish()).message().contains("m/data.pkl is compressed"));
    let mut twice = Zip::of(&parts);
    twice.add("m/data/0", &[0; 16], 0);
    assert!(refused(&twice.finish()).message().contains("is there twice"));
    let mut overlapping = Zip::of(&parts);
    overlapping.list("m/data/1", 16, 0, 0);
    assert!(refused(&overlapping.finish()).message().contains("overlap"));
    for (size, offset) in [(u32::MAX - 1, 0), (16, u32::MAX - 1), (16, 7), (u32::MAX, 0), (16, u32::MAX)] {
        let mut outside = Zip::of(&parts);
        outside.list("m/data/1", size, 0, offset);
        refused(&outside.finish());
    }
    for (count, start) in [(u16::MAX, 0), (u16::MAX - 1, 0), (3, 0), (2, u32::MAX), (2, 1)] {
        refused(&Zip::of(&parts).finish_with(count, start));
    }
    refused(&Zip::of(&[("m/data.pkl", &pickle), ("n/data.pkl", &pickle)]).finish());
    refused(&Zip::of(&[("m/version", b"3")]).finish());
    let big_endian = [&parts[..], &[("m/byteorder", b"big")]].concat();
    assert!(refused(&Zip::of(&big_endian).finish()).message().contains("big-endian"));
    let program = [&parts[..], &[("m/constants.pkl", b")." as &[u8])]].concat();
    assert!(refused(&Zip::of(&program).finish()).message().contains("TorchScript"));
}

#[test]
fn a_zip64_directory_is_read_and_held_to_the_file() {
    let pickle = state_dict(&[tensor(floats(4), long(0), &numbers(&[2, 2]), &numbers(&[2, 1]))]);
    let with = |record: u64, count: u64, start: Option<u64>| {
        let zip = Zip::of(&[("m/data.pkl", &pickle), ("m/data/0", &[0; 16])]);
        let mut bytes = [zip.bytes, zip.directory.clone()].concat();
        let (at, directory) = (bytes.len() as u64, (bytes.len() - zip.directory.len()) as u64);
        bytes.extend(b"PK\x06\x06");
        bytes.extend([0; 28]);
        bytes.extend(count.to_le_bytes());
        bytes.extend((zip.directory.len() as u64).to_le_bytes());
        bytes.extend(start.unwrap_or(directory).to_le_bytes());
        bytes.extend(b"PK\x06\x07\0\0\0\0");
        bytes.extend((at ^ record).to_le_bytes());
        bytes.extend([1, 0, 0, 0]);
        bytes.extend(b"PK\x05\x06\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0");
        bytes
    };
    open(&with(0, 2, None)).unwrap();
    for (record, count, start) in [(1, 2, None), (u64::MAX, 2, None), (0, u64::MAX, None), (0, 1 << 19, None)]
    {
        refused(&with(record, count, start));
    }
    for start in [0, 1 << 40, u64::MAX] {
        refused(&with(0, 2, Some(start)));
    }
}

#[test]
fn the_old_layout_is_held_to_its_state_dict() {
    let whole = bytes_of("legacy.bin");
    // The last storage has 24 numbers of four bytes: another count before them is a lie.
    let at = whole.len() - 24 * 4 - 8;
    assert_eq!(whole[at..at + 8], 24_u64.to_le_bytes());
    for count in [0, 23, u64::MAX] {
        let mut bytes = whole.clone();
        bytes[at..at + 8].copy_from_slice(&u64::to_le_bytes(count));
        assert!(refused(&bytes).message().contains("by the state dict"));
    }
    let version = b"\x80\x02M\xe8\x03.";
    let facts = b"\x80\x02}X\x0d\0\0\0little_endian\x89s.";
    let other_version = [LEGACY_MAGIC, version].concat();
    assert!(refused(&other_version).message().contains("unknown version"));
    let big_endian = [LEGACY_MAGIC, b"\x80\x02M\xe9\x03.", facts].concat();
    assert!(refused(&big_endian).message().contains("big-endian"));
}
