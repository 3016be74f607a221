//! Models in the format of ONNX, as sherpa-onnx wants them, that "hear" one text in every
//! recording.
//!
//! Inputs, outputs and metadata are those of published models. Instead of a network they have a
//! table of what to say at which time.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    missing_docs
)]

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

/// The library of sherpa-onnx's wheel.
pub fn library() -> PathBuf {
    let library = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("target/engines/lib/sherpa_onnx/lib/libsherpa-onnx-c-api.so");
    assert!(library.exists(), "run tests/engines/setup first");
    library
}

/// Real weights of Whisper for the library, in 8 bits: `tiny.en` or `base`.
pub fn whisper(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("target/weights/sherpa")
        .join(name);
    assert!(folder.exists(), "run tests/weights/setup first");
    folder
}

/// Rows of each table: more than 30 s have frames.
const ROWS: i64 = 4000;

/// Numbers of types of elements.
const FLOAT: u64 = 1;
const INT32: u64 = 6;
const INT64: u64 = 7;

/// A token with the frame at which it is said.
pub type Script<'a> = &'a [(i64, &'a str)];

/// A message of Protocol Buffers.
#[derive(Clone, Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    fn number(mut self, field: u64, number: u64) -> Message {
        self.varint(field << 3);
        self.varint(number);
        self
    }

    fn bytes(mut self, field: u64, bytes: impl AsRef<[u8]>) -> Message {
        let bytes = bytes.as_ref();
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend(bytes);
        self
    }
}

impl AsRef<[u8]> for Message {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// A graph in the making.
#[derive(Clone, Default)]
struct Graph(Message);

impl Graph {
    fn add(&mut self, field: u64, message: &Message) {
        self.0 = std::mem::take(&mut self.0).bytes(field, message);
    }

    /// One operation; each attribute is a whole number.
    fn node(&mut self, kind: &str, inputs: &[&str], output: &str, attributes: &[(&str, i64)]) {
        let mut node = Message::default();
        for input in inputs {
            node = node.bytes(1, input);
        }
        node = node.bytes(2, output).bytes(4, kind);
        for (name, value) in attributes {
            let attribute = Message::default()
                .bytes(1, name)
                .number(3, *value as u64)
                .number(20, 2);
            node = node.bytes(5, attribute);
        }
        self.add(1, &node);
    }

    fn tensor(&mut self, name: &str, dimensions: &[i64], kind: u64, data: Vec<u8>) {
        let mut tensor = Message::default();
        for dimension in dimensions {
            tensor = tensor.number(1, *dimension as u64);
        }
        self.add(5, &tensor.number(2, kind).bytes(8, name).bytes(9, data));
    }

    fn floats(&mut self, name: &str, dimensions: &[i64], data: &[f32]) {
        let data = data.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.tensor(name, dimensions, FLOAT, data);
    }

    fn integers(&mut self, name: &str, data: &[i64]) {
        let bytes = data.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.tensor(name, &[data.len() as i64], INT64, bytes);
    }

    /// A list of one whole number that says what a dimension of `of` is, divided.
    fn length(&mut self, of: &str, dimension: i64, divided: i64, output: &str) {
        let [shape, at, all, by] = ["shape", "at", "all", "by"].map(|it| format!("{output}-{it}"));
        self.node("Shape", &[of], &shape, &[]);
        self.integers(&at, &[dimension]);
        self.node("Gather", &[&shape, &at], &all, &[]);
        self.integers(&by, &[divided]);
        self.node("Div", &[&all, &by], output, &[]);
    }

    /// The first `length` elements of a dimension.
    fn slice(&mut self, of: &str, length: &str, dimension: i64, output: &str) {
        let [from, axis] = ["from", "axis"].map(|it| format!("{output}-{it}"));
        self.integers(&from, &[0]);
        self.integers(&axis, &[dimension]);
        self.node("Slice", &[of, &from, length, &axis], output, &[]);
    }

