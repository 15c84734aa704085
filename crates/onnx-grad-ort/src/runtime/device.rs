//! Devices: what hardware each execution provider can run on, and which of them `auto` takes.
//!
//! ONNX Runtime pairs providers with devices: one GPU is listed once for each provider that can use it.

use std::ffi::{CStr, c_char};
use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::ptr;

use ort::AsPointer;
use ort::environment::Environment;

use super::provider::Provider;
use super::vulkan::{self, Adapter};

/// What kind of processor a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum DeviceKind {
    /// The processor.
    Cpu,
    /// A graphics card, or what says that it is one.
    Gpu,
    /// A processor for neural networks.
    Npu,
}

/// A device, and the execution provider that runs models on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its place in the list, from 0: the number that `--device` takes.
    pub number: usize,
    /// The provider.
    pub provider: Provider,
    /// ONNX Runtime's name of the provider.
    pub provider_name: String,
    /// The version of the provider's library, where that tells.
    pub provider_version: Option<String>,
    /// The library that the provider comes from, if it is not a part of ONNX Runtime.
    pub library: Option<PathBuf>,
    /// The device's name, as its driver has it; else made of its maker and kind.
    pub name: String,
    /// Its maker.
    pub vendor: String,
    /// The maker's PCI number; 0 where it has none.
    pub vendor_id: u32,
    /// The maker's number of it (for a PCI card, the model's; the same for two cards of one model).
    pub id: u32,
    /// What kind it is.
    pub kind: DeviceKind,
    /// Its own memory in bytes, where the provider or the driver tells.
    pub memory: Option<u64>,
    /// Why it is no real GPU, though it runs what is made for one: a clause about "it".
    pub doubt: Option<String>,
}

/// Makers of GPUs that compute, by PCI number; also Qualcomm's in Windows, and Khronos' numbers of makers without PCI. Not among them: what
/// servers and virtual machines have for a screen (ASPEED, Matrox, QEMU, VMware), which drivers then simulate on the processor.
const MAKERS: [u32; 12] =
    [0x10de, 0x1002, 0x1022, 0x8086, 0x106b, 0x17cb, 0x5143, 0x4d4f_4351, 0x13b5, 0x1010, 0x14e4, 0x1ed5];

/// What GPUs that the processor simulates call themselves: Google's, Mesa's, Microsoft's.
const SIMULATED: [&str; 5] = ["swiftshader", "llvmpipe", "lavapipe", "softpipe", "basic render"];

impl Device {
    /// Whether it is a GPU that is none only by name.
    pub fn is_real_gpu(&self) -> bool {
        self.kind == DeviceKind::Gpu && self.doubt.is_none()
    }
}

/// The device of a provider that is taken where none was chosen: a real GPU, else the processor, else a GPU by name only; an NPU, which
/// computes with fewer bits, last.
pub(super) fn preferred(devices: &[Device], provider: Provider) -> Option<&Device> {
    let rank = |device: &&Device| match device.kind {
        DeviceKind::Gpu if device.doubt.is_none() => 0,
        DeviceKind::Cpu => 1,
        DeviceKind::Gpu => 2,
        DeviceKind::Npu => 3,
    };
    devices.iter().filter(|device| device.provider == provider).min_by_key(rank)
}

/// The providers that `auto` tries, best first, where `built_in` are those that ONNX Runtime has itself: those for GPUs, then what runs on
/// the processor. A provider that is a library of its own counts where it has a real GPU.
pub(super) fn auto_order(built_in: impl Fn(Provider) -> bool, devices: &[Device]) -> Vec<Provider> {
    let on_gpu = |provider: Provider| {
        devices.iter().any(|device| device.library.is_some() && device.provider == provider && device.is_real_gpu())
    };
    // They compile every graph for minutes, or compute with 16 bits.
    let must_be_named = |provider: Provider| matches!(provider, Provider::TensorRt | Provider::CoreMl);
    let is_for_gpus = |provider: &Provider| !matches!(provider, Provider::OpenVino | Provider::Cpu);
    let (gpus, rest): (Vec<_>, Vec<_>) = Provider::AUTO.into_iter().partition(is_for_gpus);
    let mut order: Vec<_> = gpus.into_iter().filter(|provider| built_in(*provider) || on_gpu(*provider)).collect();
    let mut more: Vec<Provider> = devices.iter().map(|device| device.provider).collect();
    // WebGPU runs on any GPU, and so is slower than its maker's own provider.
    more.sort_by_key(|provider| *provider == Provider::WebGpu);
    for provider in more {
        if on_gpu(provider) && !must_be_named(provider) && !order.contains(&provider) {
            order.push(provider);
        }
    }
    for provider in rest {
        if built_in(provider) && !order.contains(&provider) {
            order.push(provider);
        }
    }
    order
}

