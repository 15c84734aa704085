//! Reading and writing model files.

use std::{
    collections::HashMap,
    fs::File,
    io::{BufWriter, Write},
    path::{Component, Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use bytes::Bytes;
use prost::Message;

use crate::{
    error::{Error, Result},
    graph,
    proto::{
        DataLocation, GraphProto, IR_VERSION, ModelProto, OperatorSetIdProto, StringStringEntryProto, TensorProto,
    },
};

/// The newest version of the `ai.onnx` operators that this crate knows.
pub const NEWEST_OPSET: i64 = 28;

/// The oldest version of the `ai.onnx` operators that is read.
pub const OLDEST_OPSET: i64 = 7;

/// A model: functions inlined, nodes in topological order, every tensor's bytes at hand.
///
/// Tensor bytes are borrowed from the mapped file; cloning a model copies no weights.
#[derive(Clone, Debug)]
pub struct Model {
    proto: ModelProto,
    /// The version of `ai.onnx` that the file was written for, where the model was upgraded since.
    written_for: Option<i64>,
    /// The IR version that the file was written in.
    written_in: i64,
    /// The mapped files that tensors' bytes may lie in.
    files: Arc<Vec<Source>>,
}

impl Model {
    /// Reads a model file; external data is mapped from the files it names, which must lie in the model's folder or below.
    ///
    /// # Errors
    /// No such file, not ONNX, truncated, too new, malformed, external data missing.
    pub fn read(path: &Path) -> Result<Self> {
        let (bytes, source) = Source::map(path).map_err(|source| io("read", path, source))?;
        let proto = decode(bytes)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        Self::prepare(proto, Some(folder), source)
    }

    /// Reads a model from memory; a model with external data needs [`Model::read`].
    ///
    /// # Errors
    /// As [`Model::read`].
    pub fn from_bytes(bytes: impl Into<Bytes>) -> Result<Self> {
        Self::prepare(decode(bytes.into())?, None, None)
    }

    /// Takes a model made in memory.
    ///
    /// # Errors
    /// As [`Model::read`].
    pub fn from_proto(proto: ModelProto) -> Result<Self> {
        Self::prepare(proto, None, None)
    }

    fn prepare(mut proto: ModelProto, folder: Option<&Path>, source: Option<Source>) -> Result<Self> {
        if proto.ir_version > IR_VERSION {
            return Err(Error::TooNew { what: "IR version", found: proto.ir_version, known: IR_VERSION });
        }
        if proto.graph.is_none() {
            return Err(Error::NotOnnx("it holds no graph".into()));
        }
        // Before IR version 3 a file without imports meant opset 1; nothing that old is supported.
        let opset = opset_of(&proto.opset_import, "").unwrap_or(1);
        if opset > NEWEST_OPSET {
            return Err(Error::TooNew { what: "opset", found: opset, known: NEWEST_OPSET });
        }
        graph::inline_functions(&mut proto)?;
        let graph = proto.graph.get_or_insert_default();
        let mut external = External { folder, files: HashMap::new(), sources: source.into_iter().collect() };
        for_each_tensor(graph, &mut |tensor| {
            external.load(tensor)?;
            tensor.check()
        })?;
        let files = Arc::new(external.sources);
        drop_initialized_inputs(graph);
        graph::sort(graph)?;
        Ok(Self { written_in: proto.ir_version, proto, written_for: None, files })
    }

    /// The whole message.
    pub fn proto(&self) -> &ModelProto {
        &self.proto
    }

    /// The graph.
    pub fn graph(&self) -> &GraphProto {
        static EMPTY: std::sync::LazyLock<GraphProto> = std::sync::LazyLock::new(GraphProto::default);
        self.proto.graph.as_ref().unwrap_or(&EMPTY)
    }

    /// The graph, to be edited. Keep its nodes in topological order.
    pub fn graph_mut(&mut self) -> &mut GraphProto {
        self.proto.graph.get_or_insert_default()
    }

    /// What the model says of itself, to be edited.
    pub fn metadata_mut(&mut self) -> &mut Vec<StringStringEntryProto> {
        &mut self.proto.metadata_props
    }

    /// The version of a domain's operators that the model uses; `""` is `ai.onnx`.
    pub fn opset(&self, domain: &str) -> Option<i64> {
        opset_of(&self.proto.opset_import, domain)
    }

    /// The version of a domain's operators that the model's file was written for: what its user knows, whatever
    /// [`crate::upgrade`] made of it.
    pub fn original_opset(&self, domain: &str) -> Option<i64> {
        if same_domain(domain, "") { self.written_for.or(self.opset("")) } else { self.opset(domain) }
    }

    /// The IR version of the model's file, whatever [`crate::upgrade`] made of it.
    pub fn original_ir_version(&self) -> i64 {
        self.written_in
    }

    /// The model with another graph: same opsets and metadata.
    pub fn with_graph(&self, graph: GraphProto) -> Self {
        let header = ModelProto { graph: None, functions: Vec::new(), training_info: Vec::new(), ..self.header() };
        let files = Arc::clone(&self.files);
        let (written_for, written_in) = (self.written_for, self.written_in);
        Self { proto: ModelProto { graph: Some(graph), ..header }, written_for, written_in, files }
    }

    fn header(&self) -> ModelProto {
        ModelProto {
            ir_version: self.proto.ir_version,
            producer_name: self.proto.producer_name.clone(),
            producer_version: self.proto.producer_version.clone(),
            domain: self.proto.domain.clone(),
            model_version: self.proto.model_version,
            doc_string: self.proto.doc_string.clone(),
            opset_import: self.proto.opset_import.clone(),
            metadata_props: self.proto.metadata_props.clone(),
            ..Default::default()
        }
    }

    /// States the version of a further domain's operators that the model uses; one that is stated already stays.
    pub fn import(&mut self, domain: &str, version: i64) {
        if self.opset(domain).is_none() {
            self.proto.opset_import.push(OperatorSetIdProto { domain: domain.to_owned(), version });
        }
    }

    /// States a domain's version, and an IR version that allows it.
    pub(crate) fn set_opset(&mut self, domain: &str, version: i64) {
        if same_domain(domain, "") {
            self.written_for = self.written_for.or(self.opset(""));
        }
        let is_domain = |import: &&mut OperatorSetIdProto| same_domain(&import.domain, domain);
        match self.proto.opset_import.iter_mut().find(is_domain) {
            Some(import) => import.version = version,
            None => self.proto.opset_import.push(OperatorSetIdProto { domain: domain.to_owned(), version }),
        }
        // IR version 8 is the first that goes with opset 15 and up.
        self.proto.ir_version = self.proto.ir_version.max(8);
    }

    /// The model as the bytes of an `.onnx` file, all tensors inside.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.proto.encode_to_vec()
    }

    /// How many bytes [`Model::to_bytes`] gives.
    pub fn encoded_len(&self) -> usize {
        self.proto.encoded_len()
    }

    /// The model as the bytes of an `.onnx` file that names the mapped files where the weights are, rather than holding them: a runtime
    /// can read them from there, and nothing is copied. The second result is the folder that the names are relative to.
    ///
    /// `None`: the model comes from no file, or a file was changed since it was mapped. Then only [`Model::to_bytes`] is right.
    pub fn to_bytes_beside_files(&self) -> Option<(Vec<u8>, PathBuf)> {
        let folder = self.files.first()?.path.parent()?.to_path_buf();
        if !self.files.iter().all(Source::is_unchanged) {
            return None;
        }
        let mut proto = self.proto.clone();
        for tensor in &mut proto.graph.get_or_insert_default().initializer {
            refer(tensor, &self.files, &folder);
        }
        Some((proto.encode_to_vec(), folder))
    }

    /// Releases the memory pages of some of a tensor's bytes, if they are in a mapped file. They are read from the file again if they are
    /// needed. Call it after reading weights that will hardly be read again.
    pub fn release(&self, bytes: &[u8]) {
        if let Some((file, offset)) = self.files.iter().find_map(|file| Some((file, file.offset(bytes)?))) {
            file.release(offset, bytes.len());
        }
    }

    /// Writes an `.onnx` file without the weights: those that lie in a mapped file in the same folder, or below, are read from there, the
    /// others from the file `PATH.data`, which is written where there are any. The files that the weights are in, as `path` names them.
    ///
    /// # Errors
    /// A file cannot be written; what is left is more than an `.onnx` file holds.
    pub fn write_beside(&self, path: &Path) -> Result<Vec<PathBuf>> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let canonical = std::fs::canonicalize(folder).map_err(|source| io("write", path, source))?;
        let near = |file: &&Source| file.path.starts_with(&canonical) && file.is_unchanged();
        let files: Vec<Source> = self.files.iter().filter(near).cloned().collect();
        let mut name = path.file_name().unwrap_or_default().to_os_string();
        name.push(".data");
        let beside = folder.join(&name);
        // What is read must not be written over.
        let is_read = |file: &Source| std::fs::canonicalize(&beside).is_ok_and(|beside| beside == file.path);
        if self.files.iter().any(is_read) {
            let source = std::io::Error::other("the model's own weights are read from it");
            return Err(io("write", &beside, source));
        }
        let mut proto = self.proto.clone();
        let (mut data, mut used) = (None, Vec::new());
        let mut end = 0u64;
        for tensor in &mut proto.graph.get_or_insert_default().initializer {
            refer(tensor, &files, &canonical);
            let is_large = |bytes: &&Bytes| bytes.len() >= REFERRED;
            if let Some(bytes) = tensor.raw_data.as_ref().filter(is_large).cloned() {
                let failed = |source| io("write", &beside, source);
                let file = match &mut data {
                    Some(file) => file,
                    None => data.insert(BufWriter::new(File::create(&beside).map_err(failed)?)),
                };
                // Runtimes map such files by pages.
                let start = end.next_multiple_of(PAGE);
                file.write_all(&vec![0; (start - end) as usize]).map_err(failed)?;
                file.write_all(&bytes).map_err(failed)?;
                end = start + bytes.len() as u64;
                name_place(tensor, &name.to_string_lossy(), start as usize, bytes.len());
            }
            let location = tensor.external_data.iter().find(|entry| entry.key == "location");
            used.extend(location.map(|entry| folder.join(&entry.value)).filter(|file| !used.contains(file)));
        }
        if let Some(mut file) = data {
            file.flush().map_err(|source| io("write", &beside, source))?;
        }
        if proto.encoded_len() > MOST_BYTES {
            return Err(Error::TooManyBytes { bytes: proto.encoded_len() });
        }
        std::fs::write(path, proto.encode_to_vec()).map_err(|source| io("write", path, source))?;
        Ok(used)
    }

    /// Writes an `.onnx` file, all tensors inside.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        std::fs::write(path, self.to_bytes()).map_err(|source| io("write", path, source))
    }
}

