//! Values on a device: bound there when a session gives them, brought to the host when they are read, and every copy counted.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use ort::AsPointer;
use ort::memory::MemoryInfo;
use ort::session::{IoBinding, SharedSessionInner};
use ort::sys::{OrtDeviceMemoryType, OrtMemoryInfo, OrtMemoryInfoDeviceType, OrtSession, OrtStatusPtr};
use ort::value::DynValue;

use super::elem::ElemType;
use super::load::Runtime;
use super::plugin::Spot;
use super::provider::Provider;
use super::session::{Optimisation, Session, SessionOptions};
use super::value::{Held, Value};
use crate::error::{Error, Result};

/// Copies in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// How many values were copied.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// The copies between host and device that some sessions made so far, of values that went into them or were read from what they gave.
/// What a provider copies within a run, for an operator that it leaves to the CPU, is not among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CopyCount {
    /// From the host to the device.
    pub to_device: Copied,
    /// From the device to the host.
    pub to_host: Copied,
    /// Besides, in either direction: of values that an operator on the CPU gives or takes, since the provider has none of its kind.
    pub for_cpu: Copied,
}

impl CopyCount {
    /// The copies since `earlier`, which the same counter gave.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let less = |now: Copied, then: Copied| Copied {
            count: now.count.saturating_sub(then.count),
            bytes: now.bytes.saturating_sub(then.bytes),
        };
        Self {
            to_device: less(self.to_device, earlier.to_device),
            to_host: less(self.to_host, earlier.to_host),
            for_cpu: less(self.for_cpu, earlier.for_cpu),
        }
    }
}

/// Counts the copies of every session that is made with the same [`SessionOptions`], or a clone of them. Clones share the count.
#[derive(Clone, Default)]
pub struct Copies(Arc<Shared>);

#[derive(Default)]
struct Shared {
    to_device: Counter,
    to_host: Counter,
    for_cpu: Counter,
    /// The sessions that bring values to the host: one for each place and element type.
    readers: Mutex<HashMap<(Place, ElemType), Arc<Session>>>,
}

/// A provider, and its device's number where there is a choice.
type Place = (Provider, Option<usize>);

fn place(spot: &Spot) -> Place {
    (spot.provider, spot.device.as_ref().map(|device| device.number))
}

#[derive(Default)]
struct Counter {
    count: AtomicU64,
    bytes: AtomicU64,
}

impl Counter {
    fn add(&self, value: &Value) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(value.bytes(), Ordering::Relaxed);
    }

    fn read(&self) -> Copied {
        Copied { count: self.count.load(Ordering::Relaxed), bytes: self.bytes.load(Ordering::Relaxed) }
    }
}

impl Copies {
    /// The count up to now.
    pub fn count(&self) -> CopyCount {
        let Shared { to_device, to_host, for_cpu, .. } = &*self.0;
        CopyCount { to_device: to_device.read(), to_host: to_host.read(), for_cpu: for_cpu.read() }
    }
}

impl fmt::Debug for Copies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.count(), f)
    }
}

/// How a value on a device comes to the host.
pub(super) struct Remote {
    host: OnceLock<Value>,
    options: Arc<SessionOptions>,
    spot: Spot,
    /// The device's memory may be the session's, which therefore lives as long.
    _session: Arc<SharedSessionInner>,
}

impl Remote {
    /// The value on the host: copied when it is first asked for.
    ///
    /// # Errors
    /// The runtime fails.
    pub(super) fn host(&self, value: &Value) -> Result<&Value> {
        if let Some(host) = self.host.get() {
            return Ok(host);
        }
        let shared = &self.options.copies.0;
        let reader = {
            let mut readers = shared.readers.lock().unwrap_or_else(PoisonError::into_inner);
            match readers.entry((place(&self.spot), value.elem_type())) {
                Entry::Occupied(known) => Arc::clone(known.get()),
                Entry::Vacant(free) => Arc::clone(free.insert(Arc::new(self.reader(value.elem_type())?))),
            }
        };
        let host = reader.run(&[(VALUE, value)])?.take(COPY);
        let host = host.ok_or_else(|| Error::Value(format!("the run gave no `{COPY}`")))?;
        // Where two threads ask at once, both copy.
        shared.to_host.add(value);
        Ok(self.host.get_or_init(|| host))
    }

