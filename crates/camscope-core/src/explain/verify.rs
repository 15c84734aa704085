//! Whether an execution provider gives the right answer: the first explanation of a model is compared with the CPU's.

use std::{
    collections::hash_map::DefaultHasher, fs, hash::Hasher, io::Write, path::PathBuf, sync::Arc, time::UNIX_EPOCH,
};

use ndarray::{ArrayD, ArrayViewD};

use super::{Explainer, Options, Runner};
use crate::{
    error::{Error, Result},
    image::Seen,
    runtime::{Canceller, Precision, Provider, ProviderChoice, Runtime, SessionOptions, Vars, dirs},
    target::TargetRef,
    text::printable,
};

/// Largest relative error, in the L2 norm, of scores and of gradients or heatmaps. Reduced precision (TF32, float16) stays well below;
/// a wrong operator is far above. A few values next to a ReLU's kink may be off.
const TOLERANCE: f64 = 0.05;

/// The same for gradients and heat in float16, which puts values next to a kink on its other side: in small networks that is up to some
/// tenths, and `camscope check` says how much. What is wrong, or is another gradient, is off by one and more.
const TOLERANCE_HALF: f64 = 0.5;

impl Explainer {
    /// Compares scores, and the gradient or heat at every tap, with those of the CPU, if this explainer runs on another provider. What
    /// agreed once is remembered in camscope's cache folder: by model file, taps, provider, device and versions.
    ///
    /// # Errors
    /// [`Error::ProviderDisagrees`] with the first thing that is off; the runtime fails.
    pub fn verify(&self, image: (ArrayViewD<'_, f32>, &[Seen]), target: &TargetRef) -> Result<()> {
        let provider = self.forward_session().provider();
        let (Runner::Differentiated(..), Some(runtime)) = (&self.runner, Runtime::get()) else { return Ok(()) };
        if provider == Provider::Cpu {
            return Ok(());
        }
        let key = self.key(runtime, provider);
        let remembered = remembered();
        let known = remembered.as_ref().and_then(|file| fs::read_to_string(file).ok()).unwrap_or_default();
        if known.lines().any(|line| line == key) {
            return Ok(());
        }
        let session = SessionOptions {
            provider: ProviderChoice::Named(Provider::Cpu),
            precision: Precision::Float32,
            ..self.options.session.clone()
        };
        let options = Options { session, batch: 1, ..self.options.clone() };
        let cpu = Self::at(runtime, Arc::clone(&self.subject), (self.taps.clone(), self.groups.clone()), options)?;
        self.agrees_with(&cpu, image, target)?;
        if let Some(file) = remembered {
            // Where nothing can be remembered, the next run compares again.
            let folder = file.parent().map(fs::create_dir_all);
            if matches!(folder, Some(Ok(()))) {
                let open = fs::OpenOptions::new().create(true).append(true).open(file);
                let _ = open.and_then(|mut file| writeln!(file, "{key}"));
            }
        }
        Ok(())
    }

    /// [`Explainer::verify`], where [`Options::verify`] asks for it and it has not passed yet.
    ///
    /// # Errors
    /// Those of [`Explainer::verify`].
    pub fn verify_once(&self, image: (ArrayViewD<'_, f32>, &[Seen]), target: &TargetRef) -> Result<()> {
        if self.options.verify && self.verified.get().is_none() {
            self.verify(image, target)?;
            let _ = self.verified.set(());
        }
        Ok(())
    }

    /// Compares scores, and the gradient or heat at every tap, with another explainer's of the same taps, which is trusted.
    ///
    /// # Errors
    /// [`Error::ProviderDisagrees`] with the first thing that is off; the runtime fails.
    pub fn agrees_with(
        &self,
        trusted: &Self,
        (tensor, seen): (ArrayViewD<'_, f32>, &[Seen]),
        target: &TargetRef,
    ) -> Result<()> {
        let provider = self.forward_session().provider();
        let is_half = self.options.session.precision == Precision::Float16;
        let off = |what: String, error: f64, tolerance: f64| match error <= tolerance {
            true => Ok(()),
            // Written so that NaN fails.
            false => Err(Error::ProviderDisagrees { provider, what, error }),
        };
        let canceller = Canceller::new();
        let run = |explainer: &Self, target: &TargetRef| {
            let forward = explainer.forward(&tensor.to_owned(), &canceller)?.of_photos(seen);
            let evaluated = explainer.evaluate(&forward, target)?;
            let backward = explainer.backward(&forward, &evaluated, &canceller)?;
            Ok::<_, Error>((forward, evaluated, backward))
        };
        let (right, evaluated, right_back) = run(trusted, target)?;
        // The same class, whichever the other takes for the likeliest.
        let target = &evaluated.first().ok_or_else(|| Error::Value("no image was explained".into()))?.target;
        let (own, _, own_back) = run(self, target)?;
        for head in self.subject.heads() {
            off(format!("the output `{head}`"), apart(&own.value(head, 0)?, &right.value(head, 0)?), TOLERANCE)?;
        }
        for (at, tap) in self.taps.iter().enumerate() {
            let (what, own, right) = match (self.gradient(&own_back, at), trusted.gradient(&right_back, at)) {
                (Ok(own), Ok(right)) => ("gradient", own.to_f32()?, right.to_f32()?),
                // Only means are there: the heat is what is made of them.
                _ => {
                    let method = self.options.method.method;
                    let heat = |explainer: &Self, forward, backward| {
                        let heat = explainer.heatmap(forward, backward, at, method)?;
                        Ok::<_, Error>(heat.map(|heat| heat.into_dyn()).unwrap_or_default())
                    };
                    ("heat", heat(self, &own, &own_back)?, heat(trusted, &right, &right_back)?)
                }
            };
            let tolerance = if is_half { TOLERANCE_HALF } else { TOLERANCE };
            off(format!("the {what} at `{}`", tap.name()), apart(&own, &right), tolerance)?;
        }
        Ok(())
    }

    /// What an agreement holds for.
    fn key(&self, runtime: &Runtime, provider: Provider) -> String {
        let path = &self.network().path;
        let file = fs::metadata(path).ok();
        let modified = file.as_ref().and_then(|file| file.modified().ok()?.duration_since(UNIX_EPOCH).ok());
        let taps: Vec<&str> = self.taps.iter().map(|tap| tap.name()).collect();
        let facts = format!(
            "{:?} {:?} {:?} {:?} {:?} {} {} {} {} {}",
            fs::canonicalize(path).unwrap_or_else(|_| path.clone()),
            file.map(|file| file.len()),
            modified,
            taps,
            self.subject.heads(),
            provider.name(),
            self.options.session.precision,
            runtime.provider_facts(provider),
            runtime.version(),
            env!("CARGO_PKG_VERSION"),
        );
        // Stable from run to run of one build; another build compares again.
        let mut hasher = DefaultHasher::new();
        hasher.write(facts.as_bytes());
        let facts = runtime.provider_facts(provider);
        let facts = if facts.is_empty() { facts } else { format!(" {}", printable(&facts)) };
        format!("{:016x} {}{facts} {}", hasher.finish(), provider.name(), runtime.version())
    }
}

/// Where agreements are remembered; `None` where there is no home folder.
fn remembered() -> Option<PathBuf> {
    dirs::cache(&Vars::of_process()).map(|folder| folder.join("providers-that-agree"))
}

/// ‖own − right‖ / ‖right‖; ‖own‖ where the right one is zero.
fn apart(own: &ArrayD<f32>, right: &ArrayD<f32>) -> f64 {
    if own.shape() != right.shape() {
        return f64::INFINITY;
    }
    let square = |value: f64| value * value;
    let difference: f64 = own.iter().zip(right).map(|(a, b)| square(f64::from(*a) - f64::from(*b))).sum();
    let norm: f64 = right.iter().map(|b| square(f64::from(*b))).sum();
    if norm == 0.0 { difference.sqrt() } else { (difference / norm).sqrt() }
}