/// The providers of libraries that have only GPUs by name, and why these are none.
pub(super) fn doubted(devices: &[Device]) -> Vec<(Provider, String)> {
    let of_libraries = || devices.iter().filter(|device| device.library.is_some() && device.kind == DeviceKind::Gpu);
    let mut found: Vec<(Provider, String)> = Vec::new();
    for device in of_libraries() {
        let provider = device.provider;
        let has_real = of_libraries().any(|other| other.provider == provider && other.is_real_gpu());
        if let Some(doubt) =
            device.doubt.as_ref().filter(|_| !has_real && found.iter().all(|(known, _)| *known != provider))
        {
            found.push((provider, doubt.clone()));
        }
    }
    found
}

/// Hardware that ONNX Runtime sees, whether a provider can use it or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hardware {
    /// What kind it is.
    pub kind: DeviceKind,
    /// Its maker; empty where ONNX Runtime cannot tell.
    pub vendor: String,
    /// The maker's PCI number.
    pub vendor_id: u32,
    /// The maker's number of it.
    pub id: u32,
    facts: Vec<(String, String)>,
}

impl Hardware {
    /// Whether it may be a GPU that computes: asked before libraries are loaded for it.
    pub fn may_be_gpu(&self) -> bool {
        self.kind == DeviceKind::Gpu && MAKERS.contains(&self.vendor_id)
    }
}

/// The hardware that ONNX Runtime sees, whether a provider can use it or not. Nothing where it cannot tell.
pub(super) fn hardware(environment: &Environment) -> Vec<Hardware> {
    let api = ort::api();
    let mut count = 0;
    // SAFETY: the environment lives; the count is written.
    let status = unsafe { (api.GetNumHardwareDevices)(environment.ptr(), &mut count) };
    // SAFETY: the status comes from a function of the interface, and is given up here.
    if unsafe { ort::Error::result_from_status(status) }.is_err() {
        return Vec::new();
    }
    let mut found = vec![ptr::null(); count];
    // SAFETY: there is room for `count` pointers, which belong to the environment.
    let status = unsafe { (api.GetHardwareDevices)(environment.ptr(), found.as_mut_ptr(), count) };
    // SAFETY: as above.
    if unsafe { ort::Error::result_from_status(status) }.is_err() {
        return Vec::new();
    }
    found.into_iter().filter(|device| !device.is_null()).map(one_hardware).collect()
}

fn one_hardware(device: *const ort::sys::OrtHardwareDevice) -> Hardware {
    let api = ort::api();
    // SAFETY: the device belongs to the environment, which is never released, and so do the strings.
    unsafe {
        Hardware {
            kind: match (api.HardwareDevice_Type)(device) {
                ort::sys::OrtHardwareDeviceType::OrtHardwareDeviceType_CPU => DeviceKind::Cpu,
                ort::sys::OrtHardwareDeviceType::OrtHardwareDeviceType_GPU => DeviceKind::Gpu,
                ort::sys::OrtHardwareDeviceType::OrtHardwareDeviceType_NPU => DeviceKind::Npu,
            },
            vendor: text((api.HardwareDevice_Vendor)(device)),
            vendor_id: (api.HardwareDevice_VendorId)(device),
            id: (api.HardwareDevice_DeviceId)(device),
            facts: pairs((api.HardwareDevice_Metadata)(device)),
        }
    }
}