    /// An input (11) or output (12). Dimensions that are 0 can have any length.
    fn value(&mut self, field: u64, name: &str, kind: u64, dimensions: &[i64]) {
        let mut shape = Message::default();
        for (index, dimension) in dimensions.iter().enumerate() {
            let any = format!("{name}-{index}");
            shape = shape.bytes(
                1,
                match dimension {
                    0 => Message::default().bytes(2, any),
                    length => Message::default().number(1, *length as u64),
                },
            );
        }
        let tensor = Message::default().number(1, kind).bytes(2, shape);
        let value = Message::default()
            .bytes(1, name)
            .bytes(2, Message::default().bytes(1, tensor));
        self.add(field, &value);
    }

    fn input(&mut self, name: &str, kind: u64, dimensions: &[i64]) {
        self.value(11, name, kind, dimensions);
    }

    fn output(&mut self, name: &str, kind: u64, dimensions: &[i64]) {
        self.value(12, name, kind, dimensions);
    }

    fn write(self, file: &Path, metadata: &[(&str, String)]) {
        let mut model = Message::default()
            .number(1, 8)
            .bytes(7, self.0.bytes(2, "graph"))
            .bytes(8, Message::default().number(2, 17));
        for (key, value) in metadata {
            model = model.bytes(14, Message::default().bytes(1, key).bytes(2, value));
        }
        fs::write(file, model).unwrap();
    }
}

/// Number of a token.
fn number(tokens: &[&str], token: &str) -> usize {
    tokens
        .iter()
        .position(|it| *it == token)
        .unwrap_or_else(|| panic!("{token}"))
}

/// Rows of one value for each column: at the frames of the script its token, otherwise `blank`. A
/// frame that is named twice has both tokens, the later a little less likely.
fn table(script: Script, tokens: &[&str], columns: usize, blank: usize) -> Vec<f32> {
    let mut values = vec![0.0; ROWS as usize * columns];
    for row in 0..ROWS {
        let own = &mut values[row as usize * columns..][..columns];
        let mut said = script.iter().filter(|(frame, _)| *frame == row).peekable();
        if said.peek().is_none() {
            own[blank] = 10.0;
        }
        for (rank, (_, token)) in said.enumerate() {
            own[number(tokens, token)] = 10.0 - rank as f32 / 2.0;
        }
    }
    values
}

fn write_tokens(folder: &Path, tokens: &[&str]) {
    fs::create_dir_all(folder).unwrap();
    let mut text = String::new();
    for (number, token) in tokens.iter().enumerate() {
        writeln!(text, "{token} {number}").unwrap();
    }
    fs::write(folder.join("tokens.txt"), text).unwrap();
}

fn entry(key: &'static str, value: impl ToString) -> (&'static str, String) {
    (key, value.to_string())
}

/// A transducer of icefall (Zipformer). A frame is 40 ms; token 0 is the blank one.
pub fn transducer(folder: &Path, tokens: &[&str], script: Script) {
    write_tokens(folder, tokens);
    let columns = tokens.len() as i64;
    let mut graph = Graph::default();
    graph.input("x", FLOAT, &[0, 0, 80]);
    graph.input("x_lens", INT64, &[0]);
    graph.floats(
        "table",
        &[1, ROWS, columns],
        &table(script, tokens, tokens.len(), 0),
    );
    graph.length("x", 1, 4, "frames");
    graph.slice("table", "frames", 1, "encoder_out");
    graph.integers("four", &[4]);
    graph.node("Div", &["x_lens", "four"], "encoder_out_lens", &[]);
    graph.output("encoder_out", FLOAT, &[0, 0, columns]);
    graph.output("encoder_out_lens", INT64, &[0]);
    let metadata = [entry("model_type", "zipformer2"), entry("version", 1)];
    graph.write(&folder.join("encoder-epoch-99-avg-1.int8.onnx"), &metadata);

    let mut graph = Graph::default();
    graph.input("y", INT64, &[0, 2]);
    graph.node("Cast", &["y"], "history", &[("to", FLOAT as i64)]);
    graph.floats("zeros", &[2, columns], &vec![0.0; 2 * tokens.len()]);
    graph.node("MatMul", &["history", "zeros"], "decoder_out", &[]);
    graph.output("decoder_out", FLOAT, &[0, columns]);
    let metadata = [entry("vocab_size", columns), entry("context_size", 2)];
    graph.write(&folder.join("decoder-epoch-99-avg-1.onnx"), &metadata);

    let mut graph = Graph::default();
    graph.input("encoder_out", FLOAT, &[0, columns]);
    graph.input("decoder_out", FLOAT, &[0, columns]);
    graph.node("Add", &["encoder_out", "decoder_out"], "logit", &[]);
    graph.output("logit", FLOAT, &[0, columns]);
    let metadata = [entry("joiner_dim", columns)];
    graph.write(&folder.join("joiner-epoch-99-avg-1.int8.onnx"), &metadata);
}

/// A transducer of NeMo that tells how long each token lasts (Parakeet TDT): two frames, of 80 ms.
/// The blank token is not in `tokens`.
pub fn parakeet(folder: &Path, tokens: &[&str], script: Script) {
    const DURATIONS: usize = 5;
    let all: Vec<&str> = tokens.iter().copied().chain(["<blk>"]).collect();
    write_tokens(folder, &all);
    let columns = all.len() + DURATIONS;
    let mut rows = table(script, tokens, columns, tokens.len());
    for (frame, row) in (0..).zip(rows.chunks_mut(columns)) {
        let is_said = script.iter().any(|(at, _)| *at == frame);
        row[all.len() + if is_said { 2 } else { 1 }] = 10.0;
    }
    let width = columns as i64;
    let mut graph = Graph::default();
    graph.input("audio_signal", FLOAT, &[0, 80, 0]);
    graph.input("length", INT64, &[0]);
    graph.floats("table", &[1, ROWS, width], &rows);
    graph.length("audio_signal", 2, 8, "frames");
    graph.slice("table", "frames", 1, "said");
    // Without an order the axes are reversed, so the first must be last.
    graph.integers("reversed", &[-1, width, 1]);
    graph.node("Reshape", &["said", "reversed"], "upright", &[]);
    graph.node("Transpose", &["upright"], "outputs", &[]);
    graph.integers("eight", &[8]);
    graph.node("Div", &["length", "eight"], "encoded_lengths", &[]);
    graph.output("outputs", FLOAT, &[0, width, 0]);
    graph.output("encoded_lengths", INT64, &[0]);
    let metadata = [
        entry("model_type", "EncDecRNNTBPEModel"),
        entry("vocab_size", tokens.len()),
        entry("subsampling_factor", 8),
        entry("normalize_type", "per_feature"),
        entry("pred_rnn_layers", 1),
        entry("pred_hidden", 4),
        // By this word the library knows that it tells durations.
        entry("url", "https://example.org/parakeet-tdt"),
    ];
    graph.write(&folder.join("encoder.int8.onnx"), &metadata);

    let mut graph = Graph::default();
    graph.input("targets", INT32, &[0, 1]);
    graph.input("target_length", INT32, &[0]);
    graph.input("states.1", FLOAT, &[1, 0, 4]);
    graph.input("onnx::Slice_3", FLOAT, &[1, 0, 4]);
    graph.floats("zeros", &[1, width, 1], &vec![0.0; columns]);
    graph.node("Identity", &["zeros"], "outputs", &[]);
    graph.node("Identity", &["target_length"], "prednet_lengths", &[]);
    graph.node("Identity", &["states.1"], "states", &[]);
    graph.node("Identity", &["onnx::Slice_3"], "162", &[]);
    graph.output("outputs", FLOAT, &[0, width, 1]);
    graph.output("prednet_lengths", INT32, &[0]);
    graph.output("states", FLOAT, &[1, 0, 4]);
    graph.output("162", FLOAT, &[1, 0, 4]);
    graph.write(&folder.join("decoder.int8.onnx"), &[]);

    let mut graph = Graph::default();
    graph.input("encoder_outputs", FLOAT, &[0, width, 0]);
    graph.input("decoder_outputs", FLOAT, &[0, width, 0]);
    graph.node("Add", &["encoder_outputs", "decoder_outputs"], "sum", &[]);
    graph.integers("shape", &[1, 1, 1, width]);
    graph.node("Reshape", &["sum", "shape"], "outputs", &[]);
    graph.output("outputs", FLOAT, &[0, 0, 0, width]);
    graph.write(&folder.join("joiner.int8.onnx"), &[]);
}

/// Tokens of [`sense_voice`]; the first is the blank one.
const SENSE_VOICE: [&str; 12] = [
    "<unk>",
    "<|zh|>",
    "<|en|>",
    "<|NEUTRAL|>",
    "<|Speech|>",
    "<|withitn|>",
    "▁10",
    "▁ten",
    "▁met",
    "ers",
    "开",
    "放",
];

/// A SenseVoice model. It says "10 meters" or, without figures, "ten meters"; if it is told that
/// Chinese is spoken, it says that it hears Chinese. A frame is 60 ms.
pub fn sense_voice(folder: &Path) {
    write_tokens(folder, &SENSE_VOICE);
    let columns = SENSE_VOICE.len();
    let width = columns as i64;
    let row = |token: &str| {
        let mut row = vec![0.0; columns];
        row[number(&SENSE_VOICE, token)] = 10.0;
        row
    };
    let choice = |is_first: &dyn Fn(i64) -> bool, first: &str, other: &str| {
        let rows = (0..16).flat_map(|index| row(if is_first(index) { first } else { other }));
        rows.collect::<Vec<f32>>()
    };
    let mut graph = Graph::default();
    graph.input("x", FLOAT, &[0, 0, 560]);
    graph.input("x_length", INT32, &[0]);
    graph.input("language", INT32, &[0]);
    graph.input("text_norm", INT32, &[0]);
    graph.floats(
        "languages",
        &[16, 1, width],
        &choice(&|it| it == 3, "<|zh|>", "<|en|>"),
    );
    graph.floats(
        "norms",
        &[16, 1, width],
        &choice(&|it| it == 14, "▁10", "▁ten"),
    );
    let signs = ["<|NEUTRAL|>", "<|Speech|>", "<|withitn|>"]
        .map(row)
        .concat();
    graph.floats("signs", &[1, 3, width], &signs);
    let script = [(9, "▁met"), (11, "ers")];
    graph.floats(
        "table",
        &[1, ROWS, width],
        &table(&script, &SENSE_VOICE, columns, 0),
    );
    graph.node("Gather", &["languages", "language"], "spoken", &[]);
    graph.node("Gather", &["norms", "text_norm"], "first", &[]);
    graph.length("x", 1, 1, "frames");
    graph.integers("one", &[1]);
    graph.node("Sub", &["frames", "one"], "others", &[]);
    graph.slice("table", "others", 1, "rest");
    graph.node(
        "Concat",
        &["spoken", "signs", "first", "rest"],
        "logits",
        &[("axis", 1)],
    );
    graph.output("logits", FLOAT, &[0, 0, width]);
    let metadata = [
        entry("model_type", "sense_voice_ctc"),
        entry("version", 1),
        entry("comment", "generated"),
        entry("vocab_size", columns),
        entry("blank_id", 0),
        entry("lfr_window_size", 7),
        entry("lfr_window_shift", 6),
        entry("normalize_samples", 0),
        entry("with_itn", 14),
        entry("without_itn", 15),
        entry("lang_auto", 0),
        entry("lang_zh", 3),
        entry("lang_en", 4),
        entry("lang_yue", 7),
        entry("lang_ja", 11),
        entry("lang_ko", 12),
        entry("neg_mean", vec!["0"; 560].join(",")),
        entry("inv_stddev", vec!["1"; 560].join(",")),
    ];
    graph.write(&folder.join("model.int8.onnx"), &metadata);
}

/// A CTC model of NeMo. A frame is 80 ms; the blank token is not in `tokens`.
pub fn nemo_ctc(folder: &Path, tokens: &[&str], script: Script) {
    let all: Vec<&str> = tokens.iter().copied().chain(["<blk>"]).collect();
    write_tokens(folder, &all);
    let width = all.len() as i64;
    let mut graph = Graph::default();
    graph.input("audio_signal", FLOAT, &[0, 80, 0]);
    graph.input("length", INT64, &[0]);
    graph.floats(
        "table",
        &[1, ROWS, width],
        &table(script, tokens, all.len(), tokens.len()),
    );
    graph.length("audio_signal", 2, 8, "frames");
    graph.slice("table", "frames", 1, "logprobs");
    graph.output("logprobs", FLOAT, &[0, 0, width]);
    let metadata = [
        entry("model_type", "EncDecCTCModelBPE"),
        entry("vocab_size", tokens.len()),
        entry("subsampling_factor", 8),
        entry("normalize_type", "per_feature"),
    ];
    graph.write(&folder.join("model.onnx"), &metadata);
}

/// A Moonshine model in four files. Tokens 0 to 2 are its signs, of which 2 ends the text.
pub fn moonshine(folder: &Path, tokens: &[&str], text: &[&str]) {
    write_tokens(folder, tokens);
    let width = tokens.len() as i64;
    let mut graph = Graph::default();
    graph.input("args_0", FLOAT, &[1, 0]);
    graph.floats("zeros", &[1, ROWS, 8], &vec![0.0; ROWS as usize * 8]);
    graph.length("args_0", 1, 384, "frames");
    graph.slice("zeros", "frames", 1, "features");
    graph.output("features", FLOAT, &[1, 0, 8]);
    graph.write(&folder.join("preprocess.onnx"), &[]);

    let mut graph = Graph::default();
    graph.input("features", FLOAT, &[1, 0, 8]);
    graph.input("features_len", INT32, &[1]);
    graph.node("Identity", &["features"], "encoder_out", &[]);
    graph.output("encoder_out", FLOAT, &[1, 0, 8]);
    graph.write(&folder.join("encode.int8.onnx"), &[]);

    // The first token is asked for with a length of 1.
    let script: Vec<(i64, &str)> = (1..).zip(text.iter().copied()).collect();
    for (name, has_state) in [("uncached_decode", false), ("cached_decode", true)] {
        let mut graph = Graph::default();
        graph.input("token", INT32, &[1, 1]);
        graph.input("encoder_out", FLOAT, &[1, 0, 8]);
        graph.input("seq_len", INT32, &[1]);
        if has_state {
            graph.input("state", FLOAT, &[1, 0, 8]);
        }
        graph.floats(
            "table",
            &[ROWS, 1, width],
            &table(&script, tokens, tokens.len(), 2),
        );
        graph.node("Gather", &["table", "seq_len"], "logits", &[]);
        graph.node("Identity", &["encoder_out"], "next", &[]);
        graph.output("logits", FLOAT, &[1, 1, width]);
        graph.output("next", FLOAT, &[1, 0, 8]);
        graph.write(&folder.join(format!("{name}.int8.onnx")), &[]);
    }
}

/// A model that puts a comma after "forward", and a full stop at the end.
pub fn punctuation(folder: &Path) {
    const SIGNS: [&str; 6] = ["<unk>", "_", "，", "。", "？", "、"];
    const WORDS: [&str; 3] = ["<unk>", "go", "forward"];
    fs::create_dir_all(folder).unwrap();
    let mut graph = Graph::default();
    graph.input("inputs", INT32, &[0, 0]);
    graph.input("text_lengths", INT32, &[0]);
    let rows: Vec<f32> = WORDS
        .iter()
        .flat_map(|word| {
            let sign = if *word == "forward" { "，" } else { "_" };
            SIGNS.map(|it| if it == sign { 10.0 } else { 0.0 })
        })
        .collect();
    graph.floats("table", &[WORDS.len() as i64, SIGNS.len() as i64], &rows);
    graph.node("Gather", &["table", "inputs"], "logits", &[]);
    graph.output("logits", FLOAT, &[0, 0, SIGNS.len() as i64]);
    let metadata = [
        entry("model_type", "ct_transformer"),
        entry("tokens", WORDS.join("|")),
        entry("vocab_size", WORDS.len()),
        entry("punctuations", SIGNS.join("|")),
        entry("unk_symbol", "<unk>"),
    ];
    graph.write(&folder.join("model.onnx"), &metadata);
}
