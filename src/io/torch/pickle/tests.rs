use super::*;

fn run(code: &[u8]) -> Result<Pickle, String> {
    read(code).map(|(pickle, length)| {
        assert_eq!(length, code.len());
        pickle
    })
}

/// The value of a pickle as text, with nested values in place of their indices.
fn shown(code: &[u8]) -> String {
    fn show(pickle: &Pickle, id: Id) -> String {
        let all = |ids: &[Id]| ids.iter().map(|&id| show(pickle, id)).collect::<Vec<_>>().join(" ");
        match pickle.get(id) {
            Value::None => "None".into(),
            Value::Bool(value) => value.to_string(),
            Value::Int(value) => value.to_string(),
            Value::Float(value) => format!("{value:?}"),
            Value::Text(text) => format!("{text:?}"),
            Value::Bytes(bytes) => format!("b{bytes:?}"),
            Value::Sequence(ids) => format!("[{}]", all(ids)),
            Value::Dict(pairs) => {
                let pairs = pairs.iter().map(|&(key, value)| all(&[key]) + ": " + &all(&[value]));
                format!("{{{}}}", pairs.collect::<Vec<_>>().join(" "))
            }
            Value::Global(name) => name.clone(),
            Value::NumpyType(code, big_endian) => format!("dtype {} {big_endian}", show(pickle, *code)),
            Value::Storage(storage) => format!("{} {} {}", storage.class, storage.key, storage.elements),
            Value::Tensor(tensor) => {
                let Tensor { storage, offset, shape, strides } = &**tensor;
                format!("tensor ({}) {offset} {shape:?} {strides:?}", show(pickle, *storage))
            }
            Value::Array(_) => match pickle.array(id) {
                Ok(array) => format!("array {:?} {:?}", array.shape, array.elements),
                Err(message) => message,
            },
            Value::Object(object) => {
                let state = object.state.map(|state| " state ".to_owned() + &show(pickle, state));
                let (class, arguments) = (show(pickle, object.class), show(pickle, object.arguments));
                let items: Vec<String> =
                    object.items.iter().map(|&(key, value)| all(&[key]) + ": " + &all(&[value])).collect();
                format!("{class}{arguments}{}{}", state.unwrap_or_default(), items.join(" "))
            }
            Value::Other => "other".into(),
        }
    }
    let pickle = run(code).unwrap_or_else(|message| panic!("{}: {message}", code.escape_ascii()));
    show(&pickle, pickle.root)
}

/// A storage of 6 floats with key `0`.
const STORAGE: &[u8] = b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x06tQ";

