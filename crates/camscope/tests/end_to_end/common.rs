//! Runs the binary in a clean environment and makes what it says the same on every machine.

use std::{
    ffi::OsStr,
    fs::File,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::LazyLock,
};

use camscope_core::runtime::{Library, Search, ensure};
use ndarray::{Array, ArrayD, Dimension};
use ndarray_npy::ReadNpyExt;
use serde_json::Value;
use tempfile::TempDir;

/// ONNX Runtime, fetched if this machine has none.
pub(crate) static RUNTIME: LazyLock<Library> =
    LazyLock::new(|| ensure(&Search::of_process(), &mut |_| {}).expect("an ONNX Runtime"));

/// The root of the repository.
pub(crate) fn repository() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("the crate lies two folders below the root").to_owned()
}

/// A file of the repository.
pub(crate) fn file(path: &str) -> PathBuf {
    repository().join(path)
}

/// The bundled model: 1000 classes with labels, 224 × 224.
pub(crate) fn lite() -> PathBuf {
    file("models/efficientnet-lite0.onnx")
}

/// A thin MobileNet v2: 10 classes without labels, 96 × 96; PyTorch's module paths in the node names.
pub(crate) fn mobilenet() -> PathBuf {
    file("tests/fixtures/classifiers/mobilenet_v2.ts.onnx")
}

/// A photo of 600 × 600 pixels: a cat on the left, a cup of coffee on the right.
pub(crate) fn cat_and_coffee() -> PathBuf {
    file("samples/cat_and_coffee.jpg")
}

/// A temporary folder with a home in it, and the binary to run there.
pub(crate) struct Scene {
    folder: TempDir,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::create_dir(folder.path().join("home")).expect("a home");
        Self { folder }
    }

    /// A path in the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file into the folder.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("folders are made");
        std::fs::write(&path, content).expect("the file is written");
        path
    }

    /// Copies a file into the folder.
    pub(crate) fn copy(&self, from: &Path, name: &str) -> PathBuf {
        self.write(name, std::fs::read(from).expect("the file is read"))
    }

    /// The binary, in an environment that holds nothing but a home in the folder and where ONNX Runtime is; run in the folder.
    pub(crate) fn command(&self) -> Command {
        let mut command = self.bare();
        command.env("ORT_DYLIB_PATH", &RUNTIME.path);
        // Where the runtime's own dependencies may lie.
        for name in ["LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command
    }

    /// As [`Scene::command`], with no ONNX Runtime named.
    pub(crate) fn bare(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_camscope"));
        command.env_clear().env("HOME", self.path("home")).env("TMPDIR", self.folder.path()).env("PATH", "");
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        if let Some(root) = std::env::var_os("SystemRoot") {
            command.env("SystemRoot", root);
        }
        command
    }

    /// Runs the binary with these arguments.
    pub(crate) fn run<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Ran {
        self.ended(self.command().args(arguments).output().expect("the binary runs"))
    }

    /// Runs `explain` on the processor.
    pub(crate) fn explain<A: AsRef<OsStr>>(
        &self,
        model: impl AsRef<Path>,
        image: impl AsRef<Path>,
        options: impl IntoIterator<Item = A>,
    ) -> Ran {
        let mut command = self.command();
        command.args(["explain", "--ep", "cpu"]).arg(model.as_ref()).arg(image.as_ref()).args(options);
        self.ended(command.output().expect("the binary runs"))
    }

    /// What a finished process left, with this machine's paths replaced.
    pub(crate) fn ended(&self, output: Output) -> Ran {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("everything printed is UTF-8");
        let (stdout, stderr) = (text(output.stdout), text(output.stderr));
        Ran { status: output.status.code(), portable: [self.portable(&stdout), self.portable(&stderr)], stdout, stderr }
    }

    /// The text with this machine's paths replaced.
    pub(crate) fn portable(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (path, name) in [(self.folder.path(), "[TMP]"), (&RUNTIME.path, "[RUNTIME]"), (&repository(), "[REPO]")] {
            let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
            for path in [real.as_path(), path] {
                text = text.replace(&*path.to_string_lossy(), name);
            }
        }
        text
    }
}

/// How a run of the binary ended.
pub(crate) struct Ran {
    pub(crate) status: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// stdout and stderr without this machine's paths.
    portable: [String; 2],
}

impl Ran {
    /// Everything, for a snapshot.
    pub(crate) fn all(&self) -> String {
        let [stdout, stderr] = &self.portable;
        let mut text = match self.status {
            Some(status) => format!("status {status}\n"),
            None => "ended by a signal\n".into(),
        };
        for (name, content) in [("stdout", stdout), ("stderr", stderr)] {
            if !content.is_empty() {
                text += &format!("--- {name}\n{content}");
            }
        }
        text
    }

    /// Fails unless all went well and nothing was said on stderr.
    pub(crate) fn ok(self) -> Self {
        assert_eq!((self.status, self.stderr.as_str()), (Some(0), ""), "{}", self.stdout);
        self
    }

    /// As [`Ran::ok`], but notes on stderr are fine.
    pub(crate) fn ok_with_notes(self) -> Self {
        assert_eq!(self.status, Some(0), "{}", self.stderr);
        assert!(self.stderr.lines().all(|line| line.starts_with("note: ")), "{}", self.stderr);
        self
    }

    /// What `--json` printed: an object a line.
    pub(crate) fn json(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
    }
}

/// Reads an array of floats.
pub(crate) fn floats(path: impl AsRef<Path>) -> ArrayD<f32> {
    let path = path.as_ref();
    let open = File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    ArrayD::read_npy(open).expect("an array of float32")
}

/// Writes an array of floats.
pub(crate) fn write_floats<D: Dimension>(path: &Path, array: &Array<f32, D>) {
    ndarray_npy::write_npy(path, array).expect("the array is written");
}

/// ‖a − b‖ / ‖b‖ over all elements; the plain ‖a‖ where b is zero.
pub(crate) fn relative_error<D: Dimension>(a: &Array<f32, D>, b: &Array<f32, D>) -> f64 {
    assert_eq!(a.shape(), b.shape());
    let square = |x: f32| f64::from(x) * f64::from(x);
    let difference: f64 = a.iter().zip(b).map(|(a, b)| square(a - b)).sum();
    let norm: f64 = b.iter().map(|b| square(*b)).sum();
    if norm == 0.0 { difference.sqrt() } else { (difference / norm).sqrt() }
}