    /// Whether a session there reads the value where it lies.
    fn is_at(&self, spot: &Spot) -> bool {
        place(&self.spot) == place(spot)
    }

    /// A session whose one node copies a value on the device. What it gives goes to the host, as every session's outputs do that are not
    /// bound elsewhere: ONNX Runtime's interface has no other copy that all providers know.
    fn reader(&self, elem: ElemType) -> Result<Session> {
        let runtime = Runtime::get().ok_or_else(|| Error::Value("ONNX Runtime is not loaded".into()))?;
        let mut g = onnx_grad::Builder::new();
        let value = g.input(VALUE);
        g.push(onnx_grad::proto::NodeProto {
            op_type: "Identity".into(),
            name: COPY.into(),
            input: vec![value.name().to_owned()],
            output: vec![COPY.into()],
            ..Default::default()
        });
        // Of any rank, hence no shape.
        let ty = onnx_grad::ValueType { elem: onnx_grad::ElemType::from_code(elem.code()), shape: None };
        let info = |name| onnx_grad::value_info(name, Some(&ty));
        let model = g.into_model(vec![info(VALUE)], vec![info(COPY)])?;
        let options = SessionOptions {
            profile: None,
            external_data: None,
            own_operators: None,
            optimised: None,
            optimisation: Optimisation::Off,
            // Not the same: these would hold each other.
            copies: Copies::default(),
            ..(*self.options).clone()
        };
        // Where the value comes from was tried before, or is being tried.
        let mut session = runtime.bytes_on(self.spot.clone(), &model.to_bytes(), &options)?;
        session.binding = Bound::ToHost;
        Ok(session)
    }
}

const VALUE: &str = "value";
const COPY: &str = "copy";

/// Where the values of a session lie.
#[derive(Debug)]
pub(super) enum Bound {
    /// All on the host.
    Host,
    /// Some on a device, and what it gives stays there.
    Device(Box<Binding>),
    /// What goes in lies on a device; what it gives comes to the host.
    ToHost,
}

/// How a session's inputs and outputs are bound, where some lie on a device.
pub(super) struct Binding {
    /// For each input whether it lies on a device.
    inputs: Vec<bool>,
    outputs: usize,
    options: Arc<SessionOptions>,
    spot: Spot,
}

impl fmt::Debug for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Binding").field("inputs", &self.inputs).finish_non_exhaustive()
    }
}

type Places = unsafe extern "system" fn(*const OrtSession, *mut *const OrtMemoryInfo, usize) -> OrtStatusPtr;

/// Where the session has its inputs or outputs; what is pointed to belongs to the session.
fn places(session: &ort::session::Session, ask: Places, count: usize) -> ort::Result<Vec<*const OrtMemoryInfo>> {
    let mut places = vec![std::ptr::null(); count];
    // SAFETY: the session lives, and has as many inputs or outputs as there is room for.
    let status = unsafe { ask(session.ptr(), places.as_mut_ptr(), count) };
    // SAFETY: the status comes from a function of the interface, and is given up here.
    unsafe { ort::Error::result_from_status(status) }?;
    Ok(places)
}

/// Whether the host can't read what lies there.
fn on_device(place: *const OrtMemoryInfo) -> bool {
    if place.is_null() {
        return false;
    }
    let api = ort::api();
    let mut kind = OrtMemoryInfoDeviceType::OrtMemoryInfoDeviceType_CPU;
    // SAFETY: the place belongs to a living session.
    let memory = unsafe {
        (api.MemoryInfoGetDeviceType)(place, &mut kind);
        (api.MemoryInfoGetDeviceMemType)(place)
    };
    kind != OrtMemoryInfoDeviceType::OrtMemoryInfoDeviceType_CPU
        && memory != OrtDeviceMemoryType::OrtDeviceMemoryType_HOST_ACCESSIBLE
}

