//! Methods that plugins bring: an ONNX function of activation and gradient. They are methods like those of [`METHODS`] then.

use std::sync::{PoisonError, RwLock};

use ndarray::{ArrayD, Axis, IxDyn, Slice};
use onnx_grad::{
    Builder, Dim, EMITTED_OPSET, ElemType, Val, ValueType, call_function, check_body,
    proto::{FunctionProto, NodeProto},
    value_info,
};

use super::{Cam, METHODS, Method};
use crate::{
    error::Error,
    runtime::{Provider, ProviderChoice, Runtime, Session, SessionOptions, Value},
};

/// Operators that give other numbers in every run.
const RANDOM: [&str; 6] =
    ["Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"];

/// What `--method` takes for every method, which none is called.
const ALL: &str = "all";

static ADDED: RwLock<Vec<Method>> = RwLock::new(Vec::new());

/// Every method: those of [`METHODS`], then those that were [`add`]ed. Nothing ever leaves the list, and nothing in it moves.
pub fn all() -> Vec<Method> {
    let added = ADDED.read().unwrap_or_else(PoisonError::into_inner);
    METHODS.iter().chain(added.iter()).copied().collect()
}

/// The method at that position of [`all`].
pub fn nth(at: usize) -> Option<Method> {
    let added = ADDED.read().unwrap_or_else(PoisonError::into_inner);
    METHODS.iter().chain(added.iter()).nth(at).copied()
}

/// Adds a method to [`all`], at the end; one that was added before under the same name makes room for it in its place. A method of the name
/// of a built-in one, or called `all`, is not taken: the answer says whether it was.
pub fn add(method: &'static dyn Cam) -> bool {
    if is_reserved(method.name()) {
        return false;
    }
    let mut added = ADDED.write().unwrap_or_else(PoisonError::into_inner);
    match added.iter_mut().find(|known| known.name() == method.name()) {
        Some(place) => *place = Method::Cam(method),
        None => added.push(Method::Cam(method)),
    }
    true
}

/// Whether a method that is added cannot be called so.
pub fn is_reserved(name: &str) -> bool {
    name.eq_ignore_ascii_case(ALL) || METHODS.iter().any(|method| super::bare(method.name()) == super::bare(name))
}

/// A method whose program is an ONNX function. Its inputs are `activation` and `gradient`, float32 `[N, C, H, W]`; its first output is the
/// heatmap, float32 `[N, H, W]`; a second one, where it has one, is float32 `[N, C, H, W]` whose sum over the channels the heatmap is.
#[derive(Debug)]
pub struct ForeignCam {
    name: &'static str,
    about: &'static str,
    plugin: String,
    keeps_places: bool,
    function: FunctionProto,
}

impl ForeignCam {
    /// A method of that name of a plugin; `about` says in one line what it computes and who proposed it. What this keeps stays in memory for
    /// as long as the process runs.
    ///
    /// # Errors
    /// The function is none of ONNX's own deterministic operators of opset 18, or not of two inputs and one or two outputs: which, in words.
    pub fn new(
        (name, about): (&str, &str),
        plugin: &str,
        keeps_places: bool,
        function: FunctionProto,
    ) -> Result<Self, String> {
        if function.input.len() != 2 {
            return Err(format!(
                "its function takes {} values, not the 2 that are activation and gradient",
                function.input.len()
            ));
        }
        if !matches!(function.output.len(), 1 | 2) || function.output.iter().any(String::is_empty) {
            return Err(format!(
                "its function gives {} values, not the heatmap and, where there is one, the product that it is the sum of",
                function.output.len()
            ));
        }
        check_body(&function, EMITTED_OPSET)?;
        let random = function.node.iter().find(|node| RANDOM.contains(&node.op_type.as_str()));
        if let Some(NodeProto { op_type, .. }) = random {
            return Err(format!(
                "its function draws random numbers ({op_type}): the same photo would not give the same heat"
            ));
        }
        let leak = |text: &str| -> &'static str { Box::leak(text.to_owned().into_boxed_str()) };
        Ok(Self { name: leak(name), about: leak(about), plugin: plugin.to_owned(), keeps_places, function })
    }

    /// Whether it has the product that its heatmap is the sum of.
    fn has_product(&self) -> bool {
        self.function.output.len() > 1
    }

