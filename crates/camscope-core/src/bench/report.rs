//! What a measurement came to.

use onnx_grad_ort::measure::Spread;
use serde::Serialize;

use super::parts::Times;

/// What was measured, with what, on what.
#[derive(Clone, Debug, Serialize)]
pub struct Setting {
    /// camscope's version.
    pub camscope: String,
    /// The model's file, as it was given.
    pub model: String,
    /// The input's extents, a batch of one first.
    pub input_shape: Vec<usize>,
    /// The execution provider of the explanation.
    pub provider: String,
    /// ONNX Runtime's version.
    pub onnxruntime: String,
    /// Threads within an operator; `None` where ONNX Runtime chooses.
    pub threads: Option<usize>,
    /// What runs are timed by: `wall` or `processor`.
    pub clock: &'static str,
    /// How many threads this machine can run at once.
    pub processors: Option<usize>,
    /// The method.
    pub method: String,
    /// The layers that are explained.
    pub layers: Vec<String>,
    /// The classes that are explained; empty where something else is.
    pub classes: Vec<usize>,
    /// The class that is switched to, where it is one.
    pub other_class: Option<usize>,
    /// The targets that are explained.
    pub targets: Vec<String>,
    /// The target that is switched to.
    pub other_target: String,
    /// How many layers have a gradient: those that are kept where every layer is.
    pub all_layers: usize,
    /// Whether the model's input has one.
    pub all_layers_input: bool,
    /// Where the gradient through all layers ends: `@input`, or the first layer that has a gradient where the input has none.
    pub all_layers_end: String,
    /// How many layers have no gradient.
    pub layers_without_gradient: usize,
}

/// Milliseconds of the parts: the spread over the rounds of each round's median.
#[derive(Clone, Debug, Serialize)]
pub struct Millis {
    /// One run of a plain session.
    pub forward: Spread,
    /// From a prepared tensor to the heatmap.
    pub explain: Spread,
    /// The heatmap of another class of the same image.
    pub class_switch: Spread,
    /// Forward, and backward through all layers to the gradient at the input.
    pub all_layers: Spread,
    /// The backward pass of that for another class of the same image.
    pub class_switch_all: Spread,
    /// Forward and backward with the gradients at every layer and at the input.
    pub every_layer: Spread,
    /// The backward pass of that for another class of the same image.
    pub every_layer_switch: Spread,
    /// One run of a plain session on a batch; `None` here and below where the model takes no batch.
    pub batch_forward: Option<Spread>,
    /// From a prepared batch to its heatmaps.
    pub batch_explain: Option<Spread>,
    /// From the files of a batch of photos to those of their overlays.
    pub batch_files: Option<Spread>,
}

/// What processes took that did no more than the thing itself.
#[derive(Clone, Debug, Default)]
pub struct Process {
    /// From the start of the process to its first result, one a start.
    pub startup_ms: Vec<f64>,
    /// The most memory that was resident, in MiB, one a start; empty where the system doesn't tell.
    pub peak_mib: Vec<f64>,
}

/// The processes of one measurement, started in turn.
#[derive(Clone, Debug, Default)]
pub struct Processes {
    /// A plain session and one run.
    pub plain: Process,
    /// One explanation.
    pub explain: Process,
    /// The gradient at the input.
    pub all_layers: Process,
    /// The gradients at every layer.
    pub every_layer: Process,
}

/// The ratios' medians. Each is to the plain session of the same run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Ratios {
    /// An explanation through a forward pass.
    pub explain_ratio: f64,
    /// Another class through a forward pass.
    pub class_switch_ratio: f64,
    /// Forward, and backward to the input, through a forward pass.
    pub all_layers_ratio: f64,
    /// Another class back to the input through a forward pass.
    pub class_switch_all_ratio: f64,
    /// Gradients at every layer through a forward pass.
    pub every_layer_ratio: f64,
    /// Another class with gradients at every layer through a forward pass.
    pub every_layer_switch_ratio: f64,
    /// Peak memory of an explanation through that of a forward pass; `None` where the system doesn't tell.
    pub memory_ratio: Option<f64>,
    /// Peak memory of the gradient at the input through that of a forward pass.
    pub memory_all_ratio: Option<f64>,
    /// Peak memory of gradients at every layer through that of a forward pass.
    pub memory_every_layer_ratio: Option<f64>,
    /// Time from the start of the process to the first heatmap through that to the first scores.
    pub startup_ratio: f64,
    /// Explaining a batch through a forward pass of it; `None` where the model takes no batch.
    pub batch_explain_ratio: Option<f64>,
    /// The same from photos in files to overlays in files, through a forward pass of the batch.
    pub batch_files_ratio: Option<f64>,
}