fn code(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// The pickle of a 2 x 3 tensor.
fn tensor() -> Vec<u8> {
    let arguments = b"K\x00K\x02K\x03\x86K\x03K\x01\x86\x89ccollections\nOrderedDict\n)RtR.";
    code(&[b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(", STORAGE, arguments])
}

#[test]
fn every_instruction() {
    for (code, expected) in [
        (&b"\x80\x02N."[..], "None"),
        (b"\x80\x05\x95\x02\0\0\0\0\0\0\0\x88.", "true"),
        (b"\x89.", "false"),
        (b"J\xfe\xff\xff\xff.", "-2"),
        (b"K\xff.", "255"),
        (b"M\x01\x02.", "513"),
        (b"I-12\n.", "-12"),
        (b"I01\n.", "true"),
        (b"I00\n.", "false"),
        (b"L99999999999L\n.", "99999999999"),
        (b"\x8a\x00.", "0"),
        (b"\x8a\x02\xff\xff.", "-1"),
        (b"\x8a\x10\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x40.", "85070591730234615865843651857942052864"),
        (b"\x8b\x01\0\0\0\x05.", "5"),
        (b"G\x3f\xf8\0\0\0\0\0\0.", "1.5"),
        (b"\x8c\x02\xc3\xbc.", "\"\u{fc}\""),
        (b"X\x01\0\0\0a.", "\"a\""),
        (b"\x8d\x01\0\0\0\0\0\0\0a.", "\"a\""),
        (b"U\x01\xfc.", "\"\u{fc}\""),
        (b"T\x01\0\0\0a.", "\"a\""),
        (b"C\x01a.", "b[97]"),
        (b"B\x01\0\0\0a.", "b[97]"),
        (b"\x8e\x01\0\0\0\0\0\0\0a.", "b[97]"),
        (b"\x96\x01\0\0\0\0\0\0\0a.", "b[97]"),
        (b").", "[]"),
        (b"].", "[]"),
        (b"\x8f.", "[]"),
        (b"N\x85.", "[None]"),
        (b"K\x01K\x02\x86.", "[1 2]"),
        (b"K\x01K\x02K\x03\x87.", "[1 2 3]"),
        (b"(K\x01K\x02t.", "[1 2]"),
        (b"(K\x01l.", "[1]"),
        (b"(K\x01\x91.", "[1]"),
        (b"]K\x01a.", "[1]"),
        (b"](K\x01K\x02e.", "[1 2]"),
        (b"\x8f(K\x01\x90.", "[1]"),
        (b"}.", "{}"),
        (b"(K\x01K\x02d.", "{1: 2}"),
        (b"}K\x01K\x02s.", "{1: 2}"),
        (b"}(K\x01K\x02K\x03K\x04u.", "{1: 2 3: 4}"),
        (b"K\x01K\x020.", "1"),
        (b"K\x01(K\x021.", "1"),
        (b"K\x012\x86.", "[1 1]"),
        (b"K\x05q\x070h\x07.", "5"),
        (b"K\x05r\x07\0\0\0N0h\x07\x86.", "[5 5]"),
        (b"K\x05\x94j\0\0\0\0\x86.", "[5 5]"),
        (b"cos\nsystem\n.", "os.system"),
        (b"\x8c\x02os\x8c\x06system\x93.", "os.system"),
        // Of more than 16 bytes, in both forms.
        (b"\x8a\x11\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0.", "other"),
        (b"L-999999999999999999999999999999999999999999L\n.", "other"),
    ] {
        assert_eq!(shown(code), expected, "{}", code.escape_ascii());
    }
}

#[test]
fn what_state_dicts_are_made_of() {
    let of = |function: &str, arguments: &[u8]| {
        code(&[b"c", function.replace(' ', "\n").as_bytes(), b"\n", arguments, b"."])
    };
    let tensor = tensor();
    let expected = "tensor (FloatStorage 0 6) 0 [2, 3] [3, 1]";
    assert_eq!(shown(&tensor), expected);
    let untyped = tensor.len() - 1;
    let parameter = code(&[b"ctorch._utils\n_rebuild_parameter\n(", &tensor[2..untyped], b"\x88NtR."]);
    assert_eq!(shown(&parameter), expected);
    for (code, expected) in [
        (of("collections OrderedDict", b")R"), "{}"),
        (of("collections OrderedDict", b")\x81"), "{}"),
        (of("collections OrderedDict", b")R}b"), "{}"),
        (of("collections OrderedDict", b"](K\x01K\x02\x86e\x85R"), "{1: 2}"),
        (of("collections Counter", b"}K\x01K\x02s\x85R"), "{1: 2}"),
        (of("torch Size", b"K\x01K\x02\x86\x85R"), "[1 2]"),
        (of("torch device", b"X\x03\0\0\0cpu\x85R"), "torch.device[\"cpu\"]"),
        (of("builtins set", b"](K\x01K\x02e\x85R"), "[1 2]"),
        (of("__builtin__ frozenset", b"]K\x01a\x85R"), "[1]"),
        (of("collections defaultdict", b"c__main__\nNet\n\x85R"), "{}"),
        (of("torch float32", b""), "torch.float32"),
        (of("_codecs encode", b"X\x02\0\0\0\xc3\xbfX\x06\0\0\0latin1\x86R"), "b[255]"),
    ] {
        assert_eq!(shown(&code), expected, "{}", code.escape_ascii());
    }
}

#[test]
fn numbers_of_numpy() {
    let scalar = |module: &str, kind: &[u8; 2], order: &[u8; 1], bytes: &[u8]| {
        let length = [bytes.len() as u8];
        code(&[
            b"c",
            module.as_bytes(),
            b"\nscalar\ncnumpy\ndtype\nU\x02",
            kind,
            b"\x89\x88\x87R(K\x03U\x01",
            order,
            b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tbC",
            &length,
            bytes,
            b"\x86R.",
        ])
    };
    for module in ["numpy.core.multiarray", "numpy._core.multiarray"] {
        for (kind, little, expected) in [
            (b"f8", &0.1f64.to_le_bytes()[..], "0.1"),
            (b"f4", &1.5f32.to_le_bytes(), "1.5"),
            (b"i8", &(-7i64).to_le_bytes(), "-7"),
            (b"i4", &(-7i32).to_le_bytes(), "-7"),
            (b"b1", &[1], "true"),
        ] {
            assert_eq!(shown(&scalar(module, kind, b"<", little)), expected);
            let big: Vec<u8> = little.iter().rev().copied().collect();
            assert_eq!(shown(&scalar(module, kind, b">", &big)), expected);
        }
        // Other types are ignored, whatever their bytes are.
        for (kind, bytes) in [(b"c8", &[0; 8][..]), (b"f8", &[0; 7]), (b"f8", &[0; 9]), (b"O8", &[])] {
            assert_eq!(shown(&scalar(module, kind, b"<", bytes)), "other");
        }
    }
}

/// No code runs: a call is recorded, with what it would get.
#[test]
fn what_a_state_dict_does_not_need_is_opaque() {
    for (code, expected) in [
        (&b"cos\nsystem\nX\x02\0\0\0ls\x85R."[..], "os.system[\"ls\"]"),
        (b"\x8c\x02os\x8c\x06system\x93)R.", "os.system[]"),
        (b"cbuiltins\neval\n)R.", "builtins.eval[]"),
        // A call of the result of a call.
        (b"cbuiltins\ngetattr\n(K\x01K\x02tR)R.", "builtins.getattr[1 2][]"),
        (b"c__main__\nNet\n)\x81.", "__main__.Net[]"),
        (b"c__main__\nNet\n)\x81}U\x01aK\x01sb.", "__main__.Net[] state {\"a\": 1}"),
        (b"c__main__\nNet\n)\x81N}U\x01aK\x01s\x86b.", "__main__.Net[] state [None {\"a\": 1}]"),
        (b"c__main__\nNet\n)\x81U\x01aK\x01s.", "__main__.Net[]\"a\": 1"),
        (b"c__main__\nNet\n)\x81(U\x01aK\x01u.", "__main__.Net[]\"a\": 1"),
        (b"ccollections\ndeque\n)R(K\x01K\x02e.", "collections.deque[]"),
        (b"ccollections\ndeque\n)RK\x01a.", "collections.deque[]"),
        (b"c__main__\nNet\n)}\x92.", "__main__.Net[]"),
        (b"(K\x01i__main__\nNet\n.", "__main__.Net[1]"),
        (b"(c__main__\nNet\nK\x01o.", "__main__.Net[1]"),
        (b"\x82\x01.", "copyreg extension 1[]"),
        (b"\x83\x01\x01.", "copyreg extension 257[]"),
        (b"\x84\x01\0\0\0.", "copyreg extension 1[]"),
        (b"ctorch._utils\n_rebuild_qtensor\n)R.", "torch._utils._rebuild_qtensor[]"),
        (b"ctorch._utils\n_rebuild_tensor_v2\n)R.", "torch._utils._rebuild_tensor_v2[]"),
        (b"ctorch.storage\n_load_from_bytes\nC\0\x85R.", "torch.storage._load_from_bytes[b[]]"),
        (b"(U\x06modulec__main__\nNet\nNNtQ.", "__main__.Net"),
    ] {
        assert_eq!(shown(code), expected, "{}", code.escape_ascii());
    }
}

#[test]
fn damage_is_refused() {
    let with = |before: &[u8], after: &[u8]| code(&[before, STORAGE, after]);
    let rebuild = b"ctorch._utils\n_rebuild_tensor_v2\n(";
    for (code, part) in [
        (b"K\x01)R.".to_vec(), "calls a value that is not a function"),
        (b"ctorch\nSize\nK\x01R.".to_vec(), "expected a tuple"),
        (b"cos\nsystem\nK\x01R.".to_vec(), "expected a tuple"),
        (b"cos\nsystem\n}b.".to_vec(), "sets the state of a value"),
        (b"K\x01}b.".to_vec(), "sets the state of a value"),
        (b"i__main__\nNet\n.".to_vec(), "there is no mark"),
        (b"(K\x01o.".to_vec(), "calls a value that is not a function"),
        (b"(o.".to_vec(), "an object without a class"),
        (b"cos\nsystem\n)R(K\x01u.".to_vec(), "a key without a value"),
        (b"Pstorage\n.".to_vec(), "instruction 0x50"),
        (b"\x97.".to_vec(), "instruction 0x97"),
        (b"\x80\x06.".to_vec(), "protocol 6"),
        (b"I1x\n.".to_vec(), "1x is no integer"),
        (b"X\x01\0\0\0\xff.".to_vec(), "not UTF-8"),
        (b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff.".to_vec(), "ends"),
        (b".".to_vec(), "the stack is empty"),
        (b"(.".to_vec(), "a mark where a value is expected"),
        (b"0.".to_vec(), "the stack is empty"),
        (b"t.".to_vec(), "there is no mark"),
        (b"2.".to_vec(), "no value on the stack"),
        (b"h\x05.".to_vec(), "the memo has no entry 5"),
        (b"K\x01K\x02a.".to_vec(), "appends to a value that is not a list"),
        (b"K\x01(K\x01K\x02u.".to_vec(), "sets items of a value that is not a dictionary"),
        (b"}(K\x01u.".to_vec(), "a key without a value"),
        (b"K\x01Q.".to_vec(), "expected a tuple"),
        (b")Q.".to_vec(), "persistent id that is no storage's"),
        (b"(U\x05otherNNNNtQ.".to_vec(), "a persistent id of other, expected storage"),
        (b"(U\x07storagecos\nsystem\nU\x010U\x03cpuK\x01tQ.".to_vec(), "a storage of class os.system"),
        (b"(U\x07storagectorch\nFloatStorage\nU\x010U\x03cpuJ\xff\xff\xff\xfftQ.".to_vec(), "a size of -1"),
        (code(&[b"(U\x07storagectorch\nFloatStorage\nU\x41", &[b'0'; 65], b"NK\x01tQ."]), "65 bytes"),
        (with(rebuild, b"K\x00K\x02\x85K\x01K\x01\x86tR."), "1 sizes and 2 strides"),
        (with(rebuild, b"K\x00K\x02\x85K\x01\x85\x89N}(U\x03neg\x88utR."), "a negative or conjugate view"),
        (with(rebuild, b"K\x00J\xff\xff\xff\xff\x85K\x01\x85tR."), "a size of -1"),
        (with(rebuild, b"K\x00K\x02\x85J\xff\xff\xff\xff\x85tR."), "a size of -1"),
        (with(rebuild, b"J\xff\xff\xff\xffK\x02\x85K\x01\x85tR."), "a size of -1"),
        (
            with(rebuild, b"K\x00\x8a\x09\0\0\0\0\0\0\0\0\x01\x85K\x01\x85tR."),
            "a size of 18446744073709551616",
        ),
        (with(rebuild, b"K\x00N\x85K\x01\x85tR."), "a size that is no integer"),
        (with(rebuild, b"K\x00(KKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKtK\x01\x85tR."), "axes"),
        (
            b"ctorch._utils\n_rebuild_tensor_v2\n(NK\x00))tR.".to_vec(),
            "a tensor of a value that is not a storage",
        ),
        (
            b"ctorch._utils\n_rebuild_parameter\nN\x85R.".to_vec(),
            "a parameter of a value that is not a tensor",
        ),
        (b"ccollections\nOrderedDict\n]Na\x85R.".to_vec(), "expected a tuple"),
        (b"ccollections\nOrderedDict\n])a\x85R.".to_vec(), "no pairs"),
        (b"c_codecs\nencode\nX\x02\0\0\0\xc4\x80\x85R.".to_vec(), "not latin-1"),
        (code(&[b"}X\xe9\x03\0\0", &[b'x'; 1001], b"Ns."]), "a name of 1001 bytes"),
    ] {
        let message = run(&code).expect_err(&code.escape_ascii().to_string());
        assert!(message.contains(part), "{part:?} is not in {message:?}");
        assert!(message.len() < 300 && !message.contains('\n'), "{message:?}");
    }
}

#[test]
fn every_cut_of_a_pickle_is_an_error() {
    let tensor = tensor();
    for cut in 0..tensor.len() {
        assert!(run(&tensor[..cut]).is_err(), "cut to {cut} bytes");
    }
}

#[test]
fn a_list_that_holds_itself_is_harmless() {
    let pickle = run(b"]q\x00h\x00a.").unwrap();
    assert_eq!(*pickle.get(pickle.root), Value::Sequence(vec![pickle.root]));
    assert_eq!(pickle.clone(), pickle);
    // A dictionary that contains itself as the state dict.
    let pickle = run(b"}q\x00U\x05modelh\x00s.").unwrap();
    assert_eq!(pickle.entry(pickle.root, "model"), Some(pickle.root));
}

#[test]
fn depth_needs_no_stack() {
    // [[[...]]]
    let mut code = b"]".repeat(500_000);
    code.extend(b"a".repeat(499_999));
    code.push(b'.');
    let pickle = run(&code).unwrap();
    assert_eq!(pickle.values().len(), 500_000);
}

#[test]
fn values_are_shared_not_copied() {
    // Each tuple holds the previous one twice: 2^100 values, if they were copied.
    let mut doubled = b"K\x01".to_vec();
    doubled.extend(b"2\x86".repeat(100));
    doubled.push(b'.');
    assert_eq!(run(&doubled).unwrap().values().len(), 101);

    let long = |count: usize, text: &[u8], then: &[u8]| {
        let mut code = b"X".to_vec();
        code.extend((text.len() as u32).to_le_bytes());
        code.extend(text);
        code.extend(b"q\x000");
        code.extend(then.repeat(count));
        code.push(b'.');
        code
    };
    for code in [
        // The name of a global, the bytes of a string, and a key, repeatedly.
        long(10_000, &[b'x'; 10_000], b"h\x00h\x00\x93"),
        long(10_000, &[b'x'; 10_000], b"c_codecs\nencode\nh\x00\x85R"),
        long(10_000, &[b'x'; 1000], b"}h\x00Ns"),
    ] {
        assert!(run(&code).unwrap_err().contains("over and over"));
    }
    // A storage with a long class name, and a view with many axes, repeatedly.
    let again = |first: &[u8], then: &[u8]| code(&[first, &then.repeat(20_000), b"."]);
    let class = b"ctorch\nAStorageWhoseNameIsLongerThanTheInstructionsThatMakeIt\n";
    let id = code(&[b"(U\x07storage", class, b"U\x010NK\x01tq\x00"]);
    assert!(run(&again(&id, b"h\x00Q0")).unwrap_err().contains("over and over"));
    let axes = code(&[b"(", &b"K\x01".repeat(16), b"tq\x01"]);
    let function = b"ctorch._utils\n_rebuild_tensor_v2\nq\x00";
    let view = code(&[function, b"(", STORAGE, b"K\x00", &axes, b"h\x01tq\x02"]);
    assert!(run(&again(&view, b"h\x00h\x02R0")).unwrap_err().contains("over and over"));
    // A list of pairs as a new dictionary, repeatedly.
    let mut code = b"](".to_vec();
    code.extend(b"NN\x86".repeat(1000));
    code.extend(b"eq\x000");
    code.extend(b"ccollections\nOrderedDict\nq\x010");
    code.extend(b"h\x01h\x00\x85R".repeat(1000));
    assert!(run(&code).unwrap_err().contains("over and over"));
}

#[test]
fn sizes_are_bounded() {
    let end = |mut code: Vec<u8>| {
        code.push(b'.');
        code
    };
    let most = MAX_VALUES;
    assert!(run(&end(b"N0".repeat(most + 1))).unwrap_err().contains(&format!("more than {most} values")));
    assert!(run(&end(b"(".repeat(most + 1))).unwrap_err().contains("stack has more"));
    let mut many = b"N".to_vec();
    many.extend(b"\x94".repeat(most + 1));
    // MEMOIZE uses the number of entries as the index, so each is new.
    assert!(run(&end(many)).unwrap_err().contains("memo has more"));
    let mut long = b"X\x00\x00\x00\x20".to_vec();
    long.resize(MAX_BYTES + 10, b'x');
    assert!(run(&end(long)).unwrap_err().contains(&format!("longer than {MAX_BYTES} bytes")));
    // A replay buffer as a NumPy array is among the contents of a checkpoint.
    let mut buffer = b"B\x00\x00\x00\x01".to_vec();
    buffer.resize(5 + (1 << 24), 7);
    assert!(run(&end(buffer)).is_ok());
}

#[test]
fn long_lists_of_numbers_cost_no_values() {
    const MANY: usize = 3_000_000;
    // As Python writes them: a thousand items at a time.
    let batch = |item: &[u8], end: u8| [&b"("[..], &item.repeat(1000), &[end]].concat();
    let float = b"G\x3f\xf0\0\0\0\0\0\0";
    let many = |start: &[u8], item: &[u8], end: u8| {
        let contents = [start, &batch(item, end).repeat(MANY / 1000)].concat();
        // The list stays whole for what follows, and so do values before and after it.
        run(&[b"}(U\x01aK\x07U\x01b", &contents[..], b"U\x01cK\x08u."].concat())
    };
    for (start, item, end) in [
        (&b"]"[..], &float[..], b'e'),
        (b"]", b"K\x01N\x88J\x01\0\0\0", b'e'),
        (b"\x8f", b"M\x01\x01", 0x90),
        (b"}", &[b"K\x01", &float[..]].concat(), b'u'),
        (b"ccollections\ndeque\n)R", float, b'e'),
    ] {
        let pickle = many(start, item, end).unwrap();
        assert!(pickle.values().len() < 10 * MAX_NUMBERS, "{} values", pickle.values().len());
        let names: Vec<&str> = pickle.entries(pickle.root).map(|(name, _)| name).collect();
        assert_eq!(names, ["a", "b", "c"]);
        let int = |name: &str| pickle.entry(pickle.root, name).map(|id| pickle.get(id).clone());
        assert_eq!((int("a"), int("c")), (Some(Value::Int(7)), Some(Value::Int(8))));
    }
    // One at a time, as Python's own pickler of protocol 0 and 1 does.
    let single = [&b"]"[..], &[float, &b"a"[..]].concat().repeat(MANY), b"."].concat();
    let pickle = run(&single).unwrap();
    let Value::Sequence(items) = pickle.get(pickle.root) else { panic!("a list") };
    assert_eq!((items.len(), pickle.values().len()), (MAX_NUMBERS, MAX_NUMBERS + 1));
    // Numbers that something else refers to, and values of other kinds, stay.
    let shared = [&b"]("[..], &b"K\x05q\x01".repeat(2000), b"e(K\x06q\x02h\x01eh\x02a."].concat();
    let pickle = run(&shared).unwrap();
    let Value::Sequence(items) = pickle.get(pickle.root) else { panic!("a list") };
    let last = |back: usize| pickle.get(items[items.len() - back]);
    assert_eq!((items.len(), last(1), last(2)), (2003, &Value::Int(6), &Value::Int(5)));
    // References cost no values, but are counted.
    let references = [&b"("[..], &b"h\x00".repeat(1000), b"e"].concat();
    let few = Limits { values: 2000, ..Limits::CHECKPOINT };
    let again = [b"Nq\x000](", &b"h\x00".repeat(1000)[..], b"e."].concat();
    assert!(read_within(&again, few).is_ok());
    let long = [b"Nq\x000]", &references.repeat(9)[..], b"."].concat();
    assert!(read_within(&long, few).unwrap_err().contains("more than 8000 items"), "{long:?}");
}
