//! What ten healthy plugins that are known already cost at the start: `camscope plugin list` with and without them.
//!
//! ```sh
//! cargo bench -p camscope --bench plugins
//! ```
//!
//! Medians of whole processes, in one run. It needs `cc`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

const PLUGINS: usize = 10;
const ROUNDS: usize = 31;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let place = tempfile::tempdir()?;
    let [without, with] = ["without", "with"].map(|name| place.path().join(name));
    let folder = with.join("camscope/plugins");
    fs::create_dir_all(&folder)?;
    fs::create_dir_all(&without)?;
    let source = fs::read_to_string(root.join("plugins/ice/ice.c"))?;
    for number in 0..PLUGINS {
        compile(
            &root,
            place.path(),
            &source.replace("\"ice\"", &format!("\"ice{number}\"")),
            &folder.join(format!("ice{number}.so")),
        )?;
    }
    // The first look tries every one of them in a child process.
    let start = Instant::now();
    list(&with)?;
    let first = start.elapsed().as_secs_f64() * 1e3;
    let (mut times_with, mut times_without) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        times_without.push(list(&without)?);
        times_with.push(list(&with)?);
    }
    let (with, without) = (median(times_with), median(times_without));
    println!("camscope plugin list: {without:.1} ms without plugins, {with:.1} ms with {PLUGINS} known ones");
    println!("{PLUGINS} known plugins cost {:.1} ms; their first look took {first:.0} ms", with - without);
    Ok(())
}

fn compile(root: &Path, place: &Path, source: &str, library: &PathBuf) -> Result<(), Failure> {
    let file = place.join("plugin.c");
    fs::write(&file, source)?;
    let include = root.join("crates/camscope-plugin/include");
    let status = Command::new("cc")
        .args(["-O1", "-fPIC", "-shared", "-I"])
        .arg(include)
        .arg("-o")
        .arg(library)
        .arg(file)
        .arg("-lm")
        .status()?;
    if status.success() { Ok(()) } else { Err("cc fails".into()) }
}

/// Milliseconds of one run with that data folder.
fn list(data: &Path) -> Result<f64, Failure> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_camscope"));
    command.args(["plugin", "list"]).env("XDG_DATA_HOME", data).env("XDG_CONFIG_HOME", data).env("HOME", data);
    command.env_remove("CAMSCOPE_PLUGIN_PATH").stdout(Stdio::null());
    let start = Instant::now();
    let status = command.status()?;
    let took = start.elapsed().as_secs_f64() * 1e3;
    if status.success() { Ok(took) } else { Err("camscope plugin list fails".into()) }
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