    /// Runs it on numbers that are made up: whether its heatmap is of the right shape and finite, and that of one image the same beside others.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn try_out(&self, runtime: &'static Runtime) -> Result<(), String> {
        let heatmap = self.session(runtime, 0)?;
        let product = if self.has_product() { Some(self.session(runtime, 1)?) } else { None };
        for shape in [[2, 5, 3, 4], [1, 1, 1, 1], [1, 16, 7, 7]] {
            let [activation, gradient] = [1.0, 2.0].map(|step| made_up(shape, step));
            let [n, c, h, w] = shape;
            let heat = run(&heatmap, "heatmap", &activation, &gradient, &[n, h, w], "")?;
            let zeros = ArrayD::zeros(IxDyn(&shape));
            run(&heatmap, "heatmap", &activation, &zeros, &[n, h, w], " where the gradient is zero")?;
            run(&heatmap, "heatmap", &zeros, &gradient, &[n, h, w], " where the activation is zero")?;
            for at in 0..n {
                let one = |whole: &ArrayD<f32>| whole.slice_axis(Axis(0), Slice::from(at..=at)).to_owned();
                let alone = run(&heatmap, "heatmap", &one(&activation), &one(&gradient), &[1, h, w], "")?;
                if !close(&alone, &one(&heat)) {
                    return Err("its heatmap of one image depends on the others of the batch".to_owned());
                }
            }
            if let Some(product) = &product {
                let all = run(product, "product", &activation, &gradient, &[n, c, h, w], "")?;
                if !close(&all.sum_axis(Axis(1)), &heat) {
                    return Err("its heatmap is not the sum of its second output over the channels".to_owned());
                }
            }
        }
        Ok(())
    }

    /// One of its outputs as a model of its own, of which no shape is promised.
    fn session(&self, runtime: &'static Runtime, output: usize) -> Result<Session, String> {
        let named = ["heatmap", "product"][output];
        let mut g = Builder::new();
        let inputs = ["activation", "gradient"].map(|name| g.input(name));
        let result = call_function(&mut g, &self.function, &inputs, output).ok_or("it has no such output")?;
        let floats = |shape| ValueType { elem: ElemType::Float, shape };
        let known = floats(Some(vec![Dim::Free; 4]));
        g.push(NodeProto {
            op_type: "Identity".into(),
            name: named.into(),
            input: vec![result.name().to_owned()],
            output: vec![named.to_owned()],
            ..Default::default()
        });
        let inputs = ["activation", "gradient"].map(|input| value_info(input, Some(&known))).to_vec();
        let model = g.into_model(inputs, vec![value_info(named, Some(&floats(None)))]);
        let model = model.map_err(|error| format!("its function is no graph: {error}"))?;
        let options = SessionOptions { provider: ProviderChoice::Named(Provider::Cpu), ..Default::default() };
        runtime
            .session(&model.to_bytes(), &options)
            .map_err(|error| format!("ONNX Runtime refuses its function: {error}"))
    }
}

/// What a program gives for these values, checked for its shape and for numbers that are none. `case` says what is special about the values.
fn run(
    program: &Session,
    output: &str,
    activation: &ArrayD<f32>,
    gradient: &ArrayD<f32>,
    expected: &[usize],
    case: &str,
) -> Result<ArrayD<f32>, String> {
    let of = || format!("for activations of {}", sizes(activation.shape()));
    let ran = || -> Result<ArrayD<f32>, Error> {
        let [a, d] = [activation, gradient].map(|values| Value::from_f32(values.clone()));
        let mut outputs = program.run(&[("activation", &a?), ("gradient", &d?)])?;
        let value = outputs.take(output).ok_or_else(|| Error::Value(format!("there is no `{output}`")))?;
        Ok(value.to_f32()?)
    };
    let given = ran().map_err(|error| format!("{}{case} it cannot be run: {error}", of()))?;
    if given.shape() != expected {
        let (is, wanted) = (sizes(given.shape()), sizes(expected));
        return Err(format!("{} its {output} is of {is}, not of {wanted}", of()));
    }
    match given.iter().find(|number| !number.is_finite()) {
        Some(number) => Err(format!("{} its {output} has the number {number}{case}", of())),
        None => Ok(given),
    }
}

/// Numbers of both signs, none of them zero, other ones for every step.
fn made_up(shape: [usize; 4], step: f32) -> ArrayD<f32> {
    let mut at = 0.0;
    ArrayD::from_shape_simple_fn(IxDyn(&shape), || {
        at += step;
        (at * 0.7).sin() + 0.3 * (at * 1.9).cos() + 0.01
    })
}

/// Whether they are the same but for how float32 rounds.
fn close(a: &ArrayD<f32>, b: &ArrayD<f32>) -> bool {
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>().sqrt();
    let difference = norm(&mut a.iter().zip(b).map(|(a, b)| f64::from(a - b)));
    difference <= 1e-4 * norm(&mut b.iter().map(|&b| f64::from(b))) + 1e-6
}

fn sizes(shape: &[usize]) -> String {
    if shape.is_empty() {
        return "no axes".to_owned();
    }
    shape.iter().map(ToString::to_string).collect::<Vec<_>>().join("×")
}

impl Cam for ForeignCam {
    fn name(&self) -> &'static str {
        self.name
    }

    fn about(&self) -> &'static str {
        self.about
    }

    fn plugin(&self) -> Option<&str> {
        Some(&self.plugin)
    }

    fn keeps_places(&self) -> bool {
        self.keeps_places
    }

    fn weighted(&self, g: &mut Builder, activation: &Val, gradient: &Val) -> Option<Val> {
        if !self.has_product() {
            return None;
        }
        call_function(g, &self.function, &[activation.clone(), gradient.clone()], 1)
    }

    fn build(&self, g: &mut Builder, activation: &Val, gradient: &Val) -> Val {
        let heat = call_function(g, &self.function, &[activation.clone(), gradient.clone()], 0);
        // There is a first output: it was looked for when the method was made.
        heat.unwrap_or_else(Val::absent)
    }
}
