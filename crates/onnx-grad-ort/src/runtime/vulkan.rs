//! Which GPUs Vulkan offers: what ONNX Runtime's WebGPU provider runs on, on Linux. The provider itself does not tell, and takes a GPU
//! that is only simulated on the processor where there is no other.

use std::sync::OnceLock;

use ash::vk;

/// A GPU as Vulkan describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Adapter {
    /// Its name.
    pub(super) name: String,
    /// Its maker, by the PCI number or Khronos' own.
    pub(super) vendor_id: u32,
    /// The maker's number of it.
    pub(super) id: u32,
    /// Whether it is the processor, which computes in a GPU's place.
    pub(super) software: bool,
    /// Lower is better: a card of its own, one within the processor, others, none.
    pub(super) rank: u8,
    /// Bytes of its own memory.
    pub(super) memory: u64,
}

/// The GPUs, the one that WebGPU takes first; asked for once. Elsewhere than on Linux none, and no reason: WebGPU has other ways there.
///
/// # Errors
/// Why there is none, in a clause.
pub(super) fn adapters() -> Result<&'static [Adapter], &'static str> {
    static ADAPTERS: OnceLock<Result<Vec<Adapter>, String>> = OnceLock::new();
    if !cfg!(target_os = "linux") {
        return Ok(&[]);
    }
    match ADAPTERS.get_or_init(ask) {
        Ok(adapters) => Ok(adapters),
        Err(reason) => Err(reason),
    }
}

fn ask() -> Result<Vec<Adapter>, String> {
    const LOADER: &str = "libvulkan.so.1";
    // SAFETY: this runs the constructors of the system's Vulkan loader, as WebGPU would.
    let library = unsafe { libloading::Library::new(LOADER) }
        .map_err(|_| format!("the system's Vulkan loader ({LOADER}) is not installed"))?;
    // Never unloaded: drivers leave threads behind.
    let library = Box::leak(Box::new(library));
    // SAFETY: the type is that of `vkGetInstanceProcAddr` in vulkan_core.h.
    let get = unsafe { library.get::<vk::PFN_vkGetInstanceProcAddr>(b"vkGetInstanceProcAddr\0") };
    let get = *get.map_err(|_| format!("{LOADER} is no Vulkan loader"))?;
    // SAFETY: the function comes from the Vulkan loader, which stays loaded.
    let entry = unsafe { ash::Entry::from_static_fn(ash::StaticFn { get_instance_proc_addr: get }) };
    let about = vk::ApplicationInfo::default().api_version(vk::API_VERSION_1_1);
    let none = |result: vk::Result| format!("Vulkan finds no GPU ({result}): its driver is missing");
    // SAFETY: what is asked for lives until the call returns; nothing is enabled.
    let instance = unsafe { entry.create_instance(&vk::InstanceCreateInfo::default().application_info(&about), None) };
    let instance = instance.map_err(none)?;
    // SAFETY: the instance lives until it is destroyed below.
    let found = unsafe { instance.enumerate_physical_devices() };
    let read = |device: vk::PhysicalDevice| {
        // SAFETY: the device is one of the instance's.
        let (facts, memory) = unsafe {
            (instance.get_physical_device_properties(device), instance.get_physical_device_memory_properties(device))
        };
        let rank = match facts.device_type {
            vk::PhysicalDeviceType::DISCRETE_GPU => 0,
            vk::PhysicalDeviceType::INTEGRATED_GPU => 1,
            vk::PhysicalDeviceType::CPU => 3,
            _ => 2,
        };
        let heaps = memory.memory_heaps.iter().take(memory.memory_heap_count as usize);
        let own = heaps.filter(|heap| heap.flags.contains(vk::MemoryHeapFlags::DEVICE_LOCAL));
        let name = facts.device_name_as_c_str().unwrap_or(c"").to_string_lossy().into_owned();
        let (vendor_id, id) = (facts.vendor_id, facts.device_id);
        Adapter { name, vendor_id, id, software: rank == 3, rank, memory: own.map(|heap| heap.size).sum() }
    };
    let mut adapters: Vec<Adapter> =
        found.as_ref().map(|found| found.iter().copied().map(read).collect()).unwrap_or_default();
    // SAFETY: nothing of it is used any more.
    unsafe { instance.destroy_instance(None) };
    found.map_err(none)?;
    if adapters.is_empty() {
        return Err("Vulkan finds no GPU: its driver is missing".into());
    }
    adapters.sort_by_key(|adapter| adapter.rank);
    Ok(adapters)
}
