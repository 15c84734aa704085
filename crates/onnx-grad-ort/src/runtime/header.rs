//! Tells from a file's first bytes whether this process could load it: a shared library, of this system, for this
//! processor, and whole.
//!
//! This comes before the system's loader sees the file, because the loader's own words for these cases ("invalid ELF
//! header", "wrong ELF class", or a crash on a file that was cut short) help nobody.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use super::inspect::Unusable;

/// What this process can load.
#[derive(Clone, Copy, Debug)]
pub(super) struct Machine {
    format: Format,
    /// As `std::env::consts::ARCH` names it.
    arch: &'static str,
}

/// The formats of shared libraries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Elf,
    MachO,
    Pe,
}

impl Format {
    fn describe(self) -> &'static str {
        match self {
            Format::Elf => "a Linux (ELF) library",
            Format::MachO => "a macOS (Mach-O) library",
            Format::Pe => "a Windows (PE) library",
        }
    }
}

impl Machine {
    /// The machine that this process runs on.
    pub(super) const THIS: Machine = Machine {
        format: if cfg!(windows) {
            Format::Pe
        } else if cfg!(target_vendor = "apple") {
            Format::MachO
        } else {
            Format::Elf
        },
        arch: std::env::consts::ARCH,
    };
}

/// Checks that `path` is a regular file with the header of a library that `machine` can load.
pub(super) fn check(path: &Path, machine: Machine) -> Result<(), Unusable> {
    // Before opening: to open a pipe waits until somebody writes into it.
    let metadata = std::fs::metadata(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Unusable::Missing,
        _ => Unusable::Unreadable(error.to_string()),
    })?;
    if metadata.is_dir() {
        return Err(Unusable::Folder);
    }
    if !metadata.is_file() {
        return Err(Unusable::NotAFile);
    }
    let unreadable = |error: std::io::Error| Unusable::Unreadable(error.to_string());
    let mut file = File::open(path).map_err(unreadable)?;
    check_contents(&mut file, metadata.len(), machine)
}

fn check_contents(file: &mut (impl Read + Seek), len: u64, machine: Machine) -> Result<(), Unusable> {
    let head = read_at(file, 0, 4096)?;
    let (format, archs, whole) = if head.starts_with(b"\x7fELF") {
        elf(file, &head, len)?
    } else if head.starts_with(b"MZ") {
        pe(file, &head)?
    } else if let Some(archs) = mach_o(&head) {
        (Format::MachO, archs, true)
    } else {
        return Err(Unusable::NotALibrary);
    };
    if format != machine.format {
        return Err(Unusable::OtherSystem { found: format.describe().to_string() });
    }
    if !archs.iter().any(|arch| arch == machine.arch) {
        return Err(Unusable::OtherProcessor { found: archs.join(" and "), this: machine.arch.to_string() });
    }
    if !whole {
        return Err(Unusable::CutShort);
    }
    Ok(())
}

/// The format, the processors, and whether the file reaches as far as its segments say.
type Found = (Format, Vec<String>, bool);

/// Reads an ELF header: "Executable and Linking Format", System V ABI, chapter 4.
fn elf(file: &mut (impl Read + Seek), head: &[u8], len: u64) -> Result<Found, Unusable> {
    let [class, data] = [byte(head, 4)?, byte(head, 5)?];
    let big = data == 2;
    if u16_at(head, 16, big)? != 3 {
        return Err(Unusable::NotALibrary); // an object file, an executable, a core dump
    }
    let machine = u16_at(head, 18, big)?;
    let arch = match (machine, class, big) {
        (62, 2, _) => "x86_64".to_string(),
        (183, _, false) => "aarch64".to_string(),
        (3, ..) => "x86".to_string(),
        (40, ..) => "arm".to_string(),
        (243, 2, _) => "riscv64".to_string(),
        (21, 2, false) => "powerpc64le".to_string(),
        (21, 2, true) => "powerpc64".to_string(),
        (22, 2, _) => "s390x".to_string(),
        (258, 2, _) => "loongarch64".to_string(),
        (other, ..) => format!("another processor (ELF machine {other})"),
    };
    if class != 2 {
        return Ok((Format::Elf, vec![arch], true)); // 32 bits: refused for its processor, no need to look further
    }
    // A segment beyond the file's end is mapped all the same, and the first touch ends the process.
    let (offset, size, count) =
        (u64_at(head, 32, big)?, u64::from(u16_at(head, 54, big)?), u64::from(u16_at(head, 56, big)?));
    let table = read_at(file, offset, size.saturating_mul(count))?;
    if size < 56 || table.len() as u64 != size.saturating_mul(count) {
        return Ok((Format::Elf, vec![arch], false));
    }
    let mut whole = true;
    for segment in table.chunks_exact(usize::try_from(size).unwrap_or(usize::MAX)) {
        const LOAD: u32 = 1;
        if u32_at(segment, 0, big)? == LOAD {
            whole &= u64_at(segment, 8, big)?.saturating_add(u64_at(segment, 32, big)?) <= len;
        }
    }
    Ok((Format::Elf, vec![arch], whole))
}

