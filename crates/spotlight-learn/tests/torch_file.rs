//! PyTorch's weight files: those of the references, those of testdata/torch, and those of an
//! attacker. Whatever a file holds, reading it ends in a value or in one sentence.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "what fails here is the test")]

use std::io::Write;
use std::path::{Path, PathBuf};

use spotlight_golden::{Case, cases, run_selected};
use spotlight_learn::Error;
use spotlight_learn::torch_file::{DataType, NamedTensor, TorchFile, Value, read};
use zip::CompressionMethod;
use zip::write::SimpleFileOptions;

fn torch_files(case: &Case) -> Vec<String> {
    let kind = |name: &String| &case.json["files"][name]["kind"];
    let is_torch = |name: &String| kind(name) == "pt" || kind(name) == "pt-legacy";
    case.files().into_iter().filter(is_torch).collect()
}

/// The checkpoints of pytorch_fnet have the tensors of their safetensors twins.
#[test]
fn golden_fnet_checkpoints() {
    run_selected(
        "fnet",
        |case| !torch_files(case).is_empty(),
        |case| {
            for name in torch_files(case) {
                let file = read(&case.folder.join(&name)).unwrap();
                let state = file.state_dict(&["nn_state"]).unwrap();
                let after = name.contains("after_adam");
                let twin = if after { "state_after_adam" } else { "state_initial" };
                let mut twin = case.tensors(&format!("{twin}.safetensors"));
                assert_eq!(state.len(), twin.len(), "{name}");
                for NamedTensor { name, shape, values } in state {
                    let place = twin.iter().position(|(other, ..)| *other == name).unwrap();
                    let (_, expected_shape, expected) = twin.swap_remove(place);
                    assert_eq!(shape, expected_shape, "{name}");
                    let values: Vec<f64> = values.into_iter().map(f64::from).collect();
                    assert_eq!(values, expected, "{name}");
                }
                let steps = if after { case.param("adam")["steps"].as_u64() } else { Some(0) };
                assert_eq!(file.value.get("count_iter").unwrap().as_count(), steps, "{name}");
                let class = file.value.get("fnet_model_class").unwrap();
                assert_eq!(class.as_text(), Some("fnet.fnet_model.Model"));
            }
        },
    );
}

/// Both forms of a file of Cellpose hold the same tensors, all that the case speaks of.
#[test]
fn golden_cellpose_weights() {
    if !cases("cellpose").iter().any(|case| !torch_files(case).is_empty()) {
        assert!(std::env::var_os("SPOTLIGHT_GOLDEN").is_none(), "no weights of Cellpose");
        println!("golden cellpose weights: set SPOTLIGHT_GOLDEN to the folder that has them");
        return;
    }
    run_selected(
        "cellpose",
        |case| !torch_files(case).is_empty(),
        |case| {
            let states = torch_files(case).into_iter().map(|name| {
                let state = read(&case.folder.join(&name)).unwrap().state_dict(&[]).unwrap();
                let keys = case.json["files"][&name]["keys"].as_u64();
                assert!(keys.is_none_or(|keys| keys == state.len() as u64), "{name}");
                let is_trained = |name: &str| {
                    ["running_mean", "running_var", "num_batches_tracked"]
                        .iter()
                        .all(|end| !name.ends_with(end))
                };
                let trained = state.iter().filter(|tensor| is_trained(&tensor.name));
                let count: usize = trained.map(|tensor| tensor.values.len()).sum();
                let expected = case.param("n_parameters").as_u64().unwrap();
                assert_eq!(count as u64, expected, "{name}");
                for tensor in &state {
                    assert_eq!(tensor.shape.iter().product::<usize>(), tensor.values.len());
                    assert!(tensor.values.iter().all(|value| value.is_finite()));
                }
                state
            });
            let states: Vec<_> = states.collect();
            assert!(states.windows(2).all(|pair| pair[0] == pair[1]));
        },
    );
}

fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/torch").join(name)
}

