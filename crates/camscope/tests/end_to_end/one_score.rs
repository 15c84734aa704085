//! One score before a logistic function: class 1 is what it speaks for, class 0 what it speaks against.

use std::path::{Path, PathBuf};

use ndarray::{ArrayD, IxDyn};
use onnx_grad::{
    attr,
    proto::{GraphProto, ModelProto},
};
use serde_json::Value;

use crate::{
    common::{Scene, floats, relative_error, write_floats},
    export::{array, export, outputs},
    models::{classifier, float, node, weights},
};

/// image [N, 3, 8, 8] → Conv → Relu → mean → Gemm → Sigmoid → \[N, 1\].
fn one_score() -> ModelProto {
    let mut model = classifier(3, vec![]);
    let graph: &mut GraphProto = model.graph.as_mut().expect("a graph");
    graph.node.pop();
    graph.node.push(node("Gemm", &["flat", "dense", "bias"], "logit", vec![attr::int("transB", 1)]));
    graph.node.push(node("Sigmoid", &["logit"], "p", vec![]));
    graph.output = vec![float("p", &[0, 1])];
    graph.initializer.pop();
    graph.initializer.extend([weights("dense", &[1, 5]), weights("bias", &[1])]);
    model
}

struct Setting {
    scene: Scene,
    model: PathBuf,
    image: ArrayD<f32>,
}

impl Setting {
    fn new() -> Self {
        let scene = Scene::new();
        let model = scene.model("one.onnx", &one_score());
        let image = ArrayD::from_shape_fn(IxDyn(&[1, 3, 8, 8]), |at| {
            (at[1] * 7 + at[2] * 5 + at[3] * 3) as f32 % 11.0 / 5.0 - 1.0
        });
        write_floats(&scene.path("image.npy"), &image);
        Self { scene, model, image }
    }

    /// What `explain` says, and the heat before normalisation.
    fn explain(&self, options: &[&str]) -> (Value, ArrayD<f32>) {
        let mut command = self.scene.command();
        command.args(["explain", "--ep", "cpu", "--raw", "raw", "--json", "--sign", "both", "--tensor"]);
        command.arg(self.scene.path("image.npy")).arg(&self.model).args(options);
        let line = self.scene.ended(command.output().expect("the binary runs")).ok_with_notes().json().remove(0);
        let heat = floats(self.scene.path(&format!("{}.heatmap.npy", line["raw"].as_str().expect("a stem"))));
        (line, heat)
    }
}

#[test]
fn the_two_sides_are_classes_and_what_speaks_for_one_speaks_against_the_other() {
    let setting = Setting::new();
    let (against, _) = setting.explain(&["--class", "0"]);
    let (speaks, _) = setting.explain(&["--class", "1"]);
    let number = |line: &Value, key: &str| line[key].as_f64().expect("a number");
    assert_eq!(number(&against, "logit"), -number(&speaks, "logit"));
    assert!((number(&against, "probability") + number(&speaks, "probability") - 1.0).abs() < 1e-6);
    assert!((number(&speaks, "probability") - 1.0 / (1.0 + (-number(&speaks, "logit")).exp())).abs() < 1e-6);
    let (first, _) = setting.explain(&[]);
    assert_eq!(number(&first, "class"), f64::from(u8::from(number(&speaks, "logit") > 0.0)));
    for score in ["logit", "probability"] {
        for method in ["gradcam", "hirescam", "ablationcam", "cam", "input-x-gradient"] {
            let heat = |class: &str| setting.explain(&["--class", class, "--method", method, "--score", score]).1;
            let (against, speaks) = (heat("0"), heat("1"));
            assert!(speaks.iter().any(|heat| *heat != 0.0), "{method}: no heat");
            // An ablation gives shares of the size of the side's own score, and the two probabilities are of different size.
            if (method, score) != ("ablationcam", "probability") {
                assert!(relative_error(&against.mapv(|heat| -heat), &speaks) < 1e-4, "{method} {score}");
            }
        }
    }
    let (_, contrast) = setting.explain(&["--target", "contrast:1,0"]);
    let (_, speaks) = setting.explain(&["--class", "1"]);
    assert!(relative_error(&contrast, &speaks.mapv(|heat| 2.0 * heat)) < 1e-5);
}

#[test]
fn an_exported_model_of_one_score_takes_both_classes() {
    for score in ["logit", "probability"] {
        let setting = Setting::new();
        let exported = export(&setting.scene, &setting.model, &["--sign", "both", "--score", score]);
        for class in [0_i64, 1, -1] {
            let asked = if class < 0 { "top1".to_owned() } else { class.to_string() };
            let (_, wanted) = setting.explain(&["--class", &asked, "--score", score]);
            let own = array(&outputs(&exported, "image", &setting.image, &[class]), "heatmap");
            let own = own.index_axis_move(ndarray::Axis(0), 0);
            assert!(relative_error(&own, &wanted) < 1e-5, "class {class}, {score}");
        }
    }
}

/// The lines that `predict` prints for the model beside a list of labels.
fn predicted(setting: &Setting, labels: &str) -> String {
    setting.scene.write("labels.txt", labels);
    let mut command = setting.scene.command();
    command.args(["predict", "--labels"]).arg(setting.scene.path("labels.txt")).arg("--tensor");
    command.arg(Path::new("image.npy")).arg(&setting.model);
    setting.scene.ended(command.output().expect("the binary runs")).ok_with_notes().stdout
}

#[test]
fn one_label_names_the_side_that_the_score_speaks_for() {
    let setting = Setting::new();
    let both = predicted(&setting, "cat\ndog\n");
    assert!(both.contains("class:1  dog") && both.contains("class:0  cat"), "{both}");
    let one = predicted(&setting, "dog\n");
    assert!(one.contains("class:1  dog") && one.contains("class:0  not dog"), "{one}");
}

#[test]
fn a_number_without_a_logistic_function_is_a_class_where_the_sidecar_says_so() {
    let mut setting = Setting::new();
    let mut model = one_score();
    let graph = model.graph.as_mut().expect("a graph");
    graph.node.pop();
    graph.output = vec![float("logit", &[0, 1])];
    let (_, wanted) = setting.explain(&["--class", "0"]);
    setting.model = setting.scene.model("raw.onnx", &model);
    assert!(setting.explain(&[]).0["class"].is_null());
    setting.scene.write("raw.toml", "[task]\nkind = \"classification\"\n");
    let (line, heat) = setting.explain(&["--class", "0"]);
    assert_eq!(line["class"], 0);
    assert!(relative_error(&heat, &wanted) < 1e-5);
}