/// The names of the ratios, in the order of [`Ratios::all`].
pub const RATIOS: [&str; 12] = [
    "explain_ratio",
    "class_switch_ratio",
    "all_layers_ratio",
    "class_switch_all_ratio",
    "every_layer_ratio",
    "every_layer_switch_ratio",
    "memory_ratio",
    "memory_all_ratio",
    "memory_every_layer_ratio",
    "startup_ratio",
    "batch_explain_ratio",
    "batch_files_ratio",
];

impl Ratios {
    /// All of them, in the order of [`RATIOS`].
    pub fn all(&self) -> [Option<f64>; RATIOS.len()] {
        [
            Some(self.explain_ratio),
            Some(self.class_switch_ratio),
            Some(self.all_layers_ratio),
            Some(self.class_switch_all_ratio),
            Some(self.every_layer_ratio),
            Some(self.every_layer_switch_ratio),
            self.memory_ratio,
            self.memory_all_ratio,
            self.memory_every_layer_ratio,
            Some(self.startup_ratio),
            self.batch_explain_ratio,
            self.batch_files_ratio,
        ]
    }
}

/// The ratios' spreads over the rounds, or over the starts.
#[derive(Clone, Debug, Serialize)]
pub struct RatioSpreads {
    /// Of [`Ratios::explain_ratio`].
    pub explain: Spread,
    /// Of [`Ratios::class_switch_ratio`].
    pub class_switch: Spread,
    /// Of [`Ratios::all_layers_ratio`].
    pub all_layers: Spread,
    /// Of [`Ratios::class_switch_all_ratio`].
    pub class_switch_all: Spread,
    /// Of [`Ratios::every_layer_ratio`].
    pub every_layer: Spread,
    /// Of [`Ratios::every_layer_switch_ratio`].
    pub every_layer_switch: Spread,
    /// Of [`Ratios::memory_ratio`].
    pub memory: Option<Spread>,
    /// Of [`Ratios::memory_all_ratio`].
    pub memory_all: Option<Spread>,
    /// Of [`Ratios::memory_every_layer_ratio`].
    pub memory_every_layer: Option<Spread>,
    /// Of [`Ratios::startup_ratio`].
    pub startup: Spread,
    /// Of [`Ratios::batch_explain_ratio`].
    pub batch_explain: Option<Spread>,
    /// Of [`Ratios::batch_files_ratio`].
    pub batch_files: Option<Spread>,
}

/// A value for each kind of process.
#[derive(Clone, Debug, Serialize)]
pub struct PerProcess<T> {
    /// A plain session and one run.
    pub plain: T,
    /// One explanation.
    pub explain: T,
    /// The gradient at the input.
    pub all_layers: T,
    /// The gradients at every layer.
    pub every_layer: T,
}

/// All that was measured. As JSON it is one flat object of the numbers that scripts want, with the spreads in objects of their own.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What was measured.
    #[serde(flatten)]
    pub setting: Setting,
    /// How many rounds the times come from.
    pub rounds: usize,
    /// How many starts of each process the start-up times and the memory come from.
    pub starts: usize,
    /// The medians of `ms`.
    pub forward_ms: f64,
    /// See `forward_ms`.
    pub explain_ms: f64,
    /// See `forward_ms`.
    pub class_switch_ms: f64,
    /// See `forward_ms`.
    pub all_layers_ms: f64,
    /// See `forward_ms`.
    pub class_switch_all_ms: f64,
    /// See `forward_ms`.
    pub every_layer_ms: f64,
    /// See `forward_ms`.
    pub every_layer_switch_ms: f64,
    /// How many images a batch has; `None` here and below where the model takes no batch.
    pub batch: Option<usize>,
    /// See `forward_ms`.
    pub batch_forward_ms: Option<f64>,
    /// See `forward_ms`.
    pub batch_explain_ms: Option<f64>,
    /// See `forward_ms`.
    pub batch_files_ms: Option<f64>,
    /// The medians of `ratios`.
    #[serde(flatten)]
    pub medians: Ratios,
    /// Milliseconds.
    pub ms: Millis,
    /// The ratios.
    pub ratios: RatioSpreads,
    /// Milliseconds from the start of a process to its first result.
    pub startup_ms: PerProcess<Spread>,
    /// The most memory that was resident, in MiB.
    pub peak_mib: PerProcess<Option<Spread>>,
}