#[test]
fn every_kind_of_value() {
    for name in ["kinds.pt", "kinds_legacy.pt", "kinds_protocol4.pt"] {
        let file = read(&testdata(name)).unwrap();
        let get = |key: &str| file.value.get(key).unwrap().clone();
        assert_eq!(get("epoch"), Value::Integer(3));
        assert_eq!(get("rate"), Value::Float(1e-3));
        assert_eq!(get("big"), Value::Integer(1 << 70));
        assert_eq!(get("negative"), Value::Integer(-(1 << 40)));
        assert_eq!(get("name"), Value::Text("näme".into()));
        assert_eq!(get("raw"), Value::Bytes([0, 255].into()));
        assert_eq!(
            get("flags"),
            Value::List(vec![Value::Bool(true), Value::Bool(false), Value::None])
        );
        let inner = Value::Tuple(vec![Value::Float(2.5), Value::Text("x".into())]);
        assert_eq!(get("pair"), Value::Tuple(vec![Value::Integer(1), inner]));
        assert_eq!(get("size"), Value::Tuple(vec![Value::Integer(2), Value::Integer(3)]));
        check_tensors(&file);
    }
}

fn check_tensors(file: &TorchFile) {
    let state = file.state_dict(&["state_dict"]).unwrap();
    let check = |name: &str, shape: &[usize], values: &[f32]| {
        let found = state.iter().find(|tensor| tensor.name == name).unwrap();
        assert_eq!((&found.shape[..], &found.values[..]), (shape, values), "{name}");
    };
    let Value::Tensor(half) = file.value.get("state_dict").unwrap().get("float16").unwrap() else {
        panic!("no tensor")
    };
    assert_eq!(half.data_type, DataType::Float16);
    check("float64", &[3], &[0.1, -2.5, f32::INFINITY]);
    check("float32", &[3], &[0.1, -2.5, 3e38]);
    check("float16", &[3], &[0.099_975_586, -2.5, 5.960_464_5e-8]);
    check("bfloat16", &[3], &[0.100_097_656, -2.5, 3.004_055_3e38]);
    check("int64", &[3], &[1.0, -2.0, 1_099_511_627_776.0]);
    check("int32", &[3], &[1.0, -2.0, 1_073_741_824.0]);
    check("int16", &[3], &[1.0, -2.0, -32768.0]);
    check("int8", &[3], &[1.0, -2.0, -128.0]);
    check("uint8", &[3], &[1.0, 2.0, 255.0]);
    check("bool", &[3], &[1.0, 0.0, 1.0]);
    check("scalar", &[], &[7.0]);
    check("empty", &[0, 4], &[]);
    check("parameter", &[2], &[1.5, 2.5]);
    check("sliced", &[2, 2, 2], &[4.0, 6.0, 8.0, 10.0, 16.0, 18.0, 20.0, 22.0]);
    // x.permute(2, 0, 1) of 2 x 3 x 4 numbers in order.
    let moved: Vec<f32> = (0..24).map(|i| ((i % 6) * 4 + i / 6) as f32).collect();
    check("transposed", &[4, 2, 3], &moved);
}

#[test]
fn the_prefix_of_parallel_training_is_left_out() {
    let names = |file: &str| -> Vec<String> {
        let state = read(&testdata(file)).unwrap().state_dict(&[]).unwrap();
        state.into_iter().map(|tensor| tensor.name).collect()
    };
    assert_eq!(names("parallel.pt"), ["weight", "bias"]);
    assert_eq!(names("linear_legacy.pt"), ["weight", "bias"]);
}

/// Checks that reading bytes ends in an error whose sentence has these words, and returns it.
#[track_caller]
fn refused(bytes: &[u8], words: &[&str]) -> Error {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.pt");
    std::fs::write(&path, bytes).unwrap();
    let error = read(&path).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("model.pt") && !text.contains('\n') && text.len() < 500, "{text}");
    for word in words {
        assert!(text.contains(word), "no {word:?} in: {text}");
    }
    error
}

/// A file in the old form whose object is this pickle, its storages as given.
fn legacy(pickle: &[u8], keys: &[u8], data: &[u8]) -> Vec<u8> {
    let magic = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.";
    let protocol = b"\x80\x02M\xe9\x03.";
    let system = b"\x80\x02}X\x0d\x00\x00\x00little_endian\x88s.";
    [&magic[..], protocol, system, pickle, keys, data].concat()
}

