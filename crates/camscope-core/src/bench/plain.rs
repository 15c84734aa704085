//! The model as a bare ONNX Runtime program runs it: the file as it is, all outputs, nothing of camscope's.

use ndarray::{ArrayD, Axis, concatenate};

use crate::{
    error::{Error, Result},
    runtime::{Session, Value},
};

/// A session straight from a model's file, with its inputs.
pub struct Plain {
    session: Session,
    /// The input that takes the image.
    name: String,
    picture: Value,
    fed: Vec<(String, Value)>,
}

impl Plain {
    /// The session with a prepared image, `tensor` as the model takes it, a batch of one first; `fed` are the inputs that don't take it, and
    /// there may be none.
    ///
    /// # Errors
    /// The model has no input, or one of a type that numbers can't be converted to.
    pub fn new(session: Session, tensor: &ArrayD<f32>, fed: Vec<(String, Value)>) -> Result<Self> {
        let mut inputs = session.inputs().iter();
        let input = inputs.find(|input| fed.iter().all(|(name, _)| *name != input.name));
        let input = input.ok_or_else(|| Error::Value("the model has no input".into()))?;
        // One that takes a single picture has no batch.
        let all = if input.shape.len() + 1 == tensor.ndim() && tensor.len_of(Axis(0)) == 1 {
            tensor.index_axis(Axis(0), 0).to_owned()
        } else {
            let copies = input.shape.first().copied().flatten().unwrap_or(1);
            let views = vec![tensor.view(); copies];
            concatenate(Axis(0), &views).map_err(|error| Error::Value(error.to_string()))?
        };
        let picture = Value::from_f32_as(all, input.elem)?;
        let name = input.name.clone();
        Ok(Self { session, name, picture, fed })
    }

    /// One run of so many copies of the image.
    ///
    /// # Errors
    /// The runtime's: the model takes no such batch.
    pub fn run_copies(&self, image: &ArrayD<f32>, copies: usize) -> Result<()> {
        self.run_on(&self.copies(image, copies)?)
    }

    /// So many copies of an image as the model takes them.
    pub(super) fn copies(&self, image: &ArrayD<f32>, copies: usize) -> Result<Value> {
        let views = vec![image.view(); copies];
        self.value(concatenate(Axis(0), &views).map_err(|error| Error::Value(error.to_string()))?)
    }

    /// A tensor as the model takes it.
    ///
    /// # Errors
    /// The input is of a type that numbers can't be converted to.
    pub(super) fn value(&self, tensor: ArrayD<f32>) -> Result<Value> {
        Ok(Value::from_f32_as(tensor, self.picture.elem_type())?)
    }

    /// The session: it says on which provider it runs.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// One run, its outputs on the host.
    ///
    /// # Errors
    /// The runtime's.
    pub fn run(&self) -> Result<()> {
        self.run_on(&self.picture)
    }

    pub(super) fn run_on(&self, input: &Value) -> Result<()> {
        let others = self.fed.iter().map(|(name, value)| (name.as_str(), value));
        let inputs: Vec<(&str, &Value)> = std::iter::once((self.name.as_str(), input)).chain(others).collect();
        // A device computes on after the call: a program that wants the outputs waits for them, and so does this one.
        Ok(self.session.run(&inputs)?.to_host()?)
    }
}