impl Report {
    /// Puts measurements together: `times` as [`super::Parts::measure`] gives them. `None` where there are none.
    pub fn new(setting: Setting, times: &Times, processes: &Processes) -> Option<Self> {
        let [forward, explain, class_switch, all_layers, class_switch_all, every_layer, every_layer_switch] =
            &times.one;
        let batch = times.batch.as_ref();
        let of = |samples: &[f64]| Spread::of(samples.iter().copied());
        let ms = Millis {
            forward: of(forward)?,
            explain: of(explain)?,
            class_switch: of(class_switch)?,
            all_layers: of(all_layers)?,
            class_switch_all: of(class_switch_all)?,
            every_layer: of(every_layer)?,
            every_layer_switch: of(every_layer_switch)?,
            batch_forward: batch.and_then(|batch| of(&batch.forward)),
            batch_explain: batch.and_then(|batch| of(&batch.explain)),
            batch_files: batch.and_then(|batch| of(&batch.files)),
        };
        let Processes { plain, explain: one, all_layers: all, every_layer: every } = processes;
        let ratios = RatioSpreads {
            explain: Spread::of_ratios(explain, forward)?,
            class_switch: Spread::of_ratios(class_switch, forward)?,
            all_layers: Spread::of_ratios(all_layers, forward)?,
            class_switch_all: Spread::of_ratios(class_switch_all, forward)?,
            every_layer: Spread::of_ratios(every_layer, forward)?,
            every_layer_switch: Spread::of_ratios(every_layer_switch, forward)?,
            memory: Spread::of_ratios(&one.peak_mib, &plain.peak_mib),
            memory_all: Spread::of_ratios(&all.peak_mib, &plain.peak_mib),
            memory_every_layer: Spread::of_ratios(&every.peak_mib, &plain.peak_mib),
            startup: Spread::of_ratios(&one.startup_ms, &plain.startup_ms)?,
            batch_explain: batch.and_then(|batch| Spread::of_ratios(&batch.explain, &batch.forward)),
            batch_files: batch.and_then(|batch| Spread::of_ratios(&batch.files, &batch.forward)),
        };
        let median = |spread: Option<Spread>| spread.map(|spread| spread.median);
        let medians = Ratios {
            explain_ratio: ratios.explain.median,
            class_switch_ratio: ratios.class_switch.median,
            all_layers_ratio: ratios.all_layers.median,
            class_switch_all_ratio: ratios.class_switch_all.median,
            every_layer_ratio: ratios.every_layer.median,
            every_layer_switch_ratio: ratios.every_layer_switch.median,
            memory_ratio: median(ratios.memory),
            memory_all_ratio: median(ratios.memory_all),
            memory_every_layer_ratio: median(ratios.memory_every_layer),
            startup_ratio: ratios.startup.median,
            batch_explain_ratio: median(ratios.batch_explain),
            batch_files_ratio: median(ratios.batch_files),
        };
        Some(Self {
            rounds: forward.len(),
            starts: plain.startup_ms.len(),
            forward_ms: ms.forward.median,
            explain_ms: ms.explain.median,
            class_switch_ms: ms.class_switch.median,
            all_layers_ms: ms.all_layers.median,
            class_switch_all_ms: ms.class_switch_all.median,
            every_layer_ms: ms.every_layer.median,
            every_layer_switch_ms: ms.every_layer_switch.median,
            batch: batch.map(|batch| batch.pictures),
            batch_forward_ms: median(ms.batch_forward),
            batch_explain_ms: median(ms.batch_explain),
            batch_files_ms: median(ms.batch_files),
            startup_ms: PerProcess {
                plain: of(&plain.startup_ms)?,
                explain: of(&one.startup_ms)?,
                all_layers: of(&all.startup_ms)?,
                every_layer: of(&every.startup_ms)?,
            },
            peak_mib: PerProcess {
                plain: of(&plain.peak_mib),
                explain: of(&one.peak_mib),
                all_layers: of(&all.peak_mib),
                every_layer: of(&every.peak_mib),
            },
            setting,
            medians,
            ms,
            ratios,
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::bench::BatchTimes;

    pub(in super::super) fn setting() -> Setting {
        Setting {
            camscope: "0.1.0".into(),
            model: "nets/net.onnx".into(),
            input_shape: vec![1, 3, 8, 8],
            provider: "cpu".into(),
            onnxruntime: "1.32.0".into(),
            threads: None,
            clock: "wall",
            processors: Some(2),
            method: "gradcam".into(),
            layers: vec!["relu".into()],
            classes: vec![1],
            other_class: Some(2),
            targets: vec!["class:1".into()],
            other_target: "class:2".into(),
            all_layers: 2,
            all_layers_input: true,
            all_layers_end: "@input".into(),
            layers_without_gradient: 0,
        }
    }

    fn processes(peak: impl Fn(f64) -> Vec<f64>) -> Processes {
        let process = |factor: f64| Process { startup_ms: vec![10.0 * factor, 12.0 * factor], peak_mib: peak(factor) };
        Processes { plain: process(1.0), explain: process(2.0), all_layers: process(3.0), every_layer: process(4.0) }
    }

    pub(in super::super) fn report() -> Report {
        let one = [1.0, 1.5, 0.1, 3.0, 2.0, 5.0, 4.0].map(|time| vec![time, 2.0 * time]);
        let batch = BatchTimes { pictures: 4, forward: vec![4.0], explain: vec![5.0], files: vec![7.0] };
        let times = Times { one, batch: Some(batch) };
        Report::new(setting(), &times, &processes(|factor| vec![100.0 * factor; 2])).unwrap()
    }

    #[test]
    fn the_object_is_flat_and_has_every_ratio() {
        let json = serde_json::to_value(report()).unwrap();
        for (name, want) in RATIOS.iter().zip([1.5, 0.1, 3.0, 2.0, 5.0, 4.0, 2.0, 3.0, 4.0, 2.0, 1.25, 1.75]) {
            assert_eq!(json[name], want, "{name}");
        }
        assert_eq!(json["forward_ms"], 1.5);
        assert_eq!(json["ms"]["explain"]["max"], 3.0);
        assert_eq!(json["ratios"]["class_switch"]["median"], 0.1);
        assert_eq!(json["peak_mib"]["all_layers"]["median"], 300.0);
        assert_eq!(json["peak_mib"]["every_layer"]["median"], 400.0);
        assert_eq!((&json["every_layer_ms"], &json["every_layer_switch_ms"]), (&7.5.into(), &6.0.into()));
        assert_eq!(json["startup_ms"]["plain"]["median"], 11.0);
        assert_eq!((&json["batch"], &json["batch_files_ms"]), (&4.into(), &7.0.into()));
        assert_eq!((&json["rounds"], &json["model"]), (&2.into(), &"nets/net.onnx".into()));
    }

    #[test]
    fn what_is_not_known_is_null() {
        let one = [1.0, 1.5, 0.1, 3.0, 2.0, 5.0, 4.0].map(|time| vec![time]);
        let times = Times { one, batch: None };
        let report = Report::new(setting(), &times, &processes(|_| Vec::new())).unwrap();
        let json = serde_json::to_value(report).unwrap();
        assert!(json["memory_ratio"].is_null() && json["peak_mib"]["plain"].is_null());
        assert!(
            json["batch"].is_null() && json["batch_explain_ratio"].is_null() && json["ms"]["batch_files"].is_null()
        );
        assert!(json.as_object().unwrap().contains_key("memory_all_ratio"));
    }

    #[test]
    fn nothing_measured_is_no_report() {
        assert!(Report::new(setting(), &Times::default(), &Processes::default()).is_none());
    }
}