fn opset_of(imports: &[OperatorSetIdProto], domain: &str) -> Option<i64> {
    imports.iter().find(|import| same_domain(&import.domain, domain)).map(|import| import.version)
}

/// Whether two domains are the same; `ai.onnx` may be written as nothing.
pub(crate) fn same_domain(a: &str, b: &str) -> bool {
    let plain = |domain: &str| domain.is_empty() || domain == "ai.onnx";
    a == b || plain(a) && plain(b)
}

fn io(action: &'static str, path: &Path, source: std::io::Error) -> Error {
    Error::Io { action, path: path.display().to_string(), source }
}

/// A mapped file, as it was when it was mapped.
#[derive(Clone, Debug)]
struct Source {
    /// Links followed: runtimes refuse those that lead out of a model's folder.
    path: PathBuf,
    map: Arc<memmap2::Mmap>,
    /// Its length, and when it was changed last.
    state: (u64, Option<SystemTime>),
}

impl Source {
    /// Maps a file. A pipe cannot be mapped; it is read as it comes, and is no source.
    fn map(path: &Path) -> std::io::Result<(Bytes, Option<Self>)> {
        let file = File::open(path)?;
        let kind = file.metadata()?;
        if kind.is_dir() {
            return Err(std::io::ErrorKind::IsADirectory.into());
        }
        if !kind.is_file() {
            return Ok((Bytes::from(std::fs::read(path)?), None));
        }
        if kind.len() == 0 {
            return Ok((Bytes::new(), None));
        }
        // SAFETY: the file is only read. Somebody truncating it meanwhile raises SIGBUS, as for every mapped file; copying
        // gigabytes of weights on every start to avoid that would be the worse bargain.
        let map = unsafe { memmap2::Mmap::map(&file)? };
        let map = Arc::new(map);
        let source = Self { path: std::fs::canonicalize(path)?, map: Arc::clone(&map), state: state(&kind) };
        Ok((Bytes::from_owner(Mapped(map)), Some(source)))
    }

