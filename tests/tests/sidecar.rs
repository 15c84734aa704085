//! Sidecars of any content: reading one gives preprocessing that works, or an error that can be printed.

use camscope_core::{
    image::prepare,
    model::{Sidecar, resolve},
};
use image::RgbImage;
use proptest::prelude::*;

/// A sidecar that has something in every section.
const WHOLE: &str = r#"
[input]
layout = "NCHW"
size = [24, 32]
crop = 0.875
resize = "bicubic"
color = "RGB"
range = [0.0, 1.0]
mean = [0.5, 0.4, 0.3]
std = [0.2, 0.2, 0.2]

[output]
logits = "logits"

[explain]
layer = "features.3"
method = "gradcam"
"#;

/// What is put in the place of a value.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<f64>().prop_map(|number| format!("{number:?}")),
        any::<i64>().prop_map(|number| number.to_string()),
        prop::collection::vec(any::<f32>(), 0..5).prop_map(|numbers| format!("{numbers:?}")),
        prop::collection::vec(any::<u32>(), 0..4).prop_map(|numbers| format!("{numbers:?}")),
        "[a-z]{0,8}".prop_map(|word| format!("\"{word}\"")),
        any::<String>().prop_map(|text| format!("{text:?}")),
        Just("nan".to_owned()),
        Just("-inf".to_owned()),
        Just("true".to_owned()),
        Just("{}".to_owned()),
    ]
}

/// The whole one with another value in one of its lines, counted from 0.
fn with(line: usize, value: &str) -> String {
    let lines = WHOLE.lines().enumerate().map(|(at, text)| match text.split_once('=') {
        Some((key, _)) if at == line => format!("{key}= {value}"),
        _ => text.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn resolved(text: &[u8]) -> camscope_core::Result<Sidecar> {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("net.toml"), text).expect("the file is written");
    resolve(folder.path().join("net.onnx"), &[None, Some(3), None, None])
}

fn read(text: &[u8]) -> Result<(), TestCaseError> {
    match resolved(text) {
        Ok(sidecar) => {
            let side = u64::from(sidecar.preprocessing.size.0) * u64::from(sidecar.preprocessing.size.1);
            // Larger inputs are fine too, but take long to make.
            if side <= 1 << 16
                && let Ok(prepared) = prepare(&RgbImage::new(7, 5), &sidecar.preprocessing)
            {
                prop_assert_eq!(prepared.tensor.ndim(), 4);
                prop_assert!(prepared.tensor.iter().all(|value| value.is_finite()));
            }
        }
        Err(error) => {
            let said = format!("{error} {}", error.help().unwrap_or_default());
            prop_assert!(!said.chars().any(|c| c.is_control() && c != '\n'), "{:?}", said);
        }
    }
    Ok(())
}

#[test]
fn the_whole_one_is_taken() {
    resolved(WHOLE.as_bytes()).expect("a sidecar");
}

#[test]
fn statistics_whose_quotient_overflows_are_refused() {
    for (line, value) in [
        (7, "[-3.0e38, 3.0e38]"),
        (8, "[7.5016753e37, 0.0, 0.0]"),
        (8, "[0.0, 0.0, -3.4e38]"),
        (9, "[1e-39, 0.2, 0.2]"),
    ] {
        let error = resolved(with(line, value).as_bytes()).expect_err("values beyond float32");
        assert!(error.to_string().contains("beyond those of float32"), "{error}");
    }
}

proptest! {
    #[test]
    fn any_value_in_the_place_of_one_is_taken_or_refused(line in 0usize..16, value in value()) {
        read(with(line, &value).as_bytes())?;
    }

    #[test]
    fn any_bytes_are_taken_or_refused(at in 0usize..WHOLE.len(), bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        let mut text = WHOLE.as_bytes().to_vec();
        text.splice(at..(at + bytes.len() / 2).min(WHOLE.len()), bytes);
        read(&text)?;
    }
}