/// The hardware that no device stands for.
pub(super) fn unused(hardware: Vec<Hardware>, devices: &[Device]) -> Vec<Hardware> {
    let is_used = |one: &Hardware| {
        devices.iter().any(|device| (device.kind, device.vendor_id, device.id) == (one.kind, one.vendor_id, one.id))
    };
    hardware.into_iter().filter(|one| !is_used(one)).collect()
}

/// Every device that a provider offers, in ONNX Runtime's order.
pub(super) fn all(environment: &Environment) -> Vec<Device> {
    let api = ort::api();
    let read = |(number, device): (usize, ort::device::Device<'_>)| {
        let device = device.ptr();
        // SAFETY: the device belongs to the environment, and so do the strings.
        let (name, facts, hardware) = unsafe {
            (
                text((api.EpDevice_EpName)(device)),
                pairs((api.EpDevice_EpMetadata)(device)),
                (api.EpDevice_Device)(device),
            )
        };
        describe(number, name, &facts, one_hardware(hardware), || vulkan::adapters().unwrap_or_default())
    };
    environment.devices().enumerate().map(read).collect()
}

/// `adapters` are Vulkan's.
fn describe(
    number: usize,
    provider_name: String,
    facts: &[(String, String)],
    hardware: Hardware,
    adapters: impl FnOnce() -> &'static [Adapter],
) -> Device {
    let provider = Provider::of_onnxruntime(&provider_name);
    let Hardware { mut kind, mut vendor, mut vendor_id, mut id, facts: more } = hardware;
    let fact = |names: &[&str]| {
        let all = || facts.iter().chain(&more);
        let found = names.iter().find_map(|name| all().find(|(key, value)| key == name && !value.trim().is_empty()));
        found.map(|(_, value)| value.trim().to_owned())
    };
    let mut name = fact(&["FULL_DEVICE_NAME", "cuda_device_name", "device_name", "Description"]);
    let mut memory = fact(&["GPU_DEVICE_TOTAL_MEM_SIZE", "DxgiVideoMemory"]).and_then(|text| bytes(&text));
    let by_number = |adapter: &&Adapter| (adapter.vendor_id, adapter.id) == (vendor_id, id);
    let is_webgpu = provider == Provider::WebGpu;
    let adapter = if is_webgpu {
        // It takes the best GPU that Vulkan has, whichever device it is told.
        adapters().first()
    } else if kind == DeviceKind::Gpu && (name.is_none() || memory.is_none()) {
        adapters().iter().find(by_number)
    } else {
        // Vulkan's drivers take a while to wake up.
        None
    };
    let mut doubt = None;
    if let Some(adapter) = adapter {
        name = name.or_else(|| Some(adapter.name.clone()));
        memory = memory.or(Some(adapter.memory).filter(|bytes| *bytes > 0 && !adapter.software));
        if is_webgpu && adapter.software {
            doubt = Some(format!("it computes on the processor ({})", adapter.name));
        } else if is_webgpu && kind == DeviceKind::Cpu {
            // A GPU that is no PCI card, which ONNX Runtime does not see.
            (kind, vendor_id, id) = (DeviceKind::Gpu, adapter.vendor_id, adapter.id);
            vendor.clear();
        }
    }
    if kind == DeviceKind::Gpu && doubt.is_none() {
        doubt =
            simulated(name.as_deref().unwrap_or_default(), vendor_id, fact(&["is_virtual"]).as_deref() == Some("1"));
    }
    if kind == DeviceKind::Cpu {
        name = name.or_else(cpu_name);
    }
    let made_up = || match vendor.as_str() {
        "" => kind.to_string(),
        vendor => format!("{vendor} {kind}"),
    };
    Device {
        number,
        provider,
        provider_version: fact(&["version"]).filter(|_| provider != Provider::Cpu),
        library: fact(&["library_path"]).map(PathBuf::from),
        name: name.unwrap_or_else(made_up),
        provider_name,
        vendor,
        vendor_id,
        id,
        kind,
        memory,
        doubt,
    }
}