/// A zip archive as PyTorch writes it, with this pickle and these storages.
fn archive(pickle: &[u8], storages: &[&[u8]], method: CompressionMethod) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(method);
    writer.start_file("model/data.pkl", options).unwrap();
    writer.write_all(pickle).unwrap();
    for (key, storage) in storages.iter().enumerate() {
        writer.start_file(format!("model/data/{key}"), options).unwrap();
        writer.write_all(storage).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// Checks a pickle in both forms.
#[track_caller]
fn pickle_refused(pickle: &[u8], words: &[&str]) {
    refused(&legacy(pickle, b"\x80\x02].", b""), words);
    refused(&archive(pickle, &[], CompressionMethod::Stored), words);
}

#[test]
fn nothing_in_a_pickle_is_run() {
    let could_run = "could run a program";
    pickle_refused(
        b"\x80\x02cposix\nsystem\nX\x02\x00\x00\x00id\x85R.",
        &["posix.system", could_run],
    );
    pickle_refused(b"cos\nsystem\n(X\x02\x00\x00\x00idtR.", &["os.system", could_run]);
    pickle_refused(b"c__builtin__\neval\n(X\x01\x00\x00\x001tR.", &["__builtin__.eval"]);
    pickle_refused(b"\x80\x04\x8c\x08builtins\x8c\x04exec\x93.", &["builtins.exec"]);
    pickle_refused(b"(X\x02\x00\x00\x00idios\nsystem\n.", &["INST"]);
    pickle_refused(b"(cos\nsystem\nX\x02\x00\x00\x00ido.", &["os.system"]);
    pickle_refused(b"(X\x01\x00\x00\x00xo.", &["OBJ"]);
    pickle_refused(b"\x82\x01.", &["EXT1"]);
    pickle_refused(b"\x83\x01\x00.", &["EXT2"]);
    pickle_refused(b"\x84\x01\x00\x00\x00.", &["EXT4"]);
    pickle_refused(b"ccollections\nOrderedDict\n)\x81.", &["NEWOBJ"]);
    pickle_refused(b"}}\x92.", &["NEWOBJ_EX"]);
    pickle_refused(b"Pname\n.", &["PERSID"]);
    pickle_refused(b"S'text'\n.", &["STRING"]);
    pickle_refused(b"\x96\x01\x00\x00\x00\x00\x00\x00\x00x.", &["BYTEARRAY8"]);
    pickle_refused(b"\xff.", &["unknown instruction 0xff"]);
    // What may be named may not be used for anything else.
    pickle_refused(b"ctorch\nFloatStorage\n)R.", &["a storage within its pickle"]);
    pickle_refused(b"X\x01\x00\x00\x00x)R.", &["calls a text"]);
    pickle_refused(b"]}b.", &["BUILD for a list"]);
    pickle_refused(b"}}b.", &["BUILD for a dictionary"]);
    let state = b"ccollections\nOrderedDict\n)RX\x0c\x00\x00\x00__setstate__b.";
    pickle_refused(state, &["BUILD"]);
    pickle_refused(b"ctorch._utils\n_rebuild_tensor_v3\n.", &["torch._utils._rebuild_tensor_v3"]);
    pickle_refused(b"ctorch\nQInt8Storage\n.", &["torch.QInt8Storage"]);
    pickle_refused(b"cnumpy\nFloatStorage\n.", &["numpy.FloatStorage"]);
    let long = [b"c".as_slice(), &[b'x'; 5000], b"\nname\n."].concat();
    pickle_refused(&long, &["does not end"]);
    refused(&std::fs::read(testdata("module.pt")).unwrap(), &["torch.nn.modules.linear.Linear"]);
}

#[test]
fn a_broken_pickle_is_damage() {
    for (pickle, word) in [
        (&b"."[..], "stack is empty"),
        (b"(.", "stack is empty"),
        (b"]t.", "no mark"),
        (b"](a.", "stack is empty"),
        (b"]Na", "needs"),
        (b"}(Nu.", "no value"),
        (b"NNa.", "adds items to None"),
        (b"}Na.", "adds items to a dictionary"),
        (b"]NNs.", "adds items to a list"),
        (b"h\x07.", "memo has no number 7"),
        (b"\x80\x09N.", "protocol 9"),
        (b"ctorch\nSize\n.", "holds a class"),
        (b"X\x02\x00\x00\x00\xff\xfe.", "UTF-8"),
        (b"NQ.", "where a list belongs"),
        (b"c_codecs\nencode\n(X\x02\x00\x00\x00\xc4\x80X\x06\x00\x00\x00latin1tR.", "none"),
        (b"ctorch._utils\n_rebuild_parameter\n(NNNtR.", "a parameter is None"),
        (b"ccollections\nOrderedDict\n]N\x85a\x85R.", "1 parts"),
    ] {
        let bytes = archive(pickle, &[], CompressionMethod::Stored);
        refused(&bytes, &[word]);
    }
}

fn memory_peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

#[test]
fn sizes_are_checked_before_anything_is_allocated() {
    // Texts, bytes and integers that claim to be long.
    let huge = u64::MAX.to_le_bytes();
    for instruction in [b"\x8d", b"\x8e"] {
        let pickle = [&instruction[..], &huge, b"x."].concat();
        let error = refused(&legacy(&pickle, b"", b""), &["truncated"]);
        assert!(matches!(error, Error::Truncated { .. }));
    }
    for instruction in [b"X", b"T", b"B"] {
        let pickle = [&instruction[..], &u32::MAX.to_le_bytes(), b"x."].concat();
        refused(&legacy(&pickle, b"", b""), &["truncated"]);
    }
    refused(&legacy(b"\x8b\xff\xff\xff\x7f.", b"", b""), &["integer of 2147483647 bytes"]);
    // A text that is there, but longer than any pickle.
    let long = 17_u32 << 20;
    let pickle = [b"X", &long.to_le_bytes()[..], &vec![b'x'; long as usize], b"."].concat();
    refused(&legacy(&pickle, b"", b""), &["its pickle has more than 16777216 bytes"]);
    // Lists of lists: 2^60 leaves in some 300 bytes, and no end at all.
    let mut doubling = b"].".to_vec();
    doubling.truncate(1);
    for level in 0..60_u8 {
        // Put the list into the memo, and twice into a new one.
        doubling.extend([b'q', level, b']', b'h', level, b'a', b'h', level, b'a']);
    }
    doubling.push(b'.');
    pickle_refused(&doubling, &["more than 1048576 values"]);
    pickle_refused(b"]q\x00h\x00a.", &["nested deeper than 64 levels"]);
    pickle_refused(&[&vec![b']'; 3000][..], &vec![b'a'; 2999], b"."].concat(), &["nested deeper"]);
    // More objects, marks, memo entries and copies than there is need for.
    pickle_refused(&vec![b'N'; 2 << 20], &["builds more than 1048576 objects"]);
    pickle_refused(&vec![b'('; 2 << 20], &["more than 1048576 marks"]);
    let memo = [&b"N"[..], &vec![0x94; 2 << 20]].concat();
    pickle_refused(&memo, &["more than 1048576 remembered objects"]);
    let pushed = [&b"Nq\x00"[..], &b"h\x00".repeat(2 << 20)].concat();
    pickle_refused(&pushed, &["more than 1048576 objects on the stack"]);
    let million = vec![b'N'; 1 << 19];
    let many = [b"(", &million[..], b"lq\x000", b"."].concat();
    pickle_refused(&many, &["POP"]);
    let pairs = [b"(", &b"NN\x86".repeat(1 << 17)[..], b"lq\x00ccollections\nOrderedDict\nq\x01"];
    let copies = [&pairs.concat()[..], &b"h\x01h\x00\x85R".repeat(1000), b"."].concat();
    pickle_refused(&copies, &["copies of copies"]);
    assert!(memory_peak() < 1 << 20, "{} kB", memory_peak());
}

/// A tensor of float32 in the storage "0" of `length` numbers.
fn tensor(length: &[u8], offset: &[u8], shape: &[u8], strides: &[u8]) -> Vec<u8> {
    let function = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storage";
    let key = b"ctorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu";
    [&function[..], key, length, b"tQ", offset, shape, strides, b"\x89NtR."].concat()
}

#[test]
fn tensors_lie_in_their_storage() {
    let storage = [0_u8; 16];
    let both = |pickle: &[u8], words: &[&str]| {
        let keys = b"\x80\x02]X\x01\x00\x00\x000a.";
        let data = [&4_u64.to_le_bytes()[..], &storage].concat();
        refused(&legacy(pickle, keys, &data), words);
        refused(&archive(pickle, &[&storage], CompressionMethod::Stored), words);
    };
    // The honest one is read.
    let honest = tensor(b"K\x04", b"K\x00", b"K\x02K\x02\x86", b"K\x02K\x01\x86");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("honest.pt");
    std::fs::write(&path, archive(&honest, &[&storage], CompressionMethod::Deflated)).unwrap();
    let Value::Tensor(found) = read(&path).unwrap().value else { panic!("no tensor") };
    assert_eq!((found.shape(), found.values()), (&[2, 2][..], vec![0.0; 4]));

    both(&tensor(b"K\x04", b"K\x01", b"K\x02K\x02\x86", b"K\x02K\x01\x86"), &["reaches beyond"]);
    both(&tensor(b"K\x04", b"K\x00", b"K\x02\x85", b"K\x04\x85"), &["reaches beyond"]);
    both(&tensor(b"K\x04", b"J\xff\xff\xff\xff", b"K\x02\x85", b"K\x01\x85"), &["-1"]);
    both(&tensor(b"K\x04", b"K\x03", b"K\x02\x85", b"J\xff\xff\xff\xff\x85"), &["-1"]);
    both(&tensor(b"K\x04", b"K\x00", b"J\xff\xff\xff\xff\x85", b"K\x01\x85"), &["-1"]);
    both(&tensor(b"K\x04", b"K\x00", b"M\xff\xff\x85", b"K\x00\x85"), &["more elements"]);
    let large = b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f";
    let two = [&large[..], large, b"\x86"].concat();
    both(&tensor(b"K\x04", b"K\x00", &two, b"K\x00K\x00\x86"), &["too many elements"]);
    both(&tensor(b"K\x04", b"K\x01", b"K\x02\x85", &[&large[..], b"\x85"].concat()), &["beyond"]);
    both(&tensor(b"K\x04", b"K\x00", b"K\x02\x85", b")"), &["no sensible axes"]);
    both(
        &tensor(b"K\x04", b"K\x00", &[b"(", &b"K\x01".repeat(9)[..], b"t"].concat(), b")"),
        &["9 axes"],
    );
    // Storages of other sizes than there are.
    both(&tensor(large, b"K\x00", b")", b")"), &["has 9223372036854775807 numbers"]);
    both(&tensor(b"\x8a\x06\x00\x00\x00\x00\x00\x10", b"K\x00", b")", b")"), &["would take"]);
    both(&tensor(b"K\x05", b"K\x00", b")", b")"), &["should have"]);
    both(&tensor(b"K\x03", b"K\x00", b")", b")"), &["has"]);
    let missing = archive(&honest, &[], CompressionMethod::Stored);
    refused(&missing, &["it has no model/data/0"]);
}

#[test]
fn a_zip_bomb_is_refused() {
    // 64 MiB of zeros in some 64 KiB, as pickle and as storage.
    let zeros = vec![0; 64 << 20];
    let bomb = archive(&zeros, &[], CompressionMethod::Deflated);
    assert!(bomb.len() < 1 << 17);
    refused(&bomb, &["data.pkl has 67108864 bytes and may have 16777216"]);
    let numbers = 16_u32 << 20;
    let length = [b"J", &numbers.to_le_bytes()[..]].concat();
    let pickle = tensor(&length, b"K\x00", b")", b")");
    refused(&archive(&pickle, &[&zeros], CompressionMethod::Deflated), &["67108864 bytes"]);
}

#[test]
fn many_views_of_one_storage_are_no_state() {
    let storage = vec![0; 4000];
    let pickle = tensor(b"M\xe8\x03", b"K\x00", b"M\xe8\x03\x85", b"K\x01\x85");
    let mut views = [&pickle[..pickle.len() - 1], b"q\x000"].concat();
    views.truncate(views.len() - 1);
    // [tensor] under a thousand names of one dictionary.
    let mut dict = [&views[..], b"\x85}("].concat();
    for number in 0..1000_u32 {
        dict.extend([b'X', 4, 0, 0, 0]);
        dict.extend(format!("{number:04}").bytes());
        dict.extend(b"h\x00");
    }
    dict.extend(b"u\x86.");
    // The pair of tensor and dictionary; the dictionary alone is wanted.
    let bytes = archive(&dict, &[&storage], CompressionMethod::Stored);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("views.pt");
    std::fs::write(&path, bytes).unwrap();
    let mut file = read(&path).unwrap();
    let Value::Tuple(parts) = &file.value else { panic!("no tuple") };
    file.value = parts[1].clone();
    let message = file.state_dict(&[]).unwrap_err().to_string();
    assert!(message.contains("would take 4000000 bytes"), "{message}");
}

#[test]
fn other_files_are_told_apart() {
    assert!(matches!(refused(b"", &["it is empty"]), Error::NotTorch { .. }));
    refused(b"<!DOCTYPE html><title>404</title>", &["web page"]);
    refused(b"\x89PNG\r\n\x1a\n", &["neither as a zip archive nor"]);
    refused(b"\x80\x02\x8a\x01\x05.", &["not one of torch.save"]);
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    writer.start_file("word/document.xml", SimpleFileOptions::default()).unwrap();
    refused(&writer.finish().unwrap().into_inner(), &["without a data.pkl"]);
    let message = read(Path::new("/no/such/model.pt")).unwrap_err().to_string();
    assert!(message.contains("cannot read /no/such/model.pt"), "{message}");
    let state = read(&testdata("kinds.pt")).unwrap();
    let message = |keys: &[&str]| state.state_dict(keys).unwrap_err().to_string();
    assert!(message(&["weights"]).contains("it has no weights"));
    assert!(message(&["epoch"]).contains("no dictionary of tensors"));
    assert!(message(&[]).contains("\"state_dict\" is not a tensor"));
}

/// Reads whatever these bytes are; all that matters is that it ends well.
fn survive(path: &Path, bytes: &[u8]) -> bool {
    std::fs::write(path, bytes).unwrap();
    match read(path) {
        Ok(file) => {
            let nested: &[&str] =
                if file.value.get("state_dict").is_some() { &["state_dict"] } else { &[] };
            let state = file.state_dict(nested);
            state.is_ok()
        }
        Err(error) => {
            let text = error.to_string();
            assert!(!text.contains('\n') && text.len() < 1000, "{text}");
            false
        }
    }
}

#[test]
fn a_file_cut_anywhere_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.pt");
    for name in ["linear.pt", "linear_legacy.pt", "kinds_legacy.pt"] {
        let bytes = std::fs::read(testdata(name)).unwrap();
        assert!(survive(&path, &bytes), "{name}");
        for length in 0..bytes.len() {
            assert!(!survive(&path, &bytes[..length]), "{name} of {length} bytes");
        }
        if name.contains("legacy") {
            assert!(!survive(&path, &[&bytes[..], b"x"].concat()), "{name} and a byte");
        }
    }
}

#[test]
fn a_file_with_any_byte_changed_ends_in_a_value_or_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("changed.pt");
    for name in ["linear.pt", "linear_legacy.pt", "kinds.pt", "kinds_legacy.pt"] {
        let bytes = std::fs::read(testdata(name)).unwrap();
        let changes: &[u8] = if name.starts_with("linear") { &[0xff, 0x01] } else { &[0xff] };
        let mut errors = 0;
        for change in changes {
            for place in 0..bytes.len() {
                let mut changed = bytes.clone();
                changed[place] ^= change;
                errors += usize::from(!survive(&path, &changed));
            }
        }
        assert!(errors > 0, "{name}");
    }
    assert!(memory_peak() < 1 << 20, "{} kB", memory_peak());
}