/// Reads a Mach-O header, thin or universal (`mach-o/loader.h`, `mach-o/fat.h`); `None` where it is none.
fn mach_o(head: &[u8]) -> Option<Vec<String>> {
    let arch = |code: u32| match code {
        0x0100_0007 => "x86_64".to_string(),
        0x0100_000c => "aarch64".to_string(),
        other => format!("another processor (Mach-O {other:#x})"),
    };
    match head.get(..4)? {
        [0xcf, 0xfa, 0xed, 0xfe] => Some(vec![arch(u32_at(head, 4, false).ok()?)]),
        [0xca, 0xfe, 0xba, 0xbe] => {
            // The same four bytes begin a Java class, whose next number is its version: 45 and more.
            let count = u32_at(head, 4, true).ok().filter(|count| (1..20).contains(count))?;
            (0..count as usize).map(|i| u32_at(head, 8 + 20 * i, true).ok().map(arch)).collect()
        }
        _ => None,
    }
}

/// Reads a PE header ("PE Format", Microsoft).
fn pe(file: &mut (impl Read + Seek), head: &[u8]) -> Result<Found, Unusable> {
    let offset = u32_at(head, 0x3c, false)?;
    let header = read_at(file, u64::from(offset), 24)?;
    const DLL: u16 = 0x2000;
    if !header.starts_with(b"PE\0\0") || u16_at(&header, 22, false)? & DLL == 0 {
        return Err(Unusable::NotALibrary);
    }
    let arch = match u16_at(&header, 4, false)? {
        0x8664 => "x86_64".to_string(),
        0xaa64 => "aarch64".to_string(),
        0x014c => "x86".to_string(),
        other => format!("another processor (PE machine {other:#x})"),
    };
    Ok((Format::Pe, vec![arch], true))
}

/// Up to `len` bytes from `offset`; fewer where the file ends.
fn read_at(file: &mut (impl Read + Seek), offset: u64, len: u64) -> Result<Vec<u8>, Unusable> {
    let unreadable = |error: std::io::Error| Unusable::Unreadable(error.to_string());
    file.seek(SeekFrom::Start(offset)).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(len).read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(bytes)
}

fn byte(bytes: &[u8], at: usize) -> Result<u8, Unusable> {
    bytes.get(at).copied().ok_or(Unusable::NotALibrary)
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], Unusable> {
    bytes.get(at..at + N).and_then(|slice| slice.try_into().ok()).ok_or(Unusable::NotALibrary)
}

fn u16_at(bytes: &[u8], at: usize, big: bool) -> Result<u16, Unusable> {
    field(bytes, at).map(if big { u16::from_be_bytes } else { u16::from_le_bytes })
}

fn u32_at(bytes: &[u8], at: usize, big: bool) -> Result<u32, Unusable> {
    field(bytes, at).map(if big { u32::from_be_bytes } else { u32::from_le_bytes })
}