impl Bound {
    /// How a session on `spot` is bound that was made with `options`.
    pub(super) fn of(session: &ort::session::Session, spot: Spot, options: &SessionOptions) -> Self {
        if spot.provider == Provider::Cpu {
            return Bound::Host;
        }
        let api = ort::api();
        let places = |ask, count| places(session, ask, count).unwrap_or_default();
        let inputs = places(api.SessionGetMemoryInfoForInputs, session.inputs().len());
        let outputs = places(api.SessionGetMemoryInfoForOutputs, session.outputs().len());
        if !inputs.iter().chain(&outputs).any(|place| on_device(*place)) {
            return Bound::Host;
        }
        let inputs = inputs.into_iter().map(on_device).collect();
        Bound::Device(Box::new(Binding { inputs, outputs: outputs.len(), options: Arc::new(options.clone()), spot }))
    }
}

impl Binding {
    /// Runs the session with `inputs`, wherever they lie; what it gives stays where it was computed.
    pub(super) fn run(
        &self,
        session: &mut ort::session::Session,
        inputs: &[(&str, &Value)],
        options: &ort::session::RunOptions,
        failed: impl Fn(ort::Error) -> Error,
    ) -> Result<Vec<(String, Value)>> {
        let mut binding = session.create_binding().map_err(&failed)?;
        let counts = &self.options.copies.0;
        for (name, value) in inputs {
            let value = value.at(|remote| remote.is_at(&self.spot))?;
            binding.bind_input(*name, value.as_ort()).map_err(&failed)?;
            let at = session.inputs().iter().position(|input| input.name() == *name);
            match (value.is_remote(), at.and_then(|at| self.inputs.get(at)).copied().unwrap_or(false)) {
                (false, true) if value.by_cpu() => counts.for_cpu.add(value),
                (false, true) => counts.to_device.add(value),
                (true, false) => counts.for_cpu.add(value),
                _ => {}
            }
        }
        let places = places(session, ort::api().SessionGetMemoryInfoForOutputs, self.outputs).map_err(&failed)?;
        let host = MemoryInfo::default();
        for (output, place) in session.outputs().iter().zip(places) {
            binding.bind_output_to_device(output.name(), &host).map_err(&failed)?;
            bind_to(&mut binding, output.name(), place).map_err(&failed)?;
        }
        let inner = session.inner();
        let outputs = session.run_binding_with_options(&binding, options).map_err(failed)?;
        let held = |(name, value): (&str, DynValue)| {
            let remote = Value::lies_on_device(&value).then(|| Remote {
                host: OnceLock::new(),
                options: Arc::clone(&self.options),
                spot: self.spot.clone(),
                _session: Arc::clone(&inner),
            });
            let by_cpu = remote.is_none();
            (name.to_owned(), Value::held(Held { value, remote, by_cpu }))
        };
        Ok(outputs.into_iter().map(held).collect())
    }
}

/// Binds an output that is bound to the host to where the session has it: the binding takes places by names that it knows alone, a
/// plugin's has a name of its own.
fn bind_to(binding: &mut IoBinding, name: &str, place: *const OrtMemoryInfo) -> ort::Result<()> {
    if !on_device(place) {
        return Ok(());
    }
    let name = std::ffi::CString::new(name).map_err(|error| ort::Error::new(error.to_string()))?;
    // SAFETY: binding and session live; the name ends with a zero.
    let status = unsafe { (ort::api().BindOutputToDevice)(binding.ptr().cast_mut(), name.as_ptr().cast(), place) };
    // SAFETY: as above.
    unsafe { ort::Error::result_from_status(status) }
}