/// The processor's name, as Linux has it.
fn cpu_name() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    line.split_once(':').map(|(_, name)| name.trim().to_owned()).filter(|name| !name.is_empty())
}

/// Why what says that it is a GPU is none.
fn simulated(name: &str, vendor_id: u32, is_virtual: bool) -> Option<String> {
    let lower = name.to_lowercase();
    if is_virtual {
        return Some("it is a stand-in, with no GPU behind it".into());
    }
    if SIMULATED.iter().any(|word| lower.contains(word)) {
        return Some(format!("it computes on the processor ({name})"));
    }
    (!MAKERS.contains(&vendor_id))
        .then(|| format!("its maker (number 0x{vendor_id:04x}) is not known for GPUs that compute"))
}

/// Reads `8589934592` and `8192 MB`.
fn bytes(text: &str) -> Option<u64> {
    let (number, unit) = text.split_once(' ').unwrap_or((text, ""));
    let scale = match unit {
        "" | "B" => 1,
        "KB" => 1 << 10,
        "MB" => 1 << 20,
        "GB" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(scale).filter(|bytes| *bytes > 0)
}

/// # Safety
/// It is null or a C string.
unsafe fn text(chars: *const c_char) -> String {
    if chars.is_null() {
        return String::new();
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(chars) }.to_string_lossy().into_owned()
}

/// # Safety
/// They are null or ONNX Runtime's.
unsafe fn pairs(all: *const ort::sys::OrtKeyValuePairs) -> Vec<(String, String)> {
    if all.is_null() {
        return Vec::new();
    }
    let (mut keys, mut values, mut count) = (ptr::null(), ptr::null(), 0);
    // SAFETY: the caller's promise; on return both lists hold `count` C strings that live as long as the pairs.
    unsafe {
        (ort::api().GetKeyValuePairs)(all, &mut keys, &mut values, &mut count);
        (0..count).map(|at| (text(*keys.add(at)), text(*values.add(at)))).collect()
    }
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DeviceKind::Cpu => "CPU",
            DeviceKind::Gpu => "GPU",
            DeviceKind::Npu => "NPU",
        })
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} on {} ({})", self.number, self.provider, self.name, self.kind)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;

    /// A list as ONNX Runtime and some libraries would give it: `(provider, kind, doubt)`.
    fn list(entries: &[(Provider, DeviceKind, Option<&str>)]) -> Vec<Device> {
        let one = |(number, (provider, kind, doubt)): (usize, &(Provider, DeviceKind, Option<&str>))| Device {
            number,
            provider: *provider,
            provider_name: provider.onnxruntime_name().into(),
            provider_version: None,
            library: (*provider != Provider::Cpu).then(|| "library.so".into()),
            name: String::new(),
            vendor: String::new(),
            vendor_id: 0,
            id: 0,
            kind: *kind,
            memory: None,
            doubt: doubt.map(str::to_owned),
        };
        entries.iter().enumerate().map(one).collect()
    }

    fn hardware(kind: DeviceKind, vendor_id: u32, facts: &[(&str, &str)]) -> Hardware {
        let facts = facts.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Hardware { kind, vendor: "Maker".into(), vendor_id, id: 7, facts }
    }

    fn adapter(name: &str, vendor_id: u32, software: bool) -> Adapter {
        Adapter { name: name.into(), vendor_id, id: 7, software, rank: u8::from(software), memory: 8 << 30 }
    }

    const CPU: (Provider, DeviceKind, Option<&str>) = (Provider::Cpu, DeviceKind::Cpu, None);

    #[test]
    fn auto_takes_a_real_gpu_before_the_processor() {
        let devices = list(&[
            CPU,
            (Provider::WebGpu, DeviceKind::Gpu, None),
            (Provider::OpenVino, DeviceKind::Cpu, None),
            (Provider::OpenVino, DeviceKind::Gpu, None),
        ]);
        let built_in = |provider| provider == Provider::Cpu;
        assert_eq!(auto_order(built_in, &devices), [Provider::OpenVino, Provider::WebGpu, Provider::Cpu]);
        let built_in = |provider| matches!(provider, Provider::Cpu | Provider::Cuda);
        let order = auto_order(built_in, &devices);
        assert_eq!(order, [Provider::Cuda, Provider::OpenVino, Provider::WebGpu, Provider::Cpu]);
    }

    #[test]
    fn auto_takes_no_software_gpu_no_processor_by_another_name_and_no_npu() {
        let devices = list(&[
            CPU,
            (Provider::WebGpu, DeviceKind::Gpu, Some("it computes on the processor (llvmpipe)")),
            (Provider::WebGpu, DeviceKind::Cpu, None),
            (Provider::OpenVino, DeviceKind::Cpu, None),
            (Provider::OpenVino, DeviceKind::Npu, None),
            (Provider::TensorRt, DeviceKind::Gpu, None),
        ]);
        assert_eq!(auto_order(|provider| provider == Provider::Cpu, &devices), [Provider::Cpu]);
    }

    #[test]
    fn a_named_provider_takes_its_real_gpu_and_its_npu_only_where_there_is_nothing_else() {
        let devices = list(&[
            CPU,
            (Provider::OpenVino, DeviceKind::Npu, None),
            (Provider::OpenVino, DeviceKind::Cpu, None),
            (Provider::OpenVino, DeviceKind::Gpu, None),
            (Provider::WebGpu, DeviceKind::Gpu, Some("it computes on the processor (llvmpipe)")),
        ]);
        let number = |devices: &[Device], provider| preferred(devices, provider).map(|device| device.number);
        assert_eq!(number(&devices, Provider::OpenVino), Some(3));
        assert_eq!(number(&devices[..3], Provider::OpenVino), Some(2));
        assert_eq!(number(&devices[..2], Provider::OpenVino), Some(1));
        assert_eq!(number(&devices, Provider::WebGpu), Some(4));
        assert_eq!(number(&devices, Provider::Cuda), None);
    }

    #[test]
    fn gpus_that_the_processor_simulates_are_told_from_real_ones() {
        assert_eq!(simulated("NVIDIA GeForce RTX 4090", 0x10de, false), None);
        assert_eq!(simulated("Intel(R) Arc(TM) A770", 0x8086, false), None);
        for (name, vendor_id) in [
            ("llvmpipe (LLVM 19.1.7, 256 bits)", 0x10005),
            ("SwiftShader Device (Subzero)", 0x1ae0),
            ("Microsoft Basic Render Driver", 0x1414),
            // Whatever its maker.
            ("llvmpipe", 0x8086),
        ] {
            let reason = simulated(name, vendor_id, false).unwrap();
            assert_eq!(reason, format!("it computes on the processor ({name})"));
        }
        // A server's screen.
        assert!(simulated("", 0x1a03, false).unwrap().contains("0x1a03"));
        assert!(simulated("NVIDIA", 0x10de, true).unwrap().contains("stand-in"));
    }

    #[test]
    fn what_a_library_says_of_a_device_is_read() {
        let facts = |pairs: &[(&str, &str)]| hardware(DeviceKind::Gpu, 0, pairs).facts;
        let told = [
            ("FULL_DEVICE_NAME", "Intel(R) Arc(TM) A770"),
            ("GPU_DEVICE_TOTAL_MEM_SIZE", "16225243136"),
            ("version", "1.8.1"),
            ("library_path", "/lib/openvino.so"),
        ];
        let name = "OpenVINOExecutionProvider".to_owned();
        let device = describe(2, name, &facts(&told), hardware(DeviceKind::Gpu, 0x8086, &[]), || &[]);
        assert_eq!((device.number, device.provider, device.kind), (2, Provider::OpenVino, DeviceKind::Gpu));
        assert_eq!((device.name.as_str(), device.memory), ("Intel(R) Arc(TM) A770", Some(16_225_243_136)));
        assert_eq!(device.provider_version.as_deref(), Some("1.8.1"));
        assert_eq!(device.library, Some("/lib/openvino.so".into()));
        assert!(device.is_real_gpu());

        let windows = hardware(DeviceKind::Gpu, 0x10de, &[("DxgiVideoMemory", "8192 MB"), ("Description", "GeForce")]);
        let device = describe(0, "DmlExecutionProvider".into(), &[], windows, || &[]);
        assert_eq!((device.name.as_str(), device.memory), ("GeForce", Some(8 << 30)));
        assert_eq!(device.to_string(), "0: directml on GeForce (GPU)");

        let other = describe(0, "QNNExecutionProvider".into(), &[], hardware(DeviceKind::Npu, 0x17cb, &[]), || &[]);
        assert_eq!((other.provider.name(), other.name.as_str(), other.memory), ("qnn", "Maker NPU", None));
    }

    #[test]
    fn a_card_that_vulkan_has_no_driver_for_is_no_gpu_for_webgpu() {
        static CARD: LazyLock<Vec<Adapter>> =
            LazyLock::new(|| vec![adapter("Radeon RX 7900", 0x1002, false), LLVMPIPE.clone()]);
        static LLVMPIPE: LazyLock<Adapter> = LazyLock::new(|| adapter("llvmpipe (LLVM 19)", 0x10005, true));
        let card = || hardware(DeviceKind::Gpu, 0x1002, &[]);
        let webgpu = || "WebGpuExecutionProvider".to_owned();
        let library = [("library_path".to_owned(), "/lib/webgpu.so".to_owned())];

        let device = describe(1, webgpu(), &library, card(), || &CARD);
        assert!(device.is_real_gpu());
        assert_eq!((device.name.as_str(), device.memory), ("Radeon RX 7900", Some(8 << 30)));
        assert_eq!(doubted(std::slice::from_ref(&device)), []);

        // A container with the card but without its driver has Mesa's stand-in all the same.
        let device = describe(1, webgpu(), &library, card(), || std::slice::from_ref(&*LLVMPIPE));
        assert_eq!((device.is_real_gpu(), device.memory), (false, None));
        let reason = "it computes on the processor (llvmpipe (LLVM 19))".to_owned();
        assert_eq!(doubted(&[device.clone(), device]), [(Provider::WebGpu, reason)]);

        // A GPU that is no PCI card: ONNX Runtime gives WebGPU the processor's place.
        let processor = hardware(DeviceKind::Cpu, 0x106b, &[]);
        let device = describe(1, webgpu(), &library, processor.clone(), || std::slice::from_ref(&CARD[0]));
        assert!(device.is_real_gpu() && device.vendor_id == 0x1002);
        let device = describe(1, webgpu(), &library, processor, || std::slice::from_ref(&*LLVMPIPE));
        assert_eq!((device.kind, device.name.as_str()), (DeviceKind::Cpu, "llvmpipe (LLVM 19)"));
    }

    #[test]
    fn a_card_that_no_provider_runs_on_is_unused() {
        let (card, processor) = (hardware(DeviceKind::Gpu, 0x10de, &[]), hardware(DeviceKind::Cpu, 0x8086, &[]));
        let cpu = describe(0, "CPUExecutionProvider".into(), &[], processor.clone(), || &[]);
        let all = || vec![processor.clone(), card.clone()];
        assert_eq!(unused(all(), std::slice::from_ref(&cpu)), std::slice::from_ref(&card));
        let webgpu = describe(1, "WebGpuExecutionProvider".into(), &[], card.clone(), || &[]);
        assert_eq!(unused(all(), &[cpu, webgpu]), []);
    }

    #[test]
    fn hardware_without_a_known_maker_is_no_reason_to_load_libraries() {
        assert!(hardware(DeviceKind::Gpu, 0x1002, &[]).may_be_gpu());
        assert!(!hardware(DeviceKind::Gpu, 0x1a03, &[]).may_be_gpu());
        assert!(!hardware(DeviceKind::Cpu, 0x8086, &[]).may_be_gpu());
    }
}