fn u64_at(bytes: &[u8], at: usize, big: bool) -> Result<u64, Unusable> {
    field(bytes, at).map(if big { u64::from_be_bytes } else { u64::from_le_bytes })
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    const LINUX: Machine = Machine { format: Format::Elf, arch: "x86_64" };

    /// A header of a 64-bit shared object with one segment to load that ends `end` bytes into the file.
    fn elf(machine: u16, end: u64) -> Vec<u8> {
        let mut bytes = vec![0; 64 + 56];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        bytes[16..18].copy_from_slice(&3u16.to_le_bytes());
        bytes[18..20].copy_from_slice(&machine.to_le_bytes());
        bytes[32..40].copy_from_slice(&64u64.to_le_bytes());
        bytes[54..56].copy_from_slice(&56u16.to_le_bytes());
        bytes[56..58].copy_from_slice(&1u16.to_le_bytes());
        bytes[64..68].copy_from_slice(&1u32.to_le_bytes());
        bytes[96..104].copy_from_slice(&end.to_le_bytes());
        bytes
    }

    fn verdict(bytes: Vec<u8>, machine: Machine) -> String {
        let len = bytes.len() as u64;
        check_contents(&mut Cursor::new(bytes), len, machine).map_or_else(|error| error.to_string(), |()| "fine".into())
    }

    #[test]
    fn a_library_for_this_machine_passes() {
        assert_eq!(verdict(elf(62, 120), LINUX), "fine");
    }

    #[test]
    fn another_processor_is_named() {
        assert_eq!(verdict(elf(183, 120), LINUX), "it is built for aarch64, this machine is x86_64");
        assert_eq!(
            verdict(elf(9999, 120), LINUX),
            "it is built for another processor (ELF machine 9999), this machine is x86_64"
        );
    }

    #[test]
    fn another_system_is_named() {
        let mac = Machine { format: Format::MachO, arch: "aarch64" };
        assert_eq!(verdict(elf(183, 120), mac), "it is a Linux (ELF) library, which this system cannot load");
        let thin = [&[0xcf, 0xfa, 0xed, 0xfe, 0x0c, 0, 0, 1][..], &[0; 24]].concat();
        assert_eq!(verdict(thin.clone(), mac), "fine");
        assert_eq!(verdict(thin, LINUX), "it is a macOS (Mach-O) library, which this system cannot load");
    }

    #[test]
    fn a_universal_library_passes_for_each_of_its_processors() {
        let mut fat = vec![0xca, 0xfe, 0xba, 0xbe, 0, 0, 0, 2];
        for code in [0x0100_0007u32, 0x0100_000c] {
            fat.extend(code.to_be_bytes());
            fat.extend([0; 16]);
        }
        for arch in ["x86_64", "aarch64"] {
            assert_eq!(verdict(fat.clone(), Machine { format: Format::MachO, arch }), "fine");
        }
        let java = [&[0xca, 0xfe, 0xba, 0xbe, 0, 0, 0, 61][..], &[0; 24]].concat();
        assert_eq!(verdict(java, LINUX), "it is not a shared library");
    }

    #[test]
    fn a_windows_library_is_told_from_a_program() {
        let mut file = vec![0; 0x60];
        file[..2].copy_from_slice(b"MZ");
        file[0x3c] = 0x40;
        file[0x40..0x46].copy_from_slice(b"PE\0\0\x64\x86");
        file[0x57] = 0x20;
        assert_eq!(verdict(file.clone(), Machine { format: Format::Pe, arch: "x86_64" }), "fine");
        file[0x57] = 0;
        assert_eq!(verdict(file, LINUX), "it is not a shared library");
    }

    #[test]
    fn what_is_cut_short_is_refused_at_any_length() {
        assert_eq!(verdict(elf(62, 121), LINUX), "the file is cut short");
        for len in 0..120 {
            assert_ne!(verdict(elf(62, 120)[..len].to_vec(), LINUX), "fine", "{len} bytes");
        }
    }

    #[test]
    fn other_files_are_not_libraries() {
        for bytes in [&b""[..], b"GROUP ( /lib/libm.so.6 )", b"\x7fELF", b"MZ"] {
            assert_eq!(verdict(bytes.to_vec(), LINUX), "it is not a shared library");
        }
    }
}