    /// Whether the path still names what was mapped.
    fn is_unchanged(&self) -> bool {
        std::fs::metadata(&self.path).is_ok_and(|now| state(&now) == self.state)
    }

    /// Where in the file these bytes are.
    fn offset(&self, bytes: &[u8]) -> Option<usize> {
        let offset = (bytes.as_ptr() as usize).checked_sub(self.map.as_ptr() as usize)?;
        (offset + bytes.len() <= self.map.len()).then_some(offset)
    }

    #[cfg(unix)]
    fn release(&self, offset: usize, len: usize) {
        // SAFETY: `offset` and `len` are within the map. It is shared and was never written to, so that what is dropped from memory
        // is in the file, from where the next access reads it.
        let dropped = unsafe { self.map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, offset, len) };
        let _ = dropped; // a system that doesn't do it keeps the memory
    }

    #[cfg(not(unix))]
    fn release(&self, _offset: usize, _len: usize) {}
}

/// A map, for [`Bytes`] to lie in.
struct Mapped(Arc<memmap2::Mmap>);

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

fn state(file: &std::fs::Metadata) -> (u64, Option<SystemTime>) {
    (file.len(), file.modified().ok())
}

/// How many bytes a protocol buffer, and so an `.onnx` file, holds at most.
pub const MOST_BYTES: usize = i32::MAX as usize;

/// Weights in a file of their own begin at multiples of this.
const PAGE: u64 = 4096;

