//! Refuses files that somebody else could change: what is loaded runs with the user's rights.

use std::{
    fs::Metadata,
    path::{Path, PathBuf},
};

/// The file's real path, absolute, if neither it nor a folder on the way to it can be changed by others.
///
/// # Errors
/// It is not there, or who could change it, with the mode.
pub fn trusted(path: &Path) -> Result<PathBuf, String> {
    let path = path.canonicalize().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
        _ => format!("it cannot be found: {error}"),
    })?;
    let metadata = |path: &Path| std::fs::metadata(path).map_err(|error| format!("it cannot be looked at: {error}"));
    let file = metadata(&path)?;
    if !file.is_file() {
        return Err("it is not a file".to_owned());
    }
    refuse_others(&file, "it", false)?;
    for (at, folder) in path.ancestors().skip(1).enumerate() {
        // In a folder like /tmp, further up, others may add files but not rename ours.
        refuse_others(&metadata(folder)?, &format!("its folder {}", folder.display()), at > 0)?;
    }
    Ok(path)
}

#[cfg(unix)]
fn refuse_others(metadata: &Metadata, what: &str, sticky_will_do: bool) -> Result<(), String> {
    use std::os::unix::fs::MetadataExt;
    let (mode, me) = (metadata.mode() & 0o7777, rustix::process::getuid().as_raw());
    if sticky_will_do && mode & 0o1000 != 0 {
        return Ok(());
    }
    // Where every user has a group of their own, by the same number, that group is nobody else.
    let own_group = metadata.gid() == metadata.uid();
    if mode & 0o002 != 0 || mode & 0o020 != 0 && !own_group {
        return Err(format!("{what} can be written by others (mode {mode:04o}): chmod go-w makes it fit"));
    }
    if metadata.uid() != 0 && metadata.uid() != me {
        return Err(format!("{what} belongs to another user (number {}, mode {mode:04o})", metadata.uid()));
    }
    Ok(())
}

#[cfg(not(unix))]
fn refuse_others(_: &Metadata, _: &str, _: bool) -> Result<(), String> {
    Ok(())
}
