//! Models in the format of Kaldi, as Vosk wants them, that "hear" one text in every recording.
//!
//! Their network gives all sounds the same likelihood. The graph decides: a line of states, one for
//! each frame, through the words and into silence, where the utterance ends half a second later,
//! and the next one begins.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    missing_docs
)]

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

/// Length of a frame of the graph, in seconds.
pub const FRAME: f64 = 0.03;

/// Features of one frame: the library's own number of MFCCs.
const FEATURES: usize = 13;

/// The magic number of OpenFst's files.
const FST: i32 = 2_125_659_606;

/// The library of Vosk's wheel.
pub fn library() -> PathBuf {
    let library = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/engines/lib/vosk/libvosk.so");
    assert!(library.exists(), "run tests/engines/setup first");
    library
}

/// Each word with its length in frames.
pub type Script = [(&'static str, usize)];

/// Writes the model into `folder`, which is made.
pub fn write(folder: &Path, script: &Script) {
    for part in ["am", "conf", "graph/phones"] {
        fs::create_dir_all(folder.join(part)).unwrap();
    }
    let file = |name: &str, content: &[u8]| fs::write(folder.join(name), content).unwrap();
    file(
        "conf/mfcc.conf",
        b"--sample-frequency=16000\n--use-energy=false\n",
    );
    file(
        "conf/model.conf",
        b"--endpoint.silence-phones=1\n--frame-subsampling-factor=3\n",
    );
    file("am/final.mdl", acoustic_model(script.len() + 1).as_bytes());
    file("graph/HCLG.fst", &graph(script));
    let mut words = String::from("<eps> 0\n");
    let mut boundaries = String::from("1 nonword\n");
    for (number, (word, _)) in (1..).zip(script) {
        writeln!(words, "{word} {number}").unwrap();
        // A word is a phone of its own.
        writeln!(boundaries, "{} singleton", number + 1).unwrap();
    }
    file("graph/words.txt", words.as_bytes());
    file("graph/phones/word_boundary.int", boundaries.as_bytes());
}

/// This many phones of one state each, and a network of zeros.
fn acoustic_model(phones: usize) -> String {
    let all: Vec<String> = (1..=phones).map(|phone| phone.to_string()).collect();
    let states: String = (1..=phones)
        .map(|phone| format!("{phone} 0 {} \n", phone - 1))
        .collect();
    let zeros = |count: usize| "0 ".repeat(count);
    let rows: Vec<String> = (0..phones).map(|_| zeros(FEATURES)).collect();
    format!(
        "<TransitionModel> \n<Topology> \n<TopologyEntry> \n<ForPhones> \n{}\n</ForPhones> \n\
         <State> 0 <PdfClass> 0 <Transition> 0 0.5 <Transition> 1 0.5 </State> \n<State> 1 </State> \n\
         </TopologyEntry> \n</Topology> \n<Triples> {phones} \n{states}</Triples> \n\
         <LogProbs> \n [ 0 {}]\n</LogProbs> \n</TransitionModel> \n\
         <Nnet3> \ninput-node name=input dim={FEATURES}\ncomponent-node name=out component=out input=input\n\
         output-node name=output input=out objective=linear\n\n\
         <NumComponents> 1 \n<ComponentName> out <FixedAffineComponent> <LinearParams>  [\n{} ]\n\
         <BiasParams>  [ {}]\n</FixedAffineComponent> \n</Nnet3> \n\
         <LeftContext> 0 <RightContext> 0 <Priors>  [ ]\n",
        all.join(" "),
        "-0.6931472 ".repeat(2 * phones),
        rows.join("\n"),
        zeros(phones),
    )
}

/// A `VectorFst<StdArc>` of OpenFst: transitions in, words out.
fn graph(script: &Script) -> Vec<u8> {
    // Of the phone `p` the transition 2p leaves the state, and 2p - 1 stays.
    let leaves = |phone: usize| 2 * phone as i32;
    let mut arcs: Vec<(i32, i32)> = Vec::new();
    for (number, (_, frames)) in (1..).zip(script) {
        let phone = number + 1;
        arcs.push((leaves(phone), number as i32));
        arcs.extend((1..*frames).map(|_| (leaves(phone) - 1, 0)));
    }
    // Silence, in which the last state stays forever.
    arcs.push((leaves(1), 0));
    let last = arcs.len();
    let mut file = FST.to_le_bytes().to_vec();
    for kind in ["vector", "standard"] {
        file.extend((kind.len() as i32).to_le_bytes());
        file.extend(kind.bytes());
    }
    let (version, flags, properties) = (2_i32, 0_i32, 3_u64);
    file.extend([version, flags].map(i32::to_le_bytes).concat());
    file.extend(properties.to_le_bytes());
    let (start, states) = (0, last as i64 + 1);
    file.extend([start, states, states].map(i64::to_le_bytes).concat());
    arcs.push((leaves(1) - 1, 0));
    for (state, (transition, word)) in arcs.into_iter().enumerate() {
        let end: f32 = if state == last { 0.0 } else { f32::INFINITY };
        let next = last.min(state + 1) as i32;
        file.extend(end.to_le_bytes());
        file.extend(1_i64.to_le_bytes());
        file.extend([transition, word].map(i32::to_le_bytes).concat());
        file.extend(0.0_f32.to_le_bytes());
        file.extend(next.to_le_bytes());
    }
    file
}