/// Smaller tensors stay in the message: runtimes want shapes and the like there.
const REFERRED: usize = 1024;

/// Has a tensor name its place in one of the files, if that is where its bytes are.
fn refer(tensor: &mut TensorProto, files: &[Source], folder: &Path) {
    let Some(bytes) = tensor.raw_data.as_ref().filter(|bytes| bytes.len() >= REFERRED) else { return };
    let found = files.iter().find_map(|file| Some((file.path.strip_prefix(folder).ok()?, file.offset(bytes)?)));
    let Some((location, offset)) = found.and_then(|(path, offset)| Some((path.to_str()?, offset))) else { return };
    let length = bytes.len();
    name_place(tensor, location, offset, length);
}

/// Has a tensor name a place in a file in place of its bytes.
fn name_place(tensor: &mut TensorProto, location: &str, offset: usize, length: usize) {
    let entry = |key: &str, value: String| StringStringEntryProto { key: key.to_owned(), value };
    tensor.external_data = vec![
        entry("location", location.to_owned()),
        entry("offset", offset.to_string()),
        entry("length", length.to_string()),
    ];
    tensor.data_location = DataLocation::External as i32;
    tensor.raw_data = None;
}

fn decode(bytes: Bytes) -> Result<ModelProto> {
    if bytes.is_empty() {
        return Err(Error::NotOnnx("it is empty".into()));
    }
    let head = bytes.slice(..bytes.len().min(64));
    ModelProto::decode(bytes).map_err(|error| {
        // Field 1 (the IR version) comes first in files of every exporter: such a file is ONNX, but broken.
        let text = error.to_string();
        if head.first() == Some(&0x08) && (text.contains("underflow") || text.contains("truncated")) {
            Error::Truncated(text)
        } else {
            Error::NotOnnx(text)
        }
    })
}

/// Old files list their initializers among the inputs too: those are constants here, not inputs.
fn drop_initialized_inputs(graph: &mut GraphProto) {
    let constants: std::collections::HashSet<&str> =
        graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
    graph.input.retain(|input| !constants.contains(input.name.as_str()));
}

fn for_each_tensor(graph: &mut GraphProto, visit: &mut dyn FnMut(&mut TensorProto) -> Result<()>) -> Result<()> {
    for tensor in &mut graph.initializer {
        visit(tensor)?;
    }
    for attribute in graph.node.iter_mut().flat_map(|node| &mut node.attribute) {
        for tensor in attribute.t.iter_mut().map(|tensor| &mut **tensor).chain(&mut attribute.tensors) {
            visit(tensor)?;
        }
        for inner in attribute.g.iter_mut().map(|inner| &mut **inner).chain(&mut attribute.graphs) {
            for_each_tensor(inner, visit)?;
        }
    }
    Ok(())
}

/// The files beside a model that hold tensor bytes, each mapped once.
struct External<'a> {
    folder: Option<&'a Path>,
    files: HashMap<String, Bytes>,
    sources: Vec<Source>,
}

impl External<'_> {
    fn load(&mut self, tensor: &mut TensorProto) -> Result<()> {
        if !tensor.is_external() {
            return Ok(());
        }
        let entry = |key: &str| tensor.external_data.iter().find(|entry| entry.key == key).map(|entry| &*entry.value);
        let location = entry("location").unwrap_or_default().to_owned();
        let fail = |reason: String| Error::ExternalData { tensor: tensor.name.clone(), path: location.clone(), reason };
        let number = |key: &str| match entry(key) {
            None => Ok(None),
            Some(text) => text.parse::<usize>().map(Some).map_err(|_| fail(format!("its {key} `{text}` is no number"))),
        };
        let (offset, length) = (number("offset")?.unwrap_or(0), number("length")?);
        let Some(folder) = self.folder else {
            return Err(fail("a model read from memory has no folder to look in".into()));
        };
        if !Path::new(&location).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
            return Err(fail("it must lie in the model's own folder".into()));
        }
        let file = match self.files.get(&location) {
            Some(file) => file.clone(),
            None => {
                let (file, source) = Source::map(&folder.join(&location)).map_err(|error| fail(error.to_string()))?;
                self.sources.extend(source);
                self.files.entry(location.clone()).or_insert(file).clone()
            }
        };
        let expected = tensor.elem_type().size().and_then(|size| tensor.len().ok()?.checked_mul(size));
        let length = length.or(expected).unwrap_or(file.len().saturating_sub(offset));
        let end = offset.checked_add(length).filter(|&end| end <= file.len());
        let Some(end) = end else {
            return Err(fail(format!("it has {} bytes, {length} from offset {offset} are needed", file.len())));
        };
        tensor.raw_data = Some(file.slice(offset..end));
        tensor.external_data.clear();
        tensor.data_location = DataLocation::Default as i32;
        Ok(())
    }
}
