//! The processes of `camscope bench`: each does one thing and says when its first result is there and what memory it took.
//!
//! The parent sends the picture through the child's stdin and keeps that open, so that the child notices when the parent is gone,
//! however that ended.

use std::{
    ffi::OsString,
    io::{BufRead, BufReader, Cursor, Read, Write},
    process::{Child, ExitCode, Stdio},
    sync::Arc,
    thread,
    time::Instant,
};

use camscope_core::{
    Error, Result,
    bench::{BatchTimes, Everywhere, Plain, ToInput, peak_resident},
    explain::{Explainer, Options},
    image::Seen,
    runtime::{Canceller, Itself, Library, Origin, Provider, ProviderChoice, Runtime},
    subject::TypedModel,
    target::TargetRef,
};
use ndarray::ArrayD;
use ndarray_npy::{ReadNpyExt, WriteNpyExt};
use serde_json::json;

use crate::{
    bench_together,
    cli::BenchChildArgs,
    cli_bench::BenchPart,
    input, output, plugins,
    setup::{open_for, options, session_options, subject, suited},
};

/// The hidden subcommand.
pub(crate) const COMMAND: &str = "__bench-child";

/// What stands before what a child has to say: libraries may print something of their own.
const MARK: &str = "camscope-bench: ";

/// Does the one thing.
///
/// # Errors
/// Those of explaining.
pub(crate) fn run(args: &BenchChildArgs) -> Result<ExitCode> {
    let tensor = receive()?;
    match args.part {
        BenchPart::Plain => plain(args, &tensor)?,
        BenchPart::Explain => explain(args, tensor)?,
        BenchPart::ToInput => gradients(args, &tensor, |runtime, subject, options| {
            ToInput::new(runtime, subject, options).map(|made| made.explainer)
        })?,
        BenchPart::EveryLayer => gradients(args, &tensor, |runtime, subject, options| {
            Everywhere::new(runtime, subject, options).map(|made| made.explainer)
        })?,
        BenchPart::Together => {
            // A parent that is gone ends this process; nobody else listens.
            let mut round = |done| drop(say(&format!("round {done}")));
            let times = bench_together::measure(args, &tensor, &mut round)?;
            say(&format!("times {}", json!(times)))?;
        }
    }
    if let Some(peak) = peak_resident() {
        say(&format!("peak {peak}"))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn say(what: &str) -> Result<()> {
    output::print(&format!("{MARK}{what}\n"))
}

/// What a bare program does: load the library, make a session from the file, run it once.
fn plain(args: &BenchChildArgs, tensor: &ArrayD<f32>) -> Result<()> {
    let library = Library { origin: Origin::Variable, path: args.library.clone(), version: args.library_version };
    let runtime = plugins::runtime(Runtime::load(&library)?, &args.bench.extra)?;
    let provider = match args.on {
        ProviderChoice::Named(provider) => provider,
        ProviderChoice::Auto => Provider::Cpu,
    };
    let options = session_options(&args.bench.run);
    let session = runtime.untried_session_from_file(&args.bench.model, provider, &options)?;
    // A program would have what its further inputs are fed at hand; here it has to be read.
    let fed = match session.inputs().len() {
        0 | 1 => Vec::new(),
        _ => {
            let (network, _) = open_for(&args.bench.model, &args.bench.input, args.bench.picture())?;
            network.fed(network.input().batch().unwrap_or(1))?
        }
    };
    let plain = Plain::new(session, tensor, fed)?;
    match args.copies {
        0 | 1 => plain.run()?,
        copies => plain.run_copies(tensor, copies)?,
    }
    say("first")
}

/// The runtime, the model, what is explained, and how.
type Prepared = (&'static Runtime, Arc<TypedModel>, Vec<TargetRef>, Options);

/// The model, typed, as `camscope explain` makes it ready, from the search for plugins and ONNX Runtime on.
pub(crate) fn prepared(args: &BenchChildArgs, tensor: &ArrayD<f32>) -> Result<Prepared> {
    let bench = &args.bench;
    plugins::load(&bench.extra.plugins);
    let (network, mut sidecar) = open_for(&bench.model, &bench.input, bench.picture())?;
    input::take_size(tensor.shape(), &mut sidecar.preprocessing);
    let options = options(&bench.how, &bench.run, &sidecar)?;
    let runtime = plugins::runtime(Runtime::get_or_load()?, &bench.extra)?;
    let (subject, targets) = subject(runtime, network, sidecar, &bench.how)?;
    let options = Options { seen: args.seen, ..suited(options, &bench.how, subject.sidecar(), &targets)? };
    Ok((runtime, Arc::new(subject), targets, options))
}

/// What `camscope explain` does, up to the first heatmap.
fn explain(args: &BenchChildArgs, tensor: ArrayD<f32>) -> Result<()> {
    let (runtime, subject, targets, options) = prepared(args, &tensor)?;
    let explainer = Explainer::of(runtime, subject, options)?;
    let first = targets.get(..1).unwrap_or_default();
    explainer.explain(tensor, first)?;
    say("first")
}

/// The same up to the gradients, with another explainer.
fn gradients(
    args: &BenchChildArgs,
    tensor: &ArrayD<f32>,
    make: impl FnOnce(&'static Runtime, &Arc<TypedModel>, &Options) -> Result<Explainer>,
) -> Result<()> {
    let (runtime, subject, targets, options) = prepared(args, tensor)?;
    let explainer = make(runtime, &subject, &options)?;
    let canceller = Canceller::new();
    let forward = explainer.forward(tensor, &canceller)?;
    for target in targets.iter().take(1) {
        let evaluated = explainer.evaluate(&forward, target)?;
        explainer.backward(&forward, &evaluated, &canceller)?;
    }
    say("first")
}

/// The picture that the parent sends. From then on this process ends as soon as the parent does.
fn receive() -> Result<ArrayD<f32>> {
    let failed = |source| Error::Io { action: "read", path: "the picture from stdin".into(), source };
    let mut stdin = std::io::stdin();
    let mut length = [0; 8];
    stdin.read_exact(&mut length).map_err(failed)?;
    let mut bytes = Vec::new();
    stdin.by_ref().take(u64::from_le_bytes(length)).read_to_end(&mut bytes).map_err(failed)?;
    thread::spawn(move || {
        let _ = std::io::copy(&mut stdin, &mut std::io::sink());
        camscope_tui::exit(1)
    });
    ArrayD::read_npy(Cursor::new(bytes)).map_err(|error| Error::Value(error.to_string()))
}

/// How processes are started.
pub(crate) struct Starter {
    program: Itself,
    arguments: Vec<OsString>,
    picture: Vec<u8>,
}

/// What a process said.
pub(crate) struct Said {
    /// Milliseconds from its start to its first result.
    pub(crate) first: f64,
    /// The most memory that was resident, in bytes, where the system tells.
    pub(crate) peak: Option<u64>,
}

/// A child that doesn't outlive this.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

impl Starter {
    /// For this program's own arguments, which name model and options.
    ///
    /// # Errors
    /// The program's file isn't known.
    pub(crate) fn new(runtime: &Runtime, on: Provider, (tensor, seen): (&ArrayD<f32>, Option<Seen>)) -> Result<Self> {
        let failed = |source| Error::Io { action: "find", path: "this program".into(), source };
        let program = Itself::of_process().map_err(failed)?;
        let mut arguments: Vec<OsString> = vec!["--library".into(), runtime.path().into()];
        arguments.extend(["--library-version".into(), runtime.version().to_string().into()]);
        arguments.extend(["--on".into(), on.name().into()]);
        // Numbers may be negative.
        arguments
            .extend(seen.map(|seen| format!("--seen={},{},{},{}", seen.x, seen.y, seen.width, seen.height).into()));
        // After the program's name and `bench`.
        arguments.extend(crate::WORDS.get().into_iter().flatten().skip(2).cloned());
        let mut array = Vec::new();
        tensor.write_npy(&mut array).map_err(|error| Error::Value(error.to_string()))?;
        let mut picture = (array.len() as u64).to_le_bytes().to_vec();
        picture.append(&mut array);
        Ok(Self { program, arguments, picture })
    }

    /// Runs a process for that part, which is no [`BenchPart::Together`], up to its first result.
    ///
    /// # Errors
    /// [`Error::Measured`] where it doesn't do its work, with its own words.
    pub(crate) fn start(&self, part: BenchPart) -> Result<Said> {
        self.start_with(part, 1)
    }

    /// As [`Starter::start`], the plain session with so many images at once.
    ///
    /// # Errors
    /// Those of [`Starter::start`].
    pub(crate) fn start_with(&self, part: BenchPart, copies: usize) -> Result<Said> {
        let (mut first, mut peak) = (None, None);
        self.listen((part, copies), |word, rest, start| match word {
            "first" => first = Some(start.elapsed().as_secs_f64() * 1e3),
            "peak" => peak = rest.parse().ok(),
            _ => {}
        })?;
        let first = first.ok_or_else(|| silent(part))?;
        Ok(Said { first, peak })
    }

    /// Runs the process that measures several pictures at once; `progress` is told before each round how many are done. `None` where
    /// the model takes only one.
    ///
    /// # Errors
    /// [`Error::Measured`] where it doesn't do its work, with its own words.
    pub(crate) fn together(&self, progress: &mut dyn FnMut(usize)) -> Result<Option<BatchTimes>> {
        let mut times = None;
        self.listen((BenchPart::Together, 1), |word, rest, _| match word {
            "round" => progress(rest.parse().unwrap_or(0)),
            "times" => times = serde_json::from_str(rest).ok(),
            _ => {}
        })?;
        times.ok_or_else(|| silent(BenchPart::Together))
    }

    /// Runs a process for that part; `hear` gets the first word of each thing that it says, the rest, and when it was started.
    fn listen(&self, (part, copies): (BenchPart, usize), mut hear: impl FnMut(&str, &str, Instant)) -> Result<()> {
        let (what, word) = names(part);
        let failed = |error: std::io::Error| Error::Measured { what, reason: format!("cannot be run: {error}") };
        let mut command = self.program.command();
        command.arg(COMMAND).arg(word).args(["--copies", &copies.to_string()]).args(&self.arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let start = Instant::now();
        let mut child = Running(command.spawn().map_err(failed)?);
        let complaints = child.0.stderr.take().map(|mut stderr| {
            thread::spawn(move || {
                let mut text = Vec::new();
                let _ = stderr.read_to_end(&mut text);
                String::from_utf8_lossy(&text).into_owned()
            })
        });
        let mut stdin = child.0.stdin.take();
        if let Some(stdin) = &mut stdin {
            // Where it ended already, its status says more.
            let _ = stdin.write_all(&self.picture).and_then(|()| stdin.flush());
        }
        if let Some(stdout) = child.0.stdout.take() {
            for line in BufReader::new(stdout).split(b'\n') {
                let line = line.map_err(failed)?;
                let line = String::from_utf8_lossy(&line);
                if let Some(said) = line.strip_prefix(MARK) {
                    let (word, rest) = said.split_once(' ').unwrap_or((said, ""));
                    hear(word, rest, start);
                }
            }
        }
        let status = child.0.wait().map_err(failed)?;
        drop(stdin);
        let complaints = complaints.and_then(|reader| reader.join().ok()).unwrap_or_default();
        match status.success() {
            true => Ok(()),
            false => Err(Error::Measured { what, reason: ending(&status.to_string(), &complaints) }),
        }
    }
}

/// What a process does, and the word for it on its command line.
fn names(part: BenchPart) -> (&'static str, &'static str) {
    match part {
        BenchPart::Plain => ("runs the plain model", "plain"),
        BenchPart::Explain => ("explains", "explain"),
        BenchPart::ToInput => ("takes the gradient at the input", "to-input"),
        BenchPart::EveryLayer => ("takes gradients at every layer", "every-layer"),
        BenchPart::Together => ("explains several pictures at once", "together"),
    }
}

fn silent(part: BenchPart) -> Error {
    Error::Measured { what: names(part).0, reason: "ended without a result".into() }
}

/// How a process ended, and its last error.
fn ending(status: &str, complaints: &str) -> String {
    let last = complaints.lines().rev().find_map(|line| line.strip_prefix("error: "));
    let last = last.or_else(|| complaints.lines().rev().find(|line| !line.trim().is_empty()));
    let last = last.map(|line| format!(": {}", line.trim())).unwrap_or_default();
    format!("failed ({status}){last}")
}

#[cfg(test)]
mod tests {
    use super::ending;

    #[test]
    fn the_last_error_says_why() {
        assert_eq!(ending("signal: 9", ""), "failed (signal: 9)");
        let complaints = "warning: a\nerror: no such model\nhelp: give one\n";
        assert_eq!(ending("exit status: 1", complaints), "failed (exit status: 1): no such model");
        assert_eq!(ending("signal: 6", "terminate called\n\n"), "failed (signal: 6): terminate called");
    }
}
